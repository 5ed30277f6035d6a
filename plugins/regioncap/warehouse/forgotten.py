"""Images that people have asked to be forgotten: what no build may hold any more, whatever the drops still have.

The list lies beside all dates, and is a journal: lines that are only ever added. It holds hashes and nothing else, so
that it tells nothing itself. First of all a forgetting is entered, and when a date is rid of it, that is entered too:
what was interrupted in between is known by that.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pydantic import ConfigDict, Field

from regioncap.storage.store import Store
from regioncap.warehouse.journal import Entered, Journal
from regioncap.warehouse.layout import FORGOTTEN


class Forgetting(Entered):
    """A line of the list. Either what is to be forgotten, or, with a `partition`, that this one is rid of it.

    `contents` are SHA-256 of image files, in hex, and `images` the places that these have in drops: `dt=<date>`, a
    space, and a hash of the path there. `partitions` are those in which something was found. `builds` has the builds
    that went, by their ids, and which took their places, empty where none did; `entry` is the number of the last
    line that it was done for.
    """

    # What a newer version says more of what is to be forgotten is not ignored: it would come back.
    model_config = ConfigDict(extra="forbid", frozen=True)

    contents: list[str] = Field(default_factory=list)
    images: list[str] = Field(default_factory=list)
    partitions: list[str] = Field(default_factory=list)
    partition: str = ""
    builds: dict[str, str] = Field(default_factory=dict)
    entry: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Forgotten:
    """All that is to be forgotten; `lines` is how many lines the list has."""

    contents: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    lines: int = 0

    def and_also(self, contents: Collection[str], images: Collection[str]) -> "Forgotten":
        """With these, that are not on the list yet."""
        return Forgotten(self.contents | {*contents}, self.images | {*images}, self.lines)


NOTHING = Forgotten()


def forgettings_of(warehouse: Store) -> Journal[Forgetting]:
    """The list of a warehouse."""
    return Journal(warehouse.sub(FORGOTTEN), Forgetting)


def all_of(lines: Sequence[Forgetting]) -> Forgotten:
    """What a list says altogether."""
    contents = (content for line in lines for content in line.contents)
    images = (image for line in lines for image in line.images)
    return Forgotten(frozenset(contents), frozenset(images), len(lines))


def not_done(lines: Iterable[Forgetting]) -> set[str]:
    """The partitions, `dt=<date>`, that are not rid yet of what was entered about them."""
    entered: dict[str, int] = {}
    for line in lines:
        entered |= dict.fromkeys(line.partitions, line.number)
        if line.entry >= entered.get(line.partition, 0):
            entered.pop(line.partition, None)
    return set(entered)
