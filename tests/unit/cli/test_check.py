"""`regioncap check`, on drops in a folder."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner, Result

from regioncap.cli.app import app
from tests.builders import ROOT, Place, broken_rows, centres_of_boxes, encoded, picture
from tests.hostile import HOSTILE

BOX = [300, 40, 120, 120]
RED = (220, 30, 30)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing."""
    for name in [name for name in os.environ if name.startswith("REGIONCAP_")]:
        monkeypatch.delenv(name)


def check(place: Place, *arguments: str, **params: Any) -> Result:
    given = ["--params", json.dumps(params)] if params else []
    return CliRunner().invoke(app, ["check", str(place.drop_folder), *given, *arguments])


def checked(place: Place, **params: Any) -> dict[str, Any]:
    """What --json prints of a drop that a run would build."""
    done = check(place, "--json", **params)
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def stopped(place: Place, **params: Any) -> str:
    """Why a run would stop."""
    done = check(place, "--json", **params)
    assert done.exit_code == 1, done.output
    return str(json.loads(done.stdout)["stops"])


def scene(width: int = 600, height: int = 400) -> Image.Image:
    """A picture with a red square at BOX."""
    image = Image.new("RGB", (width, height), (240, 240, 230))
    ImageDraw.Draw(image).rectangle((300, 40, 419, 159), fill=RED)
    return image


def sheet(place: Place, **params: Any) -> tuple[str, dict[str, Image.Image]]:
    """The page, and the marked images beside it by their names."""
    out = place.folder / "out"
    assert check(place, "--out", str(out), **params).exit_code in (0, 1)
    images = {path.name: Image.open(path) for path in (out / "images").iterdir()}
    return (out / "check.html").read_text("utf-8"), images


def test_it_says_what_becomes_of_each_row(place: Place) -> None:
    expected = broken_rows(place)
    found = checked(place)
    assert list(found) == ["rows", "usable", "rejected", "stops", "warnings", "images"]
    assert {row["line"]: row["code"] for row in found["rejected"]} == expected.codes
    assert all(list(row) == ["manifest", "line", "id", "code", "reason"] for row in found["rejected"])
    assert [image["id"] for image in found["images"]] == expected.good
    assert found["images"][0] == {
        "id": "good-0", "width": 120, "height": 80,
        "regions": [{"region": 1, "box_index": 0, "bbox": [10, 10, 40, 30]}],
    }  # fmt: skip
    assert (found["rows"], found["usable"]) == (len(expected.good) + len(expected.codes), len(expected.good))


def test_it_says_the_same_as_a_build(place: Place) -> None:
    broken_rows(place)
    build = place.build(lambda row: "{}").manifest  # answers that have no captions
    whole = [json.loads(text) for text in place.partition.read(build.rejected.path).splitlines()]
    before = [
        {key: row[key] for key in ("manifest", "line", "id", "code", "reason")}
        for row in whole
        if "answer" not in row["row"]
    ]
    assert checked(place)["rejected"] == sorted(before, key=lambda row: row["line"])


def test_a_person_reads_counts_reasons_and_what_to_look_at(place: Place) -> None:
    place.good_rows(3)
    place.put_rows({"image": "none.jpg", "bbox": [[1, 2, 30, 40]]}, name="b.jsonl")
    done = check(place, "--out", str(place.folder / "out"))
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        place.drop.uri, "  4 rows, 3 usable, 1 rejected", "  100.0% of 6 given boxes fit their images as xywh.",
    ]  # fmt: skip
    assert "  b.jsonl:1  image_not_found  there is no such file in the drop" in lines
    assert any("warning: 1 of 4 rows would be rejected" in text and "max_rejected_ratio" in text for text in lines)
    assert lines[-1] == f"  to look at: {place.folder}/out/check.html"


