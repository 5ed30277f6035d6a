"""Which hashes are near each other, found without a look at every pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.report.look_alikes import MOST_BITS, Hashes, hashes_of, look_alikes


def random_hashes(number: int, seed: int = 1) -> Hashes:
    return np.random.default_rng(seed).integers(0, 1 << 64, (number, 4), dtype=np.uint64)


def changed(one: Hashes, bits: list[int]) -> Hashes:
    """A hash with these of its 256 bits turned."""
    other = one.copy()
    for bit in bits:
        other[bit // 64] ^= np.uint64(1 << bit % 64)
    return other


@given(st.sets(st.integers(0, 255), max_size=MOST_BITS))
def test_whatever_few_bits_differ_a_look_alike_is_found(bits: set[int]) -> None:
    hashes = random_hashes(50)
    hashes[30] = changed(hashes[12], sorted(bits))
    assert [(at, int(like)) for at, like in enumerate(look_alikes(hashes)) if like >= 0] == [(30, 12)]


@given(st.sets(st.integers(0, 255), min_size=MOST_BITS + 1, max_size=60))
def test_what_differs_in_more_bits_is_no_look_alike(bits: set[int]) -> None:
    hashes = random_hashes(50)
    hashes[30] = changed(hashes[12], sorted(bits))
    assert (look_alikes(hashes) == -1).all()


def test_they_are_those_that_a_look_at_every_pair_finds() -> None:
    generator = np.random.default_rng(3)
    hashes = random_hashes(600)
    for at in range(300, 600):
        bits = generator.choice(256, generator.integers(0, 40), replace=False)
        hashes[at] = changed(hashes[generator.integers(0, at)], bits.tolist())
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2) <= MOST_BITS
    found = look_alikes(hashes)
    assert [like >= 0 for like in found] == [near[at, :at].any() for at in range(600)]
    assert all(near[at, like] and like < at for at, like in enumerate(found) if like >= 0)


def test_of_equal_ones_the_first_is_named() -> None:
    hashes = random_hashes(5)
    hashes[[2, 4]] = hashes[1]
    assert look_alikes(hashes).tolist() == [-1, -1, 1, -1, 1]


@pytest.mark.parametrize("number", [0, 1])
def test_few_are_none(number: int) -> None:
    assert look_alikes(random_hashes(number)).tolist() == [-1] * number


def test_a_crowd_of_the_same_band_is_no_reason_to_look_at_every_pair() -> None:
    # All differ from each other, and share 14 bands: every pair of 20,000 would be 200 million.
    hashes = np.zeros((20_000, 4), np.uint64)
    hashes[:, :1] = np.random.default_rng(1).permutation(1 << 15)[:20_000, None].astype(np.uint64)
    found = look_alikes(hashes)
    assert (found >= 0).sum() > 19_000
    assert all(like < at for at, like in enumerate(found))


def test_hashes_are_32_bytes_each() -> None:
    assert hashes_of(bytes(range(64))).shape == (2, 4)
