"""The exports for annotation tools: out, through the tools' own libraries, and back."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from regioncap.exports import handed_out
from regioncap.exports.cvat import returned_by_cvat
from regioncap.exports.handed_out import Key, Returned, key_of
from regioncap.exports.label_studio import returned_by_label_studio
from tests.builders import ROOT, encoded, picture
from tests.unit.exports.handed import RECORDS, TOOLS, record
from tests.unit.exports.handed import handed_out as hand_out

DATA = ROOT / "tests/data/handed_out"
READ: dict[str, Callable[[Path], Iterator[Returned]]] = {
    "label_studio": returned_by_label_studio,
    "cvat": returned_by_cvat,
}
OUT = {"label_studio": DATA / "label_studio.json", "cvat": DATA / "cvat.xml"}
BACK = {"label_studio": DATA / "label_studio-back.json", "cvat": DATA / "cvat-back.xml"}
# As tests/data/handed_out/make.py has it.
INSTEAD = {
    "a red door": 'a "blue" door & <frame>',
    "1": "一只灰色的猫",
    "=1+1, it's a sum 😀": "two signs",
}


def keys() -> dict[str, str]:
    """Each region's key, with the caption that it is handed out with."""
    return {
        key_of(each.model_dump(), region.model_dump(), "en").text: region.caption
        for each in RECORDS
        for region in each.regions
    }


def captions(returned: Iterator[Returned]) -> dict[str, str]:
    found = list(returned)
    assert not any(region.fault for region in found)
    return {region.key.text: region.caption for region in found if region.key is not None}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_handed_out_is_what_the_tools_libraries_were_given(tool: str, tmp_path: Path) -> None:
    hand_out(tmp_path, RECORDS, tool)
    folder = tmp_path / "exports" / tool
    data = next(path for path in folder.iterdir() if path.name.startswith("captions"))
    assert data.read_bytes() == OUT[tool].read_bytes(), "run tests.unit.exports.handed, and make.py there"
    beside = {"label_studio": "interface.xml", "cvat": "labels.json"}[tool]
    assert (folder / beside).read_bytes() == (DATA / beside).read_bytes()


@pytest.mark.parametrize("tool", TOOLS)
def test_what_nobody_touched_comes_back_as_it_was(tool: str) -> None:
    assert captions(READ[tool](OUT[tool])) == keys()


@pytest.mark.parametrize("tool", TOOLS)
def test_what_the_tools_own_library_writes_keeps_every_id_box_and_caption(tool: str) -> None:
    back = captions(READ[tool](BACK[tool]))
    assert back == {key: INSTEAD.get(caption, caption) for key, caption in keys().items()}
    changed = [text for text, caption in back.items() if not Key.read(text).says(caption)]  # type: ignore[union-attr]
    assert len(changed) == len(INSTEAD)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_originals_come_along_each_once(tool: str, tmp_path: Path) -> None:
    data = encoded(picture())
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.jpg").write_bytes(data)
    same = [each.model_copy(update={"image_sha256": hashlib.sha256(data).hexdigest()}) for each in RECORDS[::2]]
    hand_out(tmp_path, same, tool, export_images="original")
    folder = tmp_path / "exports" / tool
    (image,) = (folder / "images").iterdir()
    assert image.read_bytes() == data
    (file,) = folder.glob("captions*")
    named = f"/data/local-files/?d=images/{image.name}" if tool == "label_studio" else f'name="{image.name}"'
    assert file.read_text("utf-8").count(named) == (2 if tool == "label_studio" else 1)


def test_a_key_says_what_corrections_know_a_region_by() -> None:
    key = key_of(RECORDS[0].model_dump(), RECORDS[0].regions[1].model_dump(), "zh")
    assert Key.read(key.text) == key and key.bbox == (60.25, 20.5, 33.3, 111.1) and key.language == "zh"
    assert key.says("a  grey\ncat ") and not key.says("a grey cats")
    for wrong in (None, 7, "", "x" * 5000, key.text + "0", key.text.replace("zh", "fr"), key.text.replace("]", ",1]"),
                  key.text.replace("60.25", "--1"), key.text.replace("60.25", "")):  # fmt: skip
        assert Key.read(wrong) is None


# ---- what people do there


def tasks() -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(BACK["label_studio"].read_text("utf-8"))
    return read


def from_tasks(folder: Path, made: Any) -> list[Returned]:
    path = folder / "back.json"
    path.write_text(json.dumps(made), "utf-8")
    return list(returned_by_label_studio(path))