def test_of_many_rejected_rows_a_person_reads_some_and_a_program_all(place: Place) -> None:
    place.put_rows(*({"image": f"none-{k}.jpg", "bbox": [[1, 2, 30, 40]]} for k in range(100)))
    done = check(place)
    assert done.stdout.count("manifest.jsonl:") == 40
    assert "and 60 more, which --json lists; of all: image_not_found (100)" in done.stdout
    assert len(checked(place)["rejected"]) == 100


def test_more_rejected_rows_than_allowed_are_a_warning(place: Place) -> None:
    place.good_rows(3)
    place.put_rows("no row", name="b.jsonl")
    assert "max_rejected_ratio" in checked(place)["warnings"][0]
    assert checked(place, max_rejected_ratio=0.5)["warnings"] == []


def test_the_sheet_shows_marked_images_and_needs_nothing_else(place: Place) -> None:
    place.put("a.png", encoded(scene(), "PNG"))
    place.put_rows({"image": "a.png", "bbox": [BOX, [5000, 5000, 9, 9]]}, "no row")
    page, images = sheet(place)
    ((name, image),) = images.items()
    assert f'<a href="images/{name}"><img src="data:image/jpeg;base64,' in page
    assert "a.png" in page and "outside" in page and "not_json" in page and "manifest.jsonl" in page
    assert "<script" not in page and "http:" not in page and "https:" not in page
    scaled = image.width / 600
    assert image.getpixel((round(360 * scaled), round(100 * scaled))) == pytest.approx(RED, abs=12)


def test_a_sheet_of_many_rows_shows_some_from_everywhere(place: Place) -> None:
    for k in range(4):
        place.put(f"{k}.jpg", encoded(picture(colour=(k, 90, 90))))
    place.put_rows(*({"image": f"{k % 4}.jpg", "bbox": [[10, 10, 40 + k % 60, 30]]} for k in range(200)))
    page, _ = sheet(place, shard_size=10)
    shown = {int(part.partition(" ")[0]) for part in page.split("manifest.jsonl</bdi>:")[1:]}
    assert 30 <= len(shown) <= 60 and min(shown) < 10 and max(shown) > 190


def test_text_of_a_drop_does_nothing_to_terminals_and_pages(place: Place) -> None:
    place.put("a.jpg", encoded(picture()))
    rows = [{"id": str(k), "image": text, "bbox": [[10, 10, 40, 30]]} for k, text in enumerate(HOSTILE)]
    place.put_rows(*rows, {"image": "a.jpg", "bbox": [[10, 10, 40, 30]], "id": "\x1b[2J[red]<script>"})
    place.put_rows("x", name="<b>[red]\x1b[2J.jsonl")
    done = check(place, "--out", str(place.folder / "out"))
    assert done.exit_code == 0
    assert not any(ord(letter) < 32 and letter != "\n" for letter in done.stdout)
    assert r"<b>[red]\x1b[2J.jsonl:1" in done.stdout
    page = (place.folder / "out" / "check.html").read_text("utf-8")
    assert "<script" not in page and "<b>[red]" not in page and "\x1b" not in page
    assert "\x1b" not in check(place, "--json").stdout


def test_nothing_is_written_into_the_drop_and_nothing_left_behind(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    place.good_rows(3)
    for path in [*place.drop_folder.iterdir(), place.drop_folder]:
        path.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in place.drop_folder.parent.rglob("*")}
    try:
        assert check(place).exit_code == 0
        for out in (place.drop_folder, place.drop_folder / "out"):
            done = check(place, "--out", str(out))
            assert done.exit_code == 2 and "--out lies in the drop" in done.stderr
    finally:
        place.drop_folder.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in place.drop_folder.parent.rglob("*")} == before
    assert list(temporary.iterdir()) == []


