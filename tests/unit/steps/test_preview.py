"""A preview of some rows: the same rows as they would be built, and nothing in the partition."""

import re

import pytest

from regioncap.errors import RunError
from regioncap.steps.preview import write_preview
from regioncap.steps.publish import publish_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.warehouse.layout import PREVIEW_PAGE, preview_path
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import Place, describe


def built(place: Place, **changes: object) -> Plan:
    """A plan all of whose shards are validated."""
    plan = place.plan(**changes)
    for shard_id in plan.shards:
        render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
        place._answer(plan, Shard(place.work, plan, shard_id), describe)
        validate_shard(work=place.work, shard_id=shard_id, plan=plan)
    return plan


@pytest.mark.parametrize(
    ("rows", "sampled", "lines"), [(10, 5, [1, 3, 5, 7, 9]), (10, 4, [1, 3, 5, 7]), (3, 20, [1, 2, 3]), (7, 1, [1])]
)
def test_rows_are_taken_evenly_from_all_of_the_drop(place: Place, rows: int, sampled: int, lines: list[int]) -> None:
    place.good_rows(rows)
    plan = place.plan(sample_rows=sampled)
    planned = [row.line for shard_id in plan.shards for row in Shard(place.work, plan, shard_id).planned()]
    assert (planned, plan.rows) == (lines, len(lines))


def test_a_preview_is_a_page_with_its_images_and_the_partition_is_not_touched(place: Place) -> None:
    place.good_rows(6)
    plan = built(place, sample_rows=3)
    uri, counts = write_preview(plan=plan, work=place.work, warehouse=place.warehouse)
    assert counts == {"records": 3, "rejected": 0}
    assert uri.endswith(f"/warehouse/_previews/dt={place.date}/{plan.plan_id}")
    preview = place.warehouse.sub(preview_path(place.date, plan.plan_id))
    page = preview.read(PREVIEW_PAGE).decode()
    assert re.findall(r"<bdi>manifest.jsonl</bdi>:(\d)", page) == ["1", "3", "5"]
    linked = set(re.findall(r'href="(images/[0-9a-f]{32}\.jpg)"', page))
    assert linked == {entry.path for entry in preview.list("images/")} and len(linked) == 3
    assert list(place.partition.list()) == []


def previewed(place: Place, **changes: object) -> tuple[Plan, str]:
    """A preview with these settings: its plan, and its page."""
    plan = built(place, sample_rows=3, **changes)
    write_preview(plan=plan, work=place.work, warehouse=place.warehouse)
    return plan, place.warehouse.sub(preview_path(place.date, plan.plan_id)).read(PREVIEW_PAGE).decode()


def test_a_preview_stands_beside_the_one_before(place: Place) -> None:
    place.good_rows(6)
    first, alone = previewed(place)
    assert "the preview before" not in alone
    second, page = previewed(place, mark_style="corners")
    assert "the preview before" in page and "<code>mark_style</code>" in page
    assert page.count("a grey cat") == 2 * 3
    preview = place.warehouse.sub(preview_path(place.date, second.plan_id))
    linked = set(re.findall(r'href="(images/[0-9a-f]{32}\.jpg)"', page))
    assert linked == {entry.path for entry in preview.list("images/")} and len(linked) == 2 * 3
    # Written anew, a preview is not beside itself.
    write_preview(plan=first, work=place.work, warehouse=place.warehouse)
    anew = place.warehouse.sub(preview_path(place.date, first.plan_id)).read(PREVIEW_PAGE).decode()
    assert anew.count("a grey cat") == 2 * 3


@pytest.mark.parametrize("what", ["data", "image", "no image", "link"])
def test_a_damaged_preview_before_is_left_out(place: Place, what: str) -> None:
    place.good_rows(6)
    first, _ = previewed(place)
    before = place.warehouse.sub(preview_path(place.date, first.plan_id))
    (image, *_) = before.list("images/")
    match what:
        case "data":
            before.write("preview.json", b"{")
        case "image":
            before.write(image.path, b"no JPEG")
        case "no image":
            before.delete(image.path)
        case _:
            data = before.read("preview.json").replace(image.path.encode(), b"../../../../elsewhere.jpg")
            before.write("preview.json", data)
    _, page = previewed(place, mark_style="corners")
    assert "the preview before" not in page and page.count("a grey cat") == 3


def test_some_rows_are_never_published(place: Place) -> None:
    place.good_rows(2)
    plan = built(place, sample_rows=1)
    with pytest.raises(RunError, match="sample_rows"):
        publish_build(
            plan=plan, drop=place.drop, work=place.work, partition=place.partition, progress=lambda message: None
        )
    assert list(place.partition.list()) == []


def test_a_build_after_a_preview_has_all_rows_and_what_was_asked_is_not_asked_again(place: Place) -> None:
    place.good_rows(4)
    built(place, sample_rows=2)
    whole = place.build(describe).manifest
    assert (whole.counts.rows, whole.counts.captioned) == (4, 4)
