"""What is used of OpenAI's chat API: the bodies, and the calls (https://platform.openai.com/docs/api-reference/chat)."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidatorFunctionWrapHandler, field_validator

from regioncap.captions.thoughts import as_thoughts

# What is told of an error: so many characters, and so many faults of a list.
_LONGEST, _MOST_FAULTS = 500, 10
# The fields that hold the sentence, or what holds it.
_SAYING = ("message", "error", "errors", "detail")

Body = TypeVar("Body", bound=BaseModel)


class Part(BaseModel):
    """A part of a message: a text, or what the model thought before it."""

    text: str | None = None
    thinking: "str | list[Part] | None" = None


class Message(BaseModel):
    """What the model wrote. Servers that tell thoughts from answers give them under one of two names."""

    # Some servers answer in parts.
    content: str | list[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """All of its text; where there are only thoughts, these, marked as such: they are no answer."""
        said = _texts(self.content) or self.refusal or ""
        return said if said.strip() or not self.thoughts else as_thoughts(self.thoughts)

    @property
    def thoughts(self) -> str:
        """What the server tells from the answer as the model's thoughts."""
        return self.reasoning_content or self.reasoning or _thoughts(self.content)


class Likely(BaseModel):
    """A token that the model may write, its bytes in UTF-8 where it is told, and the logarithm of its probability."""

    token: str
    bytes: list[int] | None = None
    logprob: float


class Written(Likely):
    """A token that the model wrote, and the likeliest ones in its place."""

    top_logprobs: list[Likely] = []


class Logprobs(BaseModel):
    """How likely the answer's tokens are."""

    content: list[Written] | None = None


class Choice(BaseModel):
    """An answer of the model."""

    message: Message
    finish_reason: str | None = None
    logprobs: Logprobs | None = None

    @field_validator("logprobs", mode="wrap")
    @classmethod
    def _of_this_form(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Logprobs | None:
        """Of another form they say nothing here, and the answer is none the worse for it."""
        try:
            read: Logprobs | None = handler(value)
            return read
        except ValueError:
            return None

    @property
    def probabilities(self) -> dict[str, float] | None:
        """How likely each of the likeliest first tokens was; None where the server does not tell."""
        if self.logprobs is None or not self.logprobs.content:
            return None
        first = self.logprobs.content[0]
        told = {likely.token: _probability(likely.logprob) for likely in (first, *first.top_logprobs)}
        return {token: probability for token, probability in told.items() if probability}

    def unsure(self, sure: float) -> list[tuple[int, float]] | None:
        """The tokens that were less likely than `sure`: where each begins in the text, and its probability.

        None where the server does not tell, or tells of other tokens than those of the text.
        """
        if self.logprobs is None or not self.logprobs.content:
            return None
        pieces = [bytes(each.bytes) if each.bytes else each.token.encode() for each in self.logprobs.content]
        written = b"".join(pieces)
        # Before it there may be thoughts, and after it tokens that end it.
        begin, text = written.find(self.message.text.encode()), self.message.text.encode()
        if begin < 0 or not text:
            return None
        found, at = [], -begin
        for each, piece in zip(self.logprobs.content, pieces, strict=True):
            probability = _probability(each.logprob)
            if 0 <= at < len(text) and probability < sure:
                found.append((len(text[:at].decode(errors="ignore")), probability))
            at += len(piece)
        return found

    @property
    def cut_off(self) -> bool:
        """Whether there was no more room for tokens."""
        return self.finish_reason in ("length", "max_tokens")


class Usage(BaseModel):
    """How many tokens there were."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ChatCompletion(BaseModel):
    """What a chat request is answered with."""

    choices: list[Choice]
    usage: Usage | None = None
    # Of whatever form: see `told.of_answers`.
    model: Any = None


class ServedModel(BaseModel):
    """A model that the server knows, and how many tokens question and answer may have together; only vLLM tells.

    What follows tells it from others of the same name: see `told.of_list`.
    """

    id: str
    max_model_len: int | None = None
    # Of whatever form: what is not understood is not told.
    root: Any = None
    parent: Any = None
    meta: Any = None


class Models(BaseModel):
    """The models that the server knows."""

    data: list[ServedModel]


class Version(BaseModel):
    """What vLLM's `/version` says."""

    version: str


class Tokenized(BaseModel):
    """How many tokens a request has, as vLLM's `/tokenize` tells."""

    count: int
    max_model_len: int


def error_message(body: bytes | bytearray) -> str:
    """What the server says of an error, as far as it can be told, in a line: it goes into logs."""
    text = bytes(body).decode("utf-8", "replace")
    return _in_a_line(_sentence(text) or text)


def error_in(body: bytes | bytearray) -> str:
    """What the server says of an error in a body that should be an answer; empty where there is no such thing."""
    text = bytes(body).decode("utf-8", "replace")
    streamed = "it answers in a stream of events, which it was not asked for" if text.startswith("data:") else ""
    return _in_a_line(_sentence(text) or streamed)


def _probability(logprob: float) -> float:
    return round(math.exp(min(logprob, 0.0)), 6) if logprob == logprob else 0.0


def _sentence(text: str) -> str:
    return _said(_parsed(text)) or next(filter(None, map(_said, _events(text))), "")


def _in_a_line(text: str) -> str:
    shown = "".join(character if character.isprintable() else " " for character in text[:_LONGEST])
    return " ".join(shown.split())


def _events(text: str) -> Iterator[Any]:
    """The data of server-sent events: a server that has begun a stream tells of errors so."""
    return (_parsed(line.removeprefix("data:")) for line in text.splitlines() if line.startswith("data:"))


def _parsed(text: str) -> Any:
    """A text as JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _said(body: Any) -> str:
    """The sentence in an error's body, which each server puts somewhere else."""
    if isinstance(body, str):
        # A gateway quotes what the server behind it has answered.
        return (_said(_parsed(body)) if body.startswith(("{", "[")) else "") or body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_said, body[:_MOST_FAULTS])))
    if not isinstance(body, dict):
        return ""
    if isinstance(body.get("msg"), str):
        # One of pydantic's, with the field that it is about.
        place = ".".join(map(str, body["loc"])) if isinstance(body.get("loc"), list) else ""
        return ": ".join(filter(None, (place, body["msg"])))
    return next(filter(None, (_said(body.get(name)) for name in _SAYING)), "")


def _texts(content: str | list[Part] | None) -> str:
    return "".join(part.text or "" for part in content) if isinstance(content, list) else content or ""


def _thoughts(content: str | list[Part] | None) -> str:
    if not isinstance(content, list):
        return ""
    return "".join(_texts(part.thinking) for part in content)


def any_answer(answer: Any) -> Any:
    """Whatever it says."""
    return answer


@dataclass(frozen=True)
class Call(Generic[Body]):
    """What is sent to a path, None where it is only read, and the form of its answer.

    What does not pass `check` is no answer.
    """

    path: str
    form: type[Body]
    body: bytes | None = None
    check: Callable[[Body], Body] = any_answer


MODELS = Call("/models", Models)


def chat(body: bytes, check: Callable[[ChatCompletion], ChatCompletion] = any_answer) -> Call[ChatCompletion]:
    """A request as it is sent."""
    return Call("/chat/completions", ChatCompletion, body, check)
