"""What of a work area can go: nothing that a build under way, one that waits, or the next one reads.

    plans/<plan>/               but for the published build's, those that were made since and are looked into for
                                answers (`earlier_plans`), those whose build somebody was asked about, and young ones
    shards/<shard>/             where no plan that stays has it
    shards/<shard>/images/      of what is published: rendered again where a later build needs them

And in the warehouse, builds that were begun and that nobody has gone on with.

All else stays: the answers of a plan that stays are what spares the next build the model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from regioncap.errors import PartitionBusyError
from regioncap.storage.store import Entry, Store
from regioncap.warehouse.history import is_build_folder
from regioncap.warehouse.layout import BUILD_MANIFEST, IMAGES, PREVIEWS, build_path
from regioncap.warehouse.manifest import current
from regioncap.work.begun import give_up_build
from regioncap.work.claim import latest_number, who_holds
from regioncap.work.earlier import earlier_plans
from regioncap.work.plan import Plan
from regioncap.work.staged import is_asked_about


@dataclass(frozen=True)
class Heap:
    """Files of a folder: how many, how large together, and when the newest was written, in seconds since 1970."""

    folder: str
    files: int = 0
    bytes: int = 0
    newest: float = 0.0

    def and_one(self, entry: Entry) -> "Heap":
        """With one file more."""
        newest = max(self.newest, entry.modified)
        return replace(self, files=self.files + 1, bytes=self.bytes + entry.size, newest=newest)

    def and_of(self, other: "Heap | None") -> "Heap":
        """With all files of another one."""
        if other is None:
            return self
        newest = max(self.newest, other.newest)
        return replace(self, files=self.files + other.files, bytes=self.bytes + other.bytes, newest=newest)


@dataclass(frozen=True)
class WorkArea:
    """A date's work area: all that is in it, and what can go."""

    held: Heap
    leftovers: list[Heap]


def look(work: Store, published: str | None, limit: float, is_alive: Callable[[str], bool]) -> WorkArea:
    """What of a date's work area can go that was not touched since `limit`, in seconds since 1970.

    `published` is the plan of the date's current build; `is_alive` tells whether the run of an id is not over yet.
    Raises PartitionBusyError while such a run builds the date, and StepMissingError where a plan that stays cannot be
    read: then nobody can tell what it needs.
    """
    builder = who_holds(work)
    if builder is not None and is_alive(builder):
        raise PartitionBusyError(f"{work.uri} is being built by the run {builder}: it is left alone")
    plans, _ = _heaps(work, "plans/")
    shards, images = _heaps(work, "shards/")
    young = {name for name, heap in plans.items() if heap.newest >= limit}
    asked = {name for name in plans if is_asked_about(work, name)}
    stay = plans.keys() & {*young, *asked, *earlier_plans(work, published)}
    # A build may go on with these, or be published without being written anew.
    loaded = {name: Plan.load(work, name) for name in stay}
    going_on = {shard for name in stay & (young | asked) for shard in loaded[name].shards}
    needed = going_on | {shard for plan in loaded.values() for shard in _shards_of(plan)}

    leftovers = [heap for name, heap in plans.items() if name not in stay]
    for name, heap in shards.items():
        whole, marked = heap.and_of(images.get(name)), images.get(name)
        if name not in needed and whole.newest < limit:
            leftovers.append(whole)
        elif name in needed - going_on and marked is not None and whole.newest < limit:
            leftovers.append(marked)
    held = Heap("")
    for heap in (*plans.values(), *shards.values(), *images.values()):
        held = held.and_of(heap)
    return WorkArea(held, leftovers)


def collect(work: Store, area: WorkArea, progress: Callable[[Heap], None]) -> None:
    """Delete what can go. Raises PartitionBusyError, and leaves the rest, where a run plans the date meanwhile."""
    number = latest_number(work)
    for heap in area.leftovers:
        if latest_number(work) != number:
            raise PartitionBusyError(f"{work.uri} is planned meanwhile: what is left there is looked at next time")
        work.sub(heap.folder).delete_folder()
        progress(heap)


def abandoned(partition: Store, limit: float) -> list[Heap]:
    """The builds of a date that were begun, are not whole, and were not touched since `limit`.

    `collect` of `warehouse/history.py` leaves them alone, since they may still become the current one. Raises
    ManifestError.
    """
    published, _ = current(partition)
    kept = {published.build, *(build_path(build.build_id) for build in published.history)} if published else set()
    found: list[Heap] = []
    for name in partition.folders():
        if name in kept or not is_build_folder(name):
            continue
        heap, is_whole = Heap(f"{name}/"), False
        for entry in partition.sub(heap.folder).list():
            heap, is_whole = heap.and_one(entry), is_whole or entry.path == BUILD_MANIFEST
        # One that is whole may wait for somebody; and some services go on listing a folder when it is empty.
        if heap.files and not is_whole and heap.newest < limit:
            found.append(heap)
    return found


def give_up(work: Store, partition: Store, build: Heap) -> None:
    """Delete a build that was abandoned; whoever goes on with its plan all the same begins another one."""
    build_id = build.folder.removeprefix(build_path("")).rstrip("/")
    for plan_id in work.sub("plans/").folders():
        give_up_build(work, plan_id, build_id)
    partition.sub(build.folder).delete_folder()


def old_previews(warehouse: Store, limit: float) -> list[Heap]:
    """The previews that were not touched since `limit`: nothing reads them but people."""
    found: dict[str, Heap] = {}
    for entry in warehouse.list(PREVIEWS):
        folder = "/".join(PurePosixPath(entry.path).parts[:3]) + "/"
        found[folder] = found.get(folder, Heap(folder)).and_one(entry)
    return [heap for heap in found.values() if heap.newest < limit]


def _shards_of(plan: Plan) -> Iterator[str]:
    yield from plan.shards
    for sources in plan.sources.values():
        yield from sources


def _heaps(work: Store, place: str) -> tuple[dict[str, Heap], dict[str, Heap]]:
    """The folders of `place` by name: each without its marked images, and these by themselves. From one listing."""
    without: dict[str, Heap] = {}
    images: dict[str, Heap] = {}
    for entry in work.list(place):
        name, _, rest = entry.path.removeprefix(place).partition("/")
        found, within = (images, IMAGES) if rest.startswith(IMAGES) else (without, "")
        found[name] = found.get(name, Heap(f"{place}{name}/{within}")).and_one(entry)
    return without, images
