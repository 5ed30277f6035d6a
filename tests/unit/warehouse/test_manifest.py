"""`_manifest.json`, whoever has written it: what is no manifest costs next to nothing, and says what is to be done."""

import json
from typing import Any

import pytest

from regioncap.errors import ManifestError
from regioncap.storage.local import LocalStore
from regioncap.warehouse.manifest import MOST_BYTES, current
from tests.builders import Place, publish_each


def test_a_manifest_that_is_larger_than_any_is_not_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_each(place, "a")
    # Blanks: it says what it said before.
    place.partition.write("_manifest.json", place.partition.read("_manifest.json").ljust(MOST_BYTES + 1))
    monkeypatch.setattr(LocalStore, "read", lambda *_: pytest.fail("it is read"))
    with pytest.raises(ManifestError, match=r"_manifest\.json has 16,777,217 bytes.* restore it from the manifest of"):
        current(place.partition)


@pytest.mark.parametrize("name", ["captions", "exports", "history"])
def test_of_a_list_of_rubbish_the_first_piece_is_told_and_no_other(place: Place, name: str) -> None:
    publish_each(place, "a")
    manifest: dict[str, Any] = json.loads(place.partition.read("_manifest.json"))
    place.partition.write("_manifest.json", json.dumps(manifest | {name: [{}] * 1000}).encode())
    with pytest.raises(ManifestError, match=rf"{name}\.0\.\w+: Field required") as raised:
        current(place.partition)
    assert raised.value.__cause__.error_count() < 10


def test_what_a_manifest_lacks_is_told_without_what_it_has_instead(place: Place) -> None:
    publish_each(place, "a")
    rubbish: list[Any] = [[] for _ in range(1000)]
    place.partition.write("_manifest.json", json.dumps({"rubbish": rubbish}).encode())
    with pytest.raises(ManifestError, match="partition: Field required") as raised:
        current(place.partition)
    # All errors speak of the very same object.
    assert len({id(error["input"]) for error in raised.value.__cause__.errors()}) == 1


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff", b"[]", b"null", b'"x"', b'{"a":1}{'])
def test_what_is_no_json_object_is_no_manifest(place: Place, data: bytes) -> None:
    place.partition.write("_manifest.json", data)
    with pytest.raises(ManifestError, match=r"_manifest\.json cannot be read .*: restore it"):
        current(place.partition)
