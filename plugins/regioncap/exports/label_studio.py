"""The export `label_studio`, tasks with their regions and captions, and what comes back of it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard
from xml.sax.saxutils import quoteattr

from regioncap.drop.given import UNLABELLED
from regioncap.drop.readers.streamed import items
from regioncap.exports.export import Export, Row, carries, write_arrays
from regioncap.exports.handed_out import KEY, Key, Returned, added, deleted, key_of, moved, xml_text

_LABELS, _CAPTION, _IMAGE = "label", "caption", "image"
# Under this name a task has the keys of its regions, by the ids that they have in it.
_KEYS = f"{KEY}s"
# How the types of what people draw begin.
_SHAPES = ("polygon", "ellipse", "brush", "bitmask", "keypoint", "vector")

_INTERFACE = f"""<View>
  <Image name="{_IMAGE}" value="${_IMAGE}"/>
  <RectangleLabels name="{_LABELS}" toName="{_IMAGE}">
{{labels}}  </RectangleLabels>
  <TextArea name="{_CAPTION}" toName="{_IMAGE}" perRegion="true" editable="true" required="true" maxSubmissions="1"/>
</View>
"""


# Boxes are shares of the original's sides.
@carries("original", beside=True)
def label_studio(export: Export) -> None:
    """JSON files, each one array of tasks, and `interface.xml`: the labelling interface that these need."""
    labels = {UNLABELLED: None}
    language = export.plan.settings.prompt_language

    def task(row: Row) -> str:
        labels.update(dict.fromkeys(region["label"] or UNLABELLED for region in row.record["regions"]))
        return json.dumps(_task(row, language), ensure_ascii=False)

    write_arrays(export, task)
    with export.file("interface.xml", export.records) as path:
        listed = "".join(f"    <Label value={quoteattr(xml_text(label))}/>\n" for label in labels)
        path.write_text(_INTERFACE.format(labels=listed), encoding="utf-8")


def _task(row: Row, language: str) -> dict[str, Any]:
    record = row.record
    keys = {str(region["region"]): key_of(record, region, language).text for region in record["regions"]}
    results = [result for region in record["regions"] for result in _results(record, region)]
    return {
        "id": row.number + 1,
        "data": {
            _IMAGE: _address(row),
            "record_id": record["id"],
            "width": record["width"],
            "height": record["height"],
            _KEYS: keys,
        },
        # Not as predictions: these get other ids when somebody takes them up.
        "annotations": [{"id": row.number + 1, "result": results}],
    }


def _address(row: Row) -> str:
    """An image in Label Studio's local storage, which the export's folder is then; else the original's."""
    return f"/data/local-files/?d=images/{row.file}" if row.file is not None else str(row.record["image_uri"])


def _results(record: dict[str, Any], region: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The box with its label, and the caption: two results of one id."""
    width, height = record["width"], record["height"]
    x, y, w, h = region["bbox"]
    box = {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * w / width, "height": 100 * h / height}
    common = {
        "id": str(region["region"]),
        "to_name": _IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    value = {**box, "rotation": 0}
    label = region["label"] or UNLABELLED
    yield {**common, "from_name": _LABELS, "type": "rectanglelabels", "value": value | {"rectanglelabels": [label]}}
    yield {**common, "from_name": _CAPTION, "type": "textarea", "value": value | {"text": [region["caption"]]}}


def returned_by_label_studio(path: Path) -> Iterator[Returned]:
    """The regions of Label Studio's JSON export of such tasks. Raises ValueError where it is no list of tasks."""
    for item in items(path):
        if item.key or not item.number:
            raise ValueError("it is no list of tasks: export from Label Studio as JSON")
        where = f"task {item.number}"
        if item.fault is not None:
            yield Returned(where, None, fault=item.fault.reason)
        else:
            yield from _returned(where, item.value)


def _returned(where: str, task: Any) -> Iterator[Returned]:
    data = task.get("data") if isinstance(task, dict) else None
    texts = data.get(_KEYS) if isinstance(data, dict) else None
    if not isinstance(texts, dict) or not isinstance(data, dict):
        yield Returned(where, None, fault=f"it has no {_KEYS} in its data: RegionCap has not exported it")
        return
    keys = {str(name): key for name, text in texts.items() if (key := Key.read(text)) is not None}
    if len(keys) < len(texts):
        yield Returned(where, None, fault=f"its {_KEYS} are not what RegionCap has written")
    where = f"{where} ({data.get('record_id')})"
    sizes = data.get("width"), data.get("height")
    annotations = [
        annotation
        for annotation in _objects(task.get("annotations"))
        if not annotation.get("was_cancelled") and isinstance(annotation.get("result"), list)
    ]
    # Of a task that somebody skipped, or has not come to, there is nothing to say.
    chosen = [annotation for annotation in annotations if annotation.get("ground_truth")] or annotations
    for annotation in chosen:
        yield from _regions(where, keys, sizes, _objects(annotation["result"]))


def _regions(
    where: str, keys: Mapping[str, Key], sizes: tuple[Any, Any], results: list[dict[str, Any]]
) -> Iterator[Returned]:
    """The regions of one annotation."""
    left = dict(keys)
    for name, parts in _by_id(results).items():
        shape = next((part for part in parts if part.get("type") in ("rectanglelabels", "rectangle")), None)
        said = [part for part in parts if part.get("type") == "textarea" and part.get("from_name") == _CAPTION]
        if shape is None and not said:
            # What is said of an image as a whole, or of two regions, is no region.
            if any(str(part.get("type")).startswith(_SHAPES) for part in parts):
                yield added(f"{where}, region {name}")
            continue
        box = _pixels((shape or said[0]).get("value"), sizes)
        # Who copies an annotation gets other ids: then a region is known by where it is.
        known = name if name in left else next((one for one, key in left.items() if key.is_at(box)), None)
        if known is None:
            yield added(f"{where}, region {name}")
            continue
        key = left.pop(known)
        at = f"{where}, region {known}"
        yield _said(at, key, said) if key.is_at(box) else moved(at, key)
    yield from (deleted(f"{where}, region {name}", key) for name, key in left.items())


def _said(where: str, key: Key, parts: list[dict[str, Any]]) -> Returned:
    texts: list[Any] = []
    for part in parts:
        value = part.get("value")
        text = value.get("text") if isinstance(value, dict) else None
        texts += text if isinstance(text, list) else [text]
    if len(texts) != 1 or not isinstance(texts[0], str):
        return Returned(where, key, fault=f"it has {len(texts) or 'no'} captions there: it needs one, as text")
    return Returned(where, key, texts[0])


def _by_id(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for number, result in enumerate(results):
        found.setdefault(str(result.get("id") or f"without an id, {number + 1}"), []).append(result)
    return found


def _pixels(value: Any, sizes: tuple[Any, Any]) -> tuple[float, ...]:
    """A box in pixels of the original; empty where it is none, or is turned."""
    if not isinstance(value, dict) or value.get("rotation") not in (None, 0):
        return ()
    numbers = [number for name in ("x", "y", "width", "height") if _is_number(number := value.get(name))]
    sides = [side for side in sizes if _is_number(side)]
    if (len(numbers), len(sides)) != (4, 2):
        return ()
    try:
        return tuple(float(number) * float(side) / 100 for number, side in zip(numbers, sides * 2, strict=True))
    except OverflowError:
        return ()


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
