"""What may come of a request instead of an answer, and whose fault it is."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from pydantic import ValidationError

from regioncap.errors import VlmSetupError
from regioncap.vlm.protocol import Body, error_in


class RefusedError(Exception):
    """The server takes the request itself for malformed."""


class NotThereError(VlmSetupError):
    """The server does not know the path, or the model."""


class FailsAtItError(Exception):
    """The server failed at the request again and again, and answered another one each time."""


class EndsServerError(Exception):
    """The server ended each time that it was asked this alone."""


class FailureError(Exception):
    """The server failed at the request, or what answers is not the server."""


class LostError(FailureError):
    """The server that had the request is gone, says what stands before it, or it says so itself."""


class UnfinishedError(FailureError):
    """The server ended its answer before it was whole, and not for want of room."""


class BusyError(FailureError):
    """The server says that it cannot answer now, and maybe in how many seconds it can."""

    retry_after: float | None = None


# A connection lost, a time-out, an overload, a server error, or a body that is none of the protocol (a proxy's page,
# half a message): all may pass.
PASSING = (aiohttp.ClientError, TimeoutError, FailureError, ValidationError)
# What ends together with all else that its server had under way: whose fault it is, it does not say.
LOST = (aiohttp.ClientError, LostError)
# What has not come to any server.
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

# What vLLM answers to all that is under way where its engine has died (EngineDeadError, vllm/v1/engine/exceptions.py).
_LAST_WORD = "EngineCore encountered an issue"

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "": 1.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|$)", re.ASCII)
_DURATION = re.compile(rf"(?:{_TIME.pattern})+", re.ASCII)


def answer_in(body: bytes, form: type[Body]) -> Body:
    """A good answer's body in this form. Raises FailureError in the server's own words, or ValidationError."""
    try:
        return form.model_validate_json(body)
    except ValidationError:
        said = error_in(body)
        if said:
            raise FailureError(said) from None
        raise


def fault_of(status: int, message: str, url: str, model: str) -> Exception:
    """What a status other than 200 means, where the server at `url` that was asked for `model` says `message`."""
    if status in (400, 413, 422):
        return RefusedError(message or f"HTTP {status}, without a word")
    if status in (401, 403):
        return VlmSetupError(f"the server at {url} refuses the API key: correct the connection's password")
    if status in (404, 405, 501):
        return NotThereError(
            f"the server at {url} does not know the model {model!r} or the path: "
            f"correct the connection's host (it ends in /v1) or `model` in its extra ({message})"
        )
    if status in (502, 504) or _LAST_WORD in message:
        return LostError(f"HTTP {status}: {message}")
    return (BusyError if status in (429, 503) else FailureError)(f"HTTP {status}: {message}")


def asked_again_in(headers: Mapping[str, str], now: datetime) -> float | None:
    """In how many seconds a server that has too much to do is to be asked again; None where its headers do not tell.

    `Retry-After` says it, in seconds or as a date. Where it is not there, the limits of hosted APIs do, as OpenAI
    tells them (https://platform.openai.com/docs/guides/rate-limits): that of which nothing remains has to be whole
    again. Where requests are left, it was the tokens that did not suffice.
    """
    said = retry_after_seconds(headers.get("Retry-After", ""), now)
    if said is not None:
        return said
    resets = {
        limit: (headers.get(f"x-ratelimit-remaining-{limit}", "").strip(), seconds)
        for limit in ("requests", "tokens")
        if (seconds := _reset_seconds(headers.get(f"x-ratelimit-reset-{limit}", ""))) is not None
    }
    used_up = [seconds for remaining, seconds in resets.values() if remaining == "0"]
    if used_up:
        return max(used_up)
    return resets["tokens"][1] if "tokens" in resets else None


def _reset_seconds(told: str) -> float | None:
    """The seconds in `6m0s`, `12ms`, or a bare number of seconds; None where it is neither."""
    told = told.strip()
    if not _DURATION.fullmatch(told):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _TIME.findall(told))


def retry_after_seconds(header: str, now: datetime) -> float | None:
    """In how many seconds to ask again, by `Retry-After`'s value: seconds, or a date. None where it says neither."""
    try:
        return max(0.0, float(header)) if header.strip().isdigit() else _until(header, now)
    except ValueError:
        return None


def _until(date: str, now: datetime) -> float:
    then = parsedate_to_datetime(date)
    return max(0.0, ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds())
