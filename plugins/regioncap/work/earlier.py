"""Answers that earlier plans of a date paid for, brought to the shards of a new plan.

Each answer says which image it is about. When a plan is made, the answers in those earlier shards that it has no more
are read once, and each is written to the new shards that have its image: a shard's task then reads its own folder,
however much the order of the rows has changed. Answers of before they said so stay where they are, and are read there
(`Plan.sources`).
"""

import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from regioncap.errors import NotFoundError
from regioncap.parallel import in_order
from regioncap.regions.jsonl import line
from regioncap.storage.store import Store
from regioncap.vlm.completion import Completion
from regioncap.work import layout
from regioncap.work.completions import load_completions, that_count, write_lines
from regioncap.work.row_index import Known, image_digest

# Reads that wait for the store.
_READS_AT_ONCE = 16
# So many unpublished plans are looked into, the latest first.
_MOST_PLANS = 8


class Brought:
    """Answers for the shards of a plan that is being made, in files of a folder until the plan has an id."""

    def __init__(self, work: Store, folder: Path) -> None:
        self._work = work
        self._folder = folder
        self._images, self._places = array("Q"), array("I")
        self._shards: list[str] = []

    def expect(self, shard_id: str, rows: Sequence[Known]) -> None:
        """Note which images the plan's next shard is about."""
        self._images.extend(image_digest(row.image) for row in rows)
        self._places.extend([len(self._shards)] * len(rows))
        self._shards.append(shard_id)

    def collect(self, sources: Iterable[str], folders: Sequence[str]) -> set[str]:
        """Read the answers in these folders of earlier shards; returns the shards with answers that name no image."""
        images = np.frombuffer(self._images, np.uint64)
        order = np.argsort(images, kind="stable")
        images, places = images[order], np.frombuffer(self._places, np.uint32)[order]

        def read(source: str) -> dict[str, list[Completion]]:
            shared = self._work.sub(layout.shard_path(source))
            return {folder: list(that_count(load_completions(shared, folder)).values()) for folder in folders}

        wanted = sorted(set(sources) - set(self._shards))
        unnamed: set[str] = set()
        for source, found in zip(wanted, in_order(read, wanted, _READS_AT_ONCE), strict=True):
            for folder, completions in found.items():
                if not all(completion.about for completion in completions):
                    unnamed.add(source)
                about = np.array([int(completion.about or "0", 16) for completion in completions], np.uint64)
                first, last = np.searchsorted(images, about, "left"), np.searchsorted(images, about, "right")
                lines: defaultdict[int, list[bytes]] = defaultdict(list)
                for completion, begin, end in zip(completions, first, last, strict=True):
                    for place in set(places[begin:end].tolist()) if completion.about else ():
                        lines[place].append(line(completion))
                for place, texts in lines.items():
                    with self._file(folder, place).open("ab") as out:
                        out.writelines(texts)
        return unnamed

    def write(self, plan_id: str, folders: Sequence[str]) -> None:
        """Write what was collected into the folders of the plan's shards."""

        def copy(item: tuple[str, int, str]) -> None:
            folder, place, shard_id = item
            own = self._work.sub(layout.plan_shard_path(plan_id, shard_id))
            write_lines(own, layout.earlier_path(folder), self._file(folder, place).read_bytes())

        items = (
            (folder, place, shard_id)
            for folder in folders
            for place, shard_id in enumerate(self._shards)
            if self._file(folder, place).exists()
        )
        for _ in in_order(copy, items, _READS_AT_ONCE):
            pass

    def _file(self, folder: str, place: int) -> Path:
        return self._folder / f"{folder.strip('/')}-{place}"


@contextmanager
def bringing(work: Store) -> Iterator[Brought]:
    """Bring answers of earlier plans to a new one; `work` is rooted at its date."""
    with tempfile.TemporaryDirectory(prefix="regioncap-answers-") as folder:
        yield Brought(work, Path(folder))


def earlier_plans(work: Store, published: str | None) -> list[str]:
    """The plans whose answers count: the published one, and those that were made since, the latest first."""
    made: dict[str, float] = {}
    for plan_id in work.sub("plans/").folders():
        try:
            made[plan_id] = work.stat(layout.row_index_path(plan_id)).modified
        except NotFoundError:  # one with nothing to do
            continue
    since = made.pop(published, 0.0) if published else 0.0
    latest = sorted((plan_id for plan_id in made if made[plan_id] >= since), key=lambda name: -made[name])[:_MOST_PLANS]
    return [*([published] if published else []), *latest]
