"""Pictures are seen as they are meant, or refused: the golden corpus."""

from collections import Counter

import numpy as np
import pytest

from regioncap.drop.images import open_image
from regioncap.errors import RowError
from regioncap.regions.codes import Code
from tests.unit.drop.golden import Golden, corpus

CORPUS = corpus()

# TIFFs that no decoder of ours reads: refused, not seen wrong.
REFUSED = (
    "tiff, planes of deep colours",
    "tiff, f8",
    "tiff, f2",
    "tiff, floats of colours",
    "tiff, deep grey and alpha",
    "tiff, planes of grey and alpha",
    "tiff, 12 bits of colours in 16",
    "tiff, grey 16, white is zero, big-endian",
    "tiff, u4 0..4294967295, big-endian",
    "tiff, grey of 12 bits, big-endian",
)


READ = [golden for golden in CORPUS if not golden.name.startswith(REFUSED)]
UNREAD = [golden for golden in CORPUS if golden.name.startswith(REFUSED)]


def test_no_two_files_of_the_corpus_have_one_name() -> None:
    assert max(Counter(golden.name for golden in CORPUS).values()) == 1
    assert len(READ) > 600


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
