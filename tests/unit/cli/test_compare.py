"""`regioncap compare`, on a warehouse in a folder."""

import json

from typer.testing import CliRunner, Result

from regioncap.cli.app import app
from regioncap.warehouse.compare import _compared
from tests.builders import DATE, Place, publish_each


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
    assert json.loads(line)["regions"] == [{"numbers": [1, 1], "captions": ["b 0", "c 0"]}]


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
