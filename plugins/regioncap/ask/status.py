"""How far a running build is, read from its work area."""

from contextlib import suppress
from dataclasses import dataclass

from regioncap.ask.pace import Pace
from regioncap.ask.requests import first_requests
from regioncap.errors import NotFoundError, StepMissingError
from regioncap.storage.store import Store
from regioncap.work import layout
from regioncap.work.completions import read_part
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard


@dataclass(frozen=True)
class Status:
    """`answers` to `questions` about `images` marked images are there by now, `rate` answers per second lately."""

    images: int
    questions: int
    answers: int
    rate: float


class BuildStatus:
    """Follows the build of one date; a file of the work area is read again only where it has changed."""

    def __init__(self, work: Store) -> None:
        self._work = work
        self._marked: dict[str, set[str]] = {}
        self._questions: dict[str, set[str]] = {}
        self._versions: dict[str, str] = {}
        self._answers: dict[str, set[str]] = {}
        self._pace = Pace()

    def update(self, plan_id: str | None) -> Status:
        """What there is of a plan's shards by now; nothing while there is no plan that can be read."""
        if plan_id is not None:
            with suppress(NotFoundError, StepMissingError):
                self._read_all(Plan.load(self._work, plan_id))
        keys = set[str]().union(*self._questions.values())
        answers = len(keys & set[str]().union(*self._answers.values()))
        images = len(set[str]().union(*self._marked.values()))
        return Status(images=images, questions=len(keys), answers=answers, rate=self._pace.note(answers))

    def _read_all(self, plan: Plan) -> None:
        for shard_id in plan.shards:
            with suppress(NotFoundError, StepMissingError):
                self._read(shard_id, plan)

    def _read(self, shard_id: str, plan: Plan) -> None:
        shard = Shard(self._work, plan, shard_id)
        version = shard.own.stat(layout.RECEIPTS["render"]).version
        if version != self._versions.get(shard_id):
            self._versions[shard_id] = version
            rows = list(shard.rendered().rows)
            self._marked[shard_id] = {row.marked for row in rows}
            self._questions[shard_id] = {request.key for row in rows for request in first_requests(row, plan)}
        for part in shard.shared.list(layout.ANSWERS):
            name = f"{shard_id}/{part.path}"
            if name not in self._answers:
                self._answers[name] = {answer.key for answer in read_part(shard.shared, part.path)}
