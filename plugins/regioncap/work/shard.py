"""A shard's files in the work area: what plans share of it, and what this plan's steps have made of it.

What is read is checked: rows by the shard's id, which is a hash of them, all else by the receipt of the step that wrote
it. What is missing, damaged or of another plan is a StepMissingError, which names the task to clear.
"""

import io
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from regioncap.errors import BuildIncompleteError, NotFoundError, StepMissingError
from regioncap.marks.view import content_name
from regioncap.regions.formats import Evidence
from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow, Record, Rejected, RenderedRow
from regioncap.storage.readback import first_problem, unreadable
from regioncap.storage.store import Store
from regioncap.trust.scores import Scored
from regioncap.warehouse.corrections import Corrections
from regioncap.work import layout
from regioncap.work.counts import AskCounts, Spending
from regioncap.work.plan import Plan
from regioncap.work.receipts import (
    AnyReceipt,
    JudgeReceipt,
    ProposeReceipt,
    Receipt,
    RenderReceipt,
    StageReceipt,
    StoredImage,
    ValidateReceipt,
    load_receipt,
    sha256,
    write_all,
)

_log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)

_CLEAR_PLAN = "clear the run's plan task, so that it is written anew"
_VERSIONS = TypeAdapter(list[str | None])
_SCORES = TypeAdapter(list[Scored])


class ProposedRow(BaseModel):
    """The key of the request that asks where things are in a row's image, or a code and a reason why there is none."""

    id: str
    request: str | None = None
    code: str = ""
    reason: str = ""


class Proposed(NamedTuple):
    """What was asked about each row without boxes, by the row's id, and the hash of the file that says so."""

    rows: dict[str, ProposedRow]
    inputs: dict[str, str]


class Rendered(NamedTuple):
    """The marked rows, each made when it is asked for (as text they are small), and the hash of their file."""

    rows: Iterator[RenderedRow]
    inputs: dict[str, str]


class JudgedShard(NamedTuple):
    """The scores of a shard's captions and of planted ones, the receipt of `judge`, and the hash of the scores' file.

    Of a region's captions, the own one among the scores is the one that is kept; `first` are the scores from before
    doubtful captions were asked for again.
    """

    scores: list[Scored]
    first: list[Scored]
    receipt: JudgeReceipt
    inputs: dict[str, str]