def test_a_drop_is_named_by_a_path_or_a_uri(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.good_rows(1)
    monkeypatch.chdir(place.drop_folder.parent)
    odd = place.drop_folder.rename(place.drop_folder.parent / "my #1 drop 50%?")
    for name in (odd.name, f"./{odd.name}/", str(odd), f"../drops/{odd.name}"):
        assert CliRunner().invoke(app, ["check", name]).exit_code == 0, name
    plain = odd.rename(place.drop_folder)
    for name in (f"file://{plain}", f"file://{plain}/"):
        assert CliRunner().invoke(app, ["check", name]).exit_code == 0, name


def test_a_drop_that_cannot_be_built_ends_with_1_and_says_why(place: Place) -> None:
    assert "has no manifest" in stopped_without_rows(place)
    place.put("manifest.jsonl", "")
    assert "have no rows" in stopped(place)
    missing = CliRunner().invoke(app, ["check", str(place.folder / "none")])
    assert missing.exit_code == 1 and "a run would stop: there is no drop at" in missing.stderr
    elsewhere = CliRunner().invoke(app, ["check", "ftp://host/drop", "--json"])
    assert elsewhere.exit_code == 1 and "is not a place" in json.loads(elsewhere.stdout)["stops"]


def test_what_is_no_fault_of_the_drops_ends_with_1_too(place: Place, extend: Callable[..., None]) -> None:
    extend("regioncap.proposers", "odd", "def it(image): raise KeyError(7)")
    place.put("a.jpg", encoded(picture()))
    place.put_rows(*({"image": "a.jpg"} for _ in range(3)), "no row")
    done = check(place, "--json", when_no_boxes="odd")
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and "please report it" in found["stops"]
    assert [row["code"] for row in found["rejected"]] == ["not_json"]
    assert check(place, when_no_boxes="odd").stdout.splitlines()[1] == "  4 rows, 1 rejected"


def test_a_folder_whose_name_cannot_be_written_down_is_told_of(place: Place) -> None:
    place.good_rows(1)
    odd = place.drop_folder.rename(place.drop_folder.parent / os.fsdecode(b"caf\xe9"))
    done = CliRunner().invoke(app, ["check", str(odd), "--json"])
    assert done.exit_code == 1 and "not UTF-8: rename the folder" in json.loads(done.stdout)["stops"]


@pytest.mark.parametrize(
    ("images_uri", "roots", "told"),
    [
        ("images", "", "'images' is not a place RegionCap can use"),
        ("{}/nowhere", "", "there are no files at file://{}/nowhere, where the param images_uri says that"),
        (None, "/lake,data", "REGIONCAP_IMAGE_ROOTS is wrong: 'data' is not a place RegionCap can use"),
        ("{}", "s3://", "REGIONCAP_IMAGE_ROOTS is wrong"),
    ],
)
def test_where_images_are_has_to_be_a_place(
    place: Place, monkeypatch: pytest.MonkeyPatch, images_uri: str | None, roots: str, told: str
) -> None:
    place.good_rows(1)
    monkeypatch.setenv("REGIONCAP_IMAGE_ROOTS", roots)
    params = {} if images_uri is None else {"images_uri": images_uri.format(place.folder)}
    assert told.format(place.folder) in stopped(place, **params)


def test_a_page_that_cannot_be_written_ends_with_2(place: Place) -> None:
    place.good_rows(1)
    (place.folder / "file").write_text("x")
    (place.folder / "out" / "check.html").mkdir(parents=True)
    for out in ("file", "file/below", "out"):
        done = check(place, "--json", "--out", str(place.folder / out))
        assert (done.exit_code, done.stdout) == (2, "") and str(place.folder / out) in done.stderr
        assert "Errno" not in done.stderr


@pytest.mark.parametrize(("what", "told"), [("none", "there is no such folder"), ("file", "it is a file")])
def test_what_is_no_folder_is_no_drop(place: Place, what: str, told: str) -> None:
    (place.folder / "file").write_text("x")
    done = CliRunner().invoke(app, ["check", str(place.folder / what)])
    assert done.exit_code == 1 and f"a run would stop: there is no drop at {place.folder / what}: {told}" in done.stderr


def test_a_drop_without_a_name_is_not_the_folder_one_is_in() -> None:
    done = CliRunner().invoke(app, ["check", "", "--json"])
    assert done.exit_code == 1 and "the drop has no name" in json.loads(done.stdout)["stops"]


def test_a_file_as_params_is_told_how_it_is_given(place: Place) -> None:
    place.good_rows(1)
    (place.folder / "params.json").write_text("{}")
    done = check(place, "--params", str(place.folder / "params.json"))
    assert done.exit_code == 2 and '--params "$(cat ' in done.stderr


def stopped_without_rows(place: Place) -> str:
    place.put("a.jpg", encoded(picture()))
    return stopped(place)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ("[1", "--params is not JSON"),
        ("[" * 100_000, "--params is not JSON"),
        ("[]", "not a JSON object"),
        ('{"box_format": "xywx"}', "box_format: Input should be 'xywh'"),
        ('{"max_boxes": "5"}', "max_boxes: Input should be a valid integer"),
        ('{"max_boxes": true}', "max_boxes"),
        ('{"max_boxes": 51}', "max_boxes"),
        ('{"bbox": "boxes"}', "bbox: Extra inputs are not permitted"),
        ('{"when_no_boxes": "ask_model"}', "cannot be used: Value error, when_no_boxes is ask_model"),
    ],
)
def test_wrong_params_end_with_2_and_say_what_would_do(place: Place, params: str, told: str) -> None:
    place.good_rows(1)
    done = check(place, "--json", "--params", params)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


