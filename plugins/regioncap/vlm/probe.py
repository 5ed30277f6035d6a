"""What is asked of the servers before the first row: whether they are there, and serve the model."""

import asyncio
import json
from contextlib import suppress
from difflib import get_close_matches

from regioncap.errors import VlmSetupError
from regioncap.vlm.client import Server, VlmClient
from regioncap.vlm.faults import PASSING, NotThereError, RefusedError
from regioncap.vlm.protocol import ChatCompletion, Models
from regioncap.vlm.requests import GREETING

# So many models are named in an error.
_MOST_NAMED = 5


async def check(client: VlmClient) -> None:
    """Make sure that at least one server is there, and that those that are serve the model.

    Raises VlmUnavailableError or VlmSetupError.
    """
    await client.patiently(lambda: _check_all(client))


async def _check_all(client: VlmClient) -> None:
    results = await asyncio.gather(*(_check_one(client, server) for server in client.servers), return_exceptions=True)
    errors = [error for error in results if error is not None]
    for error in errors:
        if not isinstance(error, PASSING):
            raise error
    if len(errors) == len(client.servers):
        raise errors[0]


async def _check_one(client: VlmClient, server: Server) -> None:
    model = client.endpoint.model
    try:
        models = await client.request(server, "GET", "/models", Models)
    except NotThereError:
        # It has no list: what it knows turns out when it is greeted, whatever it thinks of how that is written.
        with suppress(RefusedError):
            await _greet(client, server)
        return
    except RefusedError as error:
        raise VlmSetupError(
            f"what listens at {server.url} is no server of a model: correct the connection's host ({error})"
        ) from error
    served = [listed.id for listed in models.data]
    # Some lists have it as models/<model>.
    if not {model, f"models/{model}"} & set(served):
        raise VlmSetupError(
            f"the server at {server.url} serves {_some(served, model)}, not {model!r}: correct `model` in the "
            "connection's extra, or the server's model name"
        )


async def _greet(client: VlmClient, server: Server) -> None:
    body = client.dialect.written({**GREETING, "model": client.endpoint.model})
    await client.request(server, "POST", "/chat/completions", ChatCompletion, json.dumps(body).encode())


def _some(served: list[str], model: str) -> str:
    """The models that a server has, or of many those that are named most like this one."""
    if len(served) <= _MOST_NAMED:
        return ", ".join(served) or "no model"
    named = get_close_matches(model, served, _MOST_NAMED) or served[:_MOST_NAMED]
    return f"{', '.join(named)} and {len(served) - len(named)} more"
