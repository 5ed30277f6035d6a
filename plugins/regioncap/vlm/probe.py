"""What is asked of the servers before the first row: whether they are there, and what they can do."""

import asyncio
import time
from contextlib import suppress

from regioncap.errors import VlmSetupError
from regioncap.vlm.client import Server, VlmClient
from regioncap.vlm.faults import PASSING, RefusedError
from regioncap.vlm.pace import silent_seconds
from regioncap.vlm.protocol import ChatCompletion, Models
from regioncap.vlm.requests import PROBED, schema_probe


async def check(client: VlmClient) -> None:
    """Make sure that at least one server is there, and that those that are serve the model.

    Raises VlmUnavailableError or VlmSetupError.
    """
    await client.patiently(lambda: _check_all(client))


async def _check_all(client: VlmClient) -> None:
    looks = {asyncio.create_task(_check_one(client, server)): server for server in client.servers}
    started = time.monotonic()
    done, pending = set[asyncio.Task[None]](), set(looks)
    while pending and not any(look.exception() is None for look in done):
        some, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= some
    if pending:
        # One that hangs is not waited for: it is asked again from time to time.
        late, pending = await asyncio.wait(pending, timeout=silent_seconds(time.monotonic() - started, 0))
        done |= late
    for look in pending:
        look.cancel()
        looks[look].away = True
    errors = [error for look in done if (error := look.exception()) is not None]
    for error in errors:
        if not isinstance(error, PASSING):
            raise error
    if len(errors) == len(client.servers):
        raise errors[0]


async def _check_one(client: VlmClient, server: Server) -> None:
    try:
        models = await client.request(server, "GET", "/models", Models)
    except RefusedError as error:
        raise VlmSetupError(
            f"what listens at {server.url} is no vLLM server: correct the connection's host ({error})"
        ) from error
    served = [model.id for model in models.data]
    if client.endpoint.model not in served:
        raise VlmSetupError(
            f"the server at {server.url} serves {', '.join(served) or 'no model'}, not "
            f"{client.endpoint.model!r}: correct `model` in the connection's extra, or the server's model name"
        )
    if len(client.servers) > 1:
        # One may be there, and answer nothing. What it refuses is another question.
        with suppress(RefusedError):
            await _ask_probe(client, server)


async def honours_schema(client: VlmClient) -> bool:
    """Whether the server makes an answer follow a JSON schema: one that ignores it answers as if nothing was amiss.

    Raises VlmUnavailableError, or VlmSetupError where the server refuses to be asked so.
    """
    try:
        completion = await client.patiently(lambda: _ask_probe(client, client.least_busy()))
    except RefusedError as error:
        raise VlmSetupError(
            f"the server at {client.name} refuses structured output: set the param answer_format to "
            f"free_text, or serve the model with a vLLM that has it ({error})"
        ) from error
    return bool(completion.choices) and completion.choices[0].message.text.strip() == PROBED


async def _ask_probe(client: VlmClient, server: Server) -> ChatCompletion:
    return await client.request(
        server, "POST", "/chat/completions", ChatCompletion, schema_probe(client.endpoint.model)
    )
