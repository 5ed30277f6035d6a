"""Ceilings of requests and tokens: tasks stop at them, lose nothing, and go on from there once they are raised."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regioncap.ask.ceiling import Ceiling
from regioncap.config.prices import Prices
from regioncap.errors import CeilingError, RunError, StorageError, VlmSetupError, VlmUnavailableError
from regioncap.steps.caption import caption_shard
from regioncap.storage.local import LocalStore
from regioncap.vlm.completion import Completion
from regioncap.work.plan import Plan
from regioncap.work.spent import Ledger, Spent
from tests.builders import Place, planned
from tests.fake_vlm import FakeVlm, Reply, answer_well, completion
from tests.steps import ASKING, caption, endpoint, propose, publish, render, validate

ROWS = 12
# What the fake VLM tells of each answer: 10 tokens read, 5 written.
TOKENS = 15


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.good_rows(ROWS)
    return place


def rendered(place: Place, **changes: Any) -> Plan:
    plan = place.plan(**changes)
    render(place, plan)
    return plan


@pytest.mark.parametrize("ceiling", [1, 5, 11])
def test_a_task_stops_at_the_ceiling_and_goes_on_when_it_is_raised(place: Place, vlm: FakeVlm, ceiling: int) -> None:
    with pytest.raises(CeilingError, match=rf"max_requests.*{ceiling} requests") as stopped:
        caption(place, rendered(place, max_requests=ceiling), vlm)
    assert isinstance(stopped.value, RunError), "trying again does not help"
    assert len(vlm.requests) == ceiling
    (counts,) = caption(place, plan := rendered(place, max_requests=ROWS), vlm)
    assert (counts.kept, counts.asked, len(vlm.requests)) == (ceiling, ROWS - ceiling, ROWS)
    validate(place, plan)
    assert publish(place, plan).manifest.counts.captioned == ROWS


def test_at_the_ceiling_the_server_is_left_alone(place: Place, vlm: FakeVlm) -> None:
    plan = rendered(place, max_requests=5)
    for _ in range(3):
        with pytest.raises(CeilingError, match="5 requests and 75 tokens"):
            caption(place, plan, vlm)
        vlm.gone = lambda: True
    assert len(vlm.requests) == 5


def test_what_is_enough_is_no_ceiling(place: Place, vlm: FakeVlm) -> None:
    (counts,) = caption(place, rendered(place, max_requests=ROWS, max_tokens_total=ROWS * TOKENS), vlm)
    assert counts.asked == ROWS
    # Nothing is left to ask.
    (counts,) = caption(place, rendered(place, max_requests=1), vlm)
    assert (counts.kept, counts.asked) == (ROWS, 0)


def test_further_attempts_count(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: completion("?") if number < 2 else answer_well(body)
    with pytest.raises(CeilingError):
        caption(place, rendered(place, max_requests=ROWS + 1), vlm, max_in_flight=1)
    (counts,) = caption(place, rendered(place, max_requests=ROWS + 2), vlm)
    assert (len(vlm.requests), counts.kept) == (ROWS + 2, ROWS - 1)


@pytest.mark.parametrize("most", [1, 90, 95, 104])
def test_tokens_end_it_too(place: Place, vlm: FakeVlm, most: int) -> None:
    with pytest.raises(CeilingError, match=rf"max_tokens_total of {most}"):
        caption(place, rendered(place, max_tokens_total=most), vlm)
    # Before the first answer nobody knows what one costs: up to four are sent then.
    sent = len(vlm.requests)
    assert max(most // TOKENS, 1) <= sent <= max(most // TOKENS, 4)
    (counts,) = caption(place, rendered(place, max_tokens_total=ROWS * TOKENS), vlm)
    assert (counts.kept, counts.asked) == (sent, ROWS - sent)


@pytest.mark.parametrize("most", [0.001, 0.09, 0.105])
def test_money_ends_it_too(place: Place, vlm: FakeVlm, most: float) -> None:
    # 15 tokens are a cent and a half.
    prices = Prices(currency="EUR", prompt_million=1000.0, completion_million=1000.0)

    def paid(**changes: Any) -> Plan:
        return rendered(place, **changes).model_copy(update={"prices": prices})

    with pytest.raises(CeilingError, match=rf"max_cost of {most} EUR is reached.* EUR, so far.*with a higher max_cost"):
        caption(place, paid(max_cost=most), vlm)
    # Before the first answer nobody knows what one costs: up to four are sent then.
    sent = len(vlm.requests)
    affordable = int(most / 0.015 + 1e-9)
    assert max(affordable - 1, 1) <= sent <= max(affordable, 4)
    plan = paid(max_cost=1)
    (counts,) = caption(place, plan, vlm)
    assert (counts.kept, counts.asked) == (sent, ROWS - sent)
    validate(place, plan)
    assert publish(place, plan).manifest.counts.captioned == ROWS


def test_the_time_of_a_server_is_money_too(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: replace(answer_well(body), delay=0.05)
    # A twentieth of a second is fifty.
    prices = Prices(currency="EUR", server_hour=3600 * 1000.0)
    plan = rendered(place, max_cost=150).model_copy(update={"prices": prices})
    with pytest.raises(CeilingError, match="max_cost of 150 EUR is reached"):
        caption(place, plan, vlm, max_in_flight=1)
    assert 1 <= len(vlm.requests) <= 4


def test_a_server_that_tells_of_no_tokens_cannot_be_kept_to_a_cost_of_tokens(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda _, body: Reply(body=json.dumps(json.loads(answer_well(body).body) | {"usage": None}))
    prices = Prices(currency="EUR", prompt_million=1.0)
    plan = rendered(place, max_cost=1).model_copy(update={"prices": prices})
    with pytest.raises(VlmSetupError, match="nor max_cost where tokens have a price: set max_requests instead"):
        caption(place, plan, vlm)


def test_answers_that_are_under_way_at_the_ceiling_are_kept(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: replace(answer_well(body), delay=0.3 if number < 5 else 0.0)
    with pytest.raises(CeilingError):
        caption(place, rendered(place, max_requests=6), vlm)
    (counts,) = caption(place, rendered(place), vlm)
    assert (counts.kept, counts.asked) == (6, ROWS - 6)


def test_tasks_at_the_same_time_keep_to_it_together(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: replace(answer_well(body), delay=0.02)
    plan = rendered(place, max_requests=7, shard_size=3)
    assert len(plan.shards) == 4

    def one(shard_id: str) -> str:
        try:
            caption_shard(work=place.work, shard_id=shard_id, plan=plan, vlm=endpoint(vlm), progress=lambda at: None)
        except CeilingError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(one, plan.shards))
    assert any(told) and len(vlm.requests) == 7
    counts = caption(place, rendered(place, shard_size=3), vlm)
    assert (sum(each.kept for each in counts), len(vlm.requests)) == (7, ROWS)


def test_where_things_are_is_asked_of_the_same(place: Place, vlm: FakeVlm) -> None:
    place.put_rows(*({"id": str(number), "image": f"{number}.jpg"} for number in range(ROWS)))
    plan = place.plan(max_requests=ROWS + 2, **ASKING)
    propose(place, plan, vlm)
    render(place, plan)
    with pytest.raises(CeilingError):
        caption(place, plan, vlm)
    assert len(vlm.requests) == ROWS + 2


def test_each_build_has_its_own(place: Place, vlm: FakeVlm) -> None:
    for changes in ({}, {"prompt_language": "zh"}, {"force_rebuild": True}):
        with pytest.raises(CeilingError):
            caption(place, rendered(place, max_requests=2, **changes), vlm)
    assert len(vlm.requests) == 6


def test_without_a_ceiling_nothing_is_booked(place: Place, vlm: FakeVlm) -> None:
    caption(place, rendered(place), vlm)
    assert not [entry for entry in place.work.list() if "spent" in entry.path]


def test_what_a_killed_task_had_booked_is_spent(tmp_path: Path) -> None:
    store, plan = LocalStore(tmp_path), planned(max_requests=10)
    killed = Ceiling(store, plan)
    assert killed.admit()
    booked = Ledger(store, plan).read().requests
    other = Ceiling(store, plan)
    assert [other.admit() for _ in range(10)] == [True] * (10 - booked) + [False] * booked
    assert booked == 2 and other.reached


def test_what_was_booked_and_not_used_is_given_back(tmp_path: Path) -> None:
    store, plan = LocalStore(tmp_path), planned(max_requests=10, max_tokens_total=1000)
    first = Ceiling(store, plan)
    assert first.admit()
    first.note(Completion(key="a", text="x", finish_reason="stop", prompt_tokens=7, completion_tokens=3))
    first.close()
    assert Ledger(store, plan).read() == Spent(requests=1, tokens=10)
    second = Ceiling(store, plan)
    assert second.admit()


def test_a_task_that_fails_books_what_it_has_sent(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: answer_well(body) if number < 3 else Reply(503)
    plan = rendered(place, max_requests=10)
    with pytest.raises(VlmUnavailableError):
        caption(place, plan, vlm, max_in_flight=1, patience_seconds=1.0)
    spent = Ledger(place.work, plan).read()
    # Of the server it may look for one request or two as if only the row were at fault.
    assert spent.requests in (4, 5) and spent.tokens == 3 * TOKENS


def test_a_server_that_tells_no_tokens_is_no_match_for_a_ceiling_of_tokens(place: Place, vlm: FakeVlm) -> None:
    def silent(_: int, body: dict[str, Any]) -> Reply:
        told = json.loads(answer_well(body).body)
        return Reply(body=json.dumps({**told, "usage": None}))

    vlm.behave = silent
    with pytest.raises(VlmSetupError, match=r"tells of no tokens, .*max_requests"):
        caption(place, rendered(place, max_tokens_total=10**9), vlm)
    assert len(vlm.requests) <= 4


def test_a_ledger_that_is_damaged_is_told(tmp_path: Path) -> None:
    store, plan = LocalStore(tmp_path), planned(max_requests=10)
    Ceiling(store, plan).admit()
    (entry,) = store.list()
    store.write(entry.path, b"{")
    with pytest.raises(StorageError, match=r"spent.*delete it"):
        Ceiling(store, plan).admit()


def test_many_who_book_at_once_lose_nothing(tmp_path: Path) -> None:
    store, plan = LocalStore(tmp_path), planned(max_requests=300)
    ceilings = [Ceiling(store, plan) for _ in range(4)]
    admitted: list[int] = []

    def ask(ceiling: Ceiling) -> None:
        count = 0
        while ceiling.admit():
            count += 1
        admitted.append(count)
        ceiling.close()

    threads = [threading.Thread(target=ask, args=(ceiling,)) for ceiling in ceilings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == Ledger(store, plan).read().requests
    assert sum(admitted) == 300
