"""What the answers about a shard cost the build that is being made."""

from collections.abc import Iterable

from regioncap.vlm.completion import Completion
from regioncap.work.counts import Spending
from regioncap.work.plan import Plan

# So many are kept before their times are put together.
_KEPT = 512


class Bill:
    """Adds up what the build of a plan has paid for, in all tries and runs that it took.

    What another build has paid for is not on it, nor what the one has that was published before, be it of the same drop
    and settings.
    """

    def __init__(self, plan: Plan) -> None:
        self._build = plan.bill_key
        self._added: list[Completion] = []
        self._spent = Spending()

    def signed(self, completion: Completion) -> Completion:
        """What has just been answered for the build."""
        return completion.model_copy(update={"build": self._build})

    def add(self, completions: Iterable[Completion]) -> None:
        """Put on the bill what of these the build has paid for."""
        for completion in completions:
            if completion.build == self._build:
                self._added.append(completion)
                if len(self._added) >= _KEPT:
                    self._put_together()

    @property
    def spent(self) -> Spending:
        """All that is on it."""
        self._put_together()
        return self._spent

    def _put_together(self) -> None:
        self._spent = Spending.together((self._spent, Spending.of(self._added)))
        self._added = []
