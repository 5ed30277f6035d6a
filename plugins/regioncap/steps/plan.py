"""`plan`: from a drop's manifests to shards of checked rows."""

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, TypeVar

from regioncap.ask.attempts import NEVER_WHOLE
from regioncap.config.prices import Prices
from regioncap.config.settings import BuildSettings
from regioncap.drop import drop as drops
from regioncap.drop.checking import Checker, IsForgotten, Planned, checked_rows, none_is_forgotten, processes_for
from regioncap.drop.elsewhere import Images
from regioncap.drop.given import told_of_kept
from regioncap.drop.plain import shown
from regioncap.drop.readers import READERS, DropReader
from regioncap.drop.rows import RowReader
from regioncap.drop.unforeseen import UnforeseenRows
from regioncap.errors import DropError, ManifestError, NotFoundError, StepMissingError
from regioncap.exports import EXPORTERS
from regioncap.regions.codes import Code
from regioncap.regions.jsonl import canonical
from regioncap.regions.served import Served, known_by
from regioncap.steps.anew import why_anew
from regioncap.storage.store import Store, check_conditional_writes
from regioncap.trust.questions import sample_share, second_share
from regioncap.warehouse import manifest
from regioncap.warehouse.corrections import corrections_of, what_holds
from regioncap.warehouse.forgotten import NOTHING, Forgotten
from regioncap.warehouse.layout import CORRECTIONS, FORGOTTEN, MANIFEST
from regioncap.work import layout, shard
from regioncap.work.earlier import Brought, bringing, earlier_plans
from regioncap.work.identity import deciding_code, extensions, identity_of
from regioncap.work.plan import Plan
from regioncap.work.row_index import ForgottenImages, RowIndex, RowIndexWriter, load_row_index
from regioncap.work.served import CAPTIONER, JUDGE, salt_for

_log = logging.getLogger(__name__)

Item = TypeVar("Item")

# Airflow maps at most 1,024 tasks over a list (`[core] max_map_length`).
MAX_SHARDS = 1000

# Where its rows have so many bytes, a shard is full: each step has a shard in memory, as ten times as much. A thousand
# rows with a few boxes and labels have some hundred kilobytes.
SHARD_BYTES = 32 << 20


