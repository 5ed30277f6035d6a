"""What a shard's caption task counted and how long it took, for the report; of other tasks their receipts say it."""

from collections import defaultdict
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from regioncap.storage.readback import informing
from regioncap.storage.store import Store
from regioncap.vlm.completion import Completion
from regioncap.work import layout

# A server that has nothing for so short a time is not free for anything else.
PAUSE_SECONDS = 1.0


class Spending(BaseModel):
    """What asking took: requests that were answered, their tokens, and when any of them was under way at a server.

    `under_way` has for each server's address the times, in seconds since 1970, from when to when; they do not overlap.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    under_way: dict[str, list[tuple[float, float]]] = {}

    @classmethod
    def of(cls, completions: Iterable[Completion]) -> "Spending":
        """What these took."""
        answered = [completion for completion in completions if completion.refused is None]
        times: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for completion in answered:
            if completion.at_server:
                times[completion.at_server].append((round(completion.at - completion.took, 3), completion.at))
        return cls(
            requests=len(answered),
            prompt_tokens=sum(completion.prompt_tokens for completion in answered),
            completion_tokens=sum(completion.completion_tokens for completion in answered),
            under_way={server: _merged(spans) for server, spans in times.items()},
        )

    @classmethod
    def together(cls, all_spent: Iterable["Spending"]) -> "Spending":
        """What all took. Where several tasks had requests under way at a server at once, that time counts once."""
        requests = prompt_tokens = completion_tokens = 0
        times: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for spent in all_spent:
            requests += spent.requests
            prompt_tokens += spent.prompt_tokens
            completion_tokens += spent.completion_tokens
            for server, spans in spent.under_way.items():
                times[server] += spans
        under_way = {server: _merged(spans) for server, spans in times.items()}
        return cls(
            requests=requests,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            under_way=under_way,
        )

    @property
    def server_seconds(self) -> float:
        """In how many seconds a server had something under way, of all servers together."""
        return sum(end - start for spans in self.under_way.values() for start, end in spans)


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The spans in order, those that overlap, or follow each other at once, as one."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= PAUSE_SECONDS:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


class AskCounts(BaseModel):
    """Of a shard's questions: how many there are, and how many an earlier try or the published build had answered.

    `asked` is how many requests were sent: a question whose answer fails takes further attempts. `schema_ignored` says
    that the server does not make the model follow a JSON schema, though it was asked to; `held_back` what held asking
    back, in a sentence, where that could be told. `spent` is what was paid for all answers of the build about the
    shard, those of earlier tries and runs included.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    questions: int
    kept: int
    taken_over: int
    asked: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    schema_ignored: bool
    held_back: str = ""
    # Not known to tasks from before it was counted.
    spent: Spending | None = None


def note_spent(store: Store, spent: Spending) -> None:
    """Note what the shard's captions have cost by now, where more was asked after its caption task had counted."""
    counts = load_counts(store)
    if counts is not None:
        store.write(layout.CAPTION_COUNTS, counts.model_copy(update={"spent": spent}).model_dump_json().encode())


def load_counts(store: Store) -> AskCounts | None:
    """What the shard's last caption task counted; None where that cannot be had."""
    return informing(store, layout.CAPTION_COUNTS, AskCounts)
