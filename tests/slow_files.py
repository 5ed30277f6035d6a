"""Image files that were made to be slow."""

import io
from functools import cache

from PIL import Image


@cache
def slow_jpeg(scans: int = 200_000) -> bytes:
    """A progressive JPEG of 2000 x 1500 pixels with so many scans: each takes a millisecond or more, and few bytes.

    Their time is far beyond what a picture of this size gets, on a fast machine too.
    """
    out = io.BytesIO()
    Image.new("L", (2000, 1500), 90).save(out, "JPEG", progressive=True, quality=50)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    return data[:last] + scan * scans + b"\xff\xd9"