class Shard:
    """A shard of a plan. `shared` is what plans share of it, `own` what this plan's steps make of it.

    Raises StepMissingError where it is another plan's.
    """

    def __init__(self, work: Store, plan: Plan, shard_id: str) -> None:
        if shard_id not in plan.shards:
            raise StepMissingError(
                f"the plan {plan.plan_id} of {work.uri} has no shard {shard_id}: clear the run's plan task, with those "
                "after it"
            )
        self.shared = work.sub(layout.shard_path(shard_id))
        self.own = work.sub(layout.plan_shard_path(plan.plan_id, shard_id))
        self._work = work
        self._plan = plan
        self._id = shard_id

    def planned(self) -> list[PlannedRow]:
        """The rows as `plan` wrote them. Raises StepMissingError."""
        data = read_bytes(self.shared, layout.ROWS, _CLEAR_PLAN)
        if sha256(data)[: len(self._id)] != self._id:
            raise StepMissingError(f"{self.shared.uri}/{layout.ROWS} is not what was planned: {_CLEAR_PLAN}")
        return list(parse_lines(data, PlannedRow, f"{self.shared.uri}/{layout.ROWS}", _CLEAR_PLAN))

    def versions(self) -> list[str | None]:
        """The version of each row's image when the drop was planned; None where it was not there.

        Raises StepMissingError.
        """
        digest = self._plan.versions.get(self._id)
        if digest is None:
            raise StepMissingError(f"the plan was made by an earlier version of RegionCap: {_CLEAR_PLAN}")
        path = layout.versions_path(digest)
        data = read_bytes(self.shared, path, _CLEAR_PLAN)
        if sha256(data)[: len(digest)] != digest:
            raise StepMissingError(f"{self.shared.uri}/{path} is not what was planned: {_CLEAR_PLAN}")
        return _VERSIONS.validate_json(data)

    def corrections(self) -> Corrections:
        """What people have corrected, as it was when the build was planned. Raises StepMissingError."""
        if not self._plan.corrections:
            return Corrections()
        path = layout.corrections_path(self._plan.corrections)
        data = read_bytes(self._work, path, _CLEAR_PLAN)
        if sha256(data)[: len(self._plan.corrections)] != self._plan.corrections:
            raise StepMissingError(f"{self._work.uri}/{path} is not what was planned: {_CLEAR_PLAN}")
        return Corrections.of_data(data)

    def proposed(self) -> Proposed:
        """What `propose` asked. Raises StepMissingError."""
        if self._id not in self._plan.shards_to_propose:
            return Proposed({}, {})
        receipt = self._receipt("propose", Receipt)
        data = self._checked(receipt, layout.PROPOSED, "propose")
        rows = parse_lines(data, ProposedRow, f"{self.own.uri}/{layout.PROPOSED}", self.clear("propose"))
        return Proposed({row.id: row for row in rows}, _noted(receipt, layout.PROPOSED))

    def rendered(self) -> Rendered:
        """What `render` marked. Raises StepMissingError."""
        receipt = self.render_receipt()
        data = self._checked(receipt, layout.RENDERED, "render")
        return Rendered(
            parse_lines(data, RenderedRow, f"{self.own.uri}/{layout.RENDERED}", self.clear("render")),
            _noted(receipt, layout.RENDERED),
        )

    def judged(self) -> "JudgedShard | None":
        """What `judge` made of the listener's answers; None where nothing is judged. Raises StepMissingError."""
        if not self._plan.judge_share:
            return None
        receipt = self._receipt("judge", JudgeReceipt)
        if receipt.inputs != _noted(self.render_receipt(), layout.RENDERED):
            raise StepMissingError(
                f"{self.own.uri}: judge has read other rows than render wrote: {self.clear('judge')}"
            )
        scores = _SCORES.validate_json(self._checked(receipt, layout.SCORED, "judge"))
        first = _SCORES.validate_json(self._checked(receipt, layout.FIRST_SCORED, "judge"))
        return JudgedShard(scores, first, receipt, _noted(receipt, layout.SCORED))

    def validated(self) -> "Validated":
        """What `publish` reads. Raises StepMissingError where any of it is not this plan's, or not whole."""
        rendered, validated = self.render_receipt(), self._receipt("validate", ValidateReceipt)
        judged = self.judged()
        if validated.inputs != _noted(rendered, layout.RENDERED) | (judged.inputs if judged else {}):
            raise StepMissingError(
                f"{self.own.uri}: validate has read something else than render and judge wrote: "
                f"{self.clear('validate')}"
            )
        rejected = {
            f"{self.own.uri}/{path}": self._checked(receipt, path, task)
            for receipt, path, task in (
                (rendered, layout.RENDER_REJECTED, "render"),
                (validated, layout.VALIDATE_REJECTED, "validate"),
            )
        }
        planned = rendered.rejected + validated.records + validated.rejected
        held = ValidatedShard(
            self, validated.records, validated.outputs.get(layout.RECORDS, ""), self._rows_before(planned)
        )
        return Validated(held, rejected, rendered.made_from, judged)

    def records(self, digest: str) -> bytes:
        """The records, as JSON lines, that `validate` wrote with this hash. Raises StepMissingError."""
        remedy = self.clear("validate")
        data = read_bytes(self.own, layout.RECORDS, remedy)
        if sha256(data) != digest:
            raise StepMissingError(f"{self.own.uri}/{layout.RECORDS} is not what validate wrote: {remedy}")
        return data

    def staged(self, held: "ValidatedShard") -> StageReceipt | None:
        """The receipt of staging these records; None where they were not staged, or are not any more what they were."""
        try:
            receipt = self._receipt("stage", StageReceipt)
            version = self.own.stat(layout.RECORDS).version
        except (StepMissingError, NotFoundError):
            return None
        same = receipt.inputs == {layout.RECORDS: held.sha256} and receipt.version == version
        return receipt if same else None

    def staged_file(self, held: "ValidatedShard", path: str) -> tuple[str, bytes] | None:
        """A file that was written when these records were staged, and the build that they were staged into.

        None where they were not staged, or it is damaged.
        """
        receipt = self.staged(held)
        try:
            return (receipt.build_id, self._checked(receipt, path, "validate")) if receipt else None
        except StepMissingError:
            return None

    def render_receipt(self) -> RenderReceipt:
        """The receipt of `render`, which has read what `propose` wrote last. Raises StepMissingError."""
        receipt = self._receipt("render", RenderReceipt)
        proposed = (
            _noted(self._receipt("propose", Receipt), layout.PROPOSED)
            if self._id in self._plan.shards_to_propose
            else {}
        )
        if receipt.inputs != proposed:
            raise StepMissingError(
                f"{self.own.uri}: render has read other proposals than propose wrote: {self.clear('render')}"
            )
        return receipt

    def write_proposed(self, rows: Iterable[ProposedRow], *, seconds: float, spent: Spending | None = None) -> None:
        """Write down what `propose` did."""
        receipt = ProposeReceipt(**self._named(), inputs={}, outputs={}, seconds=seconds, spent=spent)
        write_all(self.own, layout.RECEIPTS["propose"], receipt, {layout.PROPOSED: _lines(rows)})

    def write_rendered(
        self,
        marked: Sequence[RenderedRow],
        rejected: Sequence[Rejected],
        *,
        images: Mapping[str, StoredImage],
        evidence: Evidence | None = None,
        made_from: str | None = None,
        inputs: dict[str, str],
        seconds: float,
    ) -> None:
        """Write down what `render` did."""
        receipt = RenderReceipt(
            **self._named(), inputs=inputs, outputs={}, seconds=seconds, marked=len(marked), rejected=len(rejected),
            images=dict(images), evidence=evidence, made_from=made_from,
        )  # fmt: skip
        files = {layout.RENDER_REJECTED: _lines(rejected), layout.RENDERED: _lines(marked)}
        write_all(self.own, layout.RECEIPTS["render"], receipt, files)

    def write_judged(
        self,
        scores: Sequence[Scored],
        first: Sequence[Scored],
        *,
        heard: int,
        counts: AskCounts,
        asked_again: int,
        mended: int,
        reason: str | None,
        limited: str | None,
        inputs: dict[str, str],
        seconds: float,
        spent: Spending | None = None,
    ) -> None:
        """Write down what `judge` did."""
        receipt = JudgeReceipt(
            **self._named(), inputs=inputs, outputs={}, seconds=seconds, heard=heard, counts=counts,
            spent=spent,
            asked_again=asked_again, mended=mended, reason=reason, limited=limited,
        )  # fmt: skip
        files = {layout.SCORED: scores, layout.FIRST_SCORED: first}
        written = {path: _SCORES.dump_json(list(each)) for path, each in files.items()}
        write_all(self.own, layout.RECEIPTS["judge"], receipt, written)

    def write_validated(
        self, records: Sequence[Record], rejected: Sequence[Rejected], *, inputs: dict[str, str], seconds: float
    ) -> None:
        """Write down what `validate` did."""
        receipt = ValidateReceipt(
            **self._named(), inputs=inputs, outputs={}, seconds=seconds, records=len(records), rejected=len(rejected)
        )
        files = {layout.VALIDATE_REJECTED: _lines(rejected), layout.RECORDS: _lines(records)}
        write_all(self.own, layout.RECEIPTS["validate"], receipt, files)

    def write_staged(
        self,
        held: "ValidatedShard",
        files: Mapping[str, bytes],
        *,
        version: str,
        build_id: str,
        images: Mapping[str, StoredImage],
        seconds: float,
    ) -> None:
        """Write down what was staged: `files` are what the report counts, and what was made of exports."""
        receipt = StageReceipt(
            **self._named(), inputs={layout.RECORDS: held.sha256}, outputs={}, seconds=seconds,
            version=version, build_id=build_id, images=dict(images),
        )  # fmt: skip
        write_all(self.own, layout.RECEIPTS["stage"], receipt, files)

    def _rows_before(self, rows: int) -> int:
        """How many of the plan's rows are in the shards before this one of so many rows: all but the last are full."""
        number = self._plan.shards.index(self._id)
        is_last = number == len(self._plan.shards) - 1
        return self._plan.rows - self._plan.rejected - rows if is_last else number * rows

    def _named(self) -> dict[str, str]:
        return {"plan_id": self._plan.plan_id, "identity": self._plan.identity}

    def _receipt(self, task: str, model: type[AnyReceipt]) -> AnyReceipt:
        return load_receipt(self.own, layout.RECEIPTS[task], model, self._plan, self.clear(task))

    def _checked(self, receipt: Receipt, path: str, task: str) -> bytes:
        data = read_bytes(self.own, path, self.clear(task))
        if sha256(data) != receipt.outputs.get(path):
            raise StepMissingError(f"{self.own.uri}/{path} is not what {task} wrote: {self.clear(task)}")
        return data

    def clear(self, task: str) -> str:
        """What to do where something of this shard has to be made anew."""
        shards = self._plan.shards_to_propose if task == "propose" else self._plan.shards
        # As Airflow numbers the tasks of shards.
        number = f" (map index {shards.index(self._id)})" if self._id in shards else ""
        return f"clear the shard's {task} task{number}, with those after it"