def plan_build(
    *,
    date: str,
    drop: Store,
    work: Store,
    partition: Store,
    settings: BuildSettings,
    model: str,
    run_id: str,
    progress: Callable[[int], None],
    judge_model: str = "",
    images: Images | None = None,
    forgotten: Forgotten = NOTHING,
    prices: Prices | None = None,
    served: Served | None = None,
    judge_served: Served | None = None,
) -> Plan:
    """Read the drop's manifests, check every row's text, write shards and the plan.

    `drop`, `work` and `partition` are rooted at this date, and `images` is where the images are, if not in the drop
    alone; `model` is the VLM's name, `judge_model` that of the one that judges, where it is another; `served` and
    `judge_served` are what their servers tell of them now, empty where that cannot be told, and `judge_served` is None
    where no server of its own judges; `progress` gets the number of rows read so far. Of `forgotten` images no row is
    used. With nothing to change the plan has no shards and `unchanged` set.
    Raises DropError where the drop as a whole cannot be built, DropChangedError where it changes meanwhile,
    StorageError where the warehouse cannot be published to, ManifestError where what is published cannot be told,
    ExtensionError where what a package adds cannot be used, ModelProfileError where the model counts in another way,
    UnforeseenError where RegionCap itself seems to be at fault.
    """
    for registry, name in extensions(settings):
        registry.get(name)  # what cannot be used stops the run here, before anything is paid for
    for name in settings.export_formats:
        EXPORTERS.get(name)
    settings.check_model(model)
    if about := settings.about_model(model):
        _log.warning("%s", about)
    images = images or Images(drop)
    contents = drops.contents(drop, settings.input_format, images)
    settings, told = _as_found(settings, contents)
    for warning in told:
        _log.warning("%s", warning)
    # Before the journal is read: a build that is published later may have been planned with more of it.
    published, _ = manifest.current(partition)
    said = corrections_of(partition).lines()
    _check_none_is_gone(partition, published, len(said))
    _check_all_stay_forgotten(partition, published, forgotten)
    corrections = shard.write_corrections(work, what_holds(said, settings.prompt_language))
    judge_model = "" if settings.judges == "none" or judge_model == model else judge_model
    # What people have corrected since makes it another build.
    plain = identity_of(settings, model, corrections, judge_model)
    if contents.hidden:
        # Whoever uploads from macOS has them every night: nothing that a person would have to be asked about.
        files = "1 hidden file was" if len(contents.hidden) == 1 else f"{len(contents.hidden):,} hidden files were"
        _log.warning("%s left out, the first of them %s", files, shown(min(contents.hidden)))
    asked = _asked(work, settings, run_id, published, (model, served), (judge_model or model, judge_served))
    drop_and_plain = hashlib.sha256(canonical([plain, drop.uri, contents.fingerprint])).hexdigest()
    identity = known_by(plain, asked.served, asked.judge_served)
    fingerprint = known_by(drop_and_plain, asked.served, asked.judge_served)
    unchanged = False
    if published is not None and not settings.force_rebuild:
        known_as = _known_as(published, fingerprint, drop_and_plain, asked)
        to_be_mended = published.fingerprint == known_as and _is_to_be_mended(partition, published, contents)
        unchanged = known_as is not None and not to_be_mended
        fingerprint = known_as if known_as is not None and unchanged else fingerprint
    asks = settings.when_no_boxes == "ask_model"
    answers = (*((layout.PROPOSALS,) if asks else ()), layout.ANSWERS, layout.JUDGED)
    with tempfile.TemporaryFile(prefix="regioncap-rejected-") as rejects, bringing(work) as brought:
        if unchanged:
            written = _Written(warnings=told)
        else:
            # Before anything is paid for that could not be published.
            if settings.sample_rows is None:
                check_conditional_writes(partition)
            # With `force_rebuild` no earlier answer is to be found, so none is looked for.
            plans = [] if settings.force_rebuild else earlier_plans(work, published.plan_id if published else None)
            earlier = [load_row_index(work, plan_id) for plan_id in plans]
            is_forgotten = ForgottenImages(date, forgotten.images) if forgotten.images else none_is_forgotten
            written = _write_shards(
                drop, images, contents, work, settings, earlier, brought, rejects, progress, is_forgotten
            )
            written.warnings = [*told, *written.warnings]
            found = {source for sources in written.sources.values() for source in sources}
            unnamed = brought.collect(found, answers)
            written.sources = {
                shard_id: [source for source in sources if source in unnamed]
                for shard_id, sources in written.sources.items()
            }
        judge_share = _judge_share(settings, written)
        plan = Plan(
            date=date,
            drop_uri=drop.uri,
            images_uri=images.uri,
            settings=settings,
            model=model,
            fingerprint=fingerprint,
            identity=identity,
            rows=written.rows,
            rejected=written.rejected,
            shards=written.shards,
            shards_to_propose=written.without_boxes if asks else [],
            sources=written.sources,
            unchanged=unchanged,
            ask_again=asked.ask_again,
            listen_again=asked.listen_again,
            served=asked.served,
            judge_served=asked.judge_served,
            current_build=published.build_id if published else None,
            rejected_rows=written.rejected_rows.hexdigest(),
            versions=written.versions,
            warnings=written.warnings,
            corrections=corrections,
            corrected_lines=len(said),
            judge_share=judge_share,
            second_share=_second_share(settings, judge_share, written),
            judge_model=judge_model,
            code=deciding_code(settings),
            forgotten=sorted(forgotten.contents),
            forgotten_lines=forgotten.lines,
            prices=prices,
        ).with_id()
        # A plan is there last.
        if not unchanged:
            rejects.seek(0)
            work.write_stream(rejects, layout.plan_rejected_path(plan.plan_id))
            written.index.save(work, plan.plan_id)
            brought.write(plan.plan_id, answers)
        plan.save(work)
    return plan


