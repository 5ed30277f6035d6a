"""Drops whose images lie elsewhere, from the plan to the published records."""

import json
from pathlib import Path
from typing import Any

import pytest

from regioncap.drop.elsewhere import Images
from regioncap.errors import DropError
from regioncap.regions.records import Rejected
from regioncap.steps.plan import plan_build
from regioncap.steps.publish import Published, publish_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.local import LocalStore
from regioncap.storage.uri import open_store
from regioncap.work.shard import Shard
from tests.builders import Place, describe, encoded, picture, settings

BOX = [[10, 10, 40, 30]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for number, name in enumerate(("images/a/b.jpg", "images/c.jpg", "lake/d.jpg", "secret/e.jpg")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(colour=(40 * number, 90, 90))))
    place.put("in-the-drop.jpg", encoded(picture()))
    return place


def images_of(place: Place) -> Images:
    roots = (f"{place.folder}/lake", place.drop.uri)
    base = LocalStore(place.folder / "images")
    return Images(base, roots, lambda root: open_store(root, None, roots))  # type: ignore[arg-type]


def build(place: Place, **changes: Any) -> Published:
    images = images_of(place)
    chosen = settings(**{"max_attempts": 1, "max_rejected_ratio": 1, "images_uri": images.uri, **changes})
    plan = plan_build(
        date=place.date, drop=place.drop, work=place.work, partition=place.partition, settings=chosen, model="m",
        run_id="run", progress=lambda rows: None, images=images,
    )  # fmt: skip
    for shard_id in plan.shards:
        render_shard(drop=images, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
        place._answer(plan, Shard(place.work, plan, shard_id), describe)
        validate_shard(work=place.work, shard_id=shard_id, plan=plan)
    return publish_build(
        plan=plan, drop=images, work=place.work, partition=place.partition, progress=lambda message: None
    )


def records(place: Place) -> list[dict[str, Any]]:
    return [json.loads(text) for text in place.published("captions-00000-of-00001.jsonl").splitlines()]


def test_paths_are_relative_to_images_uri_and_uris_are_what_they_are(place: Place) -> None:
    folder = place.folder
    rows = [
        "a/b.jpg",
        f"file://{folder}/images/c.jpg",
        f"file://{folder}/lake/d.jpg",
        f"{place.drop.uri}/in-the-drop.jpg",
    ]
    place.put_rows(*({"image": image, "bbox": BOX} for image in rows))
    build(place)
    assert [(record["image"], record["image_uri"]) for record in records(place)] == [
        ("a/b.jpg", f"file://{folder}/images/a/b.jpg"),
        ("c.jpg", f"file://{folder}/images/c.jpg"),
        (rows[2], rows[2]),
        (rows[3], rows[3]),
    ]


def test_an_image_that_is_named_by_what_leads_out_costs_its_row(place: Place) -> None:
    hostile = [
        f"file://{place.folder}/secret/e.jpg", "../secret/e.jpg", "a/../../secret/e.jpg", "/etc/passwd",
        "file:///etc/passwd", "s3://warehouse/x.jpg", "in-the-drop.jpg", f"file://{place.folder}/lake/gone.jpg",
        f"file://{place.folder}/lake/../secret/e.jpg",
    ]  # fmt: skip
    (place.folder / "images/link.jpg").symlink_to(place.folder / "secret/e.jpg")
    (place.folder / "lake/link.jpg").symlink_to(place.folder / "secret/e.jpg")
    hostile += ["link.jpg", f"file://{place.folder}/lake/link.jpg"]
    place.put_rows({"image": "c.jpg", "bbox": BOX}, *({"image": image, "bbox": BOX} for image in hostile))
    build(place)
    assert [record["image"] for record in records(place)] == ["c.jpg"]
    rejected = [Rejected.model_validate_json(text) for text in place.published("rejected.jsonl").splitlines()]
    codes = {row.row["image"]: str(row.code) for row in rejected}
    assert codes == dict(
        zip(
            hostile,
            ["image_is_url", "image_outside_drop", "image_outside_drop", "image_outside_drop", "image_is_url",
             "image_is_url", "image_not_found", "image_not_found", "image_is_url", "image_is_link", "image_is_link"],
            strict=True,
        )
    )  # fmt: skip


def test_a_place_without_images_stops_the_run_and_is_named(place: Place) -> None:
    place.put_rows({"image": "c.jpg", "bbox": BOX})
    images = Images(LocalStore(place.folder / "imagse"))
    with pytest.raises(DropError, match=r"there are no files at .*/imagse, where the param images_uri says that"):
        plan_build(
            date=place.date, drop=place.drop, work=place.work, partition=place.partition,
            settings=settings(images_uri=images.uri), model="m", run_id="run", images=images,
            progress=lambda rows: None,
        )  # fmt: skip


def test_an_image_that_changes_elsewhere_makes_the_date_be_built_anew(place: Place) -> None:
    place.put_rows({"image": "c.jpg", "bbox": BOX})
    first = build(place)
    assert build(place).unchanged
    (place.folder / "images/c.jpg").write_bytes(encoded(picture(colour=(250, 0, 0))))
    assert build(place).manifest.build_id != first.manifest.build_id


def test_originals_from_elsewhere_go_into_exports(place: Place) -> None:
    place.put_rows({"image": f"file://{place.folder}/lake/d.jpg", "bbox": BOX}, {"image": "c.jpg", "bbox": BOX})
    build(place, export_formats=["coco"], export_images="original")
    coco = json.loads(place.published("exports/coco/captions.json"))
    assert len(coco["images"]) == 2 and all(image["file_name"].startswith("images/") for image in coco["images"])