@dataclass(frozen=True)
class ValidatedShard:
    """A validated shard, and how many records it had, in a file of which hash, when it was looked at.

    `before` is how many of the plan's rows are in the shards before it, whatever has become of them. `store` is where
    its marked images are, by the paths that the records name.
    """

    shard: Shard
    rows: int
    sha256: str
    before: int = 0

    @property
    def store(self) -> Store:
        """What plans share of the shard."""
        return self.shard.shared

    @property
    def own(self) -> Store:
        """What is made of the shard for this plan."""
        return self.shard.own

    def read(self) -> bytes:
        """The records, the same bytes each time. Raises BuildIncompleteError, and StepMissingError."""
        remedy = self.shard.clear("validate")
        data = read_bytes(self.shard.own, layout.RECORDS, remedy)
        if sha256(data) != self.sha256:
            raise BuildIncompleteError(
                f"{self.shard.own.uri}: records were written anew while they were published; if it comes up again, "
                f"they are damaged: {remedy}"
            )
        return data

    def record(self, place: int) -> Record:
        """One of its records, by its place from 0. Raises BuildIncompleteError, and StepMissingError."""
        return Record.model_validate_json(self.read().splitlines()[place])

    def marked(self, path: str) -> bytes:
        """A marked image, which is named by a hash of it. Raises StepMissingError."""
        return read_marked(self.store, path)


