"""`publish`: from validated shards to a published build, all at once or not at all."""

import hashlib
import tempfile
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from pydantic import ValidationError

from regioncap.drop.elsewhere import ImageFiles
from regioncap.errors import (
    BuildIncompleteError,
    ForbiddenError,
    LinkError,
    NotFoundError,
    RunError,
    StepMissingError,
    TooManyRejectedError,
)
from regioncap.exports import write_exports
from regioncap.parallel import in_order
from regioncap.regions.codes import Code
from regioncap.regions.formats import together
from regioncap.regions.jsonl import line
from regioncap.regions.records import Record, Rejected
from regioncap.report.card import render_card
from regioncap.report.drift import drift
from regioncap.report.figures import PartStatistics, Quality, Statistics, make_report, render_summaries
from regioncap.report.page import render_page
from regioncap.steps.anew import why_anew
from regioncap.steps.plan import was_not_judged
from regioncap.steps.render import check_boxes
from regioncap.steps.stage import counted, discard_parts, placed, staged_parts
from regioncap.storage.store import Store, check_conditional_writes
from regioncap.trust.estimate import Judged, estimate, not_judged
from regioncap.trust.scores import Scored
from regioncap.warehouse.history import (
    GRACE,
    collect,
    note_fingerprint,
    succession,
    time_of_build,
    withdrawn_builds,
)
from regioncap.warehouse.inventory import ListedFile, write_inventory
from regioncap.warehouse.layout import BEGUN, BUILD_MANIFEST, MANIFEST, build_path, content_of, partition_path
from regioncap.warehouse.manifest import FileEntry, Manifest, check_state, commit, current, state_of
from regioncap.warehouse.whole import problems, sha256_of, told
from regioncap.work import layout
from regioncap.work.begun import BegunBuild, begin_build, take_build
from regioncap.work.identity import check_code
from regioncap.work.made_from import made_from
from regioncap.work.plan import Plan
from regioncap.work.receipts import JudgeReceipt, StageReceipt
from regioncap.work.served import served_for
from regioncap.work.shard import Shard, Validated, ValidatedShard, parse_lines, plan_rejected, read_marked
from regioncap.work.staged import Staged

# Each holds what a shard has left: a part of what the report counts, or its records as text.
_READS_AT_ONCE = 4

# Each message is also a sign of life.
_COPIES_PER_MESSAGE = 2_000
_FILES_PER_MESSAGE = 50_000
_SHARDS_PER_MESSAGE = 100

# So many shards whose tasks are to be cleared are named.
_TOLD = 20
_CLEAR_ALL = "clear the run's tasks from render on"
_UNLESS = "change the drop or a setting, or start another run with force_rebuild"


@dataclass(frozen=True)
class Published:
    """The partition's current build; `unchanged` where it was that before the run's plan was made."""

    manifest: Manifest
    unchanged: bool


def publish_build(
    *,
    plan: Plan,
    drop: ImageFiles,
    work: Store,
    partition: Store,
    progress: Callable[[str], None],
    grace: timedelta = GRACE,
) -> Published:
    """Stage a build and publish it at once: see `stage_build` and `commit_build`."""
    staged = stage_build(
        plan=plan,
        drop=drop,
        work=work,
        partition=partition,
        before=(),
        max_rejected_ratio=plan.settings.max_rejected_ratio,
        progress=progress,
    )
    if isinstance(staged, Published):
        return staged
    return commit_build(staged, plan=plan, work=work, partition=partition, progress=progress, grace=grace)


