"""`_manifest.json`: which build of a partition is the current one. Whoever follows it sees one whole build."""

from pydantic import BaseModel, ConfigDict, Field

from regioncap.builds.layout import MANIFEST
from regioncap.errors import PermanentError
from regioncap.storage.store import ConflictError, NotFoundError, Store

SCHEMA_VERSION = "1.0"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Model):
    """A published file, relative to the partition."""

    path: str
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str


class Counts(_Model):
    """`rows = captioned + rejected`, always."""

    rows: int = Field(ge=0, description="Rows in the drop's manifests.")
    captioned: int = Field(ge=0, description="Rows that became records.")
    rejected: int = Field(ge=0, description="Rows that did not.")
    regions: int = Field(ge=0, description="Described regions.")


class Manifest(_Model):
    """What `_manifest.json` holds."""

    schema_version: str = Field(
        default=SCHEMA_VERSION, description="The version of this file's form and of the records'."
    )
    partition: str = Field(description="The partition's folder, `dt=<date>`.")
    build_id: str = Field(description="The current build's unique id.")
    build: str = Field(description="The current build's folder, relative to the partition.")
    captions: list[FileEntry] = Field(description="The record files, in order.")
    rejected: FileEntry = Field(description="The rows that did not become records.")
    exports: list[FileEntry] = Field(default_factory=list, description="Files of exports, but for loose images.")
    counts: Counts
    created_at: str = Field(description="When the build was published, in UTC.")
    plan_id: str = Field(description="The plan that the build was made by, in the work area.")
    fingerprint: str = Field(description="A hash of the drop's files and of everything that shapes the build.")
    identity: str = Field(description="A hash of everything that shapes the build but the drop.")


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
