"""What was asked of the VLM for a build, where that is bounded: one small file for all tasks that ask."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regioncap.errors import ConflictError, NotFoundError, StorageError
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.work import layout
from regioncap.work.plan import Plan

# Whoever loses the race for a write reads again; nobody loses so often.
_TRIES = 1000


class Spent(BaseModel):
    """How many requests and tokens, and how much money, were spent, or are set aside for requests under way."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    requests: int = Field(0, ge=0)
    tokens: int = Field(0, ge=0)
    money: float = Field(0.0, ge=0)


class Ledger:
    """What all runs have spent for the build that a plan makes: that of this drop, with these settings and this model.

    `work` is rooted at the build's date.
    """

    def __init__(self, work: Store, plan: Plan) -> None:
        self._work = work
        self._path = layout.spent_path(plan.build_key)

    def read(self) -> Spent:
        """What is spent. Raises StorageError where that cannot be told."""
        return self._read()[0]

    def change(self, changed: Callable[[Spent], Spent]) -> Spent:
        """Write what `changed` makes of what is spent, whoever else writes; returns that."""
        for _ in range(_TRIES):
            spent, version = self._read()
            now = changed(spent)
            if now == spent:
                return now
            try:
                self._work.replace(self._path, now.model_dump_json().encode(), version)
            except ConflictError:
                continue
            return now
        raise ConflictError(f"{self._work.uri}/{self._path}: other tasks wrote it {_TRIES} times in a row")

    def _read(self) -> tuple[Spent, str | None]:
        try:
            # The version is read first: if the file changes in between, `replace` is refused.
            version = self._work.stat(self._path).version
            return Spent.model_validate_json(self._work.read(self._path)), version
        except NotFoundError:
            return Spent(), None
        except ValidationError as error:
            remedy = "how much was asked cannot be told: delete it to count from nothing"
            raise StorageError(unreadable(f"{self._work.uri}/{self._path}", error, remedy)) from error
