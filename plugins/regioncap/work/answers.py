"""The raw answers that a shard's tasks have had, as they are kept in the work area."""

from collections.abc import Mapping

from regioncap.storage.store import Store
from regioncap.vlm.client import Completion
from regioncap.work import layout, shard
from regioncap.work.plan import Plan


def load_answers(store: Store, folder: str) -> dict[str, Completion]:
    """What a shard's earlier tries left in `folder`, by the request's key: an answer, or else a refusal.

    Damaged ones are not there.
    """
    answers: dict[str, Completion] = {}
    for part in list(store.list(folder)):
        for answer in shard.readable_lines(store, part.path, Completion):
            before = answers.get(answer.key)
            if before is None or before.refused is not None or answer.refused is None:
                answers[answer.key] = answer
    return answers


def without_refusals(answers: Mapping[str, Completion]) -> dict[str, Completion]:
    """What need not be asked: a refusal says how the server was then, so each try of a task asks once more."""
    return {key: answer for key, answer in answers.items() if answer.refused is None}


def published_answers(work: Store, plan: Plan, shard_id: str, folder: str) -> dict[str, Completion]:
    """The answers in the shards of the published build that hold the rows of this shard, by the request's key."""
    answers: dict[str, Completion] = {}
    for source in plan.sources[shard_id]:
        answers |= without_refusals(load_answers(work.sub(layout.shard_path(source)), folder))
    return answers