def _as_found(settings: BuildSettings, contents: drops.Contents) -> tuple[BuildSettings, list[str]]:
    """The settings with the drop's own format of manifests and boxes, and what is to be said of that."""
    reader, told = READERS[contents.input_format], []
    changes: dict[str, Any] = {}
    if settings.input_format != contents.input_format:
        more = f" and {len(contents.manifests) - 1:,} more" if len(contents.manifests) > 1 else ""
        told.append(f"the drop's manifests are read as {contents.input_format} ({contents.manifests[0]}{more})")
        changes["input_format"] = contents.input_format
    if isinstance(reader, DropReader) and reader.box_format not in (None, settings.box_format):
        if settings.box_format != BuildSettings.model_fields["box_format"].default:
            told.append(
                f"the param box_format is {settings.box_format}, which is not used: boxes of {contents.input_format} "
                f"are read as {reader.box_format}, which they are by definition"
            )
        changes["box_format"] = reader.box_format
    return settings.model_copy(update=changes), told


def _is_to_be_mended(partition: Store, published: manifest.Manifest, contents: drops.Contents) -> bool:
    """Whether the date is built anew though nothing has changed; the log says why."""
    reason = why_anew(partition, published, contents.images.__contains__)
    if reason is not None:
        _log.warning("%s/%s is built anew from what is kept: %s", partition.uri, published.build, reason)
    # The server may take today what it refused then, and a judge that was away may be there.
    return reason is not None or was_not_judged(published) or _was_refused_some(partition, published)


@dataclass
class _Written:
    """What came of a drop's rows, by shard where it is a shard's."""

    rows: int = 0
    rejected: int = 0
    # Of `with_boxes` rows, as far as can be told before their images are opened.
    regions: int = 0
    with_boxes: int = 0
    shards: list[str] = field(default_factory=list)
    without_boxes: list[str] = field(default_factory=list)
    sources: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    rejected_rows: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    index: RowIndexWriter = field(default_factory=RowIndexWriter)


def was_not_judged(published: manifest.Manifest) -> bool:
    """Whether the build was to be judged, and nothing of it was: the judge was away, say."""
    return published.judged is not None and published.judged.regions > 0 and not published.judged.judged


def _judge_share(settings: BuildSettings, written: _Written) -> float:
    """Which share of the regions is drawn to be judged."""
    if settings.judges != "sample":
        return float(settings.judges == "all")
    return sample_share(_regions(written))


def _second_share(settings: BuildSettings, judge_share: float, written: _Written) -> float:
    """Which share of the regions that are judged is asked about once more: of a trial's nothing is told by that."""
    if not judge_share or settings.sample_rows is not None:
        return 0.0
    return second_share(judge_share * _regions(written))


def _regions(written: _Written) -> float:
    """About how many regions there are: rows without boxes have as many as others."""
    each = written.regions / written.with_boxes if written.with_boxes else 1.0
    return each * (written.rows - written.rejected)


def _was_refused_some(partition: Store, published: manifest.Manifest) -> bool:
    """Whether rows of the published build were rejected because the VLM refused or stopped what was asked of it."""
    try:
        rejected = partition.read(published.rejected.path)
    except NotFoundError:
        return False
    # Read as text: a line that is damaged only does not count.
    said = (f'"code":"{Code.REQUEST_REFUSED}"', f'"code":"{Code.CUT_OFF}","reason":"{NEVER_WHOLE}')
    return any(told.encode() in text for text in rejected.split(b"\n") for told in said)


def _check_none_is_gone(partition: Store, published: manifest.Manifest | None, lines: int) -> None:
    """Raises ManifestError where the journal of corrections is shorter than it was."""
    if published is not None and lines < published.corrections:
        raise ManifestError(
            f"{partition.uri}/{CORRECTIONS.rstrip('/')} had {published.corrections:,} lines when {published.build_id} "
            f"was planned, and has {lines:,} now: restore its files from a backup. To go on without what people said "
            f"there, write {lines} as `corrections` into {MANIFEST} beside it"
        )


