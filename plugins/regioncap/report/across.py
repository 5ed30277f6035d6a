"""What is seen only when all rows of a build lie side by side: shared captions, alike captions, look-alike images."""

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from regioncap.regions.records import Record
from regioncap.report.look_alikes import hashes_of, look_alikes
from regioncap.report.shown import excerpt
from regioncap.trust.alike import words_of

# A caption is shared by many if it stands in so many records, and in this share of all.
SHARED_RECORDS, SHARED_SHARE = 10, 0.01
# Beyond these shares it is unusual, in builds of so many records or more.
UNUSUAL_LOOK_ALIKES, UNUSUAL_SHARED, UNUSUAL_ALIKE = 0.05, 0.1, 0.2
_FEWEST_RECORDS = 50

_LISTED = 10
_SHOWN_LENGTH = 200

# Captions are counted in so many parts, one after the other: what is sorted is never all of them.
_PARTS = 64

Places = npt.NDArray[np.int64]


class _Model(BaseModel):
    # What is written has these fields only; of what is read, others are ignored.
    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})


class SharedCaption(_Model):
    """A caption that many records share."""

    caption: str = Field(description="The caption, as one record has it.", examples=["a white truck"])
    records: int = Field(ge=1, description="How many records have it.", examples=[31])


class AlikeCaptions(_Model):
    """Regions of an image that have the same caption."""

    image: str = Field(description="The image's path in the drop.", examples=["street/20.jpg"])
    caption: str = Field(description="The caption, as the first of them has it.", examples=["a white truck"])
    regions: list[int] = Field(description="The regions' numbers.", examples=[[2, 5]])


class LookAlikes(_Model):
    """Two images that look alike."""

    image: str = Field(description="The image's path in the drop.", examples=["street/21.jpg"])
    other: str = Field(description="Another one's that comes earlier in the build.", examples=["street/20.jpg"])


class AcrossBuild(_Model):
    """What is seen only when all rows lie side by side. Of captions, only their words count, but for articles."""

    shared_by: int = Field(
        ge=0, description="In how many records a caption stands that is counted here.", examples=[10]
    )
    shared_captions: int = Field(ge=0, description="Captions that so many records share, or more.", examples=[1])
    sharing_records: int = Field(ge=0, description="Records that have at least one of them.", examples=[31])
    most_shared: list[SharedCaption] = Field(description="Those of most records.")
    alike_captions: int = Field(
        ge=0, description="Regions whose caption another region of the image has too: it tells neither.", examples=[4]
    )
    alike: list[AlikeCaptions] = Field(description="Some of them.")
    images: int = Field(ge=0, description="Images that records are of, each counted once.", examples=[45])
    look_alikes: int = Field(
        ge=0,
        description="Images that look like another that comes earlier: the same picture, saved in another way.",
        examples=[1],
    )
    looking_alike: list[LookAlikes] = Field(description="Some of them.")


@dataclass(frozen=True)
class Found:
    """What was counted, without examples, and where these are.

    Records are known by their places, from 0, in the order in which they passed. `shared` has how many records share a
    caption, one of them, and what stands for the caption.
    """

    counts: AcrossBuild
    records: int
    regions: int
    shared: list[tuple[int, int, int]]
    alike: list[int]
    looking_alike: list[tuple[int, int]]

    @property
    def look_alike_rate(self) -> float:
        """Images that look like an earlier one, of all images."""
        return _share(self.counts.look_alikes, self.counts.images)

    @property
    def sharing_rate(self) -> float:
        """Records with a caption that many share, of all records."""
        return _share(self.counts.sharing_records, self.records)

    @property
    def alike_rate(self) -> float:
        """Captions that another region of the image has too, of all captions."""
        return _share(self.counts.alike_captions, self.regions)