def results(task: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = task["annotations"][0]["result"]
    return found


def faults(returned: list[Returned]) -> list[str]:
    return [f"{region.where}: {region.fault}" for region in returned if region.fault]


def test_a_box_that_was_moved_is_told_and_nothing_of_it_is_taken(tmp_path: Path) -> None:
    made = tasks()
    for result in results(made[0])[:2]:
        result["value"]["x"] += 1
    for result in results(made[1])[:2]:
        result["value"]["rotation"] = 5
    back = from_tasks(tmp_path, made)
    assert [text.partition(": ")[2] for text in faults(back)] == [
        "its box was moved there from [10, 20, 101, 47]: a correction moves no box, so mend it in the drop",
        "its box was moved there from [0, 0, 640, 480]: a correction moves no box, so mend it in the drop",
    ]
    assert faults(back)[0].startswith("task 1 (id 0/a.jpg), region 1: ") and len(back) == 7
    text = BACK["cvat"].read_text("utf-8")
    moved = text.replace('xtl="60.25"', 'xtl="61.25"').replace('ybr="480.00" z', 'ybr="480.00" rotation="5.0" z', 1)
    assert [text.partition(": ")[2][:33] for text in faults(from_xml(tmp_path, moved))] == [
        "its box was moved there from [60."[:33], "its box was moved there from [0, "[:33],
    ]  # fmt: skip


def from_xml(folder: Path, text: str) -> list[Returned]:
    path = folder / "back.xml"
    path.write_text(text, "utf-8")
    return list(returned_by_cvat(path))


def test_regions_that_were_added_or_deleted_there_are_told(tmp_path: Path) -> None:
    made = tasks()
    gone = results(made[0])
    del gone[2:4]
    new = {**results(made[1])[0], "id": "xY7", "value": {**results(made[1])[0]["value"], "x": 50, "width": 3}}
    outline = {**new, "id": "p", "type": "polygonlabels", "value": {"points": [[1, 2], [3, 4], [1, 4]]}}
    about_all = {"id": "q", "type": "choices", "from_name": "all", "to_name": "image", "value": {"choices": ["good"]}}
    results(made[1]).extend([new, outline, about_all])
    assert faults(from_tasks(tmp_path, made)) == [
        "task 1 (id 0/a.jpg), region 2: it was deleted there: to leave it out, reject it on the page Gallery",
        "task 2 (id 1/street/b ü.jpg), region xY7: it was added there: a region comes from the drop, so add its box to "
        "the drop",
        "task 2 (id 1/street/b ü.jpg), region p: it was added there: a region comes from the drop, so add its box to "
        "the drop",
    ]
    text = BACK["cvat"].read_text("utf-8")
    box = '<box label="region" xtl="1" ytl="1" xbr="9" ybr="9"><attribute name="caption">mine</attribute></box>'
    back = from_xml(tmp_path, text.replace('<image id="2"', f'<image id="9" name="z.jpg">{box}</image><image id="2"'))
    (told,) = faults(back)
    assert told.endswith("(z.jpg), box 1: it was added there: a region comes from the drop, so add its box to the drop")


def test_of_a_box_that_was_copied_the_one_in_its_place_counts(tmp_path: Path) -> None:
    text = BACK["cvat"].read_text("utf-8")
    start, end = text.index('    <box label="Bär"'), text.index('    <box label="自行车"')
    copy = (
        text[start:end]
        .replace('xtl="60.25"', 'xtl="160.25"')
        .replace("93.55", "193.55")
        .replace("a grey cat", "a copy")
    )
    back = from_xml(tmp_path, text[:start] + copy + text[start:])
    assert len(faults(back)) == 1 and "it was added there" in faults(back)[0]
    assert {region.caption for region in back if not region.fault} == set(
        captions(returned_by_cvat(BACK["cvat"])).values()
    )


def test_an_annotation_that_was_made_from_another_has_other_ids_and_is_known_by_its_boxes(tmp_path: Path) -> None:
    made = tasks()
    for task in made:
        for result in results(task):
            result["id"] = f"n3w-{result['id']}"
    assert {region.caption for region in from_tasks(tmp_path, made)} == {
        region.caption for region in returned_by_label_studio(BACK["label_studio"])
    }
    assert not faults(from_tasks(tmp_path, made))


def test_what_was_skipped_says_nothing_and_the_ground_truth_counts_alone(tmp_path: Path) -> None:
    made = tasks()
    made[0]["annotations"][0]["was_cancelled"] = True
    made[1]["annotations"].append({**made[1]["annotations"][0], "ground_truth": True, "result": []})
    made[2]["annotations"] = []
    back = from_tasks(tmp_path, made)
    assert [region.where for region in back if not region.fault] == ["task 4 (id 3/c.png), region 1"]
    assert all("deleted there" in fault for fault in faults(back)) and len(faults(back)) == 2


@pytest.mark.parametrize("texts", [[], ["one", "two"], [None], [["x"]], None, {"a": 1}])
def test_a_region_has_one_caption(tmp_path: Path, texts: Any) -> None:
    made = tasks()
    results(made[0])[1]["value"]["text"] = texts
    (told,) = faults(from_tasks(tmp_path, made))
    assert "captions there: it needs one" in told
    text = BACK["cvat"].read_text("utf-8")
    taken = text.replace('<attribute name="caption">a grey cat</attribute>', "")
    assert faults(from_xml(tmp_path, taken))[0].endswith("it has no captions there: it needs one")


# ---- files of unknown origin


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"id": 1}', "no list of tasks"),
        ('{"tasks": [1]}', "no list of tasks"),
        ("[", "not JSON"),
        ('[{"id": 1}', "not JSON"),
        ("\x00", "not JSON"),
    ],
)
def test_what_is_no_list_of_tasks_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        list(returned_by_label_studio(path))