def _check_all_stay_forgotten(partition: Store, published: manifest.Manifest | None, forgotten: Forgotten) -> None:
    """Raises ManifestError where the list of forgotten images is shorter than it was."""
    if published is not None and forgotten.lines < published.forgotten:
        raise ManifestError(
            f"the list of forgotten images ({FORGOTTEN.rstrip('/')} in the warehouse) had {published.forgotten:,} "
            f"lines when {partition.uri}/{published.build} was made, and has {forgotten.lines:,} now: restore its "
            "files from a backup, or the images come back"
        )


@dataclass(frozen=True)
class _Asked:
    """What a plan's requests have, and what is known of the models that they are put to.

    `as_before` says that no other model is served than the one of the published build, as far as both are known.
    """

    ask_again: str
    listen_again: str | None
    served: Served | None
    judge_served: Served | None
    as_before: bool


def _asked(
    work: Store,
    settings: BuildSettings,
    run_id: str,
    published: manifest.Manifest | None,
    captioner: tuple[str, Served | None],
    judge: tuple[str, Served | None],
) -> _Asked:
    """What sets a plan's requests apart from equal ones whose answers are not to count.

    `captioner` and `judge` are models by their names, and what is told of them now.
    """
    if settings.force_rebuild:
        # Every request is a new one for this run; the run's own retries still find its answers.
        base, listening_base = run_id, run_id
    else:
        base, listening_base = _published_ask_again(work, published)
    ask_again, known = salt_for(work, CAPTIONER, captioner[0], base, captioner[1])
    listen_again, judge_known = (None, None)
    as_before = ask_again == base
    if judge[1] is not None:
        listen_again, judge_known = salt_for(work, JUDGE, judge[0], listening_base, judge[1])
        as_before = as_before and listen_again == listening_base
    return _Asked(ask_again, listen_again, known, judge_known, as_before)


def _known_as(published: manifest.Manifest, fingerprint: str, drop_and_plain: str, asked: _Asked) -> str | None:
    """The fingerprint by which what is published is just what would be built; None where it is not.

    `drop_and_plain` is a hash of all that is in a fingerprint but what is known of the models.
    """
    known = [fingerprint]
    if asked.as_before:
        # What was published before anything was told of a model is of the first one of which something is.
        known.append(drop_and_plain)
        # What cannot be told now is as it was.
        judge_before = None if asked.listen_again is None else published.judge_served
        known.append(known_by(drop_and_plain, asked.served or published.served, asked.judge_served or judge_before))
    return next(filter(published.is_up_to_date, known), None)


def _published_ask_again(work: Store, published: manifest.Manifest | None) -> tuple[str, str]:
    """What the requests of the published build have, and the listener's.

    Its answers are those that count, also where a run had them anew. Nothing where its plan is gone, as its answers are
    then.
    """
    if published is None:
        return "", ""
    try:
        plan = Plan.load(work, published.plan_id)
    except StepMissingError:
        return "", ""
    return plan.ask_again, plan.listening_again


