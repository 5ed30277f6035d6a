"""Names of all that is published."""

import re

MANIFEST = "_manifest.json"


# In a build's folder.
BUILD_MANIFEST = "manifest.json"


FILES = "_files.jsonl"


BEGUN = "_begun.json"


IMAGES = "images/"

# Beside the partitions, and no partition: the name begins with an underscore.
PREVIEWS = "_previews/"

# Beside the partitions too: the journal of what is to be forgotten.
FORGOTTEN = "_forgotten/"

# Beside a partition's builds: journals of what people say about them.
CORRECTIONS = "_corrections/"
REVIEWS = "_reviews/"

# An image, of a build or of one of its exports, is named by the beginning of its own SHA-256.
_NAMED_BY_CONTENT = re.compile(r"(?:.*/)?images/([0-9a-f]{32})\.[a-z]+")


def partition_path(date: str) -> str:
    """The partition's folder, in the warehouse and in the work area."""
    return f"dt={date}"


def preview_path(date: str, plan_id: str) -> str:
    """The preview of a plan; relative to the warehouse."""
    return f"{PREVIEWS}{partition_path(date)}/{plan_id}"


PREVIEW_PAGE = "try.html"


def image_path(marked: str) -> str:
    """A marked image, relative to its shard's or its build's folder."""
    return f"{IMAGES}{marked}.jpg"


def content_of(path: str) -> str | None:
    """What the SHA-256 of an image's file begins with, in hex, by its path; None of a file that is not named by it."""
    named = _NAMED_BY_CONTENT.fullmatch(path)
    return named[1] if named else None


def build_path(build_id: str) -> str:
    """Relative to the partition in the warehouse."""
    return f"build={build_id}"
