"""What other installed packages add to RegionCap: detectors and gates, by entry points."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

DETECTORS_GROUP = "regioncap.proposers"
GATES_GROUP = "regioncap.gates"


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def version_of(group: str, name: str) -> list[str]:
    """What an extension is known by, so that another version makes another build: its group, name, package, version."""
    point = installed(group)[name]
    return [group, name, point.value, point.dist.name if point.dist else "", point.dist.version if point.dist else ""]
