"""Boxes under a key that nobody reads: named, where they are boxes."""

from typing import Any

import pytest

from regioncap.drop.box_keys import BoxKeys


def told(*rows: dict[str, Any], key: str = "bbox") -> str | None:
    keys = BoxKeys()
    for row in rows:
        keys.note(row, key)
    return keys.told(key)


@pytest.mark.parametrize(
    "value",
    [
        [[330, 40, 120, 120]],
        [[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.1, 0.1]],
        [330, 40, 120, 120],
        "[[330, 40, 120, 120]]",
        [{"x": 1, "y": 2, "width": 3, "height": 4}],
        [{"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4, "label": "cup"}],
        [{"bbox": [1, 2, 3, 4], "label": "cup"}],
        [{"box": {"x": 1, "y": 2, "width": 3, "height": 4}}],
        {"bbox": [[1, 2, 3, 4]], "label": ["cup"]},
        [{"label": "cup", "coordinates": {"x": 1, "y": 2, "width": 3, "height": 4}}],
        {"x": 1, "y": 2, "width": 3, "height": 4},
        '[{"x": 1.5, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["cup"]}]',
        ' {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}',
        [{"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}}],
        [{"category": "cup", "box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}],
        [{"displayName": "cup", "xMin": 0.1, "yMin": 0.2, "xMax": 0.3, "yMax": 0.4}],
        {"image_size": [], "annotations": [{"class_id": 0, "left": 1, "top": 2, "width": 3, "height": 4}]},
    ],
)
@pytest.mark.parametrize("key", ["boxes", "BBox", " bbox", "bboxes", "objects"])
def test_boxes_under_another_key_are_named_with_what_to_do(value: Any, key: str) -> None:
    text = told({"image": "a.jpg", key: value}, {"image": "b.jpg", key: value}, {"image": "c.jpg"})
    assert text == (
        f"2 of 3 rows do not have the key 'bbox', but boxes under {key!r}, which are not read: set the param bbox_key "
        f"to {key}, or rename the key in these rows"
    )


@pytest.mark.parametrize(
    "value",
    [
        [],
        [1, 2, 3],
        ["a", "b", "c", "d"],
        "text",
        "[1]",
        4,
        None,
        {"x": 1},
        {"bbox": "big"},
        [{"box": 3}],
        [[1, 2], [3, 4]],
        [True] * 4,
        '{"x": 1',
        '[{"x": 1}]',
        '{"bbox": "big"}',
        "[{" * 100_000,
        {"annotations": [{"text": "x"}]},
    ],
)
def test_other_values_are_no_boxes(value: Any) -> None:
    assert told({"image": "a.jpg", "tags": value}) is None


@pytest.mark.parametrize(
    "names",
    [
        ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"),
        ("x", "y", "width", "height"), ("left", "top", "width", "height"), ("x", "y", "w", "h"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", [5, 5.5, "5", "5.5"])
def test_a_box_whose_numbers_are_fields_of_the_row_is_told_of(names: tuple[str, ...], number: Any) -> None:
    row = {"image": "a.jpg", **dict.fromkeys(names, number)}
    text = told(row, {"image": "b.jpg"})
    assert text is not None and text.startswith(
        "1 of 2 rows do not have the key 'bbox', but the numbers of a box in fields of their own "
        f"({', '.join(names)}), which are not read: write them as a list of boxes under 'bbox'"
    )
    assert told({**row, names[0]: None}) is told({**row, names[1]: "x"}) is told({**row, names[2]: True}) is None
    assert told({**row, "bbox": []}) is None


def test_a_row_with_the_declared_key_has_its_boxes_there() -> None:
    assert told({"image": "a.jpg", "bbox": [], "boxes": [[1, 2, 3, 4]]}) is None
    assert told({"image": "a.jpg", "bbox": None, "segments": [[1, 2, 3, 4]]}) is None


def test_rows_of_both_kinds_are_told_of() -> None:
    text = told({"bbox": [[1, 2, 3, 4]]}, {"boxes": [[1, 2, 3, 4]]})
    assert text is not None and text.startswith("1 of 2 rows")


@pytest.mark.parametrize("key", ["[x](http://a.b)", "<b>", "x" * 60, "a\nb", "*"])
def test_a_key_that_is_no_plain_word_is_not_shown(key: str) -> None:
    text = told({key: [[1, 2, 3, 4]]})
    assert text is not None and key not in text and "under another key" in text
