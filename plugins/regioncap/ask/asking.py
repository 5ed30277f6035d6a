"""Asking the VLM what has no answer yet, so that nothing is asked twice and next to nothing is lost."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar

from regioncap.ask.bill import Bill
from regioncap.ask.ceiling import Ceiling
from regioncap.ask.pace import Pace
from regioncap.ask.requests import sampling_options, told_of
from regioncap.config.settings import BuildSettings
from regioncap.errors import OtherModelError, VlmSetupError
from regioncap.parallel import Threads, for_a_moment, run
from regioncap.regions.served import Served
from regioncap.storage.store import Store
from regioncap.vlm.acceptance import refuses_all
from regioncap.vlm.client import VlmClient, connect
from regioncap.vlm.completion import Completion
from regioncap.vlm.dialects import Dialect
from regioncap.vlm.doctor import DoctorFigures, Seen, diagnose
from regioncap.vlm.endpoint import Endpoint, Vlm
from regioncap.vlm.flow import PreparedRequest, ask_all, first_of, image_url
from regioncap.vlm.greeting import find_dialect, find_listening_dialect
from regioncap.vlm.pace import PaceFigures
from regioncap.vlm.probe import check, identify, look_again, room_for, told_by
from regioncap.work.completions import write_part
from regioncap.work.counts import AskCounts

_log = logging.getLogger(__name__)

Item = TypeVar("Item")
# An item's next request, given the answers it has had: see `ask_all`.
Prepare = Callable[[Item, Mapping[str, Completion]], PreparedRequest | None]

# An answer is in the work area this soon: what a killed task loses is at most this, and what was in flight.
FLUSH_SECONDS = 2.0
# So often it is looked whether it is still the same model that answers: what came since may have to be asked anew.
LOOK_EVERY_SECONDS = 30.0
FLUSH_ROWS = 64


@dataclass(frozen=True)
class AskProgress:
    """How far a shard is: `done` of `questions` have an answer, about `images` images in all.

    A question is what regions of a row are asked about together, by one request or by several attempts. `asked`
    requests were answered in this task, `in_flight` are under way; `rate` and `token_rate` are questions, and tokens
    that the model wrote, a second, over the last seconds.
    """

    done: int
    questions: int
    images: int
    asked: int
    in_flight: int
    rate: float
    token_rate: float

    @property
    def image_rate(self) -> float:
        """Images a second: questions a second, by how many an image has."""
        return self.rate * self.images / self.questions if self.questions else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it takes at this pace; None while there is none."""
        return (self.questions - self.done) / self.rate if self.rate else None


def ask_into(
    sink: "CompletionSink",
    vlm: Vlm,
    items: Iterable[Item],
    prepare: Prepare[Item],
    settings: BuildSettings,
    ceiling: Ceiling,
    largest: Item | None = None,
    *,
    of_one_model: Callable[[Served], None],
    listening: bool = False,
) -> None:
    """Ask about each item, and write the answers as they come.

    `prepare` as for `ask_all`. First it is found out how the server wants to be asked, whether it gives structured
    answers, and where it tells, whether it has room for what is asked about the `largest` item, or else the first.
    With `listening`, answers are single words with their probabilities instead. `of_one_model` gets what the servers
    tell of their model, before the first row and then again and again to the end, and raises OtherModelError where that
    is another one than it is to be.
    Raises VlmSetupError or VlmUnavailableError, also where nothing but refusals came, and CeilingError where something
    could not be asked for the run's ceilings; the answers that came are kept, but for those that another model may have
    given.
    """
    waiting = iter(items)
    first = list(islice(waiting, 1))
    if not first:
        # Nothing to ask, maybe something to write; the server need not even be there.
        run(sink.close())
        return
    if ceiling.is_spent and prepare(first[0], {}) is not None:
        run(sink.close())
        raise ceiling.error()

    measured = first[0] if largest is None else largest

    def admitted(item: Item, completions: Mapping[str, Completion]) -> PreparedRequest | None:
        prepared = prepare(item, completions)
        return prepared if prepared is not None and ceiling.admit() else None

    try:
        with vlm.open() as endpoint:
            asked = ceiling.until_reached(chain(first, waiting))
            find = _listening_dialect if listening else _captioning_dialect
            looks = _Looks(sink, vlm.served, of_one_model)
            run(_ask(sink, endpoint, asked, admitted, settings, ceiling, lambda: prepare(measured, {}), find, looks))
    except Exception:
        ceiling.close()
        raise
    except BaseException:  # the task's time is up
        for_a_moment(ceiling.close)
        raise
    ceiling.close()
    ceiling.check()


