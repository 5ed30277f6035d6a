"""What a server says of when to ask again."""

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict

from regioncap.vlm.faults import asked_again_in, retry_after_seconds

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


def limits(requests: str, requests_reset: str, tokens: str, tokens_reset: str, **others: str) -> dict[str, str]:
    """A hosted API's headers, as in the table of https://platform.openai.com/docs/guides/rate-limits."""
    return {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": requests,
        "x-ratelimit-remaining-tokens": tokens,
        "x-ratelimit-reset-requests": requests_reset,
        "x-ratelimit-reset-tokens": tokens_reset,
        **others,
    }


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # The table's own values: nothing is used up, so that the tokens of this request did not suffice.
        (limits("59", "1s", "149984", "6m0s"), 360),
        (limits("0", "1s", "149984", "6m0s"), 1),
        (limits("59", "1s", "0", "6m0s"), 360),
        (limits("0", "8.64s", "0", "120ms"), 8.64),
        (limits("0", "12ms", "149984", "9ms"), 0.012),
        # A limit of a day.
        (limits("0", "17h30m0s", "149984", "9ms"), 63_000),
        # Others tell seconds.
        (limits("0", "20", "149984", "6"), 20),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2m59.56s"}, 179.56),
        # What the server says of this request goes first.
        (limits("0", "1s", "0", "6m0s", **{"Retry-After": "3"}), 3),
        (limits("0", "1s", "149984", "6m0s", **{"Retry-After": "soon"}), 1),
        # Nothing that can be understood.
        (limits("0", "soon", "7", ""), None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "-5s"}, None),
        ({}, None),
    ],
)
def test_a_limit_that_is_used_up_is_waited_for_as_long_as_the_headers_say(
    headers: dict[str, str], expected: float | None
) -> None:
    assert asked_again_in(CIMultiDict(headers), NOW) == expected
