"""Reads over a line that fails at any request, from two S3 services: all bytes, and no row the worse for it."""

import pytest

from bench.faulty_reads import measure


@pytest.mark.parametrize(
    "reads",
    [300, pytest.param(2000, marks=[pytest.mark.prove, pytest.mark.timeout(1800)])],
    ids=lambda reads: f"{reads}",
)
def test_no_read_is_short_and_no_row_is_rejected_for_a_fault_of_the_line(reads: int) -> None:
    found = measure(reads, seed=1)
    print(found)
    assert found["reads"] == reads
    assert found["faults"] > reads * 0.2
    assert (found["short_reads"], found["wrong_rejections"], found["given_up"]) == (0, 0, 0)
