"""What the VLM's servers returned for a shard's requests, as it is kept in the work area."""

import logging
import re
import time
from collections.abc import Iterable, Mapping

from regioncap.regions.jsonl import line
from regioncap.storage.store import Store
from regioncap.vlm.completion import ENDED, Completion
from regioncap.work import layout
from regioncap.work.plan import Plan
from regioncap.work.receipts import sha256
from regioncap.work.shard import readable_lines

_log = logging.getLogger(__name__)

_HASH_CHARACTERS = 32
_HASH = re.compile(rf"-([0-9a-f]{{{_HASH_CHARACTERS}}})\.jsonl$")


def load_completions(store: Store, folder: str) -> dict[str, Completion]:
    """What a shard's earlier tries left in `folder`, by the request's key: one with a text, or else a refusal.

    Damaged ones are not there.
    """
    completions: dict[str, Completion] = {}
    for part in list(store.list(folder)):
        for completion in read_part(store, part.path):
            before = completions.get(completion.key)
            if before is None or before.refused is not None or completion.refused is None:
                completions[completion.key] = completion
    return completions


def write_part(store: Store, folder: str, completions: Iterable[Completion]) -> str:
    """Write completions as a part of its own, named by time, so that a person sees the order, and by what is in it.

    Returns its path.
    """
    return write_lines(store, folder, b"".join(map(line, completions)))


def write_lines(store: Store, folder: str, data: bytes) -> str:
    """The same for the lines of completions."""
    path = f"{folder}{time.time_ns()}-{sha256(data)[:_HASH_CHARACTERS]}.jsonl"
    store.write(path, data)
    return path


def read_part(store: Store, path: str) -> list[Completion]:
    """The completions of a part. What cannot be read, or is not what was written, is not there, and the log says so."""
    data = store.read(path)
    named = _HASH.search(path)
    # 0.1 named its parts by time alone.
    if named and sha256(data)[:_HASH_CHARACTERS] != named[1]:
        _log.warning("%s/%s is not what was written: what it answers is asked again", store.uri, path)
        return []
    return readable_lines(data, Completion, f"{store.uri}/{path}")


def without_refusals(completions: Mapping[str, Completion]) -> dict[str, Completion]:
    """What need not be asked: a refusal says how the server was then, so each try of a task asks once more."""
    return {key: completion for key, completion in completions.items() if completion.refused is None}


def of_ended_servers(completions: Mapping[str, Completion]) -> dict[str, Completion]:
    """The completions of requests that ended a server: they are sent again to another server, and not to the same."""
    return {key: completion for key, completion in completions.items() if completion.finish_reason == ENDED}


def that_count(completions: Mapping[str, Completion]) -> dict[str, Completion]:
    """What says something to another plan."""
    return {**without_refusals(completions), **of_ended_servers(completions)}


def earlier_completions(work: Store, plan: Plan, shard_id: str, folder: str) -> dict[str, Completion]:
    """The completions that earlier plans left about the images of this shard, by the request's key."""
    own = work.sub(layout.plan_shard_path(plan.plan_id, shard_id))
    completions = load_completions(own, layout.earlier_path(folder))
    for source in plan.sources[shard_id]:
        completions |= that_count(load_completions(work.sub(layout.shard_path(source)), folder))
    return completions