def test_params_of_a_whole_run_are_taken_as_its_form_sends_them(place: Place) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "boxes": [[10, 10, 50, 40]]})
    found = checked(
        place, drop_date="2026-10-05", drops_uri="s3://drops", warehouse_uri="s3://warehouse", work_uri=None,
        bbox_key="boxes", box_format="xyxy", export_formats=None, temperature=0, shard_size=3,
    )  # fmt: skip
    assert found["images"][0]["regions"][0]["bbox"] == [10, 10, 40, 30]


def test_a_nightly_run_goes_by_the_deployments_params_and_so_does_this(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "boxes": [[10, 10, 40, 30]]})
    monkeypatch.setenv("REGIONCAP_PARAMS", '{"bbox_key": "boxes"}')
    assert checked(place)["usable"] == 1
    assert "do not have the key 'other'" in stopped(place, bbox_key="other")
    monkeypatch.setenv("REGIONCAP_PARAMS", "no JSON")
    assert check(place).exit_code == 2


def test_rows_without_boxes_get_them_as_the_params_say(place: Place) -> None:
    place.put("shape.jpg", encoded(picture(), quality=95))
    place.put("given.jpg", encoded(picture()))
    place.put_rows(
        {"id": "shape", "image": "shape.jpg"}, {"id": "given", "image": "given.jpg", "bbox": [[10, 10, 40, 30]]}
    )
    assert [image["id"] for image in checked(place)["images"]] == ["shape", "given"]
    rejecting = checked(place, when_no_boxes="reject")
    assert [(row["id"], row["code"]) for row in rejecting["rejected"]] == [("shape", "no_boxes")]


def test_what_only_the_model_can_say_is_said_to_be_unknown(place: Place) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows(
        *({"id": str(k), "image": "a.jpg"} for k in range(2)), {"image": "a.jpg", "bbox": [[10, 10, 40, 30]]}
    )
    asking = {"when_no_boxes": "ask_model", "model_profile": "qwen2.5-vl"}
    found = checked(place, **asking)
    assert (found["rows"], found["usable"], found["rejected"]) == (3, 1, [])
    assert [text for text in found["warnings"] if "2 rows without boxes were not looked at" in text]
    assert "3 rows, 1 usable, 0 rejected, 2 not looked at" in check(place, **asking).stdout


# What comes from the field.


