"""What a row gives beside its image and its boxes: a label for each box, and fields of its own."""

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

from regioncap.regions.jsonl import clean

LABELS, REGIONS = "labels", "regions"
# What a region without a label is called in exports to tools that want every box to have one.
UNLABELLED = "region"
# Stands in `keep_fields` for all fields.
ALL_FIELDS = "*"

# Of fields of several kinds so many are named, by names that do nothing where they are shown.
_NAMED, _SHOWN = 5, re.compile(r"[\w .-]{1,50}")

# The name of a class is short; a sentence would be a caption.
MAX_LABEL = 100
# Control characters, and those that change lines or the direction of text.
_UNSEEN = re.compile("[\x00-\x20\x7f-\xa0\u2028-\u202e\u2066-\u2069]+")


def given_labels(row: dict[str, Any], boxes: Sequence[Any]) -> list[str | None] | None:
    """A label for each of the boxes, None where one has none; None where the row gives no labels.

    A label is text or a whole number, as given but for what cannot be seen, and for what is beyond `MAX_LABEL`
    characters. Records that RegionCap has published have them in their regions. Raises ValueError where `labels` is
    there and is no list with an item for each box.
    """
    given = _in_text(row[LABELS]) if LABELS in row else _of_regions(row.get(REGIONS), len(boxes))
    if given is None or given == "" or (isinstance(given, float) and math.isnan(given)):
        return None
    if not isinstance(given, list) or len(given) != len(boxes):
        raise ValueError("is no list with a label for each box")
    labels = [_label(item) for item in given]
    return labels if any(labels) else None


def _in_text(given: Any) -> Any:
    if not isinstance(given, str) or not given.lstrip().startswith("["):
        return given
    try:
        return json.loads(given)  # as tables hold it
    except (ValueError, RecursionError):
        raise ValueError("is not JSON text") from None


def _of_regions(given: Any, boxes: int) -> list[Any] | None:
    """The labels of a record's regions, for each of its boxes; None where these are no regions of a record."""
    with suppress(ValueError):
        given = _in_text(given)
    if not isinstance(given, list) or not all(isinstance(region, dict) for region in given):
        return None
    labels = {region.get("box_index"): region.get("label") for region in given if type(region.get("box_index")) is int}
    return [labels.get(place) for place in range(boxes)]


def _label(given: Any) -> str | None:
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str):
        return None
    text = _UNSEEN.sub(" ", str(clean(given))).strip()
    return (text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…") or None


def kept_fields(row: dict[str, Any], keep: Sequence[str], used: Collection[str]) -> dict[str, Any] | None:
    """The fields of a row that are carried along; None where none are wanted.

    `keep` are their names, or `ALL_FIELDS` for all but those that are `used` otherwise. One that a row has not is None
    there, so that all rows have the same.
    """
    if not keep:
        return None
    names = [name for name in row if name not in used] if ALL_FIELDS in keep else keep
    return {str(clean(name)): _plain(row.get(name)) for name in names}


def kinds_of(fields: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Each of the fields that are carried along and have something in them, with what kind of value that is."""
    for name, value in (fields or {}).items():
        if value is not None:
            yield name, "text" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number"


def told_of_kept(keep: Sequence[str], held: Collection[tuple[str, str]]) -> list[str]:
    """What is to be said of the fields that are carried along, by the kinds that their values have had."""
    told = []
    kinds = Counter(name for name, _ in held)
    missing = [name for name in dict.fromkeys(keep) if name not in kinds]
    if missing and ALL_FIELDS not in missing:
        fields = f"fields {', '.join(map(repr, missing))}" if len(missing) > 1 else f"field {missing[0]!r}"
        told.append(
            f"no row has anything in the {fields}, which the param keep_fields names: they are null in all records. "
            "Are they called so?"
        )
    mixed = sorted(name for name, number in kinds.items() if number > 1)
    if mixed:
        # Whoever wrote the drop wrote the names, and this text is shown in many places.
        names = [name if _SHOWN.fullmatch(name) else "one whose name is not shown" for name in mixed[:_NAMED]]
        fields = "field under source is" if len(mixed) == 1 else "fields under source are"
        told.append(
            f"{len(mixed):,} {fields} of several kinds, such as text in some rows and numbers in others. Tools that "
            f"expect one kind in a field will refuse the records: {', '.join(names)}"
        )
    return told


def _plain(value: Any) -> Any:
    """A value as it can stand beside those of other rows: numbers, text and booleans; all else as JSON text."""
    # By NaN tables say that there is none; for what is infinite JSON has no number, and text would be of another type.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    written = clean(value)
    # Of 64 bits, with a sign or without one.
    if isinstance(written, list | dict) or (isinstance(written, int) and not -(2**63) <= written < 2**64):
        return json.dumps(written, ensure_ascii=False)
    return written
