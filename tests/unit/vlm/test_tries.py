"""When failures at a request are about its row."""

import pytest

from regioncap.vlm.tries import AnsweredAfter, Tries, failures_needed


@pytest.mark.parametrize(("share", "expected"), [(0.0, 4), (0.03, 4), (0.1, 6), (0.5, 20), (0.9, 64), (1.0, 64)])
def test_the_more_others_fail_the_more_failures_are_chance(share: float, expected: int) -> None:
    assert failures_needed(share) == expected


def test_the_share_is_that_of_requests_that_were_answered_lately() -> None:
    answered = AnsweredAfter()
    assert answered.failures_needed == 4
    for _ in range(10):
        answered.note(1)
    assert answered.failures_needed == 20
    for _ in range(64):
        answered.note(0)
    assert answered.failures_needed == 4


def test_a_row_is_refused_alone_where_others_are_answered_and_not_refused() -> None:
    alone, one_of_many, nobody = Tries(0.0), Tries(0.0), Tries(0.0)
    assert [alone.is_refused_alone(answered=10 * k, refusals=k + 1) for k in range(4)] == [False, False, True, True]
    assert not any(one_of_many.is_refused_alone(answered=10 * k, refusals=10 * k + 1) for k in range(9))
    assert not any(nobody.is_refused_alone(answered=0, refusals=k + 1) for k in range(9))
