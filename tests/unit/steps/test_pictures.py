"""Pictures in a whole build: what is wrong with one costs its row, and what is wrong with the machine costs no row."""

import io
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from regioncap.drop.detectors import contours
from regioncap.errors import ModelProfileError
from regioncap.marks.profiles import PROFILES
from regioncap.regions.records import Rejected, RenderedRow
from regioncap.steps.render import render_shard
from regioncap.storage.store import Store
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import ROOT, Place, encoded, picture, read_lines

HEIC = ROOT / "tests" / "data" / "two_colours.heic"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def render(place: Place, plan: Plan) -> tuple[Store, dict[str, RenderedRow], dict[str, Rejected]]:
    """The only shard's folder, and its marked and rejected rows by their images."""
    (shard_id,) = plan.shards
    render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    shard = Shard(place.work, plan, shard_id)
    rejected = {row.row["image"]: row for row in read_lines(shard.own, layout.RENDER_REJECTED, Rejected)}
    return shard.shared, {row.image: row for row in shard.rendered().rows}, rejected


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("bbox", [[[1, 100, 5, 900]], None])
def test_an_image_as_thin_as_a_thread_costs_its_row_alone(place: Place, profile: str, bbox: object) -> None:
    place.put("thin.png", encoded(Image.new("1", (10, 70_000)), "PNG"))
    place.put("long.png", encoded(Image.new("RGB", (30, 4_000), (200, 10, 10)), "PNG"))
    place.put("good.jpg", encoded(picture()))
    place.put_rows(
        {"image": "thin.png", "bbox": bbox},
        {"image": "long.png", "bbox": [[1, 0, 12, 4000], [0, 0, 30, 200]]},
        {"image": "good.jpg", "bbox": [[10, 10, 40, 30]]},
    )
    _, marked, rejected = render(place, place.plan(model_profile=profile, caption_mode="per_region"))
    assert rejected["thin.png"].code == "image_too_thin" and rejected["thin.png"].reason
    # On the 256 pixels that the demo model sees, regions of the long one are too small.
    assert set(marked) == ({"good.jpg"} if profile == "demo" else {"good.jpg", "long.png"})


def test_heic_images_are_rejected_with_the_reason_and_read_where_the_run_says_so(place: Place) -> None:
    place.put("phone.heic", HEIC.read_bytes())
    place.put_rows({"image": "phone.heic", "bbox": [[2, 2, 20, 20]]})
    _, _, rejected = render(place, place.plan())
    row = rejected["phone.heic"]
    assert row.code == "image_unreadable" and "set the param read_heic" in row.reason
    _, marked, rejected = render(place, place.plan(read_heic=True))
    assert set(marked) == {"phone.heic"} and not rejected


def test_a_render_task_leaves_pillow_and_opencv_as_they_were(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # As another team's task might have set them.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    before = cv2.getNumThreads(), Image.core.get_blocks_max()  # type: ignore[attr-defined]
    place.put("good.jpg", encoded(picture(400, 300)))
    place.put("cut.jpg", encoded(picture(400, 300))[:-400])
    place.put_rows(*({"image": name, "bbox": [[10, 10, 40, 30]]} for name in ("good.jpg", "cut.jpg")))
    _, marked, rejected = render(place, place.plan())
    assert set(marked) == {"good.jpg"} and rejected["cut.jpg"].code == "image_truncated"
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (5_000, True)
    assert before == (cv2.getNumThreads(), Image.core.get_blocks_max())  # type: ignore[attr-defined]


def test_a_turned_tiff_is_marked_where_a_turned_jpeg_is(place: Place) -> None:
    stored = Image.new("RGB", (60, 40), (90, 90, 90))
    # Displayed, after a quarter turn to the right, it is at (24, 33).
    stored.paste((255, 0, 0), (33, 4, 45, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    place.put("turned.tif", encoded(stored, "TIFF", exif=exif))
    place.put("turned.jpg", encoded(stored, "JPEG", exif=exif, quality=100, subsampling=0))
    place.put_rows(*({"image": name, "bbox": [[24, 33, 12, 12]]} for name in ("turned.tif", "turned.jpg")))
    folder, marked, _ = render(place, place.plan(model_profile="qwen2.5-vl"))
    assert [(row.width, row.height) for row in marked.values()] == [(40, 60)] * 2
    for row in marked.values():
        seen = Image.open(io.BytesIO(folder.read(image_path(row.marked))))
        pixel = seen.getpixel((round(30 / 40 * seen.width), round(39 / 60 * seen.height)))
        assert isinstance(pixel, tuple) and pixel[0] > 200 and pixel[1] < 90


def test_a_model_that_counts_in_another_way_than_the_run_goes_by_stops_the_plan(place: Place) -> None:
    place.good_rows(1)
    asking = {"when_no_boxes": "ask_model", "model_profile": "qwen2.5-vl"}
    with pytest.raises(ModelProfileError, match=r"qwen2\.5-vl.*Qwen/Qwen3-VL-8B-Instruct.*qwen3-vl"):
        place.plan(model="Qwen/Qwen3-VL-8B-Instruct", **asking)
    assert place.plan(model="Qwen/Qwen2.5-VL-7B-Instruct", **asking).shards


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_closed_shapes_are_looked_for_in_any_image(width: int, height: int, shade: int) -> None:
    for x0, y0, x1, y1 in contours(Image.new("RGB", (width, height), (shade, 9, 9))):
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
