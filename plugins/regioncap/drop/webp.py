"""WebP has no checksums: what can be told of its data is that they were never written."""

# No lossless picture has as many zeros in a row, since what repeats is said once; a hole in a file has.
_HOLE = bytes(64)


def has_hole(data: bytes) -> bool:
    """Whether the data of a lossless picture are zero for a while. (Those of a lossy one are, where it is flat.)"""
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"VP8L":
            return data.find(_HOLE, at + 8, at + 8 + size) >= 0
        at += 8 + size + size % 2
    return False
