"""What came of one request, as it is kept."""

from pydantic import BaseModel, ConfigDict

# A token that was less likely than this was not sure: of the demo model's captions, a tenth has one, and nearly all in
# which it takes one thing for another (`make bench-trust`).
SURE = 0.99
# The `finish_reason` of a completion whose request ended the server each time.
ENDED = "ended"


class Completion(BaseModel):
    """What the server returned for one request, as it is kept in the work area.

    `refused` is the server's message where there is no answer, and `finish_reason` is why: it refused the request
    itself as malformed (`refused`), failed at it each time (`failed`), ended the answer each time before it was whole
    (`unfinished`), or ended itself each time (`ended`); `server` says which one it was, as far as that can be told.
    `context` is how many tokens question and answer may have together, where the server tells; `about` is what the
    request is about, as a hash of the image's path. `probabilities` are those of the answer's first token, by token,
    where these were asked for; `unsure` are the tokens of which the model was less sure than `SURE`, where that was
    asked for and told: where each begins in `text`, and how likely it was.
    For what it costs: it was answered `at` this time, in seconds since 1970, and was under way for the `took` seconds
    before, at the server's address `at_server` (a hash); it is on the bill of a `build` (see `ask/bill.py`).
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    text: str
    finish_reason: str
    refused: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    context: int | None = None
    about: str = ""
    server: str = ""
    seconds: float = 0.0
    probabilities: dict[str, float] | None = None
    unsure: list[tuple[int, float]] | None = None
    at: float = 0.0
    took: float = 0.0
    at_server: str = ""
    build: str = ""