def stage_build(
    *,
    plan: Plan,
    drop: ImageFiles,
    work: Store,
    partition: Store,
    before: Sequence[Quality],
    max_rejected_ratio: float,
    progress: Callable[[str], None],
    kept: Staged | None = None,
) -> Staged | Published:
    """Write all of a build but the manifest that makes it the current one; what the plan's shards hold is its content.

    `drop`, `work` and `partition` are rooted at the build's date; `before` are the figures of earlier dates' builds.
    `max_rejected_ratio` holds instead of the plan's own, so that it can be raised when all is done but this.
    Where nothing changed, nothing is written, and the build that is published is returned; so is `kept`, one that was
    staged before, where it has the same content, is whole, and can still become the current one.
    Raises StepMissingError where a shard is not done, TooManyRejectedError, BoxFormatError where all shards' boxes say
    what no shard alone could, RunError where what somebody went back to is not whole any more, StorageError where the
    warehouse has no conditional writes, and BuildIncompleteError.
    """
    if plan.settings.sample_rows is not None:
        raise RunError("the plan has some of the drop's rows only (sample_rows): it is never published")
    # Before the first file is written: `collect` relies on it.
    published, _ = current(partition)
    if plan.unchanged:
        if published is None or not published.is_up_to_date(plan.fingerprint):
            raise StepMissingError("the partition changed after the plan was made: clear the run's plan task")
        if published.fingerprint != plan.fingerprint:
            _check_gone_back_to(partition, published)
            progress(f"the build of this drop with these settings was withdrawn: {published.build_id} stays; {_UNLESS}")
        _collect(partition, progress)
        return Published(published, unchanged=True)

    check_code(plan)
    if published is not None and published.forgotten > plan.forgotten_lines:
        raise StepMissingError("images were forgotten after the plan was made: clear the run's plan task")

    with tempfile.TemporaryDirectory(prefix="regioncap-publish-") as folder:
        rejected_file = Path(folder, "rejected.jsonl")
        served, judge_served = served_for(work, plan), served_for(work, plan, judge=True)
        identity, fingerprint = plan.known_by(served, judge_served)
        content = _gather(plan, identity, work, rejected_file, progress)
        statistics, shards, rejected = content.statistics, content.shards, content.rejected
        _check_rejected(statistics, max_rejected_ratio)
        rendered = render_summaries(plan, work)
        check_boxes(together(item.evidence for item in rendered), plan.settings)
        if published is not None:
            known = _known(plan, fingerprint, content, published, partition, drop, progress)
            if known is not None:
                _leave_begun(plan, work, partition, progress)
                _discard_parts(work, plan, progress)
                _collect(partition, progress)
                return known

        if kept is not None and _can_still_be_published(kept, content, partition, published):
            _leave_begun(plan, work, partition, progress)
            return kept

        check_conditional_writes(partition)
        now = datetime.now(UTC)
        begun = _begun(plan, work, partition, state_of(published), progress)
        build_id, begun_under, build = begun.build_id, begun.begun_under, begun.within(partition)
        progress(f"{statistics.counts.captioned:,} records, {statistics.rejected:,} rejected rows: writing {build.uri}")
        sent = _Sent(build)
        sent.note_small(BEGUN, begun.note)
        captions = _upload(begun, build, shards, plan.settings.file_name_prefix, sent, progress)
        _write_file(build, rejected_file, "rejected.jsonl")
        exports = write_exports(
            plan=plan,
            drop=drop,
            shards=shards,
            records=statistics.counts.captioned,
            build=build,
            progress=progress,
            written=lambda path, size, checksum: sent.note(path, size, checksum=checksum),
            staged=lambda place: staged_parts(shards[place], plan, build_id),
        )
        for entry in (rejected, *exports):
            sent.note(entry.path, entry.bytes, entry.sha256)
        judged = _judged(plan, content)
        drifted = drift(statistics.quality(judged), before)
        settings = plan.settings.model_copy(update={"max_rejected_ratio": max_rejected_ratio})
        plan = plan.model_copy(update={"settings": settings})
        report = make_report(
            plan,
            work,
            statistics,
            rendered,
            read=_reader(shards),
            build_id=build_id,
            started=now,
            drifted=drifted,
            judged=judged,
            judging=[receipt.spent for receipt in content.judged.receipts],
            served=served,
            judge_served=judge_served,
        )
        sent.write("report.json", report.model_dump_json(indent=2).encode())
        page = render_page(report, statistics.samples, lambda path: _picture(build, path))
        sent.write("report.html", page.encode())
        sent.write("README.md", render_card(report).encode())

    def within(entry: FileEntry) -> FileEntry:
        return entry.model_copy(update={"path": f"{build_path(build_id)}/{entry.path}"})

    manifest = Manifest(
        partition=partition_path(plan.date),
        build_id=build_id,
        build=build_path(build_id),
        captions=[within(entry) for entry in captions],
        rejected=within(rejected),
        exports=[within(entry) for entry in exports],
        files=within(sent.inventory(progress)),
        counts=statistics.counts,
        created_at=time_of_build(published, now).isoformat(timespec="seconds"),
        plan_id=plan.plan_id,
        forgotten=plan.forgotten_lines,
        fingerprint=fingerprint,
        identity=identity,
        served=served,
        judge_served=judge_served,
        made_from=content.made_from,
        judged=judged,
        corrections=plan.corrected_lines,
    )
    build.write(BUILD_MANIFEST, manifest.model_dump_json(indent=2).encode())
    return Staged(manifest=manifest, begun_under=begun_under, warnings=report.warnings)