def _write_shards(
    drop: Store,
    images: Images,
    contents: drops.Contents,
    work: Store,
    settings: BuildSettings,
    earlier: Sequence[RowIndex],
    brought: Brought,
    rejects: IO[bytes],
    progress: Callable[[int], None],
    is_forgotten: IsForgotten,
) -> _Written:
    """Read the manifests and write the shards, and rejected rows into `rejects`."""
    written = _Written()
    unforeseen_rows = UnforeseenRows()
    pending: list[Planned] = []
    lines: list[bytes] = []
    size = 0

    def finish_shard() -> None:
        shard_id = _write_shard(work, lines)
        written.shards.append(shard_id)
        written.index.add(shard_id, pending)
        brought.expect(shard_id, pending)
        sources = dict.fromkeys(source for index in earlier for source in index.shards_of(pending))
        written.sources[shard_id] = [source for source in sources if source != shard_id]
        versions = [row.version for row in pending]
        written.versions[shard_id] = shard.write_versions(work.sub(layout.shard_path(shard_id)), versions)
        given = [row.boxes for row in pending if row.boxes is not None]
        written.regions += sum(min(boxes, settings.max_boxes) for boxes in given)
        written.with_boxes += len(given)
        if len(given) < len(pending):
            written.without_boxes.append(shard_id)
        pending.clear()
        lines.clear()

    with ExitStack() as stack:
        manifests = drops.Manifests(
            drop,
            contents,
            image_key=settings.image_key,
            bbox_key=settings.bbox_key,
            box_format=settings.box_format,
            encoding=settings.manifest_encoding,
            stack=stack,
            keep=tuple(settings.keep_fields),
        )
        count = _count_rows(manifests)
        shard_size = max(settings.shard_size, -(-count // MAX_SHARDS))
        reader = RowReader(
            settings.image_key,
            settings.bbox_key,
            contents.images,
            drops.path_bytes(images),
            keep=tuple(settings.keep_fields),
            images=images,
        )
        checker = Checker(reader, contents.images, is_forgotten)
        rows = checked_rows(manifests, checker, processes_for(count, len(contents.images)))
        for row in _sampled(rows, settings.sample_rows, count):
            written.rows += 1
            if row.planned is None:
                if row.unforeseen is not None:
                    unforeseen_rows.note(row.unforeseen)
                written.rejected += 1
                written.rejected_rows.update(row.line)
                rejects.write(row.line)
            else:
                pending.append(row.planned)
                lines.append(row.line)
                size += len(row.line)
                to_come = -(-(count - written.rows) // shard_size)
                too_many = len(written.shards) + 1 + to_come > MAX_SHARDS
                if len(pending) == shard_size or (size >= SHARD_BYTES and not too_many):
                    finish_shard()
                    size = 0
            progress(written.rows)
        if pending:
            finish_shard()
        unforeseen_rows.check(written.rows)
        unread = reader.box_keys.told(settings.bbox_key)
        if unread is not None:
            if reader.box_keys.declared == 0:
                raise DropError(unread)
            written.warnings.append(unread)
        written.warnings += [f"{number:,} {what}" for what, number in manifests.noted.items() if number]
        if reader.nearly:
            written.warnings.append(
                f"the images of {reader.nearly:,} rows are in the drop under other names than the rows give, by "
                "capital letters or by how accents are written: they were taken for them"
            )
        if reader.unlabelled:
            written.warnings.append(
                f"the field labels of {reader.unlabelled:,} rows is no list with a label for each box: these rows are "
                "taken without labels"
            )
        written.warnings += told_of_kept(reader.keep, reader.held)
        if written.rows == 0:
            raise DropError(
                f"the manifests of the drop at {drop.uri} have no rows ({', '.join(contents.manifests)}): "
                "upload manifests with rows"
            )
    return written


def _count_rows(manifests: drops.Manifests) -> int:
    """At least the number of rows."""
    reader = READERS[manifests.contents.input_format]
    if isinstance(reader, DropReader):
        return reader.count(manifests)
    if reader.count is None:
        return sum(1 for _ in manifests.rows())
    return sum(reader.count(manifests.copy(name)) for name in manifests.manifests)


def _sampled(rows: Iterator[Item], number: int | None, count: int) -> Iterator[Item]:
    """So many of about `count` rows, evenly from all of them; all where no number is given."""
    return rows if number is None else islice(islice(rows, 0, None, max(1, count // number)), number)


def _write_shard(work: Store, lines: list[bytes]) -> str:
    """Write one shard's rows; its id is a hash of them, so the same rows find what was done with them before."""
    data = b"".join(lines)
    shard_id = hashlib.sha256(data).hexdigest()[:16]
    work.write(layout.shard_path(shard_id) + layout.ROWS, data)
    return shard_id
