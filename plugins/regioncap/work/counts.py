"""What a shard's tasks counted and how long they took, for the report."""

from pydantic import BaseModel, ConfigDict

from regioncap.storage.readback import informing
from regioncap.storage.store import Store
from regioncap.work import layout


class RenderCounts(BaseModel):
    """What the shard's last render task did, and in how many seconds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    marked: int
    rejected: int
    seconds: float


def load_render_counts(store: Store) -> RenderCounts | None:
    """What the shard's last render task counted; None where that cannot be had."""
    return informing(store, layout.RENDER_COUNTS, RenderCounts)


class AskCounts(BaseModel):
    """Of a shard's questions: how many there are, and how many an earlier try or the published build had answered.

    `asked` is how many requests were sent: a question whose answer fails takes further attempts. `schema_ignored` says
    that the server does not make the model follow a JSON schema, though it was asked to.
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


def load_counts(store: Store) -> AskCounts | None:
    """What the shard's last caption task counted; None where that cannot be had."""
    return informing(store, layout.CAPTION_COUNTS, AskCounts)