def commit_build(
    staged: Staged,
    *,
    plan: Plan,
    work: Store,
    partition: Store,
    progress: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
    grace: timedelta = GRACE,
) -> Published:
    """Make a staged build the current one, after a look at all of its files; `check` may still raise after that.

    What it supersedes stays for `grace` in any case.
    Raises CommitRefusedError where another build of the partition was published since this one was begun, and
    BuildIncompleteError where it is not whole any more: then it waits for nobody, and is to be staged anew.
    """
    published, _ = current(partition)
    if published is not None and published.build_id == staged.manifest.build_id:
        return Published(published, unchanged=False)  # by an earlier try, which could not say so
    wrong = f"{MANIFEST} is gone since" if published is None and staged.begun_under is not None else None
    if wrong is None:
        check_state(partition, staged.manifest, published, staged.begun_under)
        wrong = told(problems(partition, staged.manifest))
    if wrong is not None:
        Staged.discard(work, plan.plan_id)
        raise BuildIncompleteError(
            f"{partition.uri}/{staged.manifest.build} is not any more what was written: {wrong}. It is not published, "
            "but to be written anew, and where somebody has to agree, to be asked about anew"
        )
    check()
    history = succession(published, plan.settings.keep_builds, grace)
    manifest = staged.manifest.model_copy(update={"history": history})
    commit(partition, manifest, staged.begun_under)
    Staged.discard(work, plan.plan_id)
    _discard_parts(work, plan, progress)
    _collect(partition, progress)
    return Published(manifest, unchanged=False)


@dataclass(frozen=True)
class _Content:
    """What a plan's shards hold: `shards` are those with records, `rejected` is the file of all rejected rows.

    `identity` is the build's, and `made_from` a hash of what all of it was made from, if that was noted.
    """

    identity: str
    statistics: Statistics
    shards: list[ValidatedShard]
    rejected: FileEntry
    made_from: str | None
    judged: "_Judgement"


@dataclass
class _Judgement:
    """What `judge` did with all shards: receipts, and where captions were judged that are no record's.

    `rejected` are the ids of rows that did not become records for another reason than that a caption is doubted, and
    `doubted` those that did not for that one.
    """

    shards: list[Shard] = field(default_factory=list)
    receipts: list[JudgeReceipt] = field(default_factory=list)
    rejected: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)

    def first_scores(self) -> Iterator[Scored]:
        """The scores of planted captions and of rows' own as they were first written, read anew from shard to shard.

        Of captions that were chosen for being trusted, a share that is wrong cannot be told.
        """
        for shard in self.shards:
            judged = shard.judged()
            for score in judged.first if judged else ():
                if score.kind != "own" or score.image not in self.rejected:
                    yield score