async def _ask(
    sink: "CompletionSink",
    endpoint: Endpoint,
    items: Iterable[Item],
    prepare: Prepare[Item],
    settings: BuildSettings,
    ceiling: Ceiling,
    measure: Callable[[], PreparedRequest | None],
    find: "_FindDialect",
    looks: "_Looks",
) -> None:
    def keep(completion: Completion) -> None:
        sink.add(completion)
        ceiling.note(completion)

    async with connect(endpoint) as client:
        await check(client)
        before = await client.read_figures()
        await identify(client)
        await looks.first(client)
        sink.server = client.identity
        await _look_for_room(client, measure)
        client.wire.dialect = await find(client, settings, sink)
        # The greetings may have told more.
        await looks.again(client)
        sink.in_flight = lambda: client.replicas.in_flight
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(_flush_regularly(sink)), group.create_task(looks.regularly(client))]
                await ask_all(client, items, prepare, keep, sink.finish, endpoint.max_in_flight)
                for task in beside:
                    task.cancel()
            await looks.again(client)
            if sink.refusal is not None:
                raise refuses_all(sink.refusal, client.name)
            after = await client.read_figures()
            counted = after.since(before) if after else None
            sink.tell_what_held_back(endpoint.max_in_flight, counted, client.replicas.figures)
        except* Exception as errors:
            await looks.after(first_of(errors), client)
            raise first_of(errors) from None
        finally:
            ceiling.stop()
            # On an error too: answers that were paid for are kept.
            await sink.close()


class _Looks:
    """Looks whether the servers still serve the model that the answers are to be of; `known` is what needs no look.

    What was answered since the last look that found it so may be another's: it is not kept.
    """

    def __init__(self, sink: "CompletionSink", known: Served | None, check: Callable[[Served], None]) -> None:
        self._sink = sink
        self._known = known
        self._check = check

    async def first(self, client: VlmClient) -> None:
        """Before the first row, when the servers have been looked at. Raises as `again` does."""
        await asyncio.to_thread(self._check, self._known or told_by(client))

    async def regularly(self, client: VlmClient) -> None:
        """Until it is cancelled."""
        while self._known is None:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await self.again(client)

    async def again(self, client: VlmClient) -> None:
        """Raises OtherModelError, or VlmSetupError where one of several servers has another model."""
        if self._known is not None:
            return
        await self._sink.flush()
        written = self._sink.unconfirmed
        try:
            await asyncio.to_thread(self._check, await look_again(client))
        except (OtherModelError, VlmSetupError):
            await self._sink.discard()
            raise
        self._sink.confirm(written)

    async def after(self, error: Exception, client: VlmClient) -> None:
        """Where asking has ended with an error. Raises as `again` does."""
        if not isinstance(error, OtherModelError):
            try:
                await self.again(client)
            except (OtherModelError, VlmSetupError):
                raise
            except Exception as another:
                _log.warning("whether it is still the same model could not be looked at: %s", another)


_FindDialect = Callable[[VlmClient, BuildSettings, "CompletionSink"], Awaitable[Dialect]]


async def _captioning_dialect(client: VlmClient, settings: BuildSettings, sink: "CompletionSink") -> Dialect:
    structured = settings.answer_format == "structured"
    dialect = await find_dialect(client, sampling_options(settings) | told_of(settings), structured=structured)
    if structured and dialect.form is None:
        sink.schema_ignored = True
        _log.warning(
            "the server at %s ignores JSON schemas: what the model writes is taken apart as free text instead; "
            "serve the model with a server that has structured output, or set answer_format to free_text",
            ", ".join(client.endpoint.base_urls),
        )
    return dialect


async def _listening_dialect(client: VlmClient, settings: BuildSettings, _: "CompletionSink") -> Dialect:
    return await find_listening_dialect(client, settings.request_extras)


async def _look_for_room(client: VlmClient, measure: Callable[[], PreparedRequest | None]) -> None:
    """Say what an image costs, before the first row. Raises VlmSetupError where there is no room for the question."""
    prepared = await asyncio.to_thread(measure) if client.context is not None else None
    if prepared is not None:
        readable = client.endpoint.local_media_path
        urls = {name: image_url(image, readable) for name, image in prepared.images.items()}
        room = await room_for(client, prepared.request, urls)
        if room is not None:
            _log.info("%s", room)


async def _flush_regularly(sink: "CompletionSink") -> None:
    due = time.monotonic() + FLUSH_SECONDS
    while True:
        await asyncio.sleep(0.1)
        if len(sink.pending) >= FLUSH_ROWS or time.monotonic() >= due:
            await sink.flush()
            due = time.monotonic() + FLUSH_SECONDS


