"""What holds captioning back, told from figures."""

from dataclasses import replace

import pytest

from regioncap.vlm.doctor import DoctorFigures, Seen, diagnose, read_doctor_figures

METRICS = """
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 500.0
vllm:prefix_cache_queries_created{engine="0",model_name="m"} 1.76e+09
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 600.0
vllm:mm_cache_queries_total{engine="0",model_name="m"} 40.0
vllm:mm_cache_hits_total{engine="0",model_name="m"} 15.0
vllm:num_preemptions_total{engine="0",model_name="m"} 2.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="m"} 1.0
vllm:e2e_request_latency_seconds_count{engine="0",model_name="m"} 20.0
vllm:e2e_request_latency_seconds_sum{engine="0",model_name="m"} 30.0
vllm:request_queue_time_seconds_sum{engine="0",model_name="m"} 2.0
vllm:request_prefill_time_seconds_sum{engine="0",model_name="m"} 6.0
vllm:request_decode_time_seconds_sum{engine="0",model_name="m"} 14.5
vllm:request_decode_time_seconds_sum{engine="1",model_name="m"} 1.5
"""

# 100 answers at 4 s each: half a second in the queue, one for the prompt, two and a half for the answer.
SERVER = DoctorFigures(
    answers=100, queue_seconds=50, prefill_seconds=100, decode_seconds=240, prefix_asked=100_000, prefix_found=20_000,
    images_asked=100, images_found=0, preemptions=0,
)  # fmt: skip
SEEN = Seen(
    answers=100, seconds_per_answer=4.0, questions_per_image=1.0, server=SERVER, bound=256, limit=80, client_share=0.02
)  # fmt: skip


def held(**changes: float) -> DoctorFigures:
    return replace(SERVER, **changes)


def test_a_servers_figures_are_those_of_all_its_engines() -> None:
    assert read_doctor_figures(METRICS) == DoctorFigures(
        answers=20, queue_seconds=2, prefill_seconds=6, decode_seconds=16, prefix_asked=1500, prefix_found=600,
        images_asked=40, images_found=15, preemptions=2,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "<html>", "sglang:num_running_reqs 3\n"])
def test_a_server_that_tells_nothing_of_its_time_has_no_figures(text: str) -> None:
    assert read_doctor_figures(text) is None


def test_figures_that_are_no_numbers_are_none() -> None:
    assert read_doctor_figures(METRICS.replace("14.5", "what")) is None
    assert read_doctor_figures(METRICS.replace("14.5", "NaN")) is None


def test_a_runs_figures_are_what_came_since_its_beginning() -> None:
    later = held(answers=150, decode_seconds=300)
    assert later.since(SERVER).answers == 50 and later.since(SERVER).decode_seconds == 60


def test_a_server_that_was_started_again_meanwhile_counts_from_nothing() -> None:
    assert held(answers=10).since(SERVER) == held(answers=10)


@pytest.mark.parametrize(
    ("seen", "what", "words"),
    [
        (replace(SEEN, client_share=0.6), "the client", "60% of the time"),
        # 3 of 4 seconds are over before a request reaches the queue.
        (
            replace(SEEN, server=held(prefill_seconds=40, decode_seconds=40)),
            "the server's preparation of images", "--api-server-count",
        ),
        (
            replace(SEEN, questions_per_image=4.0, server=held(prefill_seconds=40, decode_seconds=40, images_asked=0)),
            "images that the server prepares again", "--mm-processor-cache-gb 1",
        ),
        (
            replace(SEEN, questions_per_image=4.0, server=held(prefill_seconds=40, decode_seconds=40, images_found=3)),
            "images that the server prepares again", "3% of the images were found in its cache, 38% could be",
        ),
        (
            replace(SEEN, questions_per_image=4.0,
                    server=held(prefill_seconds=300, decode_seconds=40, images_found=37, prefix_found=0)),
            "prompts that the model reads again", "--enable-prefix-caching",
        ),
        (
            replace(SEEN, server=held(queue_seconds=200, decode_seconds=100)),
            "how many requests the server works on", "--max-num-seqs",
        ),
        (
            replace(SEEN, server=held(queue_seconds=200, decode_seconds=100, preemptions=9)),
            "the server's memory", "--gpu-memory-utilization",
        ),
        (
            replace(SEEN, bound=80, server=held(queue_seconds=1, decode_seconds=290)),
            "the connection's max_in_flight", "max_in_flight",
        ),
        (SEEN, "the model", "writing answers"),
        (replace(SEEN, server=held(prefill_seconds=250, decode_seconds=90)), "the model", "max_pixels"),
    ],
)  # fmt: skip
def test_what_holds_captioning_back_and_what_to_set(seen: Seen, what: str, words: str) -> None:
    sentence = diagnose(seen)
    assert sentence.startswith(f"Asking is held back by {what}") and words in sentence
    assert sentence.count("\n") == 0 and sentence.endswith(".")


@pytest.mark.parametrize(
    "seen",
    [
        replace(SEEN, answers=5),
        replace(SEEN, server=None),
        replace(SEEN, server=held(answers=0)),
        replace(SEEN, seconds_per_answer=0.0),
    ],
)
def test_of_too_little_nothing_is_said(seen: Seen) -> None:
    assert diagnose(seen) == ""


def test_a_client_that_cannot_keep_up_is_known_without_a_servers_figures() -> None:
    assert "held back by the client" in diagnose(replace(SEEN, server=None, client_share=0.5))


def test_without_figures_of_the_pace_the_servers_are_enough() -> None:
    assert "held back by the model" in diagnose(replace(SEEN, limit=0, client_share=0.0))