class Validated(NamedTuple):
    """A validated shard, and the rows that `render` and `validate` rejected, by the file.

    `made_from` is what `render` noted of its rows and images, if it did; `judged` what `judge` did, where it was to.
    """

    held: ValidatedShard
    rejected: dict[str, bytes]
    made_from: str | None
    judged: JudgedShard | None

    @property
    def records(self) -> bytes:
        """Its records, as JSON lines. Raises StepMissingError."""
        return self.held.shard.records(self.held.sha256)


def read_marked(shared: Store, path: str) -> bytes:
    """A marked image, which is named by a hash of it. Raises StepMissingError."""
    remedy = "clear the shard's render task, with those after it"
    data = read_bytes(shared, path, remedy)
    if content_name(data) != PurePosixPath(path).stem:
        raise StepMissingError(f"{shared.uri}/{path} is not what was marked: {remedy}")
    return data


def plan_rejected(work: Store, plan: Plan) -> bytes:
    """The rows that `plan` rejected, as JSON lines. Raises StepMissingError."""
    path = layout.plan_rejected_path(plan.plan_id)
    data = read_bytes(work, path, _CLEAR_PLAN)
    if sha256(data) != plan.rejected_rows:
        raise StepMissingError(f"{work.uri}/{path} is not what was planned: {_CLEAR_PLAN}")
    return data


def write_corrections(work: Store, corrections: Corrections) -> str:
    """Write what people have corrected for a plan's steps; returns the hash that names the file, empty for none."""
    if not corrections:
        return ""
    data = corrections.data()
    digest = sha256(data)[:32]
    work.write(layout.corrections_path(digest), data)
    return digest


def readable_lines(data: bytes, model: type[Model], where: str) -> list[Model]:
    """The rows of a JSONL file's bytes that can be read, for what can be asked again; the log names others."""
    rows: list[Model] = []
    problems: list[str] = []
    for number, text in _numbered(data):
        try:
            rows.append(model.model_validate_json(text))
        except ValidationError as error:
            problems.append(f"line {number} ({first_problem(error)})")
    if problems:
        _log.warning(
            "%s: %d of %d lines cannot be read, the first is %s: what they answer is asked again",
            *(where, len(problems), len(problems) + len(rows), problems[0]),
        )
    return rows


def read_bytes(store: Store, path: str, remedy: str) -> bytes:
    """A whole file. Raises StepMissingError, which ends with `remedy`."""
    try:
        return store.read(path)
    except NotFoundError:
        raise StepMissingError(f"{store.uri}/{path} is missing: {remedy}") from None


def parse_lines(data: bytes, model: type[Model], where: str, remedy: str) -> Iterator[Model]:
    """The rows of a JSONL file's bytes. Raises StepMissingError, which ends with `remedy`."""
    for number, text in _numbered(data):
        try:
            row = model.model_validate_json(text)
        except ValidationError as error:
            raise StepMissingError(unreadable(f"{where}, line {number},", error, remedy)) from error
        yield row


def write_versions(shared: Store, versions: list[str | None]) -> str:
    """Write the versions of a shard's images; returns the hash that names the file."""
    data = json.dumps(versions, separators=(",", ":")).encode()
    digest = sha256(data)[:32]
    shared.write(layout.versions_path(digest), data)
    return digest


def _noted(receipt: Receipt, path: str) -> dict[str, str]:
    return {path: receipt.outputs.get(path, "")}


def _lines(rows: Iterable[BaseModel]) -> bytes:
    return b"".join(map(line, rows))


def _numbered(data: bytes) -> Iterator[tuple[int, bytes]]:
    return ((number, text) for number, text in enumerate(io.BytesIO(data), start=1) if text.strip())
