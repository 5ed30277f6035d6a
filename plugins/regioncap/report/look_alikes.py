"""Which images look like another: the same picture, saved in another way, by their perceptual hashes.

Each pair is looked at whose hashes share one of 16 bands of 16 bits. Hashes that differ in at most 15 bits do, so none
of these is missed, but in a crowd: where very many images have the same band, each is compared with those next to it
only. That bounds the time by the number of images.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

# So many bits of the hashes of a picture's copies differ: of photos at half and a quarter of their size, or in JPEG's
# quality 25, at most 14 of 256. Of 79,800 pairs of unlike scenes, none had fewer than 60.
MOST_BITS = 15

_WORDS = 4
_BANDS = 16
_NEIGHBOURS = 32
# So many are compared in one go: what is laid out for that is little beside the hashes themselves.
_AT_ONCE = 1 << 16
# Any large odd number: 2^64 by the golden ratio (Knuth, The Art of Computer Programming, volume 3, 6.4).
_MIXING = np.uint64(0x9E3779B97F4A7C15)

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32]


def hashes_of(data: bytes | bytearray) -> Hashes:
    """Hashes of 32 bytes each, one behind the other, as (images, 4)."""
    return np.frombuffer(data, np.uint64).reshape(-1, _WORDS)


def look_alikes(hashes: Hashes) -> Places:
    """For each image the place of an earlier one that it looks like, -1 where there is none."""
    earliest, numbers = _earliest_equal(hashes), np.arange(len(hashes), dtype=np.int32)
    like = np.where(earliest < numbers, earliest, np.int32(-1))
    # Of equal ones, the earliest stands for all.
    unique = np.flatnonzero(earliest == numbers).astype(np.int32)
    del earliest, numbers
    for one, other in _near(hashes if len(unique) == len(hashes) else hashes[unique]):
        places = unique[other]
        # The earliest that is known; -1 is none.
        like[places] = np.where(like[places] < 0, unique[one], like[places])
    return like


def _earliest_equal(hashes: Hashes) -> Places:
    """For each hash the place of the first that is the same."""
    # Sorted by one number for all four: where two hashes should share it, they are still no equal ones.
    mixed = np.zeros(len(hashes), np.uint64)
    for word in range(_WORDS):
        mixed = mixed * _MIXING + hashes[:, word]
    order = np.argsort(mixed, kind="stable").astype(np.int32)
    del mixed
    starts = np.ones(len(order), np.bool_)
    for at in range(1, len(order), _AT_ONCE):
        these, before = order[at : at + _AT_ONCE], order[at - 1 : at - 1 + _AT_ONCE][: len(order) - at]
        starts[at : at + _AT_ONCE] = (hashes[these] != hashes[before]).any(axis=1)
    earliest = np.empty_like(order)
    earliest[order] = order[starts][np.cumsum(starts, dtype=np.int32) - 1]
    return earliest


def _near(hashes: Hashes) -> Iterator[tuple[Places, Places]]:
    """Pairs of places, the earlier one first, of hashes that differ in few bits; some come more than once."""
    for band in range(_BANDS):
        values = _band(hashes, band)
        order = np.argsort(values, kind="stable").astype(np.int32)
        values = values[order]
        for step in range(1, _NEIGHBOURS + 1):
            some_share = False
            for start in range(0, len(values) - step, _AT_ONCE):
                these = values[start : min(start + _AT_ONCE, len(values) - step)]
                at = start + np.flatnonzero(these == values[start + step :][: len(these)])
                some_share |= len(at) > 0
                one, other = order[at], order[at + step]
                alike = np.bitwise_count(hashes[one] ^ hashes[other]).sum(axis=1) <= MOST_BITS
                yield one[alike], other[alike]
            if not some_share:
                break


def _band(hashes: Hashes, band: int) -> npt.NDArray[np.uint16]:
    """A band of each hash: a bit of each wave, across and down, so that no band is of coarse ones only."""
    octets = hashes.view(np.uint8)
    values = np.zeros(len(hashes), np.uint16)
    for down in range(_BANDS):
        octet, bit = divmod(down * _BANDS + (band + down) % _BANDS, 8)
        values |= (octets[:, octet] >> np.uint8(7 - bit) & np.uint8(1)).astype(np.uint16) << np.uint16(down)
    return values
