"""A build is known by what it was made from: what a person took back, or had made anew, is not undone by a run."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from regioncap.errors import CommitRefusedError
from regioncap.steps.publish import Published, commit_build, stage_build
from regioncap.warehouse.history import roll_back
from regioncap.warehouse.manifest import Manifest, current
from regioncap.work import identity
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged
from tests.builders import Place, encoded, picture
from tests.fake_vlm import FakeVlm, Reply, completion, error
from tests.steps import ASKING, build, caption, propose, publish, render, validate

ROWS: list[dict[str, Any]] = [
    {"id": "a", "image": "a.jpg", "bbox": [[10, 10, 40, 30]]},
    {"id": "b", "image": "b.jpg", "bbox": [[20, 20, 40, 30]]},
    {"id": "none", "image": "none.jpg", "bbox": [[10, 10, 40, 30]]},
    {"id": "bare", "image": "bare.jpg"},
]
MOST = {"max_rejected_ratio": 1.0, "max_attempts": 1, "when_no_boxes": "reject"}


def uploaded(place: Place) -> None:
    """All of the drop, as after an upload: a folder says that files are others."""
    for path in sorted(place.drop_folder.iterdir()):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def manifest_of(place: Place) -> Manifest:
    manifest, _ = current(place.partition)
    assert manifest is not None
    return manifest


def captions(place: Place) -> list[str]:
    manifest = manifest_of(place)
    lines = [line for entry in manifest.captions for line in place.partition.read(entry.path).splitlines()]
    return [region["caption"] for line in lines for region in json.loads(line)["regions"]]


@dataclass
class Scene:
    """A date whose drop is built by runs of their own; every answer is another one."""

    place: Place
    vlm: FakeVlm
    answers: int = 0
    runs: int = 0

    def __post_init__(self) -> None:
        self.vlm.behave = lambda _, body: self.answer(body)
        for number, name in enumerate(("a.jpg", "b.jpg", "bare.jpg")):
            self.place.put(name, encoded(picture(colour=(number * 60, 120, 90))))
        self.place.put_rows(*ROWS, "not JSON")

    def answer(self, body: dict[str, Any]) -> Reply:
        self.answers += 1
        schema = body["response_format"]["json_schema"]["schema"]
        if schema["type"] == "array":
            return completion(json.dumps([{"bbox_2d": [28, 28, 84, 56 + self.answers], "label": "something"}]))
        return completion(json.dumps(dict.fromkeys(schema["required"], f"a door with {self.answers} panes")))

    def run(self, **changes: Any) -> Published:
        self.runs += 1
        if changes.get("when_no_boxes") == "ask_model":
            propose(self.place, self.place.plan(run_id=f"run-{self.runs}", **{**MOST, **changes}), self.vlm)
        return build(self.place, self.vlm, run_id=f"run-{self.runs}", **{**MOST, **changes})

    def forced_and_withdrawn(self, **changes: Any) -> tuple[Manifest, Manifest]:
        """A build of another drop, which was gone back to, and one that was forced, and taken back."""
        self.place.put_rows(*ROWS[:1])
        first = self.run(**changes).manifest
        self.place.put_rows(*ROWS, "not JSON")
        forced = self.run(force_rebuild=True, **changes).manifest
        roll_back(self.place.partition, None)
        return first, forced


@pytest.fixture
def scene(place: Place, vlm: FakeVlm) -> Scene:
    return Scene(place, vlm)


@pytest.mark.parametrize("changes", [{}, ASKING, {"caption_mode": "per_region"}], ids=["joint", "asking", "each"])
def test_what_was_forced_and_taken_back_is_not_published_with_other_answers_either(
    scene: Scene, changes: dict[str, Any]
) -> None:
    first, forced = scene.forced_and_withdrawn(**changes)
    uploaded(scene.place)
    again = scene.run(**changes)
    assert (again.manifest.build_id, again.unchanged) == (first.build_id, True)
    assert [(build.build_id, build.withdrawn) for build in manifest_of(scene.place).history] == [
        (forced.build_id, True)
    ]
    # It is noted: the next run has nothing to do at all.
    assert scene.place.plan(**{**MOST, **changes}).unchanged


def an_image(place: Place) -> None:
    place.put("b.jpg", encoded(picture(colour=(1, 2, 3))))


def an_image_that_was_missing(place: Place) -> None:
    place.put("none.jpg", encoded(picture()))


def no_image_any_more(place: Place) -> None:
    (place.drop_folder / "b.jpg").unlink()


def a_box(place: Place) -> None:
    place.put_rows(ROWS[0], ROWS[1] | {"bbox": [[20, 20, 40, 31]]}, *ROWS[2:], "not JSON")


def a_row_more(place: Place) -> None:
    place.put_rows(*ROWS, "not JSON", {"id": "c", "image": "a.jpg", "bbox": [[30, 10, 40, 30]]})


def a_row_less(place: Place) -> None:
    place.put_rows(*ROWS[1:], "not JSON")


def the_order(place: Place) -> None:
    place.put_rows(ROWS[1], ROWS[0], *ROWS[2:], "not JSON")


def an_id(place: Place) -> None:
    place.put_rows(ROWS[0] | {"id": "another"}, *ROWS[1:], "not JSON")


def a_row_that_is_rejected(place: Place) -> None:
    place.put_rows(*ROWS, "not JSON either")


@pytest.mark.parametrize(
    "change",
    [
        an_image, an_image_that_was_missing, no_image_any_more, a_box, a_row_more, a_row_less, the_order, an_id,
        a_row_that_is_rejected,
    ],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_a_drop_that_has_changed_is_published_whatever_was_taken_back(
    scene: Scene, change: Callable[[Place], None]
) -> None:
    _, forced = scene.forced_and_withdrawn()
    change(scene.place)
    again = scene.run()
    assert not again.unchanged
    assert again.manifest.counts.rows >= forced.counts.rows - 1


def a_bare_image(place: Place) -> None:
    """Of a row without boxes, which is rejected whatever its image is."""
    place.put("bare.jpg", encoded(picture(colour=(4, 5, 6))))


def a_manifests_name(place: Place) -> None:
    path = place.drop_folder / "manifest.jsonl"
    text = path.read_text().replace("not JSON\n", "")
    path.unlink()
    place.put("another.jsonl", "\n\n" + text)


@pytest.mark.parametrize("change", [a_bare_image, a_manifests_name], ids=lambda change: change.__name__)
def test_what_makes_no_other_build_does_not_undo_a_roll_back(scene: Scene, change: Callable[[Place], None]) -> None:
    scene.place.put_rows(*ROWS[:1])
    first = scene.run().manifest
    scene.place.put_rows(*ROWS)
    scene.run(force_rebuild=True)
    roll_back(scene.place.partition, None)
    change(scene.place)
    again = scene.run()
    assert (again.manifest.build_id, again.unchanged) == (first.build_id, True)


def test_whoever_has_taken_a_build_back_can_have_it_made_anew(scene: Scene) -> None:
    _, forced = scene.forced_and_withdrawn()
    uploaded(scene.place)
    again = scene.run(force_rebuild=True)
    assert not again.unchanged and again.manifest.build_id != forced.build_id
    assert again.manifest.counts == forced.counts
    assert scene.run().unchanged


@pytest.mark.parametrize("setting", [{"prompt": "Say what {n} regions show."}, {"mark_style": "corners"}], ids=str)
def test_other_settings_are_published_whatever_was_taken_back(scene: Scene, setting: dict[str, Any]) -> None:
    scene.forced_and_withdrawn()
    again = scene.run(**setting)
    assert not again.unchanged and again.manifest == manifest_of(scene.place)


def test_a_mended_rule_is_published_whatever_was_taken_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.forced_and_withdrawn()
    monkeypatch.setattr(identity, "code_hash", lambda: "mended")
    again = scene.run()
    assert not again.unchanged and again.manifest == manifest_of(scene.place)


@pytest.mark.parametrize("changes", [{}, ASKING], ids=["given", "asking"])
def test_a_row_that_was_rejected_for_its_answer_counts_as_the_same(scene: Scene, changes: dict[str, Any]) -> None:
    place, answer = scene.place, scene.vlm.behave
    place.put_rows(*ROWS[:1])
    first = scene.run(**changes).manifest
    place.put_rows(ROWS[0], ROWS[3] if changes else ROWS[1])
    nothing = "[]" if changes else json.dumps({"<region1>": ""})

    def says_nothing(number: int, body: dict[str, Any]) -> Reply:
        is_other = scene.answers % 2 if not changes else '"array"' in json.dumps(body["response_format"])
        reply = answer(number, body)
        return completion(nothing) if is_other else reply

    scene.vlm.behave = says_nothing
    assert scene.run(force_rebuild=True, **changes).manifest.counts.rejected >= 1
    scene.vlm.behave = answer
    roll_back(place.partition, None)
    uploaded(place)
    again = scene.run(**changes)
    assert (again.manifest.build_id, again.unchanged) == (first.build_id, True)


def test_an_image_is_another_one_though_its_row_was_rejected_for_its_answer(scene: Scene) -> None:
    place, answer = scene.place, scene.vlm.behave
    place.put_rows(*ROWS[:1])
    scene.run(**ASKING)
    place.put_rows(ROWS[3])
    scene.vlm.behave = lambda *_: completion("[]")
    assert scene.run(force_rebuild=True, **ASKING).manifest.counts.captioned == 0
    scene.vlm.behave = answer
    roll_back(place.partition, None)
    a_bare_image(place)
    again = scene.run(**ASKING)
    assert not again.unchanged and again.manifest.counts.captioned == 1


def without_what_it_was_made_from(place: Place, *builds: Manifest) -> None:
    """Manifests as they were written before that was noted."""
    paths = [place.folder / f"warehouse/dt={place.date}" / build.build / "manifest.json" for build in builds]
    for path in (*paths, place.folder / f"warehouse/dt={place.date}" / "_manifest.json"):
        written = json.loads(path.read_bytes())
        assert written.pop("made_from")
        path.write_text(json.dumps(written))


def test_a_build_of_before_that_was_noted_is_known_by_what_it_says(scene: Scene) -> None:
    place = scene.place
    place.put_rows(*ROWS[:1])
    first = scene.run().manifest
    place.put_rows(*ROWS)
    second = scene.run().manifest
    roll_back(place.partition, None)
    without_what_it_was_made_from(place, first, second)
    uploaded(place)
    again = scene.run()
    assert (again.manifest.build_id, again.unchanged) == (first.build_id, True)
    place.put_rows(*ROWS, "not JSON")
    third = scene.run()
    assert not third.unchanged and third.manifest.made_from


# ---- what a person had made anew


def test_an_upload_of_the_same_bytes_does_not_bring_back_what_was_made_anew(scene: Scene) -> None:
    scene.run()
    before = captions(scene.place)
    forced = scene.run(force_rebuild=True).manifest
    made_anew = captions(scene.place)
    assert made_anew != before
    uploaded(scene.place)
    again = scene.run()
    assert (again.manifest.build_id, again.unchanged) == (forced.build_id, True)
    assert captions(scene.place) == made_anew


def test_a_changed_drop_keeps_the_answers_of_what_was_made_anew(scene: Scene) -> None:
    scene.run()
    scene.run(force_rebuild=True)
    made_anew, asked = captions(scene.place), scene.answers
    scene.place.put_rows(*ROWS, {"id": "c", "image": "a.jpg", "bbox": [[30, 10, 40, 30]]})
    assert not scene.run().unchanged
    assert captions(scene.place)[:2] == made_anew
    assert scene.answers == asked + 1


def test_what_was_made_anew_and_is_not_whole_any_more_is_mended_with_its_own_answers(scene: Scene) -> None:
    scene.run()
    forced = scene.run(force_rebuild=True).manifest
    made_anew, asked = captions(scene.place), scene.answers
    next((Path(scene.place.partition.uri.removeprefix("file://")) / forced.build / "images").iterdir()).unlink()
    assert not scene.run().unchanged
    assert captions(scene.place) == made_anew
    assert scene.answers == asked


def test_after_it_was_taken_back_the_answers_are_those_of_the_build_before(scene: Scene) -> None:
    scene.run()
    before = captions(scene.place)
    scene.run(force_rebuild=True)
    roll_back(scene.place.partition, None)
    scene.place.put_rows(*ROWS, {"id": "c", "image": "a.jpg", "bbox": [[30, 10, 40, 30]]})
    assert not scene.run().unchanged
    assert captions(scene.place)[:2] == before


def test_a_row_that_was_refused_is_published_when_it_is_taken_though_the_drop_was_only_touched(scene: Scene) -> None:
    answer = scene.vlm.behave
    scene.vlm.behave = lambda number, body: error(400) if number == 1 else answer(number, body)
    assert scene.run().manifest.counts.captioned == 1
    scene.vlm.behave = answer
    uploaded(scene.place)
    assert scene.run().manifest.counts.captioned == 2


# ---- in other orders


def test_each_build_that_was_gone_back_from_stays_so(scene: Scene) -> None:
    place, builds = scene.place, []
    for rows in (ROWS[:1], ROWS[:2], ROWS[:3]):
        place.put_rows(*rows)
        builds.append(scene.run(force_rebuild=len(rows) > 1).manifest.build_id)
    roll_back(place.partition, None)
    roll_back(place.partition, None)
    for rows in (ROWS[:3], ROWS[:2]):
        place.put_rows(*rows)
        again = scene.run()
        assert (again.manifest.build_id, again.unchanged) == (builds[0], True)
    # Taken up again, it is a build like any other.
    roll_back(place.partition, builds[1])
    uploaded(place)
    again = scene.run()
    assert (again.manifest.build_id, again.unchanged) == (builds[1], True)
    place.put_rows(*ROWS[:3])
    again = scene.run()
    assert (again.manifest.build_id, again.unchanged) == (builds[1], True)


def test_the_tasks_of_a_forced_run_that_are_cleared_do_not_publish_what_was_taken_back(scene: Scene) -> None:
    place = scene.place
    place.put_rows(*ROWS[:1])
    first = scene.run().manifest
    place.put_rows(*ROWS)
    plan = place.plan(run_id="forced", force_rebuild=True, **MOST)
    forced = build(place, scene.vlm, run_id="forced", force_rebuild=True, **MOST).manifest
    assert forced.plan_id == plan.plan_id
    roll_back(place.partition, None)
    again = publish(place, plan)
    assert (again.manifest.build_id, again.unchanged) == (first.build_id, True)


def test_what_was_made_anew_after_a_roll_back_stays_when_that_one_is_not_kept_any_more(scene: Scene) -> None:
    scene.forced_and_withdrawn()
    before = scene.run(force_rebuild=True, keep_builds=1).manifest
    path = scene.place.folder / f"warehouse/dt={scene.place.date}/_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"history": []}))
    uploaded(scene.place)
    again = scene.run()
    assert (again.manifest.build_id, again.unchanged) == (before.build_id, True)


def test_a_build_that_waits_is_not_published_when_one_of_the_same_was_taken_back_meanwhile(scene: Scene) -> None:
    place = scene.place
    place.put_rows(*ROWS[:1])
    first = scene.run().manifest
    place.put_rows(*ROWS)
    plan = place.plan(run_id="waits", **MOST)
    render(place, plan)
    caption(place, plan, scene.vlm)
    validate(place, plan)
    waits = staged(place, plan)
    assert isinstance(waits, Staged)
    scene.run(force_rebuild=True)
    roll_back(place.partition, None)
    with pytest.raises(CommitRefusedError):
        commit_build(waits, plan=plan, work=place.work, partition=place.partition, progress=lambda message: None)
    again = staged(place, plan, kept=waits)
    assert isinstance(again, Published) and again.unchanged and again.manifest.build_id == first.build_id


def test_a_roll_back_of_one_date_says_nothing_about_another(scene: Scene, vlm: FakeVlm) -> None:
    scene.forced_and_withdrawn()
    other = Scene(Place(scene.place.folder, "2026-10-06"), vlm)
    assert not other.run().unchanged


def test_what_was_rendered_before_it_was_noted_is_published_without_it(scene: Scene) -> None:
    place = scene.place
    plan = place.plan(**MOST)
    render(place, plan)
    caption(place, plan, scene.vlm)
    validate(place, plan)
    (receipt,) = (place.folder / "warehouse/_work").rglob("render.json")
    said = json.loads(receipt.read_bytes())
    assert said.pop("made_from")
    receipt.write_text(json.dumps(said))
    assert publish(place, plan).manifest.made_from is None
    uploaded(place)
    assert scene.run().unchanged


def staged(place: Place, plan: Plan, kept: Staged | None = None) -> Staged | Published:
    return stage_build(
        plan=plan, drop=place.drop, work=place.work, partition=place.partition, before=(), max_rejected_ratio=1,
        progress=lambda message: None, kept=kept,
    )  # fmt: skip
