"""What an endpoint may be."""

import math
from typing import Any

import pytest

from regioncap.errors import VlmSetupError
from regioncap.vlm.endpoint import Endpoint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "model: it is empty"),
        ({"model": "  "}, "model: it is empty"),
        ({"max_in_flight": 0}, "max_in_flight: it is 0"),
        ({"max_in_flight": -3}, "max_in_flight: it is -3"),
        ({"timeout_seconds": 0}, "timeout_seconds: it is 0"),
        ({"timeout_seconds": math.nan}, "timeout_seconds: it is nan"),
        ({"timeout_seconds": math.inf}, "timeout_seconds: it is inf"),
        ({"patience_seconds": -1}, "patience_seconds: it is -1"),
        ({"base_urls": ("gpu:8000/v1",)}, "host: 'gpu:8000/v1' is no address of a server; write it as http://"),
        ({"base_urls": ("http://a:1/v1", "b")}, "host: 'b' is no address"),
        ({"base_urls": ("http:///v1",)}, "host: 'http:///v1' is no address"),
        ({"base_urls": ("ftp://a/v1",)}, "host: 'ftp://a/v1' is no address"),
    ],
)
def test_what_nothing_could_be_asked_with_is_refused_where_the_endpoint_is_made(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(VlmSetupError, match=message):
        Endpoint(**{"base_urls": ("https://gpu/v1",), "model": "m", **changes})


@pytest.mark.parametrize("url", ["http://user:hidden@gpu:8000/v1", "https://hidden@gpu/v1", "ftp://user:hidden@gpu"])
def test_a_login_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(VlmSetupError, match="there is a login in an address") as refused:
        Endpoint(base_urls=(url,), model="m")
    assert "hidden" not in str(refused.value)
