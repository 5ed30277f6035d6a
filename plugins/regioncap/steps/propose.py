"""`propose`: ask the VLM where things are in the images of rows that give no boxes."""

import time
from collections.abc import Callable, Mapping
from functools import partial

from regioncap.ask.asking import AskProgress, CompletionSink, ask_into
from regioncap.ask.bill import Bill
from regioncap.ask.ceiling import Ceiling
from regioncap.ask.requests import grounding_request
from regioncap.drop import decoding
from regioncap.drop.decoders import Decoders
from regioncap.drop.drop import read_listed
from regioncap.drop.elsewhere import ImageFiles
from regioncap.drop.unforeseen import named, unforeseen
from regioncap.errors import RowError
from regioncap.marks.view import content_name
from regioncap.regions.records import PlannedRow
from regioncap.storage.store import Store
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Vlm
from regioncap.vlm.flow import PreparedRequest
from regioncap.work import layout
from regioncap.work.completions import earlier_completions, load_completions, of_ended_servers, without_refusals
from regioncap.work.counts import AskCounts
from regioncap.work.identity import check_code
from regioncap.work.plan import Plan, is_forgotten
from regioncap.work.served import check_model
from regioncap.work.shard import ProposedRow, Shard


def propose_shard(
    *,
    drop: ImageFiles,
    work: Store,
    shard_id: str,
    plan: Plan,
    vlm: Vlm,
    progress: Callable[[AskProgress], None],
) -> AskCounts:
    """Ask about each image without boxes that has no answer yet, and note which request is about which row.

    A row whose image cannot be opened is left to `render` to reject.

    `drop` and `work` are rooted at the build's date; `progress` is called at each flush.
    Raises VlmSetupError, VlmUnavailableError, OtherModelError or CeilingError, and DropChangedError; the answers that
    came before are kept.
    """
    check_code(plan)
    started = time.monotonic()
    shard = Shard(work, plan, shard_id)
    versioned = [item for item in zip(shard.planned(), shard.versions(), strict=True) if item[0].bbox is None]
    before = load_completions(shard.shared, layout.PROPOSALS)
    kept = without_refusals(before)
    proposed: dict[str, ProposedRow] = {}
    # Which of these are about this shard's images is not known before they are opened: all are taken over.
    earlier = earlier_completions(work, plan, shard_id, layout.PROPOSALS)
    taken = [completion for key, completion in earlier.items() if key not in before]
    answered = {**without_refusals(earlier), **kept}
    ended = of_ended_servers({**earlier, **before})

    def prepare(item: tuple[PlannedRow, str | None], completions: Mapping[str, Completion]) -> PreparedRequest | None:
        if completions:
            return None
        row, version = item
        data = None
        try:
            data = read_listed(drop, row.image, version)
            if is_forgotten(data, plan):
                return None  # `render` rejects it
            prepared = _prepare(data, row.image, plan, decoders)
        except Exception as error:
            if data is None and isinstance(error, MemoryError):  # no file is so large that this would be its fault
                raise
            # Goes up where it is not the row's.
            fault = error if isinstance(error, RowError) else unforeseen(error, f"{named(row)}: {row.image}")
            # What cannot be read now may be when `render` comes to it; what is in it stays.
            if data is not None:
                proposed[row.id] = ProposedRow(id=row.id, code=fault.code, reason=fault.reason)
            return None
        key = prepared.request.key
        proposed[row.id] = ProposedRow(id=row.id, request=key)
        ended_this = key in ended and ended[key].server == sink.server
        return None if key in answered or ended_this else prepared

    # How many rows have their answer turns out on the way.
    number = len(versioned)
    bill = Bill(plan)
    bill.add(before.values())
    sink = CompletionSink(
        shard.shared, layout.PROPOSALS, questions=number, images=number, kept=0, progress=progress, bill=bill
    )
    sink.take_over(taken, 0)
    with Decoders(heic=plan.settings.read_heic, max_pixels=plan.settings.max_file_pixels) as decoders:
        of_one_model = partial(check_model, work, plan)
        ask_into(sink, vlm, versioned, prepare, plan.settings, Ceiling(work, plan), of_one_model=of_one_model)
    # In the order of the rows, whatever the order in which they were asked about.
    found = [proposed[row.id] for row, _ in versioned if row.id in proposed]
    shard.write_proposed(found, spent=bill.spent, seconds=round(time.monotonic() - started, 3))
    return sink.counts()


def _prepare(data: bytes, path: str, plan: Plan, decoders: Decoders) -> PreparedRequest:
    """The request about an image, and the JPEG that it is about: the image as the model sees it, without marks."""
    _, (jpeg,) = decoders.run(data, decoding.seen, plan.settings.view)
    name = content_name(jpeg)
    return PreparedRequest(grounding_request(name, plan, path), {name: jpeg})
