"""`_manifest.json`: which build of a partition is the current one. Whoever follows it sees one whole build."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError

from regioncap.errors import CommitRefusedError, ConflictError, ManifestError, NotFoundError
from regioncap.regions.jsonl import canonical
from regioncap.regions.records import EXAMPLE_SHA256
from regioncap.storage.readback import no_newer_than, parsed, unreadable
from regioncap.storage.store import Store
from regioncap.trust.estimate import Judged
from regioncap.warehouse.layout import MANIFEST, partition_path

SCHEMA_VERSION = "1.2"

# It names a few files for each shard, of which there are a thousand at most: none comes near to it.
MOST_BYTES = 16 << 20

# More rows and bytes than there are: beyond it, a share of them is no number any more.
_MOST = 10**15

_COMMIT_TRIES = 3

_RESTORE = (
    "restore it from the manifest of the build that is to be the current one (build=<id>/manifest.json), or delete it "
    "to start the date anew; the next run deletes builds that it does not list then"
)


class _Model(BaseModel):
    # What is written has these fields only; of what is read, others are ignored.
    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})


def _a_folder(name: str) -> str:
    # Nothing outside the partition is looked for, whoever has written the manifest.
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no folder of the partition")
    return name


def _a_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _countable(number: int) -> int:
    if number > _MOST:
        raise ValueError("that many there cannot be")
    return number


def in_utc(text: str) -> datetime:
    """A time that a manifest gives; what was written by hand may lack the zone. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


_Item = TypeVar("_Item")
# Of a list of rubbish, the first piece is told: to tell of each would take a thousand times its bytes of memory.
_List = Annotated[list[_Item], FailFast()]


_Number = Annotated[int, AfterValidator(_countable)]


class FileEntry(_Model):
    """A published file, relative to the partition."""

    path: str = Field(
        description="Where it is, relative to the partition.",
        examples=["build=20261123T161543Z-024ffe44/captions-00000-of-00001.jsonl"],
    )
    rows: _Number = Field(ge=0, description="How many lines it has.", examples=[45])
    bytes: _Number = Field(ge=0, description="Its size in bytes.", examples=[61234])
    sha256: str = Field(description="SHA-256 of its bytes, in hex.", examples=[EXAMPLE_SHA256])


class Counts(_Model):
    """`rows = captioned + rejected`, always."""

    rows: _Number = Field(ge=0, description="Rows in the drop's manifests.", examples=[52])
    captioned: _Number = Field(ge=0, description="Rows that became records.", examples=[45])
    rejected: _Number = Field(ge=0, description="Rows that did not.", examples=[7])
    regions: _Number = Field(ge=0, description="Described regions.", examples=[192])


class EarlierBuild(_Model):
    """A build that was the current one before, and is kept."""

    build_id: str = Field(
        description="The build's id; its folder is `build=<id>`.", examples=["20261122T001204Z-5be31c07"]
    )
    created_at: str = Field(description="When it was published, in UTC.", examples=["2026-11-22T00:12:04+00:00"])
    current_until: Annotated[str, AfterValidator(_a_time)] = Field(
        description="When another build took its place, in UTC.", examples=["2026-11-23T16:15:43+00:00"]
    )
    fingerprint: str = Field(
        description="A hash of its drop's files and of everything that shaped it.", examples=[EXAMPLE_SHA256]
    )
    withdrawn: bool = Field(
        description="Whether it was rolled back from. A run of the same drop and settings does not publish it again.",
        examples=[False],
    )

    @property
    def superseded(self) -> datetime:
        """When another build took its place."""
        return in_utc(self.current_until)