def boxes_in(unit: str, size: tuple[int, int], number: int = 30) -> list[list[float]]:
    """Corners of boxes all over images of this size, as x0, y0, x1, y1 in a unit."""
    random = np.random.default_rng(7)
    sides = random.uniform(0.1, 0.4, (number, 2))
    corners = random.uniform(0, 1, (number, 2)) * (1 - sides)
    scale = {"px": np.array(size), "percent": 100, "1000": 1000}[unit]
    return np.hstack([corners * scale, (corners + sides) * scale]).round(2).tolist()  # type: ignore[no-any-return]


def test_a_tiff_and_a_jpeg_that_are_turned_are_marked_where_they_show_the_thing(place: Place) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    place.put("a.tif", encoded(scene(), "TIFF", exif=turned))
    place.put("a.jpg", encoded(scene(), quality=95, exif=turned))
    # 600 x 400 is displayed as 400 x 600: what was at x, y is at 400 - y, x.
    place.put_rows(*({"id": name, "image": name, "bbox": [[240, 300, 120, 120]]} for name in ("a.tif", "a.jpg")))
    found = checked(place)
    assert [(image["width"], image["height"]) for image in found["images"]] == [(400, 600)] * 2
    assert [image["regions"][0]["bbox"] for image in found["images"]] == [[240, 300, 120, 120]] * 2
    _, images = sheet(place)
    for image in images.values():
        scaled = image.width / 400
        assert image.getpixel((round(300 * scaled), round(360 * scaled))) == pytest.approx(RED, abs=12)


def test_boxes_in_percent_stop_a_run_for_pixels(place: Place) -> None:
    place.put("a.jpg", encoded(scene(640, 480)))
    corners = boxes_in("percent", (640, 480))
    place.put_rows(*({"image": "a.jpg", "bbox": [[x0, y0, x1 - x0, y1 - y0]]} for x0, y0, x1, y1 in corners))
    assert "set the param box_format to xywh_percent" in stopped(place)
    assert checked(place, box_format="xywh_percent")["usable"] == 30
    page, images = sheet(place)
    assert "A run would stop here" in page and len(images) >= 10  # a person sees where the boxes are


def test_boxes_that_may_be_others_are_never_without_a_word(place: Place) -> None:
    place.put("a.jpg", encoded(scene(640, 480)))
    place.put_rows({"image": "a.jpg", "bbox": [[10, 60, 40, 20]]})
    assert [text for text in checked(place)["warnings"] if "xywh_percent" in text and "cannot tell" in text]
    assert "warning: The boxes would fit as" in check(place).stdout


def test_boxes_are_weighed_over_all_shards(place: Place) -> None:
    centres_of_boxes(place, 12)
    assert "as xywh, but 100% do as cxcywh: set the param box_format" in stopped(place, shard_size=1)
    assert checked(place, shard_size=1, box_format="cxcywh")["warnings"] == []


def test_y_before_x_stops_and_is_not_called_something_else(place: Place) -> None:
    place.put("a.jpg", encoded(scene(900, 400)))
    corners = boxes_in("1000", (900, 400))
    place.put_rows(*({"image": "a.jpg", "bbox": [[y0, x0, y1, x1]]} for x0, y0, x1, y1 in corners))
    assert "yxyx_1000" in stopped(place)


def test_boxes_for_images_of_another_size_stop_and_name_both(place: Place) -> None:
    place.put("a.jpg", encoded(scene(640, 360)))
    rows = [
        {"image": "a.jpg", "width": 1280, "height": 720, "bbox": [[x0, y0, x1 - x0, y1 - y0]]}
        for x0, y0, x1, y1 in boxes_in("px", (1280, 720))
    ]
    place.put_rows(*rows)
    message = stopped(place)
    assert "1280 x 720" in message and "640 x 360" in message and "row_size" in message
    found = checked(place, box_frame="row_size")
    x0, y0, x1, _ = boxes_in("px", (1280, 720))[0]
    assert found["images"][0]["regions"][0]["bbox"][:3] == pytest.approx([x0 / 2, y0 / 2, (x1 - x0) / 2], abs=0.02)


