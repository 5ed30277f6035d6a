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
# Their bits are laid out one by one, a byte each.
_AT_ONCE = 1 << 16

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def hashes_of(data: bytes | bytearray) -> Hashes:
    """Hashes of 32 bytes each, one behind the other, as (images, 4)."""
    return np.frombuffer(data, np.uint64).reshape(-1, _WORDS)


def look_alikes(hashes: Hashes) -> Places:
    """For each image the place of an earlier one that it looks like, -1 where there is none."""
    order = np.lexsort(hashes.T)
    first = _starts(hashes, order)
    # Of equal ones, the earliest stands for all.
    of = np.empty_like(order)
    of[order] = order[first][np.cumsum(first) - 1]
    like = np.where(of < np.arange(len(hashes)), of, -1)
    earliest = np.sort(order[first])
    del order, first, of
    unique = hashes if len(earliest) == len(hashes) else hashes[earliest]
    for one, other in _near(unique):
        places = earliest[other]
        # The earliest that is known; -1 is none.
        like[places] = np.where(like[places] < 0, earliest[one], like[places])
    return like


def _starts(hashes: Hashes, order: Places) -> npt.NDArray[np.bool_]:
    """Of hashes in this order, which are others than the one before."""
    starts = np.ones(len(order), np.bool_)
    for at in range(1, len(order), _AT_ONCE):
        these, before = order[at : at + _AT_ONCE], order[at - 1 : at - 1 + _AT_ONCE][: len(order) - at]
        starts[at : at + _AT_ONCE] = (hashes[these] != hashes[before]).any(axis=1)
    return starts


def _near(hashes: Hashes) -> Iterator[tuple[Places, Places]]:
    """Pairs of places, the earlier one first, of hashes that differ in few bits; some come more than once."""
    bands = _bands(hashes)
    for band in range(_BANDS):
        order = np.argsort(bands[:, band], kind="stable")
        values = bands[order, band]
        for step in range(1, _NEIGHBOURS + 1):
            (at,) = np.nonzero(values[:-step] == values[step:])
            if not len(at):
                break
            for start in range(0, len(at), _AT_ONCE):
                some = at[start : start + _AT_ONCE]
                one, other = order[some], order[some + step]
                alike = np.bitwise_count(hashes[one] ^ hashes[other]).sum(axis=1) <= MOST_BITS
                yield one[alike], other[alike]


def _bands(hashes: Hashes) -> npt.NDArray[np.uint16]:
    """(images, 16): each band has a bit of each wave, across and down, so that no band is of coarse ones only."""
    down, across = np.indices((_BANDS, _BANDS))
    bands = np.empty((len(hashes), _BANDS), np.uint16)
    for at in range(0, len(hashes), _AT_ONCE):
        bits = np.unpackbits(hashes[at : at + _AT_ONCE].view(np.uint8), axis=1).reshape(-1, _BANDS, _BANDS)
        packed = np.packbits(bits[:, across, (down + across) % _BANDS], axis=2)
        bands[at : at + _AT_ONCE] = np.ascontiguousarray(packed).view(np.uint16)[:, :, 0]
    return bands
