"""Pictures are seen as they are meant, or refused: the golden corpus."""

from collections import Counter

import numpy as np
import pytest

from regioncap.drop.images import open_image
from regioncap.errors import RowError
from regioncap.regions.codes import Code
from tests.unit.drop.golden import LAYOUTS, Golden, corpus

CORPUS = corpus()

# TIFFs that no decoder of ours reads: refused, not seen wrong.
KINDS_NOT_READ = (
    "planes of deep colours",
    "f8 0..1",
    "f2 0..1",
    "floats of colours",
    "deep grey and alpha",
    "planes of grey and alpha",
    "12 bits of colours in 16",
    "14 bits of colours in 16",
)
NOT_READ = {f"tiff, {kind}{layout}" for kind in KINDS_NOT_READ for layout in LAYOUTS} - {
    "tiff, planes of deep colours, packed"
}
NOT_READ |= {f"tiff, {kind}, big-endian" for kind in ("grey 16, white is zero", "u4 0..4294967295", "grey of 12 bits")}
READ = [golden for golden in CORPUS if golden.name not in NOT_READ]
UNREAD = [golden for golden in CORPUS if golden.name in NOT_READ]


def test_no_two_files_of_the_corpus_have_one_name() -> None:
    assert max(Counter(golden.name for golden in CORPUS).values()) == 1
    assert len(READ) > 600 and len(UNREAD) == len(NOT_READ)


@pytest.mark.parametrize("golden", READ, ids=lambda golden: golden.name)
def test_a_picture_is_seen_as_it_is_meant(golden: Golden) -> None:
    opened = open_image(golden.data)
    seen = np.asarray(opened.decode())
    assert seen.shape == golden.seen.shape
    assert (opened.width, opened.height) == seen.shape[1::-1]
    assert np.abs(seen.astype(float) - golden.seen).max() <= golden.tolerance


@pytest.mark.parametrize("golden", UNREAD, ids=lambda golden: golden.name)
def test_a_picture_that_cannot_be_read_right_is_refused_with_its_reason(golden: Golden) -> None:
    with pytest.raises(RowError) as fault:
        open_image(golden.data).decode()
    assert fault.value.code in (Code.IMAGE_UNREADABLE, Code.IMAGE_TRUNCATED)