def _judged(plan: Plan, content: _Content) -> Judged | None:
    """What is known of how many captions are wrong; None where nothing was to be judged."""
    if not plan.judge_share:
        return None
    receipts, doubted = content.judged.receipts, content.judged.doubted
    left_out = sum(score.kind == "own" and score.image in doubted for score in content.judged.first_scores())
    common: _Common = {
        "regions": content.statistics.counts.regions + left_out,
        "how": "all" if plan.settings.judges == "all" or plan.judge_share == 1.0 else "sample",
        "judge": plan.judge,
        "same_model": plan.judge == plan.model,
    }
    heard = sum(receipt.heard for receipt in receipts)
    reasons = Counter(receipt.reason for receipt in receipts if receipt.reason)
    limited = Counter(receipt.limited for receipt in receipts if receipt.limited)
    if reasons:
        reason, shards = reasons.most_common(1)[0]
        of = f" ({shards} of {len(receipts)} shards)" if len(receipts) > 1 else ""
        judged = not_judged(f"{reason}{of}", **common)
    elif limited and not heard:
        judged = not_judged(limited.most_common(1)[0][0], **common)
    else:
        judged = estimate(content.judged.first_scores(), asked=heard, **common)
        if judged.share is None and limited:
            judged = judged.model_copy(update={"reason": f"{judged.reason}: {limited.most_common(1)[0][0]}"})
    return judged.model_copy(
        update={
            "asked_again": sum(receipt.asked_again for receipt in receipts),
            "mended": sum(receipt.mended for receipt in receipts),
            "rejected": len(doubted),
            "scorer": plan.settings.judge_by,
        }
    )


class _Common(TypedDict):
    regions: int
    how: Literal["all", "sample"]
    judge: str
    same_model: bool


def _known(
    plan: Plan,
    fingerprint: str,
    content: _Content,
    published: Manifest,
    partition: Store,
    drop: ImageFiles,
    progress: Callable[[str], None],
) -> Published | None:
    """What is published where that is as it should be, though another drop or plan was built; None where it is not.

    The next run of the same drop has nothing to do then: its fingerprint is noted.
    """

    def matters(build: Manifest) -> bool:
        # With `force_rebuild`, what others have made is no reason not to publish.
        return build.plan_id == plan.plan_id or not plan.settings.force_rebuild

    # The model may answer today what it has refused then: no row is left out for what was published without it.
    gains = content.statistics.counts.captioned > published.counts.captioned or (
        was_not_judged(published) and any(receipt.heard for receipt in content.judged.receipts)
    )
    if matters(published) and (_has(published, content) or (_is_made_from(published, content) and not gains)):
        if reason := why_anew(partition, published, lambda image: _is_there(drop, image)):
            progress(f"{published.build_id} is published anew: {reason}")
            return None
        if published.fingerprint != fingerprint:
            note_fingerprint(partition, published.build_id, fingerprint)
            published = published.model_copy(update={"fingerprint": fingerprint})
        # Where the same plan made it later, an earlier try of this task published it, and could not say so.
        earlier = published.plan_id != plan.plan_id or published.build_id == plan.current_build
        return Published(published, unchanged=earlier)
    for build in filter(matters, withdrawn_builds(partition, published)):
        if _has(build, content) or _is_made_from(build, content):
            _check_gone_back_to(partition, published)
            progress(
                f"{build.build_id} was made from the same, and was withdrawn: {published.build_id} stays; {_UNLESS}"
            )
            note_fingerprint(partition, build.build_id, fingerprint)
            return Published(published, unchanged=True)
    return None


def _can_still_be_published(kept: Staged, content: _Content, partition: Store, published: Manifest | None) -> bool:
    return (
        kept.begun_under == state_of(published)
        and _has(kept.manifest, content)
        and not any(problems(partition, kept.manifest))
    )


def _check_gone_back_to(partition: Store, published: Manifest) -> None:
    # It cannot be mended from here: the plan has the rows of another build, which is not to be published.
    if wrong := told(problems(partition, published)):
        raise RunError(
            f"{partition.uri}/{published.build} is not whole any more ({wrong}), and the build of this drop with these "
            "settings was withdrawn: go back to a build that is whole (regioncap builds rollback), or start a run with "
            "force_rebuild"
        )


