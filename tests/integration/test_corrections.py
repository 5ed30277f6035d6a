"""The journal of corrections in real buckets: of writers at once none loses a line."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from regioncap.errors import CorrectionConflictError
from regioncap.storage.s3 import S3Store
from regioncap.warehouse import journal
from regioncap.warehouse.corrections import Correction, about_region, correct, corrections_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def said(by: str, number: int, box: int) -> Correction:
    about = about_region("a" * 64, [box, 1, 5, 5], "en")
    return Correction(at="2026-10-05T10:00:00+00:00", by=by, action="edit", about=about, caption=f"{by} {number}")


@pytest.mark.parametrize("lines_in_a_file", [500, 7])
def test_writers_at_once_lose_nothing(
    service: "S3Client", monkeypatch: pytest.MonkeyPatch, lines_in_a_file: int
) -> None:
    monkeypatch.setattr(journal, "FILE_LINES", lines_in_a_file)
    partition = S3Store(service, "warehouse", f"corrections/{uuid.uuid4().hex}/dt=2026-10-05")

    def write(by: str) -> None:
        seen = 0
        for number in range(10):
            while True:
                try:
                    correct(corrections_of(partition), [said(by, number, number % 3)], seen)
                    break
                except CorrectionConflictError:
                    seen = len(corrections_of(partition).lines())

    with ThreadPoolExecutor(3) as writers:
        list(writers.map(write, ("ann", "ben", "cat")))
    lines = corrections_of(partition).lines()
    assert [line.number for line in lines] == list(range(1, 31))
    assert set(Counter(line.caption for line in lines).values()) == {1}
