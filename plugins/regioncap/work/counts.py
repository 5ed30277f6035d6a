"""What a shard's caption task counted and how long it took, for the report; of other tasks their receipts say it."""

from pydantic import BaseModel, ConfigDict

from regioncap.storage.readback import informing
from regioncap.storage.store import Store
from regioncap.work import layout


class AskCounts(BaseModel):
    """Of a shard's questions: how many there are, and how many an earlier try or the published build had answered.

    `asked` is how many requests were sent: a question whose answer fails takes further attempts. `schema_ignored` says
    that the server does not make the model follow a JSON schema, though it was asked to; `held_back` what held asking
    back, in a sentence, where that could be told.
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


def load_counts(store: Store) -> AskCounts | None:
    """What the shard's last caption task counted; None where that cannot be had."""
    return informing(store, layout.CAPTION_COUNTS, AskCounts)
