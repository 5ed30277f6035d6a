"""The plan of a build: what a run is going to do, as every later step reads it."""

from pydantic import BaseModel, ConfigDict, ValidationError

from regioncap.config.settings import BuildSettings
from regioncap.errors import StepMissingError
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.work import layout


class Plan(BaseModel):
    """What a run is going to do, as every later step reads it from the work area.

    `shards_to_propose` are those of `shards` with rows for which the model is to be asked for boxes. `current_build` is
    the one that was published when the plan was made. `sources` names for a shard those of this build that hold its
    rows: their answers are taken over.
    """

    # A field that is not known may have shaped what the run builds: it is not ignored.
    model_config = ConfigDict(extra="forbid", frozen=True)

    plan_id: str
    date: str
    drop_uri: str
    settings: BuildSettings
    model: str
    fingerprint: str
    identity: str
    rows: int
    rejected: int
    shards: list[str]
    shards_to_propose: list[str]
    sources: dict[str, list[str]]
    unchanged: bool
    ask_again: str
    current_build: str | None = None

    def save(self, work: Store) -> None:
        """Write the plan into the partition's work area."""
        work.write(layout.plan_path(self.plan_id), self.model_dump_json(indent=2).encode())

    @classmethod
    def load(cls, work: Store, plan_id: str) -> "Plan":
        """Read the plan back. Raises NotFoundError, and StepMissingError where it is damaged or another version's."""
        path = layout.plan_path(plan_id)
        try:
            return cls.model_validate_json(work.read(path))
        except ValidationError as error:
            remedy = "it is damaged, or was made by another version of RegionCap: clear the run's plan task"
            raise StepMissingError(unreadable(f"{work.uri}/{path}", error, remedy)) from error
