"""Receipts: what a step wrote for a shard and of what it made that, so that nothing else is taken for it.

A receipt is written last. A step that was ended half-way, one that another plan's run did, one that somebody only
marked as a success: none of them has left a receipt that fits.
"""

import hashlib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from regioncap.errors import NotFoundError, StepMissingError
from regioncap.regions.formats import Evidence
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Entry, Store
from regioncap.work.counts import AskCounts, Spending
from regioncap.work.plan import Plan


class Receipt(BaseModel):
    """What a step did with a shard in `seconds`. `inputs` and `outputs` are the SHA-256 of files of the plan's shard.

    `inputs` are those that earlier steps wrote and this one has read.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    plan_id: str
    identity: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    seconds: float


class StoredImage(BaseModel):
    """A marked image as the store listed it when it was written: its bytes, and what the service says of them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    bytes: int
    checksum: str | None

    def is_still(self, entry: Entry) -> bool:
        """Whether the service says that this is what is there now; a folder has nothing to say."""
        return self.checksum is not None and (self.bytes, self.checksum) == (entry.size, entry.checksum)


class ProposeSummary(BaseModel):
    """Of what `propose` did, what the report tells: what it paid for."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    spent: Spending | None = None


class ProposeReceipt(ProposeSummary, Receipt):
    """What `propose` did."""


class RenderSummary(BaseModel):
    """Of what `render` did, what the report tells; `evidence` is what the given boxes say of their declared format."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    seconds: float
    evidence: Evidence | None = None


class RenderReceipt(RenderSummary, Receipt):
    """What `render` did. `images` are the files of marked images and crops, by their paths in the shard's folder.

    `made_from` is a hash of the rows and images that it was done with (see `work/made_from.py`).
    """

    marked: int
    rejected: int
    images: dict[str, StoredImage]
    # Not known to work areas from before it was noted.
    made_from: str | None = None


class JudgeReceipt(Receipt):
    """What `judge` did: how many questions were `heard`, and what asking took.

    `asked_again` captions were asked for again, of which `mended` got one that is trusted. `reason` is why the shard is
    not judged, and `limited` why fewer questions were asked than were drawn, where it is so.
    """

    heard: int
    counts: AskCounts
    # What was paid for all of the judge's answers about the shard. Not known to tasks from before it was counted.
    spent: Spending | None = None
    asked_again: int = 0
    mended: int = 0
    reason: str | None = None
    limited: str | None = None


class ValidateReceipt(Receipt):
    """What `validate` did."""

    records: int
    rejected: int


class StageReceipt(Receipt):
    """What of a shard was staged: its marked images as they are in the folder of the build `build_id`, by their paths.

    `version` is the version of the file of records that were counted.
    """

    build_id: str
    version: str
    images: dict[str, StoredImage]


AnyReceipt = TypeVar("AnyReceipt", bound=Receipt)


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def write_all(store: Store, path: str, receipt: Receipt, files: Mapping[str, bytes]) -> None:
    """Write what a step made, and then its receipt, which gets the files' hashes for its `outputs`."""
    for name, data in files.items():
        store.write(name, data)
    outputs = {name: sha256(data) for name, data in files.items()}
    store.write(path, receipt.model_copy(update={"outputs": outputs}).model_dump_json().encode())


def load_receipt(store: Store, path: str, model: type[AnyReceipt], plan: Plan, remedy: str) -> AnyReceipt:
    """The receipt that a step of this plan left. Raises StepMissingError, which ends with `remedy`."""
    where = f"{store.uri}/{path}"
    try:
        receipt = model.model_validate_json(store.read(path))
    except NotFoundError:
        raise StepMissingError(f"{where} is missing: {remedy}") from None
    except ValidationError as error:
        raise StepMissingError(unreadable(where, error, remedy)) from error
    if (receipt.plan_id, receipt.identity) != (plan.plan_id, plan.identity):
        raise StepMissingError(f"{where} was written under the plan {receipt.plan_id}, not {plan.plan_id}: {remedy}")
    return receipt
