"""By which dialect a server wants to be asked: found out by greeting it, before the first row."""

import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from regioncap.captions.thoughts import SWITCH_OFF, only_thoughts, without_thoughts
from regioncap.errors import VlmSetupError
from regioncap.vlm.client import VlmClient
from regioncap.vlm.dialects import DISPENSABLE, FORMS, USUAL_FORM, Body, Dialect, names
from regioncap.vlm.faults import PASSING, BusyError, FailureError, RefusedError
from regioncap.vlm.protocol import ChatCompletion, Choice, Message, chat
from regioncap.vlm.requests import CHOICE, GREETING, as_choice, as_schema

_log = logging.getLogger(__name__)

# What no model says when it is greeted. A string by itself: between the parts of an object JSON allows white space, and
# some models go on with it until they are stopped. Some servers take nothing but an object.
_WORD: Body = {"type": "string", "enum": ["structured"]}
_OBJECT: Body = {
    "type": "object", "properties": {"answer": _WORD}, "required": ["answer"], "additionalProperties": False,
}  # fmt: skip
_PROBES = ((_WORD, '"structured"'), (_OBJECT, '{"answer":"structured"}'))
# Room for what a model thinks when it is greeted.
_THINKING_TOKENS = 1024
# Fields of which a server may take one value only.
_SAMPLING = ("temperature", "top_p")
_OWN = {*DISPENSABLE, *_SAMPLING, "model", "messages", "max_tokens", "response_format"}


async def find_dialect(
    client: VlmClient, options: Mapping[str, Any] | None = None, *, structured: bool = True
) -> Dialect:
    """Find out, by greeting it, how the server wants requests with these options to be written.

    With `structured`, also by which form it makes answers follow a schema: one that ignores it answers as if nothing
    was amiss. Raises VlmUnavailableError, and VlmSetupError where the server takes no such request, or the model thinks
    and does not answer.
    """
    search = _Search(client, {"temperature": 0, **(options or {})})
    dialect = await (search.by_schemas() if structured else search.by_words())
    if structured and dialect.form is not None:
        _log.info("the server at %s makes answers follow a schema by %s", client.name, dialect.form)
    return dialect


async def find_listening_dialect(client: VlmClient, extras: Mapping[str, Any]) -> Dialect:
    """Find out, by greeting it, how the server wants to be asked for one of several words and their probabilities.

    `extras` are fields of every request. Raises VlmUnavailableError, and VlmSetupError where it does not tell
    probabilities.
    """
    return await _Search(client, extras).by_probabilities()


