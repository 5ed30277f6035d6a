"""How well a build's share of wrong captions is told, and which of them are found.

python -m bench.trust [--seed 1] [--errors FILE] [--json FILE]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.trust_recordings import Scene
from regioncap.trust.alike import same
from regioncap.trust.answers import Heard
from regioncap.trust.estimate import Judged, estimate
from regioncap.trust.planted import kinds_for
from regioncap.trust.questions import ROUNDS, chance, drawn, sheets
from regioncap.trust.scores import Scored, asked_again, scored, together

REGIONS = 400
SECOND = 100


@dataclass
class Recording:
    """Scenes of one condition, and what one judge answered about them, by (image, region, kind, round)."""

    name: str
    same_model: bool
    scenes: list[Scene]
    heard: dict[tuple[str, int, str, int], Heard]
    second: Mapping[tuple[str, int], str]

    @classmethod
    def of(
        cls,
        name: str,
        same_model: bool,
        scenes: list[Scene],
        heard: Sequence[Heard],
        second: Mapping[tuple[str, int], str],
    ) -> "Recording":
        return cls(name, same_model, scenes, {(h.image, h.region, h.kind, h.round): h for h in heard}, second)


@dataclass
class Build:
    """A simulated build: its captions and answers by claim, and which captions are wrong."""

    recording: Recording
    scenes: list[Scene]
    claims: dict[tuple[str, int], str]
    captions: dict[str, dict[int, str]]
    wrong: set[tuple[str, int]]

    @property
    def regions(self) -> int:
        return sum(len(scene.boxes) for scene in self.scenes)


def answer(build: Recording, scene: Scene, region: int, kind: str, round_: int) -> Heard | None:
    """What was heard of a claim of a kind; a neighbour's caption as it was heard about the neighbour."""
    if kind != "neighbour":
        return build.heard.get((scene.image, region, kind, round_))
    for sheet in sheets(scene.image, scene.boxes, round_):
        if region in sheet.regions:
            others = [
                other
                for other in sheet.regions
                if scene.right(other, scene.captions[other]) and not same(scene.captions[other], scene.truth[region])
            ]
            if not others:
                return None
            other = others[int(chance("whose", scene.image, region) * len(others))]
            told = build.heard[scene.image, other, "own", round_]
            return told.model_copy(update={"region": region, "shown": sheet.number(region)})
    return None


def simulated(recording: Recording, random: np.random.Generator, share: float, kinds: Sequence[str]) -> Build:
    """A build of about 400 regions, of which `share` get a wrong caption of one of the kinds."""
    scenes: list[Scene] = []
    regions = 0
    for at in random.permutation(len(recording.scenes)):
        scenes.append(recording.scenes[at])
        regions += len(recording.scenes[at].boxes)
        if regions >= REGIONS:
            break
    places = [(scene, region) for scene in scenes for region in scene.boxes]
    claims: dict[tuple[str, int], str] = {}
    captions = {scene.image: dict(scene.captions) for scene in scenes}
    wanted = round(share * regions)
    for at in random.permutation(len(places)):
        if len(claims) >= wanted:
            break
        scene, region = places[at]
        kind = str(random.choice(list(kinds)))
        told = answer(recording, scene, region, kind, 0)
        if told is None or scene.right(region, told.caption) or answer(recording, scene, region, kind, 1) is None:
            continue
        if kind == "generic" and not fits_another(scene, region, told.caption):
            continue
        claims[scene.image, region] = kind
        captions[scene.image][region] = told.caption
    wrong = {
        (scene.image, region)
        for scene in scenes
        for region in scene.boxes
        if not scene.right(region, captions[scene.image][region])
    }
    return Build(recording, scenes, claims, captions, wrong)


def fits_another(scene: Scene, region: int, caption: str) -> bool:
    """Whether a caption's words are all true of another region."""
    words = set(caption.split()) - {"a", "an", "object"}
    return any(words <= set(text.split()) for other, text in scene.truth.items() if other != region)


def heard_scores(build: Build, share: float = 1.0) -> tuple[list[Scored], int]:
    """What the listener makes of a build's captions, all or a sample, and how many questions it was asked."""
    recording = build.recording
    rounds: list[list[Scored]] = []
    wanted: set[tuple[str, int, str]] | None = None
    asked = 0
    for round_ in range(ROUNDS):
        scores: list[Scored] = []
        for scene in build.scenes:
            captions = build.captions[scene.image]
            own: dict[int, Heard] = {}
            for sheet in sheets(scene.image, scene.boxes, round_):
                answers: list[Heard] = []
                for region in sheet.regions:
                    if not drawn(scene.image, region, share):
                        continue
                    kind = build.claims.get((scene.image, region), "own")
                    told = answer(recording, scene, region, kind, round_)
                    assert told is not None
                    answers.append(told.model_copy(update={"kind": "own"}))
                    probes = [probe for probe in kinds_for(scene.image, region) if probe != kind]
                    planted = [answer(recording, scene, region, probe, round_) for probe in probes]
                    answers += [each for each in planted if each is not None][:1]
                if wanted is not None:
                    answers = [each for each in answers if (each.image, each.region, each.kind) in wanted]
                asked += len(answers)
                scores += scored(sheet, answers, captions)
        rounds.append(scores)
        if wanted is None:
            wanted = {(score.image, score.region, score.kind) for score in asked_again(scores)}
    return together(rounds), asked


def known_right(build: Build, share: float = 1.0) -> dict[tuple[str, int], bool]:
    """Captions of drawn regions that a second asking, about the region alone, says as well."""
    share_again = min(1.0, SECOND / (build.regions * share))
    return {
        (scene.image, region): True
        for scene in build.scenes
        for region in scene.boxes
        if drawn(scene.image, region, share)
        and chance("second", scene.image, region) < share_again
        and same(build.recording.second.get((scene.image, region), ""), build.captions[scene.image][region])
    }


def judged(build: Build, share: float = 1.0, second: bool = True) -> Judged:
    scores, asked = heard_scores(build, share)
    return estimate(
        scores,
        regions=build.regions,
        asked=asked,
        how="all" if share == 1 else "sample",
        judge="demo",
        same_model=build.recording.same_model,
        known=known_right(build, share) if second else None,
    )
