"""WebDataset: tars of samples, each an image and a JSON file of one name. Images stay in the tar.

Members that follow each other and have one name up to its first full stop are a sample. What else is in it (texts,
arrays, pickles) is not read.
"""

from collections.abc import Iterator
from itertools import groupby
from tarfile import TarInfo
from typing import IO, Any

from regioncap.drop.inside import TARS, check_member, member_path, members, name_of, place_of
from regioncap.drop.plain import in_utf8
from regioncap.drop.readers.loose import with_boxes
from regioncap.drop.readers.reader import IMAGE_ENDINGS, DropReader, Given, Row, id_in, is_hidden
from regioncap.drop.rows import MAX_LINE_BYTES, image_path, parse_line
from regioncap.drop.seen import SeenIds
from regioncap.errors import RowError
from regioncap.regions.codes import Code


def _rows(given: Given) -> Iterator[Row]:
    for manifest in given.manifests:
        seen = SeenIds()
        with given.opened(manifest) as (stream, packed):
            for number, (key, sample) in enumerate(_samples(stream, manifest, given), start=1):
                try:
                    image = _image_of(key, sample)
                    name = name_of(image)
                    value = {**_said(given, key, sample, stream), given.image_key: member_path(manifest, name)}
                    value.setdefault("id", id_in(given, manifest, key))
                    # Two images of one name could not be told from each other.
                    if not seen.add(name):
                        raise RowError(Code.DUPLICATE_ID, f"an earlier sample of the tar has {name!r} too")
                except RowError as fault:
                    yield Row(number, None, fault, {"__key__": key}, manifest)
                else:
                    yield Row(number, value, manifest=manifest, place=None if packed else place_of(image))


def _samples(stream: IO[bytes], manifest: str, given: Given) -> Iterator[tuple[str, list[TarInfo]]]:
    """The members of each sample by their key; folders and hidden files are none."""
    if manifest not in given:
        raise ValueError("its images are in it, and images_uri says that they are elsewhere: leave images_uri out")
    files = (member for member in members(stream) if not member.isdir() and not _is_hidden(name_of(member)))
    for key, sample in groupby(files, key=_key):
        yield key, list(sample)


def _is_hidden(name: str) -> bool:
    return is_hidden(name) and ".." not in name.split("/")  # that leads out, and is told of


def _key(member: TarInfo) -> str:
    folder, slash, file = name_of(member).rpartition("/")
    return folder + slash + file.partition(".")[0]


def _image_of(key: str, sample: list[TarInfo]) -> TarInfo:
    images = [member for member in sample if member.name.lower().endswith(IMAGE_ENDINGS)]
    if not images:
        raise RowError(Code.IMAGE_MISSING, f"the sample {key!r} has no image")
    if len(images) > 1:
        listed = ", ".join(repr(member.name) for member in images[:4])
        raise RowError(Code.IMAGE_NOT_FOUND, f"the sample {key!r} has several images ({listed}): leave one in")
    image_path(name_of(images[0]))
    check_member(images[0])
    return images[0]


def _said(given: Given, key: str, sample: list[TarInfo], stream: IO[bytes]) -> dict[str, Any]:
    """What the sample's JSON file says, with its boxes; nothing where there is none."""
    found = [member for member in sample if member.name.lower().endswith(".json")]
    found = [member for member in found if name_of(member).lower() == f"{key}.json".lower()] or found
    if not found:
        return {}
    if len(found) > 1:
        raise RowError(Code.NOT_JSON, f"the sample {key!r} has several JSON files: call one of them {key}.json")
    check_member(found[0])
    if found[0].size > MAX_LINE_BYTES:
        raise RowError(Code.LINE_TOO_LONG, f"{found[0].name!r} has more than {MAX_LINE_BYTES:,} bytes")
    stream.seek(found[0].offset_data)
    return with_boxes(given, parse_line(in_utf8(stream.read(found[0].size), given.encoding)))


def _recognises(path: str, start: bytes) -> bool:
    try:
        return bool(TarInfo.frombuf(start[:512], "utf-8", "surrogateescape").name)
    except Exception:  # the library has many errors for what is none
        return False


def _count(given: Given) -> int:
    count = 0
    for manifest in given.manifests:
        with given.opened(manifest) as (stream, _):
            count += sum(1 for _ in _samples(stream, manifest, given))
    return count


READER = DropReader(TARS, _rows, None, _recognises, _count, is_text=False)
