"""What asking took, put together from answers and from shards."""

from regioncap.vlm.completion import Completion
from regioncap.work.counts import Spending


def answered(at: float, took: float, server: str = "a", **changes: object) -> Completion:
    return Completion.model_validate(
        {"key": str(at), "text": "x", "finish_reason": "stop", "prompt_tokens": 10, "completion_tokens": 5,
         "at": at, "took": took, "at_server": server, **changes}
    )  # fmt: skip


def test_time_in_which_several_requests_were_under_way_at_a_server_counts_once() -> None:
    spent = Spending.of([answered(110, 10), answered(112, 10), answered(105, 1), answered(200, 5)])
    assert spent.under_way == {"a": [(100, 112), (195, 200)]}
    assert spent.server_seconds == 17
    assert (spent.requests, spent.prompt_tokens, spent.completion_tokens) == (4, 40, 20)


def test_two_servers_cost_their_time_each() -> None:
    assert Spending.of([answered(110, 10, "a"), answered(110, 10, "b")]).server_seconds == 20


def test_two_tasks_at_one_server_cost_its_time_once_and_their_tokens_both() -> None:
    tasks = [Spending.of([answered(110, 10)]), Spending.of([answered(115, 10)])]
    both = Spending.together(tasks)
    assert both.server_seconds == 15
    assert (both.requests, both.prompt_tokens, both.completion_tokens) == (2, 20, 10)


def test_a_pause_of_up_to_a_second_is_no_time_in_which_the_server_was_free() -> None:
    assert Spending.of([answered(10, 1), answered(12, 1)]).server_seconds == 3
    assert Spending.of([answered(10, 1), answered(12.5, 1)]).server_seconds == 2


def test_what_came_to_nothing_costs_nothing() -> None:
    assert Spending.of([answered(10, 1, refused="no"), answered(20, 0, "")]).server_seconds == 0
    assert Spending.of([answered(10, 1, refused="no")]).requests == 0
