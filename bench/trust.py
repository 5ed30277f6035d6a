"""How well a build's share of wrong captions is told, and which of them are found.

    python -m bench.trust [--seed N] [--errors FILE] [--json FILE]

Captions of scenes with known truth, and what listeners answer about them, are recorded once from the real vLLM with the
demo model (`bench/trust_recordings.py`); 200 builds of about 400 regions are then simulated from the recordings:

- half with *planted* errors: a share of the captions is replaced by wrong ones, of one kind or of all;
- half with *natural* errors: of weaker weights, a high temperature, heavy JPEG, tags too small.

Each is judged by the captioner's own weights or by others, all of it and by a sample of half. A row of FILE is
{"image": ..., "region": ..., "caption": ..., "kind": ...}: more planted errors, the images being those of
`demo_model.drops --seed N`.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.trust_recordings import Condition, Recorder, Scene, questions, weaker
from deploy.local.paths import DEMO_MODEL
from regioncap.ask.listening import least_sure
from regioncap.trust.alike import same
from regioncap.trust.answers import Heard
from regioncap.trust.estimate import Judged, estimate
from regioncap.trust.planted import kinds_for
from regioncap.trust.questions import PLANTED, SECOND, Question, asked_twice, drawn, sample_share, sheets
from regioncap.trust.scores import Scored, asked_again, scored, together

# A build's regions.
REGIONS = 400
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
SAMPLE = 0.5
BUILDS = 200
SCENES, NATURAL_SCENES = 240, 110
# Noise on the shipped weights that makes the weaker captioner, and the other judge.
WEAK, OTHER = 0.1, 0.07
# The threshold at which recall is measured: so many right captions are below it.
FALSE_ALARM = 0.01


@dataclass
class Recording:
    """Scenes of one condition, and what one judge answered about them, by (image, region, kind, round).

    `second` is what a second asking, about each region alone, said of it.
    """

    name: str
    judge: str
    same_model: bool
    scenes: list[Scene]
    heard: dict[tuple[str, int, str, int], Heard]
    second: dict[tuple[str, int], str]

    def answer(self, scene: Scene, region: int, kind: str, round_: int) -> Heard | None:
        """What was heard of a claim; of a neighbour's caption at first as it was heard about that neighbour."""
        told = self.heard.get((scene.image, region, kind, round_))
        if kind != "neighbour" or round_ > 0 or told is not None:
            return told
        later = self.heard.get((scene.image, region, kind, 1))
        if later is None:
            return None
        (sheet,) = (sheet for sheet in sheets(scene.image, scene.boxes, scene.captions, 0) if region in sheet.asked)
        whose = next(other for other in sheet.regions if other != region and same(scene.captions[other], later.caption))
        told = self.heard[scene.image, whose, "own", 0]
        return told.model_copy(update={"region": region, "kind": "neighbour", "shown": sheet.number(region)})


@dataclass
class Build:
    """A simulated build: its captions, of which kind each planted error is, and which captions are wrong."""

    recording: Recording
    scenes: list[Scene]
    planted: dict[tuple[str, int], str]
    captions: dict[str, dict[int, str]]
    wrong: set[tuple[str, int]]
    regions: int


def simulated(
    recording: Recording, random: np.random.Generator, share: float, kinds: Sequence[str], regions: int = REGIONS
) -> Build:
    """A build of about so many regions, of which `share` get a wrong caption of one of the kinds."""
    scenes: list[Scene] = []
    count = 0
    for at in random.permutation(len(recording.scenes)):
        if count >= regions:
            break
        scenes.append(recording.scenes[at])
        count += len(recording.scenes[at].boxes)
    places = [(scene, region) for scene in scenes for region in scene.boxes]
    planted: dict[tuple[str, int], str] = {}
    captions = {scene.image: dict(scene.captions) for scene in scenes}
    for at in random.permutation(len(places)):
        if len(planted) >= round(share * count):
            break
        scene, region = places[at]
        kind = kinds[int(random.integers(len(kinds)))]
        told = recording.answer(scene, region, kind, 0)
        if told is not None and wrong_for(scene, region, told.caption):
            planted[scene.image, region] = kind
            captions[scene.image][region] = told.caption
    wrong = {
        (scene.image, region)
        for scene, region in places
        if (scene.image, region) in planted or not scene.right(region, captions[scene.image][region])
    }
    return Build(recording, scenes, planted, captions, wrong, count)


