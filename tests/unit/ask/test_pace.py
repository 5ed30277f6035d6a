"""How fast something goes lately."""

from regioncap.ask.pace import WINDOW_SECONDS, Pace


def pace(*, at: list[float]) -> Pace:
    """A pace whose clock shows these times."""
    times = iter(at)
    return Pace(clock=lambda: next(times))


def test_there_is_no_pace_before_a_second_look() -> None:
    assert pace(at=[0.0]).note(7) == 0.0


def test_it_is_the_growth_per_second() -> None:
    measured = pace(at=[0.0, 2.0, 4.0])
    assert [measured.note(count) for count in (0, 10, 40)] == [0.0, 5.0, 10.0]


def test_what_was_before_the_window_is_forgotten() -> None:
    start = WINDOW_SECONDS
    measured = pace(at=[0.0, start, start + 10.0])
    measured.note(0)
    measured.note(0)
    assert measured.note(50) == 5.0