def _is_there(drop: ImageFiles, image: str) -> bool:
    try:
        drop.stat(image)
    except (NotFoundError, LinkError, ForbiddenError):
        return False
    return True


def _collect(partition: Store, progress: Callable[[str], None]) -> None:
    try:
        collected = collect(partition)
    except Exception as error:  # the build is published, whatever becomes of old ones; the next run tries again
        progress(f"old builds cannot be deleted: {error}")
    else:
        if collected:
            progress(f"deleted {', '.join(collected)}: not kept any more, or never published")


def _discard_parts(work: Store, plan: Plan, progress: Callable[[str], None]) -> None:
    try:
        discard_parts(work, plan)
    except Exception as error:  # they go with the plan's folder
        progress(f"the shards' files of exports, which are in the build by now, cannot be deleted: {error}")


def _begun(plan: Plan, work: Store, partition: Store, state: str | None, progress: Callable[[str], None]) -> BegunBuild:
    """The build that the plan's shards have begun, or another one where that can never become the current one."""
    begun = take_build(work, plan.plan_id)
    if begun is not None and begun.begun_under != state:
        progress(f"{begun.build_id} was begun before another build was published, or gone back to: it is given up")
        _delete(begun, partition, progress)
        begun = None
    return begun or begin_build(partition, state)


def _leave_begun(plan: Plan, work: Store, partition: Store, progress: Callable[[str], None]) -> None:
    """Delete the build that the plan's shards have begun, if there is one: it is not needed."""
    if begun := take_build(work, plan.plan_id):
        _delete(begun, partition, progress)


def _delete(begun: BegunBuild, partition: Store, progress: Callable[[str], None]) -> None:
    try:
        begun.within(partition).delete_folder()
    except Exception as error:  # no reader knows of it; `collect` tries again
        progress(f"{begun.build_id}, which is not needed, cannot be deleted: {error}")


def _counted(validated: Validated) -> PartStatistics:
    """What the report counts of a shard's records. Raises StepMissingError."""
    staged = validated.held.shard.staged_file(validated.held, layout.STATISTICS)
    if staged is not None:
        with suppress(ValidationError):  # another version's, which counted otherwise
            return PartStatistics.model_validate_json(staged[1])
    return counted(validated.held, validated.records)[0]


def _gather(plan: Plan, identity: str, work: Store, rejected_file: Path, progress: Callable[[str], None]) -> _Content:
    """Count everything once, shard by shard, and write all rejected rows into one file."""
    statistics = Statistics()
    shards: list[ValidatedShard] = []
    made_of: list[str | None] = []

    def load(shard_id: str) -> tuple[Validated, PartStatistics] | StepMissingError:
        try:
            validated = Shard(work, plan, shard_id).validated()
            return validated, _counted(validated)
        except StepMissingError as error:
            return error

    missing: list[StepMissingError] = []
    judgement = _Judgement()
    with rejected_file.open("wb") as rejects:

        def note(data: bytes, where: str) -> None:
            for row in parse_lines(data, Rejected, where, _CLEAR_ALL):
                statistics.add_rejected(row)
                if row.id is not None and plan.judge_share:
                    (judgement.doubted if row.code == Code.DOUBTED else judgement.rejected).add(row.id)
                rejects.write(line(row))

        note(plan_rejected(work, plan), layout.plan_rejected_path(plan.plan_id))
        for done, loaded in enumerate(in_order(load, plan.shards, _READS_AT_ONCE), start=1):
            if isinstance(loaded, StepMissingError):
                missing.append(loaded)
                continue
            validated, part = loaded
            statistics.join(part, validated.held.record)
            shards.append(validated.held)
            if validated.judged is not None:
                judgement.shards.append(validated.held.shard)
                judgement.receipts.append(validated.judged.receipt)
            made_of.append(validated.made_from)
            for path, rejected in validated.rejected.items():
                note(rejected, path)
            if done % _SHARDS_PER_MESSAGE == 0:
                progress(f"{done:,} of {len(plan.shards):,} shards counted")
    if missing:
        more = f"; and so for {len(missing) - _TOLD} more shards" if len(missing) > _TOLD else ""
        raise StepMissingError("; ".join(map(str, missing[:_TOLD])) + more)
    if statistics.counts.rows != plan.rows:
        raise StepMissingError(
            f"the shards account for {statistics.counts.rows} rows, the plan for {plan.rows}: {_CLEAR_ALL}"
        )
    return _Content(
        identity=identity,
        statistics=statistics,
        shards=[item for item in shards if item.rows],
        rejected=_entry(rejected_file, "rejected.jsonl", statistics.rejected),
        made_from=made_from(identity, plan, made_of),
        judged=judgement,
    )


