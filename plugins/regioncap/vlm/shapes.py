"""The shape of a request: all of it that a server, or a proxy before it, may have a limit for, whatever is in it."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from regioncap.vlm.requests import ChatRequest, data_url

# Sizes are alike within about a fifth.
_STEPS_PER_DOUBLING = 2
# The most that a comment in a JPEG can hold.
_COMMENT = 65_533


@dataclass(frozen=True)
class SentImage:
    """An image as it is sent: its width and height in pixels, its bytes, and its file where only that is named."""

    width: int
    height: int
    bytes: int
    file: Path | None = None


@dataclass(frozen=True)
class Shape:
    """What requests can be compared by; sizes are in steps, so that requests of about one size have the same."""

    form: str
    images: int
    pixels: int
    bytes: int
    max_tokens: int

    def covers(self, other: "Shape") -> bool:
        """Whether a server that takes requests of this shape has room for those of the other one."""
        return (
            self.form == other.form
            and self.images >= other.images
            and self.pixels >= other.pixels
            and self.bytes >= other.bytes
            and self.max_tokens >= other.max_tokens
        )


def sent_image(image: bytes | Path, by_name: bool) -> SentImage:
    """What there is to know of a JPEG, given as bytes or as its file; `by_name`: the file's name is what is sent."""
    size = len(image) if isinstance(image, bytes) else image.stat().st_size
    with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
        width, height = opened.size
    return SentImage(width, height, size, image if by_name and isinstance(image, Path) else None)


def shape_of(request: ChatRequest, images: Mapping[str, SentImage]) -> Shape:
    """The shape of a request with these images, by name."""
    sent = [images[name] for name in request.images]
    schema: dict[str, Any] = request.options.get("response_format", {}).get("json_schema", {}).get("schema", {})
    return Shape(
        form=str(schema.get("type", "text")),
        images=len(sent),
        pixels=_step(sum(image.width * image.height for image in sent)),
        bytes=_step(sum(image.bytes for image in sent)),
        max_tokens=int(request.options.get("max_tokens", 0)),
    )


def stand_in(image: SentImage) -> str:
    """The URL of a grey JPEG with as many pixels and bytes: what is refused with it is not refused for its content."""
    stream = io.BytesIO()
    Image.new("RGB", (image.width, image.height), (128, 128, 128)).save(stream, "JPEG")
    plain = stream.getvalue()
    missing = image.bytes - len(plain)
    comments = b""
    while missing > 0:
        length = min(missing, _COMMENT)
        comments += b"\xff\xfe" + (length + 2).to_bytes(2, "big") + b" " * length
        missing -= length + 4
    return data_url(plain[:2] + comments + plain[2:])


def _step(size: int) -> int:
    return round(_STEPS_PER_DOUBLING * math.log2(size)) if size else 0