class Manifest(_Model):
    """What `_manifest.json` holds."""

    schema_version: Annotated[str, AfterValidator(no_newer_than(SCHEMA_VERSION))] = Field(
        default=SCHEMA_VERSION,
        description="The version of this file's form and of the records'.",
        examples=[SCHEMA_VERSION],
    )
    partition: str = Field(description="The partition's folder, `dt=<date>`.", examples=["dt=2026-10-05"])
    build_id: str = Field(description="The current build's unique id.", examples=["20261123T161543Z-024ffe44"])
    build: Annotated[str, AfterValidator(_a_folder)] = Field(
        description="The current build's folder, relative to the partition.",
        examples=["build=20261123T161543Z-024ffe44"],
    )
    captions: _List[FileEntry] = Field(description="The record files, in order.")
    rejected: FileEntry = Field(description="The file of the rows that did not become records.")
    exports: _List[FileEntry] = Field(default_factory=list, description="Files of exports, but for loose images.")
    files: FileEntry | None = Field(
        default=None,
        description="The list of all files of the build, images too; builds of version 1.0 have none.",
        examples=[
            {
                "path": "build=20261123T161543Z-024ffe44/_files.jsonl",
                "rows": 52,
                "bytes": 6890,
                "sha256": EXAMPLE_SHA256,
            }
        ],
    )
    counts: Counts = Field(description="How many rows became what.")
    created_at: str = Field(description="When the build was published, in UTC.", examples=["2026-11-23T16:15:43+00:00"])
    plan_id: str = Field(
        description="The plan that the build was made by, in the work area.", examples=["6e53a7886c8236d6"]
    )
    fingerprint: str = Field(
        description="A hash of the drop's files and of everything that shapes the build.", examples=[EXAMPLE_SHA256]
    )
    identity: str = Field(
        description="A hash of everything that shapes the build but the drop.", examples=[EXAMPLE_SHA256]
    )
    made_from: str | None = Field(
        default=None,
        description="A hash of the rows, the images and everything else that shapes the build, but not of the model's "
        "answers: builds of the same have the same. Those of version 1.0 have none.",
        examples=[EXAMPLE_SHA256],
    )
    judged: Judged | None = Field(
        default=None,
        description="How many captions are wrong, by estimate. Null where `judge` is `none`, and in builds from before "
        "there was one.",
    )
    corrections: _Number = Field(
        default=0,
        ge=0,
        description="How many lines the journal of corrections (`_corrections/`) had when the build was planned. Where "
        "it has fewer, the next run stops.",
        examples=[31],
    )
    forgotten: _Number = Field(
        default=0,
        ge=0,
        description="How many lines the list of forgotten images (`_forgotten/` in the warehouse) had when the build "
        "was planned, or made by `regioncap forget`. Where it has fewer, the next run stops.",
        examples=[2],
    )
    history: _List[EarlierBuild] = Field(
        default_factory=list, description="Earlier builds that are kept, the one that was current last first."
    )

    def of_another_date(self, place: str) -> bool:
        """Whether a folder, by its URI, is another date's than this manifest's: somebody has copied it there."""
        name = place.rstrip("/").rpartition("/")[2]
        return name.startswith(partition_path("")) and name != self.partition

    def is_up_to_date(self, fingerprint: str) -> bool:
        """Whether there is nothing to build for `fingerprint`: it is that of this build, or of one withdrawn."""
        withdrawn = {build.fingerprint for build in self.history if build.withdrawn}
        return fingerprint == self.fingerprint or fingerprint in withdrawn


def current(partition: Store) -> tuple[Manifest | None, str | None]:
    """The current manifest and its version, both None where nothing is published yet.

    Raises ManifestError where it is damaged, or of a newer form: it is the commit point, so nothing is guessed.
    """
    where = f"{partition.uri}/{MANIFEST}"
    try:
        # The version is read first: if another build is committed in between, our commit is refused.
        entry = partition.stat(MANIFEST)
        if entry.size > MOST_BYTES:
            raise ManifestError(f"{where} has {entry.size:,} bytes, more than any that RegionCap writes: {_RESTORE}")
        return parsed(Manifest, partition.read(MANIFEST)), entry.version
    except NotFoundError:
        return None, None
    except ValidationError as error:
        raise ManifestError(unreadable(where, error, _RESTORE)) from error


def manifest_at(place: Store, path: str) -> Manifest:
    """The manifest that a build has in its folder. Raises NotFoundError and ValidationError."""
    return parsed(Manifest, place.read(path))


def state_of(published: Manifest | None) -> str | None:
    """What a build is begun under: a hash of which build is the current one and which are kept; None without any.

    It is another one after each commit and roll-back, and the same after all else that is done to the manifest.
    """
    if published is None:
        return None
    kept = [[build.build_id, build.current_until, build.withdrawn] for build in published.history]
    return hashlib.sha256(canonical([published.build_id, kept])).hexdigest()


def check_state(partition: Store, manifest: Manifest, published: Manifest | None, begun_under: str | None) -> None:
    """Raise CommitRefusedError where `published` is not what `manifest`'s build was begun under."""
    if state_of(published) != begun_under:
        raise CommitRefusedError(
            f"{partition.uri} was published by another run meanwhile: its current build is "
            f"{published.build_id if published else 'gone'}. {manifest.build_id} is not made the current one; run it "
            "again if it should be"
        )


def commit(partition: Store, manifest: Manifest, begun_under: str | None) -> None:
    """Make `manifest`'s build the current one, provided that what it was begun under (see `state_of`) still holds.

    Raises CommitRefusedError where another build won. A refusal after our own write got through (its answer was lost
    on the way) is a success; one that nobody won (a service may refuse all who come at once) is tried again.
    """
    data = manifest.model_dump_json(indent=2).encode()
    for _ in range(_COMMIT_TRIES):
        published, version = current(partition)
        if published is not None and published.build_id == manifest.build_id:
            return
        check_state(partition, manifest, published, begun_under)
        with suppress(ConflictError):
            partition.replace(MANIFEST, data, version)
            return
    raise ConflictError(f"{partition.uri}/{MANIFEST} cannot be written, though nobody else publishes")
