"""Image files that were made to be slow."""

import io
from functools import cache

from PIL import Image


@cache
def slow_jpeg(scans: int = 10_000) -> bytes:
    """A progressive JPEG of 2000 x 1500 pixels with so many scans: each takes milliseconds, and hardly any bytes."""
    out = io.BytesIO()
    Image.new("L", (2000, 1500), 90).save(out, "JPEG", progressive=True, quality=50)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    return data[:last] + scan * scans + b"\xff\xd9"
