"""What other installed packages add to RegionCap: detectors and gates, by entry points."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

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


def source_of(group: str, name: str) -> list[Path]:
    """The Python file that an extension is in; none where it is not in one of Python's own."""
    spec = find_spec(installed(group)[name].module)
    return [Path(spec.origin)] if spec and spec.origin and spec.origin.endswith(".py") else []
