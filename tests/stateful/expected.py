"""What a build must be: computed from a state of the drop and the settings alone, whatever lies in the work area."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from regioncap.ask.requests import first_requests
from regioncap.captions.grounding import grounded_boxes
from regioncap.captions.prompts import user_prompt
from regioncap.config.settings import BuildSettings
from regioncap.drop.decoders import Decoders
from regioncap.drop.images import open_image
from regioncap.errors import RowError
from regioncap.regions.boxes import Box
from regioncap.regions.codes import Code
from regioncap.regions.records import PlannedRow, RenderedRow
from regioncap.steps.render import render_row
from regioncap.warehouse.layout import image_path
from tests.builders import planned
from tests.fake_vlm import MODEL
from tests.stateful.vlm import PROPOSED

# A row of the manifest: an object, or a text that is none.
ManifestRow = dict[str, Any] | str


@dataclass(frozen=True)
class DropState:
    """All that lies in a drop: the manifest's rows, and the images' bytes by their paths."""

    rows: tuple[str, ...]
    images: tuple[tuple[str, bytes], ...]

    @cached_property
    def key(self) -> str:
        """The same content, the same key."""
        return hashlib.sha256(repr((self.rows, self.images)).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class ExpectedRecord:
    """A record but for its captions, and the bodies of the requests that these may come from, by region."""

    fields: dict[str, Any]
    asked: dict[int, dict[str, Any]]


@dataclass(frozen=True)
class ExpectedBuild:
    """Records in order, and the rejected rows as (line, code)."""

    records: list[ExpectedRecord]
    rejected: list[tuple[int, str]]

    @cached_property
    def key(self) -> str:
        """The same build, the same key: not every change of a drop changes what is built of it."""
        content = [[record.fields for record in self.records], self.rejected]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def expected_build(state: DropState, settings: BuildSettings) -> ExpectedBuild:
    """The one right build of this state with these settings."""
    images = dict(state.images)
    records: list[ExpectedRecord] = []
    rejected: list[tuple[int, str]] = []
    for number, text in enumerate(state.rows, start=1):
        try:
            row = json.loads(text)
        except ValueError:
            rejected.append((number, Code.NOT_JSON))
            continue
        if row["image"] not in images:
            linked = row["image"].startswith("link")
            rejected.append((number, Code.IMAGE_IS_LINK if linked else Code.IMAGE_NOT_FOUND))
            continue
        given = row.get("bbox")
        planned_row = PlannedRow(
            manifest="manifest.jsonl", line=number, id=row["id"], image=row["image"], bbox=given,
            type="without_bbox" if given is None else "with_bbox",
        )  # fmt: skip
        try:
            with Decoders() as decoders:
                rendered, _, _ = render_row(
                    planned_row, images[row["image"]], settings, decoders, lambda _, data: _found(data, settings)
                )
        except RowError as error:
            rejected.append((number, error.code))
        else:
            records.append(_record(rendered, settings))
    return ExpectedBuild(records, sorted(rejected))


def _found(data: bytes, settings: BuildSettings) -> list[Box]:
    if settings.when_no_boxes != "ask_model":
        raise RowError(Code.NO_BOXES, "the row gives no boxes")
    profile, picture = settings.profile, open_image(data)
    size = (picture.width, picture.height)
    assert profile.coordinates is not None
    return grounded_boxes(PROPOSED, profile.coordinates, profile.size(*size), size)


def _record(row: RenderedRow, settings: BuildSettings) -> ExpectedRecord:
    fields = {
        "id": row.id,
        "image": row.image,
        "image_sha256": row.image_sha256,
        "image_with_bbox": image_path(row.marked),
        "bbox": row.bbox,
        "prompt": user_prompt(settings.prompt_template, len(row.regions)),
        "normalized_bbox": row.normalized_bbox,
        "regions": [region.model_dump() | {"corrected": False, "label": None} for region in row.regions],
    }
    plan = planned(MODEL, **settings.model_dump())
    asked = {}
    for request in first_requests(row, plan):
        body = request.body({name: name for name in request.images})
        for tag in body["response_format"]["json_schema"]["schema"]["required"]:
            asked[int(tag.removeprefix("<region").removesuffix(">"))] = body
    return ExpectedRecord(json.loads(json.dumps(fields)), asked)


def differs(
    expected: ExpectedBuild, records: Sequence[dict[str, Any]], rejected: Sequence[tuple[int, str]]
) -> str | None:
    """How published rows, but for their captions, differ from what they must be; None where they do not."""
    if [record["id"] for record in records] != [record.fields["id"] for record in expected.records]:
        return f"its records are {[record['id'] for record in records]}, rejected are {list(rejected)}"
    if sorted(rejected) != expected.rejected:
        return f"rejected are {sorted(rejected)}, and should be {expected.rejected}"
    for record, wanted in zip(records, expected.records, strict=True):
        got = {**record, "regions": [{**region} for region in record["regions"]]}
        for region in got["regions"]:
            for name in ("caption", "trust", "confused_with"):
                del region[name]
        for name, value in wanted.fields.items():
            if got[name] != value:
                return f"{name} of {record['id']} is {got[name]!r}, and should be {value!r}"
    return None
