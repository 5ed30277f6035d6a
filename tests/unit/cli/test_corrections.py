"""`regioncap corrections`, on a warehouse in a folder: out to Label Studio and CVAT, and back into the next build."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from regioncap.cli.app import app
from regioncap.regions.records import RenderedRow
from regioncap.warehouse.corrections import corrections_of
from regioncap.warehouse.manifest import current
from tests.builders import DATE, Place
from tests.steps import records

TOOLS = ("label_studio", "cvat")


def run(place: Place, file: Path, *arguments: str, date: str = DATE) -> Result:
    arguments = ("--by", "ann", "--warehouse-uri", str(place.folder / "warehouse"), *arguments)
    return CliRunner().invoke(app, ["corrections", "import", date, str(file), *arguments])


def say(row: RenderedRow) -> str:
    return "\n".join(f"<region{each.region}>: a red door {row.image} {each.region}" for each in row.regions)


@pytest.fixture
def published(place: Place) -> Place:
    place.good_rows(4)
    place.build(say, answer_format="free_text", export_formats=list(TOOLS), shard_size=3)
    return place


def handed_out(place: Place, tool: str) -> str:
    manifest, _ = current(place.partition)
    assert manifest is not None
    (path,) = [
        each.path for each in manifest.exports if each.path.split("/")[-2:-1] == [tool] and "captions" in each.path
    ]
    return place.partition.read(path).decode()


def back(place: Place, tool: str, *changes: tuple[str, str]) -> Path:
    """The file that comes back where these texts were changed in it."""
    text = handed_out(place, tool)
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path = place.folder / f"back-{tool}"
    path.write_text(text, "utf-8")
    return path


def captions(place: Place) -> list[str]:
    return [region["caption"] for record in records(place) for region in record["regions"]]


@pytest.mark.parametrize("tool", TOOLS)
def test_captions_that_were_changed_there_are_in_the_next_build(published: Place, tool: str) -> None:
    before = captions(published)
    file = back(published, tool, ("a red door 0.jpg 2", " a  blue door"), ("a red door 3.jpg 1", "一扇门"))
    tried = run(published, file, "--dry-run")
    assert tried.exit_code == 0 and "2 captions would be entered" in tried.stdout and "a blue door" in tried.stdout
    assert not corrections_of(published.partition).lines()
    done = run(published, file)
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("2 captions entered, 0 were there already, 6 nobody has changed\n")
    again = run(published, file)
    assert again.exit_code == 0 and "0 captions entered, 2 were there already, 6 nobody" in again.stdout
    lines = corrections_of(published.partition).lines()
    name = {"label_studio": "Label Studio", "cvat": "CVAT"}[tool]
    assert [(line.by, line.note, line.caption, line.region, line.image) for line in lines] == [
        ("ann", f"from {name}", "a blue door", 2, "0.jpg"), ("ann", f"from {name}", "一扇门", 1, "3.jpg"),
    ]  # fmt: skip

    published.build(say, answer_format="free_text", export_formats=list(TOOLS), shard_size=3)
    before[1], before[6] = "a blue door", "一扇门"
    assert captions(published) == before
    assert [record["corrected"] for record in records(published)] == [True, False, False, True]
    # What is handed out then is what was corrected, and says nothing new when it comes back.
    unchanged = run(published, back(published, tool))
    assert unchanged.exit_code == 0 and "0 captions entered, 0 were there already, 8 nobody" in unchanged.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_what_cannot_be_a_caption_is_told_and_the_others_are_taken(published: Place, tool: str) -> None:
    token = {"label_studio": "<|im_end|>", "cvat": "&lt;|im_end|&gt;"}[tool]
    file = back(
        published, tool, ("a red door 0.jpg 1", "a door \u202e"), ("a red door 0.jpg 2", token),
        ("a red door 1.jpg 1", ""), ("a red door 1.jpg 2", "a door " * 900), ("a red door 2.jpg 1", "a gate"),
    )  # fmt: skip
    done = run(published, file)
    assert done.exit_code == 1 and "4 not taken of what is in" in done.stderr and "1 captions entered" in done.stdout
    for why in ("control_characters", "special_tokens", "the caption is empty", "too_long"):
        assert f"this cannot be a caption: {why}" in done.stdout
    assert [line.caption for line in corrections_of(published.partition).lines()] == ["a gate"]


def test_boxes_are_never_taken(published: Place) -> None:
    tasks: list[dict[str, Any]] = json.loads(handed_out(published, "label_studio"))
    for task in tasks:
        results = task["annotations"][0]["result"]
        for result in results[:2]:
            result["value"]["x"] += 10
        results[1]["value"]["text"] = ["a caption of another place"]
        del results[2:]
    file = published.folder / "back.json"
    file.write_text(json.dumps(tasks), "utf-8")
    done = run(published, file)
    assert done.exit_code == 1
    assert done.stdout.count("its box was moved there from [10, 10, 40, 30]") == 4
    assert done.stdout.count("it was deleted there") == 4 and "0 captions entered" in done.stdout
    assert not corrections_of(published.partition).lines()


def test_boxes_that_are_not_in_cvats_file_are_told(published: Place) -> None:
    text = handed_out(published, "cvat")
    start = text.index("    <box")
    file = published.folder / "back.xml"
    file.write_text(text[:start] + text[text.index("    <box", start + 1) :], "utf-8")
    done = run(published, file)
    assert done.exit_code == 1 and ", region 1: it is not in the file: to leave it out, reject it" in done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_of_another_date_is_told(published: Place, tmp_path: Path, tool: str) -> None:
    file = back(published, tool, ("a red door 0.jpg 2", "a blue door"))
    other = Place(tmp_path / "other")
    other.put("x.jpg", (published.drop_folder / "0.jpg").read_bytes())
    other.put_rows({"image": "x.jpg", "bbox": [[1, 1, 20, 20]]})
    other.build(say, answer_format="free_text")
    done = run(other, file)
    assert done.exit_code == 1 and "no row of this date has such a region: is it of another date?" in done.stdout
    assert "7 regions without another caption are of no row of this date" in done.stdout
    assert not corrections_of(other.partition).lines()


def test_a_rejected_rows_regions_are_known_too(published: Place) -> None:
    file = back(published, "label_studio", ("a red door 0.jpg 2", "a blue door"))
    published.build(
        lambda row: say(row) if row.image != "0.jpg" else "sorry, I cannot help",
        answer_format="free_text",
        shard_size=3,
    )
    assert len(records(published)) == 3
    done = run(published, file)
    assert done.exit_code == 0 and "1 captions entered" in done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_one_content_that_comes_back_with_two_captions_has_none(place: Place, tool: str) -> None:
    place.good_rows(1)
    row = json.loads((place.drop_folder / "manifest.jsonl").read_text())
    place.put_rows(row | {"id": "a"}, row | {"id": "b"})
    place.build(say, answer_format="free_text", export_formats=list(TOOLS))
    text = handed_out(place, tool)
    one, two = "a red door 0.jpg 1", "a red door 0.jpg 2"
    assert text.count(one) == text.count(two) == 2
    file = place.folder / "back"
    file.write_text(text.replace(one, "a blue door", 1).replace(two, "a gate", 1).replace(two, "a wall", 1), "utf-8")
    done = run(place, file)
    assert done.exit_code == 1 and "it has another caption than at" in done.stdout
    assert [line.caption for line in corrections_of(place.partition).lines()] == ["a blue door"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither Label Studio's JSON nor CVAT's XML"),
        (b'{"image": "a.jpg"}\n', "neither Label Studio's JSON nor CVAT's XML"),
        (b"PK\x03\x04", "is an archive: take the file out of it"),
        (b'[{"id": 1,', "cannot be read: it is not JSON"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><annotations/>', "cannot be read: it has a document type"),
        (b"\xef\xbb\xbf  <html/>", "its root is <html>"),
    ],
)
def test_a_file_that_is_something_else_is_refused(published: Place, data: bytes, why: str) -> None:
    file = published.folder / "x"
    file.write_bytes(data)
    done = run(published, file)
    assert done.exit_code == 1 and why in done.stderr and not corrections_of(published.partition).lines()


def test_what_a_file_says_is_no_command_to_the_terminal(published: Place) -> None:
    file = published.folder / "x"
    file.write_text(json.dumps([{"data": {"record_id": "\x1b[2J[red]", "region_keys": {"\x1b]0;x": "y"}}}]), "utf-8")
    done = run(published, file)
    assert done.exit_code == 1 and "\x1b" not in done.output


def test_where_nothing_is_published_there_is_nothing_to_correct(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("[]")
    done = run(place, file)
    assert done.exit_code == 1 and "nothing is published" in done.stderr
    assert run(place, tmp_path / "none").exit_code == 2