class CompletionSink:
    """Collects completions and writes them to a shard's folder in small parts. To be used from one event loop.

    Of `questions` about `images` images there are `kept` whose answers are there; `progress` is called at each flush,
    and tells what `in_flight` says. What comes is put on the `bill`.
    """

    def __init__(
        self,
        store: Store,
        folder: str,
        *,
        questions: int,
        images: int,
        kept: int,
        progress: Callable[[AskProgress], None],
        bill: Bill | None = None,
    ) -> None:
        self.pending: list[Completion] = []
        self.in_flight: Callable[[], int] = lambda: 0
        self.schema_ignored = False
        # Which server is asked, once that is known.
        self.server = ""
        self._store = store
        self._folder = folder
        self._questions = questions
        self._images = images
        self._kept = kept
        self._progress = progress
        self._bill = bill
        self._started = time.monotonic()
        self._pace, self._token_pace = Pace(), Pace()
        self._asked = self._finished = self._taken_over = self._prompt_tokens = self._completion_tokens = 0
        self._seconds = 0.0
        self._held_back = ""
        self._refusals: list[Completion] = []
        # A thread of its own: images are read on the loop's threads, and one thread writes in the order of the flushes.
        self._writer = Threads(1)
        self._latest: Future[None] | None = None
        # The parts that were written since it was last known which model answers.
        self._parts: list[str] = []
        self._discarded = False
        # What could not be written goes with the next flush.
        self._unwritten: list[Completion] = []

    @property
    def unconfirmed(self) -> int:
        """How many parts were written since `confirm` was last called."""
        return len(self._parts)

    def confirm(self, parts: int) -> None:
        """Note that the first so many of these parts are of the model that they are to be of."""
        del self._parts[:parts]

    async def discard(self) -> None:
        """Take back what was written since then, and write nothing more: it may be of another model."""
        self._discarded = True
        taken, self.pending = len(self.pending), []
        await self._wait()
        taken, self._unwritten = taken + len(self._unwritten), []
        for part in self._parts:
            await asyncio.to_thread(self._store.delete, part)
        _log.warning("%s parts and %s more answers may be of another model: they are not kept", len(self._parts), taken)
        self._parts.clear()

    def add(self, completion: Completion) -> None:
        """Take a completion; the next flush writes it."""
        if self._discarded:
            return
        if self._bill is not None:
            completion = self._bill.signed(completion)
            self._bill.add([completion])
        self.pending.append(completion)
        self._asked += 1
        self._prompt_tokens += completion.prompt_tokens
        self._completion_tokens += completion.completion_tokens
        self._seconds += completion.seconds
        if completion.refused is not None:
            self._refusals.append(completion)

    @property
    def refusal(self) -> Completion | None:
        """What stands for all, where several requests were refused and nothing at all was answered, ever.

        A single one says nothing of the server.
        """
        answered = self._kept + self._taken_over + self._asked - len(self._refusals)
        return self._refusals[0] if len(self._refusals) > 1 and not answered else None

    def tell_what_held_back(self, bound: int, server: DoctorFigures | None, pace: PaceFigures) -> None:
        """Find out what held asking back, and say so; `server` is what the servers counted meanwhile."""
        answers = self._asked - len(self._refusals)
        self._held_back = diagnose(
            Seen(
                answers=answers,
                seconds_per_answer=self._seconds / answers if answers else 0.0,
                questions_per_image=self._questions / self._images if self._images else 0.0,
                bound=bound,
                server=server,
                limit=pace.limit,
                client_share=pace.client_seconds_share,
            )
        )
        if self._held_back:
            _log.info("%s", self._held_back)

    def finish(self, asked: int) -> None:
        """Note that one of the questions has its answer, for which `asked` requests were sent."""
        if asked:
            self._finished += 1
        else:
            self._kept += 1

    def take_over(self, completions: Collection[Completion], questions: int) -> None:
        """Take the published build's completions for so many of the questions; the next flush writes them."""
        self.pending += completions
        self._taken_over += questions
        if self._bill is not None:
            self._bill.add(completions)

    async def flush(self) -> None:
        """Write what came since the last flush. Once begun it is carried out, also where the caller is cancelled."""
        taken, self._unwritten, self.pending = [*self._unwritten, *self.pending], [], []
        self._latest = self._writer.submit(self._write, taken)
        # Cancelling this would take a write that still waits for its thread out of the queue, and its answers with it.
        await asyncio.shield(asyncio.wrap_future(self._latest))

    async def close(self) -> None:
        """Write what is left, after every write before it, and what one of these could not write."""
        try:
            await self._wait()
            await self.flush()
        finally:
            self._writer.shutdown()

    async def _wait(self) -> None:
        """Wait until all that was to be written is, or could not be."""
        if self._latest is not None:
            await asyncio.wait([asyncio.wrap_future(self._latest)])

    def _write(self, completions: list[Completion]) -> None:
        if completions:
            try:
                self._parts.append(write_part(self._store, self._folder, completions))
            except Exception:
                self._unwritten += completions
                raise
        self._progress(
            AskProgress(
                done=self._kept + self._taken_over + self._finished,
                questions=self._questions,
                images=self._images,
                asked=self._asked,
                in_flight=self.in_flight(),
                rate=self._pace.note(self._finished),
                token_rate=self._token_pace.note(self._completion_tokens),
            )
        )

    def counts(self) -> AskCounts:
        """What has been asked so far."""
        return AskCounts(
            questions=self._questions,
            kept=self._kept,
            taken_over=self._taken_over,
            asked=self._asked,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            schema_ignored=self.schema_ignored,
            held_back=self._held_back,
            seconds=round(time.monotonic() - self._started, 3),
        )