ODD: list[Any] = [
    None, 7, "x", [], {}, {"data": None}, {"data": {"region_keys": []}}, {"data": {"region_keys": {"1": 7}}},
    {"data": {"region_keys": {"1": "0" * 64}}},
]  # fmt: skip


@pytest.mark.parametrize("task", ODD, ids=str)
def test_a_task_of_another_project_is_told(tmp_path: Path, task: Any) -> None:
    (told,) = faults(from_tasks(tmp_path, [task]))
    assert "RegionCap has" in told


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, [None], [[]], 10**400, float("nan"), float("inf"), True, -1e308])
def test_values_of_any_type_are_told_and_never_an_error(tmp_path: Path, odd: Any) -> None:
    places: list[Callable[[dict[str, Any]], None]] = [
        lambda task: task.update(annotations=odd),
        lambda task: task["annotations"].append(odd),
        lambda task: task["annotations"][0].update(result=odd),
        lambda task: results(task).append(odd),
        lambda task: results(task)[0].update(value=odd),
        lambda task: results(task)[1].update(value=odd),
        lambda task: results(task)[0].update(type=odd),
        lambda task: results(task)[0].update(id=odd),
        lambda task: results(task)[0]["value"].update(x=odd),
        lambda task: results(task)[0]["value"].update(rotation=odd),
        lambda task: results(task)[1]["value"].update(text=odd),
        lambda task: task["data"].update(width=odd),
        lambda task: task["data"].update(record_id=odd),
        lambda task: task.update(id=odd),
    ]
    for place in places:
        made = tasks()[:1]
        place(made[0])
        back = from_tasks(tmp_path, made)
        taken = {region.caption for region in back if not region.fault}
        assert taken <= {INSTEAD["a red door"], "a grey cat", odd if isinstance(odd, str) else ""}


def test_a_task_that_is_too_deep_or_too_large_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" + '{"a":' * 5000 + "1" + "}" * 5000 + ', {"data": "' + "x" * (9 << 20) + '"}]')
    deep, large = faults(list(returned_by_label_studio(path)))
    assert "nested more than" in deep and "characters" in large


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"<?xml version='1.0'?>{BOMB}<annotations><image name='&b;'/></annotations>", "document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/hostname"><annotations/>', "document type"),
        ("<html/>", "its root is <html>"),
        ("<annotations><image>", "it is not XML"),
        ("<annotations><track id='0'/></annotations>", "is of a video"),
        ("not XML", "it is not XML"),
        ("<annotations>" + "<a>" * 5000, "levels deep"),
    ],
)
def test_xml_that_is_none_of_cvats_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        from_xml(tmp_path, text)


@pytest.mark.parametrize("odd", ["", "x", "nan", "inf", "1e999", "-1", "0x10"])
def test_corners_of_any_kind_are_told(tmp_path: Path, odd: str) -> None:
    text = BACK["cvat"].read_text("utf-8").replace('xtl="60.25"', f'xtl="{odd}"')
    (told,) = faults(from_xml(tmp_path, text))
    assert "its box was moved there" in told
    bare = '<annotations><image><box/><polygon points="1,2"/><tag label="x"/></image></annotations>'
    assert len(faults(from_xml(tmp_path, bare))) == 2


def test_text_that_xml_cannot_hold_does_not_spoil_the_file(tmp_path: Path) -> None:
    odd = record(0, "a\x01\ufffe.jpg", ([1, 2, 3, 4], "a door\x00 \x1b[2J\r\nend", "l\x02"))
    hand_out(tmp_path, [odd], *TOOLS)
    for tool in TOOLS:
        (file,) = (tmp_path / "exports" / tool).glob("captions*")
        (region,) = READ[tool](file)
        assert (
            region.key is not None
            and region.key.text == key_of(odd.model_dump(), odd.regions[0].model_dump(), "en").text
        )
        assert not region.fault


def test_cvats_labels_are_as_long_as_cvat_keeps_them_each_once(tmp_path: Path) -> None:
    long = "a label of many words, " * 4
    odd = record(0, "a.jpg", ([1, 2, 3, 4], "a", long + "one"), ([9, 9, 9, 9], "b", long + "two"))
    hand_out(tmp_path, [odd], "cvat")
    folder = tmp_path / "exports" / "cvat"
    names = [each["name"] for each in json.loads((folder / "labels.json").read_text("utf-8"))]
    assert names == ["region", long[:64]]
    boxes = ElementTree.parse(folder / "captions.xml").getroot().iter("box")
    assert [box.get("label") for box in boxes] == [long[:64]] * 2


def test_boxes_are_known_within_half_a_pixel() -> None:
    key = Key.read(next(iter(keys())))
    assert key is not None
    x, y, width, height = key.bbox
    assert key.is_at((x + handed_out._MOVED, y, width, height))
    assert (
        not key.is_at((x + 0.6, y, width, height)) and not key.is_at(()) and not key.is_at((x, y, width, float("nan")))
    )
