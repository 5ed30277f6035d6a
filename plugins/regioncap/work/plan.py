"""The plan of a build: what a run is going to do, as every later step reads it."""

import hashlib
import json
from bisect import bisect_left
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from regioncap.config.prices import Prices
from regioncap.config.settings import BuildSettings
from regioncap.errors import NotFoundError, StepMissingError
from regioncap.regions.jsonl import canonical
from regioncap.regions.served import Served, known_by
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.work import layout

# 0.1's ids have 16 characters, and say nothing of what is in a plan.
_ID_CHARACTERS = 32

_CLEAR = "clear the run's plan task"


class Plan(BaseModel):
    """What a run is going to do, as every later step reads it from the work area.

    `plan_id` is a hash of all the rest (`with_id`), so a plan never changes: what would be done otherwise is another
    one. `shards_to_propose` are those of `shards` with rows for which the model is to be asked for boxes.
    `rejected_rows` is a hash of the plan's rejected rows, `versions` names for each shard the file with the versions of
    its images, and `warnings` say what is unusual about the drop. `current_build` is the build that was published when
    the plan was made. `corrections` names the file with what people have corrected, if they have, and
    `corrected_lines` is how many lines their journal had. `images_uri` is where the images are. `sources` names for a
    shard those of earlier plans that hold its rows and have answers that do not say which image they are about: they
    are taken over from there (see `work/earlier.py`). `judge_share` is the share of regions that are drawn to be
    judged, by the model `judge_model` where that is another one, and `second_share` the share of these that are asked
    about once more. `prices` are what the deployment pays for asking.

    `served` is what was known of the model when the plan was made, beyond its name, and `judge_served` of the one that
    judges, where a server of its own does; `listen_again` is for its answers what `ask_again` is for captions, where
    it is another.

    `code` is a hash of the code that has made it (see `deciding_code`). `forgotten` are images that are not used, by
    the SHA-256 of their files, sorted, and `forgotten_lines` is how many lines the list of these had.
    """

    # A field that is not known may have shaped what the run builds: it is not ignored.
    model_config = ConfigDict(extra="forbid", frozen=True)

    plan_id: str = ""
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
    # Not known to plans of 0.1.
    rejected_rows: str = ""
    versions: dict[str, str] = {}
    warnings: list[str] = []
    corrections: str = ""
    corrected_lines: int = 0
    # Not known to plans from before there was a listener.
    judge_share: float = 0.0
    judge_model: str = ""
    second_share: float = 0.0
    images_uri: str = ""
    # Not known to plans from before it was noted, nor is what follows.
    code: str = ""
    forgotten: list[str] = []
    forgotten_lines: int = 0
    # Not known to plans from before costs were counted.
    prices: Prices | None = None
    # Not known to plans from before servers were asked for more of a model than its name.
    served: Served | None = None
    judge_served: Served | None = None
    listen_again: str | None = None

    @property
    def judge(self) -> str:
        """The model that judges."""
        return self.judge_model or self.model

    @property
    def listening_again(self) -> str:
        """What `ask_again` is for captions, for the listener's answers."""
        return self.ask_again if self.listen_again is None else self.listen_again

    @property
    def build_key(self) -> str:
        """What names the build that it makes in all runs: that of this drop, with these settings and this model."""
        return hashlib.sha256(canonical([self.fingerprint, self.ask_again])).hexdigest()[:_ID_CHARACTERS]

    @property
    def bill_key(self) -> str:
        """What names the bill that its answers are on: of the same drop and settings, each build has its own."""
        said = [self.fingerprint, self.ask_again, self.current_build]
        return hashlib.sha256(canonical(said)).hexdigest()[:16]

    def known_by(self, served: Served | None, judge_served: Served | None) -> tuple[str, str]:
        """Identity and fingerprint of its build, now that this is known of the models."""
        if self.served is not None or self.judge_served is not None:
            return self.identity, self.fingerprint
        return known_by(self.identity, served, judge_served), known_by(self.fingerprint, served, judge_served)

    def with_id(self) -> "Plan":
        """The plan under the id that belongs to it."""
        return self.model_copy(update={"plan_id": _hash_of(self.model_dump(mode="json"))})

    def save(self, work: Store) -> None:
        """Write the plan into the partition's work area."""
        work.write(layout.plan_path(self.plan_id), self.model_dump_json(indent=2).encode())

    @classmethod
    def load(cls, work: Store, plan_id: str) -> "Plan":
        """Read the plan back. Raises StepMissingError where it is missing, damaged or another version's."""
        path = layout.plan_path(plan_id)
        remedy = f"it is damaged, or was made by another version of RegionCap: {_CLEAR}"
        try:
            data = work.read(path)
            plan = cls.model_validate_json(data)
        except NotFoundError:
            raise StepMissingError(f"{work.uri}/{path} is missing: somebody deleted it; {_CLEAR}") from None
        except ValidationError as error:
            raise StepMissingError(unreadable(f"{work.uri}/{path}", error, remedy)) from error
        if len(plan_id) == _ID_CHARACTERS and not plan.plan_id == plan_id == _hash_of(json.loads(data)):
            raise StepMissingError(f"{work.uri}/{path} is not what was planned under this id: {remedy}")
        return plan


def _hash_of(content: dict[str, Any]) -> str:
    """A hash of all that a plan's file says but the id."""
    said = {name: value for name, value in content.items() if name != "plan_id"}
    return hashlib.sha256(canonical(said)).hexdigest()[:_ID_CHARACTERS]


def is_forgotten(image: bytes, plan: Plan) -> bool:
    """Whether an image, by the bytes of its file, was to be forgotten before the plan was made."""
    if not plan.forgotten:
        return False
    digest = hashlib.sha256(image).hexdigest()
    place = bisect_left(plan.forgotten, digest)
    return place < len(plan.forgotten) and plan.forgotten[place] == digest
