"""What the VLM's servers returned for a shard's requests, as it is kept in the work area."""

from collections.abc import Mapping

from regioncap.storage.store import Store
from regioncap.vlm.client import Completion
from regioncap.work import layout, shard
from regioncap.work.plan import Plan


def load_completions(store: Store, folder: str) -> dict[str, Completion]:
    """What a shard's earlier tries left in `folder`, by the request's key: one with a text, or else a refusal.

    Damaged ones are not there.
    """
    completions: dict[str, Completion] = {}
    for part in list(store.list(folder)):
        for completion in shard.readable_lines(store, part.path, Completion):
            before = completions.get(completion.key)
            if before is None or before.refused is not None or completion.refused is None:
                completions[completion.key] = completion
    return completions


def without_refusals(completions: Mapping[str, Completion]) -> dict[str, Completion]:
    """What need not be asked: a refusal says how the server was then, so each try of a task asks once more."""
    return {key: completion for key, completion in completions.items() if completion.refused is None}


def published_completions(work: Store, plan: Plan, shard_id: str, folder: str) -> dict[str, Completion]:
    """The completions in the shards of the published build that hold the rows of this shard, by the request's key."""
    completions: dict[str, Completion] = {}
    for source in plan.sources[shard_id]:
        completions |= without_refusals(load_completions(work.sub(layout.shard_path(source)), folder))
    return completions