@pytest.mark.parametrize("key", ["boxes", "BBox", " bbox", "annotations"])
def test_boxes_under_another_key_stop_a_run(place: Place, key: str) -> None:
    place.put("a.jpg", encoded(scene()))
    place.put_rows(*({"image": "a.jpg", key: [BOX]} for _ in range(2)))
    message = stopped(place)
    assert f"boxes under {key!r}" in message and "bbox_key" in message
    place.put_rows({"image": "a.jpg", "bbox": [BOX]}, {"image": "a.jpg", key: [BOX]})
    assert [text for text in checked(place)["warnings"] if "1 of 2 rows do not have the key 'bbox'" in text]


@pytest.mark.parametrize("depth", ["12 bits", "float", "32 bits"])
def test_deep_pixels_are_scaled_to_what_a_viewer_shows(place: Place, depth: str) -> None:
    grey = np.full((200, 300), 0.2)
    grey[40:100, 180:240] = 1.0
    grey[0:20, 0:20] = 0.0
    deep = {
        "12 bits": lambda: Image.fromarray((grey * 4095).astype(np.uint16)),
        "float": lambda: Image.fromarray(grey.astype(np.float32)),
        "32 bits": lambda: Image.fromarray((grey * 255).astype(np.int32)),
    }[depth]()
    place.put("a", encoded(deep, "PNG" if depth == "12 bits" else "TIFF"))
    place.put_rows({"image": "a", "bbox": [[180, 40, 60, 60]]})
    assert checked(place)["usable"] == 1
    _, images = sheet(place)
    (image,) = images.values()
    pixels = np.asarray(image.convert("L")).astype(float)
    scaled = image.width / 300
    bright = pixels[round(70 * scaled), round(210 * scaled)]
    dark = pixels[round(150 * scaled), round(60 * scaled)]
    assert bright > 240 and 30 < dark < 80


def test_good_pngs_with_odd_chunks_are_usable(place: Place) -> None:
    text = PngInfo()
    text.add_text("Comment", "x" * 3_000_000, zip=True)
    place.put("text.png", encoded(scene(), "PNG", pnginfo=text))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    place.put("icc.png", encoded(scene(), "PNG", icc_profile=profile + b"\0" * 3_000_000))
    plain = PngInfo()
    plain.add_text("Comment", "hello")
    damaged = bytearray(encoded(scene(), "PNG", pnginfo=plain))
    at = damaged.index(b"tEXt")
    (length,) = struct.unpack(">I", damaged[at - 4 : at])
    damaged[at + 4 + length] ^= 1  # in the checksum
    assert zlib.crc32(damaged[at : at + 4 + length]) != int.from_bytes(damaged[at + 4 + length : at + 8 + length])
    place.put("crc.png", bytes(damaged))
    place.put_rows(*({"image": name, "bbox": [BOX]} for name in ("text.png", "icc.png", "crc.png")))
    found = checked(place)
    assert (found["usable"], found["rejected"]) == (3, [])


def test_an_image_below_the_models_least_size_is_marked_at_the_size_that_it_sees(place: Place) -> None:
    place.put("a.jpg", encoded(picture(180, 180)))
    place.put_rows({"image": "a.jpg", "bbox": [[50, 50, 40, 40]]})
    found = checked(place, model_profile="qwen3-vl")["images"][0]
    assert (found["width"], found["height"], found["regions"][0]["bbox"]) == (180, 180, [50, 50, 40, 40])
    _, images = sheet(place, model_profile="qwen3-vl")
    assert [image.size for image in images.values()] == [(256, 256)]


