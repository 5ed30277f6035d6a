"""Whatever happens to a date's builds, in whatever order: what is published is one whole build, and the right one."""

import pytest

from tests.stateful.machine import explore


@pytest.mark.parametrize(
    "steps",
    [500, pytest.param(20_000, marks=[pytest.mark.prove, pytest.mark.timeout(7200)])],
    ids=lambda steps: f"{steps}-steps",
)
def test_no_order_of_events_publishes_what_is_not_one_whole_build(steps: int) -> None:
    count, violation = explore(steps, seed=14)
    if violation is not None:
        raise violation
    assert count.steps >= steps
    assert count.published
    assert count.faults
