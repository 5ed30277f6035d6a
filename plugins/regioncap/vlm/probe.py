"""What is asked of the servers before the first row: whether they are there, and serve the model."""

import asyncio

from regioncap.errors import VlmSetupError
from regioncap.vlm.client import Server, VlmClient
from regioncap.vlm.faults import PASSING, RefusedError
from regioncap.vlm.protocol import Models


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
