"""WebP has no checksums: what can be told of its data is that they were never written."""

# No lossless picture has one byte so many times in a row, since what repeats is said once; a hole in a file has.
_HOLES = (bytes(64), b"\xff" * 64)


def has_hole(data: bytes) -> bool:
    """Whether data of a lossless picture are missing. (Those of a lossy one can be zero, where it is flat.)"""
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"VP8L":
            return any(data.find(hole, at + 8, at + 8 + size) >= 0 for hole in _HOLES)
        at += 8 + size + size % 2
    return False