def _check_rejected(statistics: Statistics, limit: float) -> None:
    counts = statistics.counts
    # What a person left out says nothing of the drop or the model.
    by_person = sum(statistics.rejected_by_code[code] for code in (Code.REJECTED_BY_PERSON, Code.FORGOTTEN))
    if counts.rejected - by_person > limit * counts.rows:
        leading = ", ".join(f"{code} ({rows})" for code, rows in statistics.rejected_by_code.most_common(5))
        raise TooManyRejectedError(
            f"{counts.rejected} of {counts.rows} rows are rejected, more than max_rejected_ratio = {limit} allows; "
            f"most often: {leading}. Mend the drop, or start a run of this date with a higher max_rejected_ratio: "
            "nothing is asked again"
        )


def _has(build: Manifest, content: _Content) -> bool:
    """Whether a build already says just this (its drop may have been uploaded once more, say)."""
    return (
        build.identity == content.identity
        and [entry.sha256 for entry in build.captions] == [item.sha256 for item in content.shards]
        and build.rejected.sha256 == content.rejected.sha256
    )


def _is_made_from(build: Manifest, content: _Content) -> bool:
    """Whether a build was made from the same, whatever the model has said each time."""
    return content.made_from is not None and build.made_from == content.made_from


def _picture(build: Store, path: str) -> bytes:
    """A marked image of the build, which the report shows. Raises BuildIncompleteError."""
    try:
        return read_marked(build, path)
    except StepMissingError as error:
        raise BuildIncompleteError(f"{build.uri}/{path} is not what was put there: was something deleted?") from error