class PartAcross(BaseModel):
    """What `Across` has noted of some records, for another process: arrays of little-endian numbers as Base64."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    images: Base64Bytes
    hashes: Base64Bytes
    hashed: Base64Bytes
    captions: Base64Bytes
    places: Base64Bytes
    regions: int
    alike_captions: int
    alike: list[int]


class Across:
    """Takes note of records while they pass by: 48 bytes of each, and 8 of each caption, whatever they say.

    After `found`, nothing more can be noted.
    """

    def __init__(self) -> None:
        # Of each record: its image (rows may be of the same one), and how it looks, if that is known.
        self._images = array("q")
        self._hashes = bytearray()
        self._hashed = array("I")
        # What each caption of a record says, and how many of them each record has.
        self._captions = array("q")
        self._said = array("I")
        self._regions = 0
        self._alike_captions = 0
        self._alike: list[int] = []
        self._found: Found | None = None

    def add(self, record: Record) -> None:
        """Take note of a record."""
        place = len(self._images)
        self._images.append(_number(record.image))
        if record.perceptual_hash is not None:
            self._hashes += bytes.fromhex(record.perceptual_hash)
            self._hashed.append(place)
        said = Counter(_key(region.caption) for region in record.regions)
        self._captions.extend(said)
        self._said.append(len(said))
        self._regions += len(record.regions)
        if alike := sum(regions for regions in said.values() if regions > 1):
            self._alike_captions += alike
            if len(self._alike) < _LISTED:
                self._alike.append(place)

    def part(self) -> PartAcross:
        """What is noted so far, for `join`."""
        return PartAcross.model_construct(
            images=self._images.tobytes(),
            hashes=bytes(self._hashes),
            hashed=self._hashed.tobytes(),
            captions=self._captions.tobytes(),
            places=np.repeat(np.arange(len(self._said), dtype=np.uint32), self._said).tobytes(),
            regions=self._regions,
            alike_captions=self._alike_captions,
            alike=self._alike,
        )

    def join(self, part: PartAcross) -> None:
        """Take note of records that another one has noted; they come after those that are noted here."""
        before = len(self._images)
        self._images.frombytes(part.images)
        self._hashes += part.hashes
        self._hashed.frombytes((np.frombuffer(part.hashed, np.uint32) + np.uint32(before)).tobytes())
        records, places = len(self._images) - before, np.frombuffer(part.places, np.uint32)
        self._said.frombytes(np.bincount(places, minlength=records).astype(np.uint32).tobytes())
        self._captions.frombytes(part.captions)
        self._regions += part.regions
        self._alike_captions += part.alike_captions
        self._alike += [before + place for place in part.alike[: _LISTED - len(self._alike)]]

    def found(self) -> Found:
        """What was found; once it is, that alone is kept."""
        if self._found is None:
            self._found = self._look()
        return self._found

    def _look(self) -> Found:
        records = len(self._images)
        shared_by = max(SHARED_RECORDS, math.ceil(SHARED_SHARE * records))
        shared, sharing = self._shared(shared_by)
        # Half of all that was noted: the rest of the work needs none of it.
        del self._captions, self._said
        images, later, earlier = self._look_alikes()
        del self._images, self._hashes, self._hashed
        counts = AcrossBuild(
            shared_by=shared_by,
            shared_captions=len(shared),
            sharing_records=sharing,
            most_shared=[],
            alike_captions=self._alike_captions,
            alike=[],
            images=images,
            look_alikes=len(later),
            looking_alike=[],
        )
        return Found(
            counts=counts,
            records=records,
            regions=self._regions,
            shared=[(-times, place, key) for times, place, key in sorted(shared)[:_LISTED]],
            alike=self._alike,
            looking_alike=[(int(a), int(b)) for a, b in zip(later[:_LISTED], earlier[:_LISTED], strict=True)],
        )

    def _shared(self, shared_by: int) -> tuple[list[tuple[int, int, int]], int]:
        """Captions that so many records share, as (minus how many, the first one's place, key); and these records."""
        captions = np.frombuffer(self._captions, np.int64)
        ends = np.frombuffer(self._said, np.uint32).cumsum(dtype=np.uint32)
        lowest = np.frombuffer(self._captions, np.uint8)[::8] % _PARTS
        sharing = np.zeros(len(self._images), np.bool_)
        shared: list[tuple[int, int, int]] = []
        for part in range(_PARTS):
            at = np.nonzero(lowest == part)[0].astype(np.uint32)
            said, first, which, times = np.unique(
                captions[at], return_index=True, return_inverse=True, return_counts=True
            )
            many = times >= shared_by
            sharing[ends.searchsorted(at[many[which]], "right")] = True
            places = ends.searchsorted(at[first[many]], "right")
            leading = zip((-times[many]).tolist(), places.tolist(), said[many].tolist(), strict=True)
            shared += leading
        return shared, int(sharing.sum())

    def _look_alikes(self) -> tuple[int, Places, Places]:
        """How many images there are, and the places of records whose images look like others', and of these others."""
        images = np.frombuffer(self._images, np.int64)
        hashed = np.frombuffer(self._hashed, np.uint32)
        hashes = hashes_of(self._hashes)
        number = len(np.unique(images))
        if number < len(images):
            # Rows of the same file are the same image, whatever it looks like.
            _, once = np.unique(images[hashed], return_index=True)
            once.sort()
            hashed, hashes = hashed[once], hashes[once]
        like = look_alikes(hashes)
        (later,) = np.nonzero(like >= 0)
        return number, hashed[later].astype(np.int32), hashed[like[later]].astype(np.int32)


def with_examples(found: Found, read: Callable[[int], Record]) -> AcrossBuild:
    """What the report says; `read` gets the record at a place."""
    pairs = [(read(later).image, read(earlier).image) for later, earlier in found.looking_alike]
    return found.counts.model_copy(
        update={
            "most_shared": [_shared(read(place), key, records) for records, place, key in found.shared],
            "alike": [alike for place in found.alike for alike in _alike_in(read(place))][:_LISTED],
            "looking_alike": [LookAlikes(image=image, other=other) for image, other in pairs],
        }
    )


def unusual(found: Found, across: AcrossBuild) -> list[str]:
    """What a person is to be warned of, whatever other builds were like, and what to do about it."""
    told: list[str] = []
    if found.records < _FEWEST_RECORDS:
        return told
    if found.look_alike_rate > UNUSUAL_LOOK_ALIKES:
        told.append(
            f"{found.look_alike_rate:.1%} of {across.images:,} images look like an earlier one: the same picture, "
            "saved in another way. Leave them out of the drop, or keep them on one side when the dataset is split "
            "(`perceptual_hash` in the records tells them)"
        )
    if across.most_shared and (most := across.most_shared[0]).records > UNUSUAL_SHARED * found.records:
        told.append(
            f"{most.records / found.records:.1%} of the records have one and the same caption, {most.caption!r}: if "
            "their regions are not all alike, ask for more detail in the prompt, and look whether the model sees marks"
        )
    if found.alike_rate > UNUSUAL_ALIKE:
        told.append(
            f"{found.alike_rate:.1%} of the captions are another region's of the same image too, and do not tell which "
            "is meant: ask in the prompt for what tells things apart, such as where they are"
        )
    return told


def _shared(record: Record, key: int, records: int) -> SharedCaption:
    caption = next(region.caption for region in record.regions if _key(region.caption) == key)
    return SharedCaption(caption=excerpt(caption, _SHOWN_LENGTH), records=records)


def _alike_in(record: Record) -> list[AlikeCaptions]:
    by_words: dict[tuple[str, ...], list[int]] = {}
    for at, region in enumerate(record.regions):
        by_words.setdefault(words_of(region.caption), []).append(at)
    return [
        AlikeCaptions(
            image=record.image,
            caption=excerpt(record.regions[places[0]].caption, _SHOWN_LENGTH),
            regions=[record.regions[at].region for at in places],
        )
        for places in by_words.values()
        if len(places) > 1
    ]


def _key(caption: str) -> int:
    """Stands for what a caption says; a fraction of the memory that the text takes."""
    return _number("\0".join(words_of(caption)))


def _number(text: str) -> int:
    """A 64-bit hash of a text: the same in each process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), signed=True)


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
