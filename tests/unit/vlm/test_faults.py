"""What a server says of when to ask again."""

from datetime import UTC, datetime

import pytest

from regioncap.vlm.faults import retry_after_seconds

NOW = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", 120),
        ("0", 0),
        (" 7 ", 7),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:28:30 -0000", 30),
        ("Wed, 21 Oct 2026 09:28:30 +0200", 30),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1e99", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str, expected: float | None) -> None:
    assert retry_after_seconds(header, NOW) == expected
