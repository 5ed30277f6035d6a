"""What is asked of the servers before the first row: whether they are there, and serve the model."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from urllib.parse import urlsplit

from regioncap.errors import VlmSetupError
from regioncap.regions.served import Served
from regioncap.vlm.client import VlmClient, connect
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.faults import PASSING, NotThereError, RefusedError
from regioncap.vlm.pace import silent_seconds
from regioncap.vlm.protocol import MODELS, Models
from regioncap.vlm.replicas import Server
from regioncap.vlm.requests import ChatRequest
from regioncap.vlm.told import ELSEWHERE, is_whole, of_answers, of_elsewhere, of_list

# A plan does not wait for a server that is not there yet.
_AT_ONCE_SECONDS = 5.0
# So many models are named in an error.
_MOST_NAMED = 5


async def check(client: VlmClient) -> None:
    """Make sure that at least one server is there, and that those that are serve the model.

    Raises VlmUnavailableError or VlmSetupError.
    """
    await client.patiently(lambda: _check_all(client))


async def served_model(endpoint: Endpoint) -> Endpoint:
    """The endpoint with the model that its server serves, where that is just one.

    Raises VlmUnavailableError and VlmSetupError.
    """
    async with connect(endpoint) as client:
        models = await client.patiently(lambda: client.wire.look(client.replicas.servers[0], MODELS))
    served = [model.id for model in models.data]
    if len(served) != 1:
        raise VlmSetupError(
            f"the server at {client.name} serves {_some(served, '') if served else 'no model that it names'}: "
            "say which model is to be asked"
        )
    return replace(endpoint, model=served[0])


async def identify(client: VlmClient) -> None:
    """Note which servers these are, as far as that can be told: by their hosts, versions and contexts."""
    await _note_versions(client)
    # A managed server has another port each time.
    named = sorted(f"{urlsplit(server.url).hostname} {server.version}".strip() for server in client.replicas.servers)
    client.identity = ", ".join([*named, f"context {client.context}"])


async def _note_versions(client: VlmClient) -> None:
    # One that is away would be waited for.
    there = [server for server in client.replicas.servers if not server.away]
    for server, version in zip(there, await asyncio.gather(*map(client.wire.version, there)), strict=True):
        server.version = version


async def tells(endpoint: Endpoint) -> Served | None:
    """What the servers that can be reached at once tell of the model; None where none can, or none has it.

    Raises VlmSetupError where two of them serve different ones.
    """
    async with connect(replace(endpoint, timeout_seconds=min(_AT_ONCE_SECONDS, endpoint.timeout_seconds))) as client:
        await look_again(client)
        for server in client.replicas.servers:
            server.away = server.told is None
        if all(server.away for server in client.replicas.servers):
            return None
        await _note_versions(client)
        return told_by(client)


async def look_again(client: VlmClient) -> Served:
    """What the servers tell of the model now, as far as they answer. Raises VlmSetupError as `told_by` does."""
    await asyncio.gather(*(_look_at(client, server) for server in client.replicas.servers if not server.away))
    return told_by(client)


async def _look_at(client: VlmClient, server: Server) -> None:
    """Note what a server tells of the model now. One that does not is asked another time."""
    # What does not tell this in time may be busy, and what does may answer nothing else: it is no sign of life.
    models = await client.wire.listed(server)
    if models is not None:
        await _note(client, server, models)


async def _note(client: VlmClient, server: Server, models: Models) -> bool:
    """Note what a server tells of the model; returns whether its list has it at all."""
    name = client.endpoint.model
    told = of_list(models.data, name)
    if told is None:
        return False
    paths = () if is_whole(told, name) else tuple(ELSEWHERE)
    if server.tells_at is not None:
        paths = server.tells_at
    bodies = await asyncio.gather(*(client.wire.told_at(server, path) for path in paths))
    found = {path: of_elsewhere(path, body, name) for path, body in zip(paths, bodies, strict=True)}
    if server.tells_at is None:
        server.tells_at = tuple(path for path in found if found[path])
    elsewhere = {field: value for fields in found.values() for field, value in fields.items()}
    server.told = told.model_copy(update={"model": told.model | elsewhere | of_answers(server.answers_as, name)})
    return True


def told_by(client: VlmClient) -> Served:
    """What the servers have told when they were last looked at, together.

    Raises VlmSetupError where two of them serve different models.
    """
    told = [(server, server.told) for server in client.replicas.servers if server.told is not None]
    whole = Served()
    for place, (server, one) in enumerate(told):
        for before, other in told[:place]:
            if different := one.differs(other):
                raise VlmSetupError(
                    f"the servers of one connection serve different models as {client.endpoint.model!r}: at "
                    f"{server.url}, {different} at {before.url}. Serve the same model at all of them, or leave one out "
                    "of the connection's host"
                )
        version = {"version": server.version} if server.version else {}
        whole = Served(model=whole.model | one.model, server=version | one.server | whole.server)
    return whole


async def _check_all(client: VlmClient) -> None:
    looks = {asyncio.create_task(_check_one(client, server)): server for server in client.replicas.servers}
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
    if len(errors) == len(client.replicas.servers):
        raise errors[0]


async def _check_one(client: VlmClient, server: Server) -> None:
    model = client.endpoint.model
    try:
        models = await client.wire.look(server, MODELS)
    except NotThereError:
        # It has no list: what it knows turns out when it is greeted, whatever it thinks of how that is written.
        with suppress(RefusedError):
            await client.wire.look(server, client.wire.greeting())
        return
    except RefusedError as error:
        raise VlmSetupError(
            f"what listens at {server.url} is no server of a model: correct the connection's host ({error})"
        ) from error
    if not await _note(client, server, models):
        served = [listed.id for listed in models.data]
        raise VlmSetupError(
            f"the server at {server.url} serves {_some(served, model)}, not {model!r}: correct `model` in the "
            "connection's extra, or the server's model name"
        )
    told = [model.max_model_len for model in models.data if model.id == client.endpoint.model and model.max_model_len]
    client.context = min([*told, *([client.context] if client.context else [])], default=None)
    if len(client.replicas.servers) > 1:
        # One may be there, and answer nothing. What it refuses is another question.
        with suppress(RefusedError):
            await client.wire.look(server, client.wire.greeting())


@dataclass(frozen=True)
class Room:
    """What the largest question needs, in tokens: so many for its question, `image` of them for each image.

    `answer` is what its answer may have, `context` what the server has for both.
    """

    question: int
    image: int
    answer: int
    context: int

    def __str__(self) -> str:
        needed = self.question + self.answer
        return f"an image costs {self.image} tokens; the largest question needs {needed} of {self.context}"


async def room_for(client: VlmClient, request: ChatRequest, urls: Mapping[str, str]) -> Room | None:
    """What a request with these images needs of the context; None where the server does not tell, as only vLLM does.

    Raises VlmSetupError where it does not fit.
    """
    if client.context is None:
        return None
    whole = await client.wire.count_tokens(client.replicas.least_busy(), request.body(urls))
    texts = tuple(part for part in request.parts if part.kind == "text")
    without = await client.wire.count_tokens(client.replicas.least_busy(), replace(request, parts=texts).body({}))
    if whole is None or without is None:
        return None
    images = max(1, len(request.images))
    room = Room(
        question=whole.count,
        image=max(0, whole.count - without.count) // images,
        answer=int(request.options.get("max_tokens", 0)),
        context=whole.max_model_len,
    )
    if room.question + room.answer > room.context:
        joint = "; a caption_mode of joint sends one image instead of two" if len(request.images) > 1 else ""
        raise VlmSetupError(
            f"the server at {client.name} has max_model_len={room.context}, and the largest question needs "
            f"{room.question + room.answer} tokens: {room.question} for itself, {room.image} of them for each of "
            f"{len(request.images)} images, and max_tokens = {room.answer} for its answer. To mend it, start the "
            f"server with --max-model-len {room.question + room.answer} or more, or lower the param max_tokens or "
            f"max_pixels{joint}"
        )
    return room


def _some(served: list[str], model: str) -> str:
    """The models that a server has, or of many those that are named most like this one."""
    if len(served) <= _MOST_NAMED:
        return ", ".join(served) or "no model"
    named = get_close_matches(model, served, _MOST_NAMED) or served[:_MOST_NAMED]
    return f"{', '.join(named)} and {len(served) - len(named)} more"