class _Search:
    """What is learnt of the fields that a server takes holds for the forms that are tried after."""

    def __init__(self, client: VlmClient, options: Mapping[str, Any]) -> None:
        self._client = client
        self._server = f"the server at {client.name}"
        own = {"response_format", "max_tokens"}
        self._options = {name: value for name, value in options.items() if name not in own}
        self._options["model"] = client.endpoint.model
        self._room = max(_THINKING_TOKENS, int(options.get("max_tokens", 0)))
        self._dialect = Dialect()

    async def by_words(self) -> Dialect:
        """The dialect for requests without a schema."""
        self._dialect = Dialect(form=None)
        try:
            await self._follows(None, "")
        except RefusedError as error:
            raise VlmSetupError(f"{self._server} refuses even a greeting: {error}") from error
        return self._dialect

    async def by_schemas(self) -> Dialect:
        """The dialect for requests with one: in the first of the forms that is followed."""
        refusal = None
        for form in FORMS:
            self._dialect = replace(self._dialect, form=form)
            for schema, expected in _PROBES:
                try:
                    if await self._follows(schema, expected):
                        return self._dialect
                except RefusedError as error:
                    refused: RefusedError | None = error
                else:
                    refused = None
                    break
            # What the usual form is refused for, also with an object, is what there is to mend.
            refusal = refused if form == USUAL_FORM else refusal
        if refusal is not None:
            raise VlmSetupError(
                f"{self._server} refuses structured output: set the param answer_format to free_text, or serve the "
                f"model with a vLLM that has it ({refusal})"
            ) from refusal
        return replace(self._dialect, form=None)

    async def by_probabilities(self) -> Dialect:
        """The dialect for requests whose answer is one of several words.

        A server that takes no choice answers what it wants: whether that is one of them shows in each answer.
        """
        self._dialect = Dialect(form=None)
        body = self._options | {"messages": GREETING["messages"]} | as_choice(["1", "none"])
        try:
            choice = await self._greet(body)
        except RefusedError:
            self._dialect = replace(self._dialect, left_out=(*self._dialect.left_out, CHOICE))
            try:
                choice = await self._greet(body)
            except RefusedError as error:
                raise VlmSetupError(f"{self._server} refuses to tell probabilities of tokens: {error}") from error
        if choice.probabilities is None:
            raise VlmSetupError(f"{self._server} does not tell probabilities of tokens (logprobs)")
        return self._dialect

    async def _follows(self, schema: Body | None, expected: str) -> bool:
        """Whether a greeting is answered as the schema has it."""
        body = self._options | GREETING | (as_schema(schema) if schema is not None else {})
        started, room = time.monotonic(), GREETING["max_tokens"]
        choice = await self._greet(body)
        if choice.cut_off and (schema is None or not _is(choice, expected)):
            more = self._room_for(choice, time.monotonic() - started)
            # Refused where the context has no such room: then it stays as it is.
            with suppress(RefusedError):
                if more > room:
                    choice, room = await self._greet(body | {"max_tokens": more}), more
        said = without_thoughts(choice.message.text)
        if not said and choice.cut_off:
            raise VlmSetupError(
                f"the model {self._client.endpoint.model} at {self._client.name} had used up {room:,} tokens for its "
                f"thoughts before it answered a greeting: {SWITCH_OFF}, or raise max_tokens"
            )
        if only_thoughts(choice.message.text):
            raise VlmSetupError(
                f"{self._server} gives all that the model says as its thoughts (reasoning_content), and no answer: "
                f"start it without a reasoning parser, or {SWITCH_OFF}"
            )
        followed = schema is None or _is(choice, expected)
        if followed and (choice.message.thoughts or said != choice.message.text.strip()):
            _log.warning(
                "the model %s thinks before it answers, and its thoughts count toward max_tokens; to save them, %s",
                *(self._client.endpoint.model, SWITCH_OFF),
            )
        return followed

    def _room_for(self, choice: Choice, seconds: float) -> int:
        """How many tokens to give a greeting that was cut off after `seconds`: thoughts may take more."""
        if not without_thoughts(choice.message.text):
            return self._room
        # Not all thoughts are marked as such; but where they are not, a slow server has no time to find out.
        if self._dialect.form != USUAL_FORM:
            return 0
        in_time = GREETING["max_tokens"] / max(seconds, 0.001) * self._client.endpoint.timeout_seconds / 2
        return int(min(self._room, in_time))

    async def _greet(self, body: Body) -> Choice:
        """What a greeting is answered with. Raises RefusedError where the schema is what the server does not take."""
        while True:
            written = self._dialect.written(body)
            try:
                completion = await self._client.patiently(partial(self._send, written, body))
            except RefusedError as error:
                self._dialect = self._adapted(error, written)
            else:
                return completion.choices[0] if completion.choices else Choice(message=Message())

    def _adapted(self, refusal: RefusedError, sent: Body) -> Dialect:
        """What to try where a request is refused. Raises the refusal where it is not about one of these fields."""
        words = str(refusal)
        for name in sent.keys() - _OWN - {self._dialect.token_limit}:
            if name in self._options and names(words, name):
                raise VlmSetupError(
                    f"{self._server} does not take {name}: correct it in the param request_extras, or take it out "
                    f"({words})"
                ) from refusal
        adapted = self._dialect.without(words, sent)
        if adapted is not None:
            left_out = adapted.left_out[len(self._dialect.left_out) :]
            if left_out:
                _log.warning("%s takes no %s, so it is not sent (%s)", self._server, " and no ".join(left_out), words)
            return adapted
        for name in _SAMPLING:
            if name in sent and names(words, name):
                raise VlmSetupError(
                    f"{self._server} does not take the {name} {sent[name]}: set the param {name} to what it takes "
                    f"({words})"
                ) from refusal
        raise refusal

    async def _send(self, written: Body, body: Body) -> ChatCompletion:
        try:
            return await self._post(written)
        except BusyError:
            raise
        except FailureError:
            if "response_format" not in body or not await self._answers_without_a_schema(body):
                raise
        # Some servers fail at a form that they do not know, each time, and answer all else.
        try:
            return await self._post(written)
        except BusyError:
            raise
        except FailureError as error:
            raise RefusedError(str(error)) from error

    async def _answers_without_a_schema(self, body: Body) -> bool:
        plain = {name: value for name, value in body.items() if name != "response_format"}
        try:
            await self._post(self._dialect.written(plain))
        except (*PASSING, RefusedError):
            return False
        return True

    async def _post(self, body: Body) -> ChatCompletion:
        return await self._client.wire.look(self._client.replicas.least_busy(), chat(json.dumps(body).encode()))


def _is(choice: Choice, expected: str) -> bool:
    """Whether it is this answer, whatever white space there is in it, also where that took all the room for the end."""
    said = "".join(without_thoughts(choice.message.text).split())
    return said == expected or (choice.cut_off and len(expected) > 1 and said == expected[:-1])
