"""`regioncap compare`, on a warehouse in a folder."""

import json

from typer.testing import CliRunner, Result

from regioncap.cli.app import app
from regioncap.warehouse.compare import _compared
from regioncap.warehouse.corrections import Correction, about_record, about_region, correct, corrections_of
from tests.builders import DATE, Place, describe, publish_each
from tests.steps import records


def run(place: Place, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", DATE, *arguments, "--warehouse-uri", str(place.folder / "warehouse")])


def test_the_current_build_is_compared_with_the_one_before(place: Place) -> None:
    a, b, c = publish_each(place, "a", "b", "c", keep_builds=3)
    done = run(place)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "0.jpg  0  other captions", "  - <region1> b 0", "  + <region1> c 0",
        f"{b} -> {c}: 0 the same, 1 other captions",
    ]  # fmt: skip
    assert f"{a} -> {b}: " in run(place, a, b).stdout
    assert f"{c} -> {c}: 1 the same" in run(place, c).stdout
    (line,) = run(place, "--json").stdout.splitlines()
    assert json.loads(line)["regions"] == [{"numbers": [1, 1], "captions": ["b 0", "c 0"], "corrected": [False, False]}]


def test_what_a_person_corrected_is_told_of(place: Place) -> None:
    place.good_rows(3)
    place.build(describe)
    first, second, third = records(place)
    for action, about, caption in (
        ("edit", about_region(first["image_sha256"], first["regions"][1]["bbox"], "en"), "a blue door"),
        ("reject", about_region(second["image_sha256"], second["regions"][0]["bbox"], "en"), None),
        ("reject", about_record(third["image_sha256"], third["bbox"], "en"), None),
    ):
        line = Correction.model_validate(
            {"at": "2026-10-05T10:00:00+00:00", "by": "ann", "action": action, "about": about, "caption": caption}
        )
        correct(corrections_of(place.partition), [line], 9)
    place.build(describe)
    done = run(place)
    assert done.exit_code == 0 and "ann" not in done.stdout
    told = [text.split("  ")[-1] for text in done.stdout.splitlines()]
    assert told[:-1] == [
        "other captions", "- <region2> two old chairs", "+ <region2> a blue door (a person's)",
        "other regions", "- <region1> a grey cat",
        "no record any more (rejected_by_person)", "- <region1> a grey cat", "- <region2> two old chairs",
    ]  # fmt: skip
    assert told[-1].endswith("0 the same, 1 other captions, 1 other regions, 1 no record any more")


def test_what_cannot_be_compared_is_said(place: Place) -> None:
    nothing = run(place)
    assert nothing.exit_code == 1 and "nothing is published" in nothing.stderr
    publish_each(place, "a")
    alone = run(place)
    assert alone.exit_code == 1 and "has one build only" in alone.stderr
    publish_each(place, "b")
    unknown = run(place, "20200101T000000Z-00000000")
    assert unknown.exit_code == 1 and "there is no build 20200101T000000Z-00000000; kept beside" in unknown.stderr


def test_boxes_in_whole_numbers_are_those_with_decimals_of_nothing() -> None:
    records = [{"id": "a", "regions": [{"region": 1, "bbox": box, "caption": said}]}
               for box, said in (([10, 10, 40, 30], "a"), ([10.0, 10.0, 40, 30.0], "b"))]  # fmt: skip
    found = _compared(*records)
    assert found is not None and (found.kind, found.regions[0].captions) == ("captions", ("a", "b"))
    assert _compared(records[0], records[1] | {"regions": [records[1]["regions"][0] | {"caption": "a"}]}) is None