def test_boxes_of_another_shape_are_read_or_told_how_to_write(place: Place) -> None:
    place.put("a.jpg", encoded(scene()))
    shapes: dict[str, Any] = {
        "object": [{"x": 300, "y": 40, "width": 120, "height": 120}], "flat": BOX, "text": json.dumps([BOX]),
    }  # fmt: skip
    place.put_rows(*({"id": name, "image": "a.jpg", "bbox": boxes} for name, boxes in shapes.items()))
    found = checked(place)
    assert [(image["id"], image["regions"][0]["bbox"]) for image in found["images"]] == [("text", BOX)]
    reasons = {row["id"]: row["reason"] for row in found["rejected"]}
    assert "write each box as [x, y, width, height]" in reasons["object"] and "[[x, y, w, h]]" in reasons["flat"]


def test_odd_paths_lead_to_their_files_or_to_a_reason(place: Place) -> None:
    place.put("street/20.jpg", encoded(picture()))
    paths = {"back": "street\\20.jpg", "dot": "./street/20.jpg", "two": "street//20.jpg", "long": "图" * 400 + ".jpg"}
    place.put_rows(*({"id": name, "image": path, "bbox": [[10, 10, 40, 30]]} for name, path in paths.items()))
    found = checked(place)
    assert [image["id"] for image in found["images"]] == ["back", "dot", "two"]
    assert [(row["id"], row["code"]) for row in found["rejected"]] == [("long", "image_not_found")]


def test_csv_lines_that_end_in_a_comma_are_rows(place: Place) -> None:
    place.put("a.jpg", encoded(scene()))
    place.put("m.csv", f'image,bbox\na.jpg,"[{BOX}]",\na.jpg,"[{BOX}]",\n')
    found = checked(place, input_format="csv")
    assert [image["regions"][0]["bbox"] for image in found["images"]] == [BOX, BOX]


def test_ids_that_a_table_made_floats_are_integers_again(place: Place) -> None:
    place.put("a.jpg", encoded(scene()))
    table = pd.DataFrame({"id": [17, None], "image": ["a.jpg"] * 2, "bbox": [[BOX], [[60, 240, 120, 120]]]})
    table.to_parquet(place.drop_folder / "m.parquet")
    first, second = checked(place, input_format="parquet")["images"]
    assert first["id"] == "17" and second["id"] not in ("nan", "NaN", "None", "")


@pytest.mark.parametrize("input_format", ["jsonl", "json", "csv", "parquet"])
def test_what_macos_puts_beside_each_file_is_nothing_of_the_drops(place: Place, input_format: str) -> None:
    companion = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(range(128, 256))
    place.put("a.jpg", encoded(scene()))
    place.put("._a.jpg", companion)
    place.put(f"._m.{input_format}", companion)
    row = {"image": "a.jpg", "bbox": [BOX]}
    match input_format:
        case "jsonl":
            place.put_rows(row, name="m.jsonl")
        case "json":
            place.put("m.json", json.dumps([row]))
        case "csv":
            place.put("m.csv", f'image,bbox\na.jpg,"[{BOX}]"\n')
        case _:
            pd.DataFrame([row]).to_parquet(place.drop_folder / "m.parquet")
    found = checked(place, input_format=input_format)
    assert (found["rows"], found["usable"], found["rejected"]) == (1, 1, [])


def test_a_manifest_in_utf16_is_read(place: Place) -> None:
    place.put("a.jpg", encoded(scene()))
    place.put("manifest.jsonl", (json.dumps({"image": "a.jpg", "bbox": [BOX]}) + "\r\n").encode("utf-16"))
    found = checked(place)
    assert [image["regions"][0]["bbox"] for image in found["images"]] == [BOX]


def test_the_command_is_one_process_that_needs_no_airflow(place: Place) -> None:
    place.good_rows(2)
    script = "import sys\nfrom regioncap.cli.app import app\ntry: app()\nfinally: assert 'airflow' not in sys.modules"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "REGIONCAP_"))}
    done = subprocess.run(
        [sys.executable, "-c", script, "check", str(place.drop_folder), "--json"],
        env={**own, "PYTHONPATH": f"{ROOT}/plugins"}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.load(io.StringIO(done.stdout))["usable"] == 2
