"""Regions that are handed out to an annotation tool: how one is known there, and what comes back of it.

A region brings a `Key` along: what corrections know it by, and a hash of the caption that it was handed out with. So
what comes back needs no build to be understood, and a caption that nobody touched there is told from a new one.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from regioncap.warehouse.corrections import about_region

# The name under which tools keep it.
KEY = "region_key"

# In pixels: some tools keep two decimals, and one that moves a box moves it by more.
_MOVED = 0.5

_KEY = re.compile(
    r"(?P<about>[0-9a-f]{64} (?P<language>en|zh) (?P<bbox>\[[0-9eE.,+-]{1,200}\])) (?P<said>[0-9a-f]{16})"
)

# What no XML 1.0 can have, not even written as a number.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Key:
    """A region as it was handed out: `about` is what corrections know it by, `said` a hash of its caption."""

    about: str
    language: str
    bbox: tuple[float, ...]
    said: str

    @classmethod
    def read(cls, text: Any) -> "Key | None":
        """What `text` wrote; None of anything else."""
        found = _KEY.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            return None
        try:
            bbox = json.loads(found["bbox"])
        except ValueError:
            return None
        return cls(found["about"], found["language"], tuple(bbox), found["said"]) if len(bbox) == 4 else None

    @property
    def text(self) -> str:
        """As it goes along."""
        return f"{self.about} {self.said}"

    def says(self, caption: str) -> bool:
        """Whether this is the caption that it was handed out with."""
        return _hash(caption) == self.said

    def is_at(self, bbox: tuple[float, ...]) -> bool:
        """Whether a box, [x, y, w, h] in pixels, is where it was handed out."""
        return len(bbox) == 4 and all(abs(one - two) <= _MOVED for one, two in zip(self.bbox, bbox, strict=True))


@dataclass(frozen=True)
class Returned:
    """A region that comes back: its caption, or a `fault`, because of which there is nothing to be taken of it.

    `where` says for a person where in the file it is. `key` is None where the tool has a region that was never handed
    out.
    """

    where: str
    key: Key | None
    caption: str = ""
    fault: str = ""


def key_of(record: dict[str, Any], region: dict[str, Any], language: str) -> Key:
    """The key of a record's region."""
    about = about_region(record["image_sha256"], region["bbox"], language)
    return Key(about, language, tuple(region["bbox"]), _hash(region["caption"]))


def added(where: str) -> Returned:
    """A region that was drawn in the tool."""
    return Returned(where, None, fault="it was added there: a region comes from the drop, so add its box to the drop")


def moved(where: str, key: Key) -> Returned:
    """A region whose box was changed in the tool."""
    at = ", ".join(f"{number:g}" for number in key.bbox)
    return Returned(
        where, key, fault=f"its box was moved there from [{at}]: a correction moves no box, so mend it in the drop"
    )


def deleted(where: str, key: Key) -> Returned:
    """A region that the tool does not have any more."""
    return Returned(where, key, fault="it was deleted there: to leave it out, reject it on the page Gallery")


def xml_text(text: str) -> str:
    """Text in which each character that XML cannot hold is U+FFFD; it is still to be escaped."""
    return _NOT_IN_XML.sub("\ufffd", text)


def _hash(caption: str) -> str:
    # Tools fold white space in one way or another.
    return hashlib.sha256(" ".join(caption.split()).encode()).hexdigest()[:16]
