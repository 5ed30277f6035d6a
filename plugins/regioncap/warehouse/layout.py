"""Names of all that is published."""

MANIFEST = "_manifest.json"


BUILD_MANIFEST = "manifest.json"


IMAGES = "images/"


def partition_path(date: str) -> str:
    """The partition's folder, in the warehouse and in the work area."""
    return f"dt={date}"


def image_path(marked: str) -> str:
    """A marked image, relative to its shard's or its build's folder."""
    return f"{IMAGES}{marked}.jpg"


def build_path(build_id: str) -> str:
    """Relative to the partition in the warehouse."""
    return f"build={build_id}"
