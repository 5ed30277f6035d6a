"""One build of a date, and what is sent of it: never more than RegionCap has written."""

from collections.abc import Callable
from typing import IO

import pytest

from regioncap.errors import BuildGoneError
from regioncap.pages import builds
from regioncap.pages.builds import SeenBuild, marked_image, published_page, see_build
from regioncap.storage.local import LocalStore
from regioncap.warehouse import reader
from tests.builders import DATE, Place, publish_each


class Endless:
    """A file that somebody has put there, of which nobody knows how large it is."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def __enter__(self) -> "Endless":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= self.left, "it is read on and on"
        self.left -= size
        return b"x" * size


@pytest.mark.parametrize(
    "send",
    [
        lambda place, build: marked_image(build, "0" * 32),
        lambda place, build: published_page(build.partition, f"{build.manifest.build}/report.html"),
        lambda place, build: build.content.read(build.manifest.captions[0]),
        lambda place, build: see_build(place.warehouse, DATE, build.manifest.build_id),
    ],
)
def test_a_file_that_is_larger_than_what_was_published_is_not_read_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, send: Callable[[Place, SeenBuild], object]
) -> None:
    (build_id,) = publish_each(place, "a")
    build = see_build(place.warehouse, DATE, build_id)
    monkeypatch.setattr(reader, "MOST_IMAGE_BYTES", 5000)
    monkeypatch.setattr(builds, "_MOST_BYTES", 5000)
    whole = LocalStore.read

    def open_(self: LocalStore, path: str, version: str | None = None) -> IO[bytes]:
        return Endless(5001)  # type: ignore[return-value]

    def read(self: LocalStore, path: str, version: str | None = None) -> bytes:
        assert path == "_manifest.json", path
        return whole(self, path, version)

    monkeypatch.setattr(LocalStore, "open", open_)
    monkeypatch.setattr(LocalStore, "read", read)
    with pytest.raises(BuildGoneError):
        send(place, build)
