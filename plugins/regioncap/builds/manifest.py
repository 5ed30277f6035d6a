"""`_manifest.json`: which build of a partition is the current one. Whoever follows it sees one whole build."""

from pydantic import BaseModel, ConfigDict, Field

from regioncap.builds.layout import MANIFEST
from regioncap.errors import PermanentError
from regioncap.regions.records import EXAMPLE_SHA256
from regioncap.storage.store import ConflictError, NotFoundError, Store

SCHEMA_VERSION = "1.0"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Model):
    """A published file, relative to the partition."""

    path: str = Field(
        description="Where it is, relative to the partition.",
        examples=["build=20261123T161543Z-024ffe44/captions-00000-of-00001.jsonl"],
    )
    rows: int = Field(ge=0, description="How many lines it has.", examples=[45])
    bytes: int = Field(ge=0, description="Its size in bytes.", examples=[61234])
    sha256: str = Field(description="SHA-256 of its bytes, in hex.", examples=[EXAMPLE_SHA256])


class Counts(_Model):
    """`rows = captioned + rejected`, always."""

    rows: int = Field(ge=0, description="Rows in the drop's manifests.", examples=[52])
    captioned: int = Field(ge=0, description="Rows that became records.", examples=[45])
    rejected: int = Field(ge=0, description="Rows that did not.", examples=[7])
    regions: int = Field(ge=0, description="Described regions.", examples=[192])


class Manifest(_Model):
    """What `_manifest.json` holds."""

    schema_version: str = Field(
        default=SCHEMA_VERSION,
        description="The version of this file's form and of the records'.",
        examples=[SCHEMA_VERSION],
    )
    partition: str = Field(description="The partition's folder, `dt=<date>`.", examples=["dt=2026-10-05"])
    build_id: str = Field(description="The current build's unique id.", examples=["20261123T161543Z-024ffe44"])
    build: str = Field(
        description="The current build's folder, relative to the partition.",
        examples=["build=20261123T161543Z-024ffe44"],
    )
    captions: list[FileEntry] = Field(description="The record files, in order.")
    rejected: FileEntry = Field(description="The file of the rows that did not become records.")
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


class CommitRefusedError(PermanentError):
    """Another build of the partition was published first. The message says which."""


def current(partition: Store) -> tuple[Manifest | None, str | None]:
    """The current manifest and its version, both None where nothing is published yet."""
    try:
        # The version is read first: if another build is committed in between, our commit is refused.
        version = partition.stat(MANIFEST).version
        return Manifest.model_validate_json(partition.read(MANIFEST)), version
    except NotFoundError:
        return None, None


def commit(partition: Store, manifest: Manifest, version: str | None) -> None:
    """Make `manifest`'s build the current one, provided that the manifest still has `version`.

    Raises CommitRefusedError where another build won. A refusal after our own write got through (its answer was lost
    on the way) is a success.
    """
    try:
        partition.replace(MANIFEST, manifest.model_dump_json(indent=2).encode(), version)
    except ConflictError:
        winner, _ = current(partition)
        if winner is not None and winner.build_id == manifest.build_id:
            return
        raise CommitRefusedError(
            f"{partition.uri} was published by another run meanwhile: its current build is "
            f"{winner.build_id if winner else 'gone'}. This build is not published; run the date again if it should be"
        ) from None