class _Sent:
    """What was sent to a build's folder, so that it can be told whether it has arrived.

    Of a million images no objects are held: two numbers stand for each, and what is known of a few files is their hash.
    """

    def __init__(self, build: Store) -> None:
        self._build = build
        self._keys, self._checksums = array("q"), array("q")
        self._hashes: dict[str, str] = {}

    def write(self, path: str, data: bytes) -> None:
        """Write a small file."""
        self._build.write(path, data)
        self.note_small(path, data)

    def note_small(self, path: str, data: bytes) -> None:
        """Note that a file is there with these bytes."""
        self.note(path, len(data), hashlib.sha256(data).hexdigest())

    def note(self, path: str, size: int, sha256: str | None = None, checksum: str | None = None) -> None:
        """Note that a file is written; an image is named by its hash. `checksum` is what the service said of it."""
        self._keys.append(hash((path, size)))
        self._checksums.append(0 if checksum is None else hash(checksum))
        if sha256 is not None:
            self._hashes[path] = sha256

    def inventory(self, progress: Callable[[str], None]) -> FileEntry:
        """Write the build's inventory, from one listing, when all is sent; images that no record names are deleted.

        Raises BuildIncompleteError where not every file is there, at its size and with its checksum. What is in it was
        checked when it was uploaded or copied.
        """
        keys, first = np.unique(np.frombuffer(self._keys, np.int64), return_index=True)
        checksums = np.frombuffer(self._checksums, np.int64)[first]
        there = np.zeros(len(keys), np.bool_)
        needless: list[str] = []

        def listed() -> Iterator[ListedFile]:
            for passed, entry in enumerate(self._build.list(), start=1):
                if passed % _FILES_PER_MESSAGE == 0:
                    progress(f"{passed:,} files are there")
                key = hash((entry.path, entry.size))
                at = int(np.searchsorted(keys, key))
                if at == len(keys) or keys[at] != key:
                    needless.append(entry.path)
                    continue
                if checksums[at] and entry.checksum is not None and hash(entry.checksum) != checksums[at]:
                    self._look_at(entry.path)
                there[at] = True
                yield ListedFile(
                    path=entry.path, bytes=entry.size, checksum=entry.checksum, sha256=self._hashes.get(entry.path)
                )

        inventory = write_inventory(self._build, listed())
        if left := len(keys) - int(there.sum()):
            raise BuildIncompleteError(
                f"{left} of {len(keys)} files are not in {self._build.uri} as they were sent: was something deleted?"
            )
        try:
            for path in filter(content_of, needless):
                self._build.delete(path)
        except Exception as error:  # they harm nobody
            progress(f"images that no record names cannot be deleted: {error}")
        return inventory

    def _look_at(self, path: str) -> None:
        """Compare a file, of which the service says something else than when it was put there, with its hash."""
        begins = content_of(path) or self._hashes[path]
        if not sha256_of(self._build, path).startswith(begins):
            raise BuildIncompleteError(f"{self._build.uri}/{path} is not what was put there: did somebody alter it?")


def _upload(
    begun: BegunBuild,
    build: Store,
    shards: Sequence[ValidatedShard],
    prefix: str,
    sent: _Sent,
    progress: Callable[[str], None],
) -> list[FileEntry]:
    """Write the records, and put those marked images into the build that are not there; returns the record files."""

    def write_records(numbered: tuple[int, ValidatedShard]) -> tuple[FileEntry, StageReceipt | set[str]]:
        number, item = numbered
        data = item.read()
        name = f"{prefix}-{number:05d}-of-{len(shards):05d}.jsonl"
        build.write(name, data)
        staged = item.shard.staged(item)
        entry = FileEntry(path=name, rows=item.rows, bytes=len(data), sha256=item.sha256)
        if staged is not None and staged.build_id == begun.build_id:
            return entry, staged
        return entry, counted(item, data)[1]

    entries: list[FileEntry] = []
    copied = 0
    for item, (entry, marked) in zip(shards, in_order(write_records, enumerate(shards), _READS_AT_ONCE), strict=True):
        entries.append(entry)
        sent.note(entry.path, entry.bytes, entry.sha256)
        if isinstance(marked, StageReceipt):
            for path, image in marked.images.items():
                sent.note(path, image.bytes, checksum=image.checksum)
        else:
            for path, image in placed(item.shard, marked, build):
                sent.note(path, image.bytes, checksum=image.checksum)
                copied += 1
                if copied % _COPIES_PER_MESSAGE == 0:
                    progress(f"{copied:,} marked images copied")
        if len(entries) % _SHARDS_PER_MESSAGE == 0:
            progress(f"the records of {len(entries):,} of {len(shards):,} shards are written")
    return entries


def _reader(shards: Sequence[ValidatedShard]) -> Callable[[int], Record]:
    """What reads the record at a place of the build, from 0; for the few that the report names."""
    ends = list(accumulate(shard.rows for shard in shards))

    def read(place: int) -> Record:
        number = bisect_right(ends, place)
        return shards[number].record(place - ends[number] + shards[number].rows)

    return read


def _write_file(build: Store, local: Path, path: str) -> None:
    with local.open("rb") as stream:
        build.write_stream(stream, path)


def _entry(local: Path, path: str, rows: int) -> FileEntry:
    with local.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(path=path, rows=rows, bytes=local.stat().st_size, sha256=digest)
