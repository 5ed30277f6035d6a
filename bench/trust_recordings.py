"""Recordings for `bench.trust`: captions of scenes with known truth, and what listeners answer about them.

All is asked of the demo model by vLLM as the pipeline asks it: the same marks, the same words, one token of an answer.
"""

import io
import json
import math
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from demo_model.drops import evaluation_rows
from demo_model.evaluate import attributes_of
from deploy.local.paths import VLLM_PYTHON
from regioncap.captions.prompts import PROMPTS, crop_prompt, user_prompt, which_prompt
from regioncap.marks.profiles import PROFILES
from regioncap.marks.styles import STYLES
from regioncap.marks.view import crop_view, encode, mark
from regioncap.regions.boxes import Box
from regioncap.trust.alike import same
from regioncap.trust.answers import Heard
from regioncap.trust.planted import Captions, ask, plant
from regioncap.trust.questions import PLANTED, ROUNDS, Question, asked_twice, chance, sheets
from regioncap.trust.scorers import SCORERS, WHICH_REGION
from regioncap.vlm.server import ServerConfig, environment

_PROFILE = PROFILES["demo"]
_LINE = re.compile(r"^<region(\d+)>: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Condition:
    """How captions come about. `quality` is of the drop's JPEGs, `tag` a mark's height in pixels as the model sees it.

    `mode` is the caption mode, `captioner` the folder of the weights. `share` of the regions are asked about alone.
    """

    name: str
    captioner: Path
    temperature: float = 0.0
    quality: int | None = None
    tag: int | None = None
    mode: str = "joint"
    share: float = 1.0
    scenes: int = 0
    skip: int = 0


@dataclass
class Scene:
    """A scene of a condition: its row's id is its path. `sure` is how likely each caption's least likely token was."""

    image: str
    boxes: dict[int, Box]
    truth: dict[int, str]
    captions: dict[int, str]
    sure: dict[int, float]

    def right(self, region: int, caption: str) -> bool:
        """Whether a caption says what is in the region, and nothing that another region has as well."""
        said = attributes_of(caption)
        return said is not None and said == attributes_of(self.truth[region])


class Recorder:
    """Renders and asks; `spent` has the answers and the server's seconds, by what it was asked for."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.spent: dict[str, tuple[int, float]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def each(self) -> dict[str, float]:
        """The server's seconds of one answer, by what it was asked for."""
        return {what: seconds / answers for what, (answers, seconds) in self.spent.items()}

    def scenes(self, condition: Condition) -> list[tuple[str, Image.Image, dict[int, Box], dict[int, str]]]:
        """Pictures, boxes and truth of a condition's scenes."""
        found = []
        for at, row in enumerate(evaluation_rows(self.seed, condition.skip + condition.scenes)):
            if at < condition.skip:
                continue
            assert isinstance(row.line, dict) and row.truth is not None
            picture = Image.open(io.BytesIO(next(iter(row.files.values())))).convert("RGB")
            if condition.quality is not None:
                out = io.BytesIO()
                picture.save(out, "JPEG", quality=condition.quality)
                picture = Image.open(io.BytesIO(out.getvalue())).convert("RGB")
            boxes = {n: (x, y, x + w, y + h) for n, (x, y, w, h) in enumerate(row.line["bbox"], start=1)}
            found.append((row.line["image"], picture, boxes, dict(enumerate(row.truth, start=1))))
        return found

    def captioned(self, conditions: Sequence[Condition], what: str) -> dict[str, list[Scene]]:
        """The scenes of conditions of one captioner, with its captions. An answer without a caption is an empty one."""
        rows: list[dict[str, Any]] = []
        of_row: list[tuple[Scene, str, int | None]] = []
        done: dict[str, list[Scene]] = {}
        for condition in conditions:
            done[condition.name] = []
            for image, picture, boxes, truth in self.scenes(condition):
                scene = Scene(image, boxes, truth, {}, {})
                done[condition.name].append(scene)
                marked = self._drawn(condition, image, picture, boxes, "caption")
                asked = user_prompt(PROMPTS["en"], len(boxes))
                options = {"temperature": condition.temperature, "max_tokens": 400, "logprobs": 0, "seed": 42}
                if condition.temperature:
                    options |= {"top_p": 0.9, "top_k": 40}
                if condition.mode == "joint":
                    rows.append({"images": [marked], "texts": [asked], "options": options})
                    of_row.append((scene, condition.name, None))
                    continue
                style = _style(condition)
                for region, box in boxes.items():
                    if not asked_twice(image, region, condition.share):
                        continue
                    close, _ = crop_view(picture, picture.size, region, box, _PROFILE, style)
                    path = self._written(condition, image, f"close-{region}", close)
                    rows.append(
                        {"images": [marked, path], "texts": [asked, crop_prompt(region, "en")], "options": options}
                    )
                    of_row.append((scene, condition.name, region))
        for (scene, _, _), told in zip(of_row, self.ask(conditions[0].captioner, rows, what), strict=True):
            for match in _LINE.finditer(told["text"]):
                region = int(match[1])
                if region in scene.boxes:
                    scene.captions.setdefault(region, match[2].strip())
                    scene.sure.setdefault(region, _sure(told, match.start(2), match.end(2)))
        for scenes in done.values():
            for scene in scenes:
                for region in scene.boxes:
                    scene.captions.setdefault(region, "nothing")
        return done

    def heard(
        self, judge: Path, asked: Mapping[str, tuple[Condition, Sequence[Scene], Sequence[Question]]]
    ) -> dict[str, dict[tuple[str, int, str, int], Heard]]:
        """What the judge answers to the questions of each condition, by image, region, kind and round."""
        rows: list[dict[str, Any]] = []
        of_row: list[tuple[str, Question, int, int]] = []
        for name, (condition, scenes, questions) in asked.items():
            pictures = {image: picture for image, picture, _, _ in self.scenes(condition)}
            by_image: dict[str, list[Question]] = {}
            for question in questions:
                by_image.setdefault(question.image, []).append(question)
            for scene in scenes:
                drawn: dict[tuple[int, ...], str] = {}
                for round_ in range(ROUNDS):
                    for question in by_image.get(scene.image, []):
                        if round_ == 0 and question.kind == "neighbour":
                            continue  # it was heard when the listener was asked about the neighbour
                        # As the build has it that makes this claim.
                        claimed = {**scene.captions, question.region: question.caption}
                        sheet = next(
                            sheet
                            for sheet in sheets(scene.image, scene.boxes, claimed, round_)
                            if question.region in sheet.asked
                        )
                        order = tuple(region for region, _ in sorted(sheet.shown, key=lambda pair: pair[1]))
                        if order not in drawn:
                            boxes = {shown: scene.boxes[region] for shown, region in enumerate(order, start=1)}
                            what = "listen-" + "-".join(map(str, order))
                            drawn[order] = self._drawn(condition, scene.image, pictures[scene.image], boxes, what)
                        rows.append(
                            {
                                "images": [drawn[order]],
                                "texts": [which_prompt(question.caption, "en")],
                                "options": {},
                                "choices": SCORERS[WHICH_REGION].choices(len(sheet.shown)),
                            }
                        )
                        of_row.append((name, question, round_, sheet.number(question.region)))
        # Questions about one picture follow each other.
        ordered = sorted(range(len(rows)), key=lambda at: (rows[at]["images"], at))
        answers = self.ask(judge, [rows[at] for at in ordered], "heard")
        told: dict[str, dict[tuple[str, int, str, int], Heard]] = {name: {} for name in asked}
        for at, answer in zip(ordered, answers, strict=True):
            name, question, round_, shown = of_row[at]
            told[name][question.image, question.region, question.kind, round_] = Heard(
                question="", image=question.image, region=question.region,
                kind=question.kind if question.kind in PLANTED else "own", caption=question.caption, round=round_,
                shown=shown, probabilities=answer["probabilities"],
            )  # fmt: skip
        return told

    def ask(self, weights: Path, rows: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
        """The answers of one set of weights, in the rows' order."""
        asked, answered = self.folder / "rows.jsonl", self.folder / "answers.jsonl"
        asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = ServerConfig(python=VLLM_PYTHON, model=str(weights), device="cpu", dtype="float32")
        with (self.folder / "vllm.log").open("w") as log:
            command = [str(VLLM_PYTHON), "-m", "bench.trust_answers", str(weights), str(asked), str(answered)]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(config))
        if done.returncode:
            raise SystemExit((self.folder / "vllm.log").read_text()[-3000:])
        told = next(line for line in done.stdout.splitlines() if line.startswith('{"seconds"'))
        seconds = json.loads(told)["seconds"]
        answers, before = self.spent.get(what, (0, 0.0))
        self.spent[what] = answers + len(rows), before + seconds
        print(f"{weights.name}, {what}: {len(rows):,} answers in {seconds:.0f} s", flush=True)
        return [json.loads(line) for line in answered.read_text().splitlines()]

    def _drawn(
        self, condition: Condition, image: str, picture: Image.Image, boxes: Mapping[int, Box], what: str
    ) -> str:
        marked = mark(picture, picture.size, boxes, _PROFILE, _style(condition))
        return self._written(condition, image, what, marked)

    def _written(self, condition: Condition, image: str, what: str, picture: Image.Image) -> str:
        path = self.folder / "pictures" / condition.name / f"{Path(image).stem}-{what}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture))
        return str(path)


def weaker(weights: Path, folder: Path, seed: int, noise: float) -> Path:
    """A folder with weights that are weaker on purpose."""
    command = [str(VLLM_PYTHON), "-m", "bench.trust_weights", str(weights), str(folder), str(seed), str(noise)]
    subprocess.run(command, check=True)
    return folder


def _sure(told: Mapping[str, Any], begin: int, end: int) -> float:
    """How likely the least likely token was in a part of an answer."""
    sure, at = 1.0, 0
    for token, logprob in zip(told["tokens"], told["logprobs"], strict=True):
        if begin <= at < end:
            sure = min(sure, math.exp(logprob))
        at += len(token)
    return sure


def _style(condition: Condition) -> Any:
    style = STYLES["box"]
    return style if condition.tag is None else replace(style, least_tag=condition.tag)


def questions(scenes: Iterable[Scene], each: bool) -> list[Question]:
    """Every caption, and planted ones: with `each`, of all kinds for each region, else as a run plants them."""
    scenes = list(scenes)
    others = Captions(caption for scene in scenes for caption in scene.captions.values())
    made: list[Question] = []
    for scene in scenes:
        if not each:
            made += ask(scene.image, scene.captions, scene.captions.keys(), others)
            continue
        for region, caption in scene.captions.items():
            made.append(Question(scene.image, region, caption, "own"))
            for kind in PLANTED:
                text = (
                    _neighbours(scene, region)
                    if kind == "neighbour"
                    else plant(kind, scene.image, region, scene.captions, others)
                )
                if text:
                    made.append(Question(scene.image, region, text, kind))
    return made


def _neighbours(scene: Scene, region: int) -> str | None:
    """The right caption of another region of the scene's sheet, which is not what is in this one."""
    (sheet,) = (sheet for sheet in sheets(scene.image, scene.boxes, scene.captions, 0) if region in sheet.asked)
    others = [
        scene.captions[other]
        for other in sheet.regions
        if scene.right(other, scene.captions[other])
        and not same(scene.captions[other], scene.truth[region])
        and not same(scene.captions[other], scene.captions[region])
    ]
    return others[int(chance("whose", scene.image, region) * len(others))] if others else None
