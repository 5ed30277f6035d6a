"""What a user can add, in one form: a registry for each kind of thing (docs/extending.md).

RegionCap's own are registered in code, and need no metadata of an installed package; those of other packages are found
by their entry points. The registries are in the rooms of what they hold.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from regioncap.errors import ExtensionError

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Things of one kind by name: RegionCap's own in their order, then those of installed packages, sorted by name.

    `group` is the group of the entry points, `kind` what messages call such a thing, and `own` are RegionCap's own.
    `fault` is given a name and what a package has under it, and says in words that complete "the gate no_brands at
    my_package.gates:NO_BRANDS ..." why that cannot be used; None if it can. Names are known without loading anything.
    A package cannot take the name of one of RegionCap's own, but those that are `later`: packages had them before.
    """

    def __init__(
        self,
        group: str,
        kind: str,
        own: Mapping[str, T],
        fault: Callable[[str, Any], str | None],
        later: Collection[str] = (),
    ) -> None:
        self.own = own
        self._later = later
        self._group = group
        self._kind = kind
        self._fault = fault

    @property
    def added(self) -> list[str]:
        """The names that installed packages add."""
        return sorted(installed(self._group))

    def __iter__(self) -> Iterator[str]:
        return iter([*self.own, *(name for name in self.added if name not in self.own)])

    def __len__(self) -> int:
        return len(self.own.keys() | installed(self._group).keys())

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in installed(self._group)

    def __getitem__(self, name: str) -> T:
        """Raises KeyError, and ExtensionError where what a package brings cannot be used."""
        point = installed(self._group).get(name)
        if point is None:
            return self.own[name]
        what, mend = f"the {self._kind} {name} at {point.value}", f"mend or uninstall {_package(point)}"
        if name in self.own and name not in self._later:
            raise ExtensionError(f"{what} has the name of one of RegionCap's own; {mend}")
        try:
            thing: T = point.load()
        except Exception as error:
            raise ExtensionError(f"{what} cannot be loaded: {error!r}; {mend}") from error
        fault = self._fault(name, thing)
        if fault:
            raise ExtensionError(f"{what} {fault}; {mend}")
        return thing

    def version(self, name: str) -> list[str]:
        """What one of `added` is known by: group, name, entry point, package, version."""
        point = installed(self._group)[name]
        package = [point.dist.name, point.dist.version] if point.dist else ["", ""]
        return [self._group, name, point.value, *package]

    def source(self, name: str) -> list[Path]:
        """The Python file that one of `added` is in; none where it is not in one of Python's own."""
        spec = find_spec(installed(self._group)[name].module)
        return [Path(spec.origin)] if spec and spec.origin and spec.origin.endswith(".py") else []


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def not_callable(name: str, thing: Any) -> str | None:
    """The fault of what should be a function."""
    return None if callable(thing) else "is no function"


def _package(point: EntryPoint) -> str:
    return f"the package that brings it ({point.dist.name if point.dist else point.value})"
