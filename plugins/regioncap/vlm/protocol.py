"""What is used of the bodies of OpenAI's chat API (https://platform.openai.com/docs/api-reference/chat)."""

from pydantic import BaseModel, ValidationError


class TextPart(BaseModel):
    """A part of a message."""

    text: str = ""


class Message(BaseModel):
    """What the model wrote."""

    # Some servers answer in parts.
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class Choice(BaseModel):
    """An answer of the model."""

    message: Message
    finish_reason: str | None = None


class Usage(BaseModel):
    """How many tokens there were."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ChatCompletion(BaseModel):
    """What a chat request is answered with."""

    choices: list[Choice]
    usage: Usage | None = None


class ServedModel(BaseModel):
    """A model that the server knows, and how many tokens question and answer may have together; only vLLM tells."""

    id: str
    max_model_len: int | None = None


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


class ErrorDetail(BaseModel):
    """What was wrong."""

    message: str


class ErrorBody(BaseModel):
    """What a request that failed is answered with."""

    error: ErrorDetail


def error_message(body: bytes | bytearray) -> str:
    """What the server says of an error, as far as it can be told, in a line: it goes into logs."""
    try:
        said = ErrorBody.model_validate_json(body).error.message[:500]
    except ValidationError:
        said = bytes(body[:200]).decode("utf-8", "replace")
    return " ".join("".join(character if character.isprintable() else " " for character in said).split())
