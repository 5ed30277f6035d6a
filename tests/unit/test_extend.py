"""What installed packages add, beside RegionCap's own."""

from collections.abc import Callable
from typing import Any

import pytest

from regioncap.errors import ExtensionError, PermanentError
from regioncap.extend import Registry, not_callable

GROUP = "regioncap.things"


@pytest.fixture
def things() -> Registry[Any]:
    return Registry(GROUP, "thing", {"z": max, "y": min}, not_callable)


def test_regioncaps_own_come_first_and_need_no_package(things: Registry[Any], extend: Callable[..., None]) -> None:
    assert list(things) == ["z", "y"] and things["z"] is max and things.added == []
    extend(GROUP, "b", "from math import ceil as it")
    extend(GROUP, "a", "from math import floor as it")
    assert list(things) == ["z", "y", "a", "b"] and things.added == ["a", "b"] and len(things) == 4
    assert things["a"](1.5) == 1


def test_an_unknown_name_is_a_key_error(things: Registry[Any]) -> None:
    with pytest.raises(KeyError):
        things["nothing"]


def test_names_are_known_without_loading_anything(things: Registry[Any], extend: Callable[..., None]) -> None:
    extend(GROUP, "mine", "1 / 0")
    assert "mine" in things and list(things) == ["z", "y", "mine"]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("mine", "1 / 0", "the thing mine at .*:it cannot be loaded: ZeroDivisionError"),
        ("mine", "", "cannot be loaded: AttributeError"),
        ("mine", "it = 1", "is no function"),
        ("z", "it = print", "the thing z at .*:it has the name of one of RegionCap's own"),
    ],
)
def test_what_cannot_be_used_is_an_error_for_good_that_names_its_package(
    things: Registry[Any], extend: Callable[..., None], name: str, code: str, message: str
) -> None:
    extend(GROUP, name, code)
    with pytest.raises(ExtensionError, match=rf"{message}.*; mend or uninstall the package .*{name}-package") as caught:
        things[name]
    assert isinstance(caught.value, PermanentError)


def test_one_is_known_by_its_package_version_and_source(things: Registry[Any], extend: Callable[..., None]) -> None:
    extend(GROUP, "mine", "it = print", version="1.7")
    group, name, place, package, version = things.version("mine")
    assert (group, name, package, version) == (GROUP, "mine", "mine-package", "1.7")
    (source,) = things.source("mine")
    assert source.stem == place.partition(":")[0] and source.read_text() == "it = print"