def wrong_for(scene: Scene, region: int, caption: str) -> bool:
    """Whether a planted caption is wrong: untrue of the region, or true of another one as well."""
    said = set(caption.split()) - {"a", "an", "object", "and"}
    fits = [other for other, text in scene.truth.items() if said <= set(text.split())]
    return fits != [region] and not same(caption, scene.truth[region])


def scores_of(build: Build, share: float = 1.0) -> tuple[list[Scored], int]:
    """What the listener makes of a build's captions, all or a sample, and how many questions it was asked."""
    asked = 0
    rounds: list[list[Scored]] = []
    again: set[tuple[str, int, str]] | None = None
    for round_ in (0, 1):
        scores: list[Scored] = []
        for scene in build.scenes:
            captions = build.captions[scene.image]
            claims: dict[int, list[Heard]] = defaultdict(list)
            for region in scene.boxes:
                if not drawn(scene.image, region, share):
                    continue
                error = build.planted.get((scene.image, region), "own")
                told = build.recording.answer(scene, region, error, round_)
                assert told is not None
                claims[region].append(told.model_copy(update={"kind": "own"}))
                probes = (
                    build.recording.answer(scene, region, kind, round_)
                    for kind in kinds_for(scene.image, region)
                    if kind != error
                )
                claims[region] += [each for each in probes if each is not None][:1]
            for sheet in sheets(scene.image, scene.boxes, captions, round_):
                answers = [
                    each
                    for region in sheet.asked
                    for each in claims[region]
                    if again is None or (each.image, each.region, each.kind) in again
                ]
                asked += len(answers)
                scores += scored(sheet, answers, captions)
        rounds.append(scores)
        again = {(score.image, score.region, score.kind) for score in asked_again(scores)}
    return together(rounds), asked


def judged(build: Build, share: float = 1.0) -> Judged:
    """What is told of a build, by all of its captions or by a sample."""
    scores, asked = scores_of(build, share)
    scores = [
        replace(score, agreed=same(build.recording.second[score.image, score.region], score.caption))
        if score.kind == "own" and asked_twice(score.image, score.region, SECOND)
        else score
        for score in scores
    ]
    return estimate(
        scores, regions=build.regions, asked=asked, how="all" if share == 1 else "sample", judge=build.recording.judge,
        same_model=build.recording.same_model,
    )  # fmt: skip


@dataclass
class Outcome:
    """A build's true share, and what was told of it."""

    recording: Recording
    source: str
    kinds: str
    share: float
    truth: float
    all: Judged
    sample: Judged

    @staticmethod
    def held(truth: float, told: Judged) -> bool:
        """Whether the interval holds the truth. A build that is not judged says nothing that is not so."""
        if told.low is None or told.high is None:
            return True
        return told.low - 1e-9 <= truth <= told.high + 1e-9


