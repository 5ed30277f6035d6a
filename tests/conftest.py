"""What several folders of tests share."""

from collections.abc import Iterator

import pytest

from tests.fake_vlm import MODEL, FakeVlm, answer_well, fake_vlm


@pytest.fixture(scope="session")
def _fake_server() -> Iterator[FakeVlm]:
    with fake_vlm() as fake:
        yield fake


@pytest.fixture
def vlm(_fake_server: FakeVlm) -> FakeVlm:
    """A fake VLM that answers well, until a test says otherwise."""
    _fake_server.behave = lambda _, body: answer_well(body)
    _fake_server.models = [MODEL]
    _fake_server.requests.clear()
    _fake_server.most_in_flight = 0
    _fake_server.ignores_schemas, _fake_server.waiting = False, None
    return _fake_server