def outcomes(recordings: Mapping[str, Recording], seed: int, builds: int, more: Sequence[str]) -> list[Outcome]:
    """Simulate the builds and judge them."""
    random = np.random.default_rng([7, seed])
    kinds = [*PLANTED, *more]
    mixes = [*([kind] for kind in kinds), kinds]
    natural = [name for name in recordings if not name.startswith("joint")]
    found = []
    for number in range(builds):
        if number % 2 == 0:
            at = number // 2
            share, mix = SHARES[at % len(SHARES)], mixes[at // len(SHARES) % len(mixes)]
            recording = recordings["joint same" if at // len(SHARES) % 2 == 0 else "joint other"]
        else:
            share, mix = 0.0, []
            recording = recordings[natural[number // 2 % len(natural)]]
        build = simulated(recording, random, share, mix)
        name = "natural" if not mix else mix[0] if len(mix) == 1 else "mixed"
        truth = len(build.wrong) / build.regions
        found.append(
            Outcome(
                recording, "planted" if mix else "natural", name, share, truth, judged(build), judged(build, SAMPLE)
            )
        )
    return found


def deaf(recording: Recording, how: str) -> Recording:
    """The same answered by a judge that always says 1, or says anything."""
    random = np.random.default_rng(3)
    heard = {}
    for key, told in recording.heard.items():
        choices = list(told.probabilities)
        said = dict.fromkeys(choices, 0.0) | {"1": 1.0}
        if how == "anything":
            said = dict(zip(choices, random.dirichlet(np.ones(len(choices))).tolist(), strict=True))
        heard[key] = told.model_copy(update={"probabilities": said})
    return replace(recording, judge=how, heard=heard)


def separated(recording: Recording, kinds: Sequence[str]) -> dict[str, float]:
    """How well right captions and wrong ones of each kind are told apart: AUC, and recall at a false alarm of 1 %.

    The threshold is set on one half of the scenes, and all is measured on the other.
    """
    scores: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for at, scene in enumerate(recording.scenes):
        for kind in ("own", *kinds):
            for region in scene.boxes:
                caption = scene.captions[region]
                rounds = []
                for round_ in (0, 1):
                    told = recording.answer(scene, region, kind, round_)
                    if told is None or (kind != "own" and not wrong_for(scene, region, told.caption)):
                        continue
                    captions = {**scene.captions, region: told.caption}
                    sheet = next(s for s in sheets(scene.image, scene.boxes, captions, round_) if region in s.asked)
                    answers = [told.model_copy(update={"kind": "own"})]
                    first = [s for s in scored(sheet, answers, captions) if s.kind == "own"]
                    if round_ == 0 and not asked_again(first):
                        rounds.append(first)
                        break
                    rounds.append(first)
                if not rounds:
                    continue
                (score,) = together(rounds)
                name = kind if kind != "own" else "right" if scene.right(region, caption) else "natural"
                scores[name, at % 2 == 0].append(score.trust)
    threshold = float(np.quantile(scores["right", True], FALSE_ALARM))
    right = np.array(scores["right", False])
    figures = {"false_alarm": float((right < threshold).mean())}
    for kind in [*kinds, "natural"]:
        wrong = np.array([*scores[kind, False], *scores[kind, True]])
        if len(wrong):
            everything = np.sort(np.array([*right, *scores["right", True]]))
            places = (np.searchsorted(everything, wrong, "left") + np.searchsorted(everything, wrong, "right")) / 2
            figures[f"auc_{kind}"] = float(1 - (places / len(everything)).mean())
            figures[f"recall_{kind}"] = float((wrong < threshold).mean())
    figures["auc"] = min(figures[f"auc_{kind}"] for kind in kinds)
    return figures


def cascade(recording: Recording, seconds: Mapping[str, float]) -> dict[str, float]:
    """What `auto` reaches: joint, then by itself each region of which the captioner was unsure, or that is doubted.

    That is with its crop; so is asked about what shares its caption with another region. As in a run, a sample is
    listened to, with its planted captions and second askings, and so is what comes of asking again.

    `seconds` are the server's of one joint answer (per image), one about a region, and one of the listener's.
    """
    build = Build(recording, recording.scenes, {}, {s.image: s.captions for s in recording.scenes}, set(), 0)
    build.regions = sum(len(scene.boxes) for scene in recording.scenes)
    share = sample_share(build.regions)
    scores, questions = scores_of(build, share)
    own = {(score.image, score.region): score for score in scores if score.kind == "own"}
    sure = {(scene.image, region): scene.sure.get(region) for scene in recording.scenes for region in scene.captions}
    unsure = least_sure(sure)
    joint = alone = auto = again = 0
    for scene in recording.scenes:
        for region, caption in scene.captions.items():
            at = scene.image, region
            twice = any(same(caption, text) for other, text in scene.captions.items() if other != region)
            asked = at in unsure or twice or (at in own and own[at].doubted)
            by_itself = recording.second[at]
            joint += scene.right(region, caption)
            alone += scene.right(region, by_itself)
            auto += scene.right(region, by_itself if asked else caption)
            again += asked
    seconds_of_sample = questions * seconds["heard"] + sum(asked_twice(*at, SECOND) for at in own) * seconds["alone"]
    spent = len(recording.scenes) * seconds["joint"] + seconds_of_sample + again * (seconds["alone"] + seconds["heard"])
    return {
        "joint_right": joint / build.regions,
        "per_region_right": alone / build.regions,
        "auto_right": auto / build.regions,
        "mended": (auto - joint) / (alone - joint) if alone > joint else 1.0,
        "reasked_share": again / build.regions,
        "seconds_share": spent / (build.regions * seconds["alone"]),
    }


def errors_of(path: Path | None) -> list[Question]:
    """Planted errors from a file; those of a kind that is planted here too are told apart by a prefix."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()] if path else []
    named = [f"given_{row['kind']}" if row["kind"] in ("own", *PLANTED) else str(row["kind"]) for row in rows]
    return [
        Question(row["image"], int(row["region"]), row["caption"], kind)  # type: ignore[arg-type]
        for row, kind in zip(rows, named, strict=True)
    ]


def recorded(
    recorder: Recorder,
    weights: Path,
    weak: Path,
    other: Path,
    errors: Sequence[Question],
    scenes: int,
    natural: int,
) -> tuple[dict[str, Recording], dict[str, float]]:
    """Ask the model all that the builds are simulated from; with the server's seconds of one answer of each sort."""
    named = {Path(error.image).stem for error in errors}
    scenes = max([scenes, *(int(stem) + 1 for stem in named if stem.isdecimal())])
    conditions = [
        Condition("joint", weights, scenes=scenes),
        Condition("hot", weights, temperature=1.7, scenes=natural, skip=scenes),
        Condition("jpeg", weights, quality=6, scenes=natural, skip=scenes),
        Condition("tags", weights, tag=7, scenes=natural, skip=scenes),
    ]
    weakly = Condition("weak", weak, scenes=natural, skip=scenes)
    captioned: dict[str, list[Scene]] = {}
    for of_weights in (conditions, [weakly]):
        captioned |= recorder.captioned(of_weights, "joint")
        alone = [
            replace(
                condition, name=f"{condition.name} again", mode="per_region", temperature=0.0,
                share=1.0 if condition.name == "joint" else SECOND,
            )
            for condition in of_weights
        ]  # fmt: skip
        captioned |= recorder.captioned(alone, "alone")
    asked = {}
    for condition in (*conditions, weakly):
        made = questions(captioned[condition.name], condition.name == "joint")
        if condition.name == "joint":
            made += errors
        asked[condition.name] = (condition, captioned[condition.name], made)
    recordings = {}
    for judge, name in ((weights, "same"), (other, "other"), (weak, "weak")):
        of_judge = {key: value for key, value in asked.items() if judge != weak or key == "weak"}
        for of_condition, heard in recorder.heard(judge, of_judge).items():
            again = captioned[f"{of_condition} again"]
            second = {(scene.image, region): text for scene in again for region, text in scene.captions.items()}
            captioner = weak if of_condition == "weak" else weights
            recordings[f"{of_condition} {name}"] = Recording(
                of_condition, judge.name, judge == captioner, captioned[of_condition], heard, second
            )
    return recordings, recorder.each()


def tables(console: Console, found: Collection[Outcome]) -> None:
    """Coverage by share, kind and source."""
    planted = [each for each in found if each.source == "planted"]
    for title, named in (
        ("planted, by share", [(f"{each.share:.0%}", each) for each in planted]),
        ("planted, by kind", [(each.kinds, each) for each in planted]),
        ("by source and judge", [(f"{e.source}: {e.recording.name}, {whose(e.recording)}", e) for e in found]),
    ):
        table = Table(title=title, title_justify="left")
        for heading in (
            "",
            "builds",
            "true share",
            "judged",
            "held",
            "width",
            "judged, sample",
            "held, sample",
            "width, sample",
        ):
            table.add_column(heading, justify="right")
        groups: dict[str, list[Outcome]] = defaultdict(list)
        for name, each in named:
            groups[name].append(each)
        for name, of_group in sorted(groups.items()):
            cells = []
            for told in ([each.all for each in of_group], [each.sample for each in of_group]):
                held = sum(Outcome.held(each.truth, one) for each, one in zip(of_group, told, strict=True))
                told_of = [one for one in told if one.share is not None]
                cells += [str(len(told_of)), str(held), f"{width(told_of):.3f}"]
            mean = sum(each.truth for each in of_group) / len(of_group)
            table.add_row(name, str(len(of_group)), f"{mean:.3f}", *cells)
        console.print(table)


def whose(recording: Recording) -> str:
    """Whose weights judged."""
    return "same weights" if recording.same_model else "other weights"


def width(judged: Collection[Judged]) -> float:
    """The mean width of intervals; NaN of none."""
    return float(
        np.mean([one.high - one.low for one in judged if one.high is not None and one.low is not None] or [np.nan])
    )


def figures_of(
    recordings: Mapping[str, Recording],
    seconds: Mapping[str, float],
    seed: int,
    builds: int,
    more: Sequence[str],
    console: Console,
) -> dict[str, float]:
    """All figures, with their tables."""
    found = outcomes(recordings, seed, builds, more)
    tables(console, found)
    planted = [each.all for each in found if each.source == "planted"]
    figures = {
        "coverage": sum(Outcome.held(each.truth, each.all) for each in found) / len(found),
        "coverage_sample": sum(Outcome.held(each.truth, each.sample) for each in found) / len(found),
        "not_judged": sum(each.all.share is None for each in found) / len(found),
        "mean_width": width(planted),
        "mean_width_natural": width([each.all for each in found if each.source == "natural"]),
        **separated(recordings["joint same"], [*PLANTED, *more]),
        **cascade(recordings["joint same"], seconds),
    }  # fmt: skip
    random = np.random.default_rng([8, seed])
    told = [
        judged(simulated(deaf(recordings["joint same"], how), random, share, PLANTED))
        for how in ("always 1", "anything")
        for share in SHARES
    ]
    figures["deaf_judged"] = sum(one.share is not None for one in told) / len(told)
    figures["seconds_joint"], figures["seconds_alone"], figures["seconds_heard"] = (
        seconds[name] for name in ("joint", "alone", "heard")
    )
    return figures


def main() -> None:
    """Print tables; with --json, write the figures too."""
    parser = argparse.ArgumentParser(description="How well wrong captions are told and found.")
    parser.add_argument("--seed", type=int, default=1, help="which series of scenes")
    parser.add_argument("--errors", type=Path, help="JSONL of image, region, caption, kind: more planted errors")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--weights", type=Path, default=DEMO_MODEL, help="the model that captions and judges")
    parser.add_argument("--scenes", type=int, default=SCENES, help="scenes with planted errors")
    parser.add_argument("--natural", type=int, default=NATURAL_SCENES, help="scenes of each sort of natural errors")
    told: Any = parser.parse_args()
    console = Console(width=140, highlight=False)
    started = time.perf_counter()
    errors = errors_of(told.errors)
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as name:
        folder = Path(name)
        weak, other = weaker(told.weights, folder / "weak", 1, WEAK), weaker(told.weights, folder / "other", 2, OTHER)
        recorder = Recorder(folder, told.seed)
        recordings, seconds = recorded(recorder, told.weights, weak, other, errors, told.scenes, told.natural)
    console.print(f"recorded in {time.perf_counter() - started:.0f} s")
    more = sorted({error.kind for error in errors} - set(PLANTED))
    figures = figures_of(recordings, seconds, told.seed, BUILDS, more, console)
    figures["seconds"] = time.perf_counter() - started
    for key, value in figures.items():
        console.print(f"{key:24} {value:.4f}")
    if told.json:
        told.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
