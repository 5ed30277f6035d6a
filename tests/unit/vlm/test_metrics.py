"""How busy servers say that they are."""

import pytest

from regioncap.vlm.metrics import Queue, read_queue

METRICS = {
    # https://docs.vllm.ai/en/latest/usage/metrics.html: a line for each engine
    "vLLM": """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 1.0
""",
    # https://docs.sglang.io/references/production_metrics.html
    "SGLang": """# HELP sglang:num_running_reqs The number of running requests
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 5.0
sglang:num_used_tokens{model_name="meta-llama/Llama-3.1-8B-Instruct"} 123859.0
# HELP sglang:num_queue_reqs The number of requests in the waiting queue.
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 2.0
""",
    "SGLang, with underscores": "sglang_num_running_reqs 5\nsglang_num_queue_reqs 2\n",
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#get-metrics-prometheus-compatible-metrics-exporter
    "llama.cpp": """# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 5
# HELP llamacpp:requests_deferred Number of requests deferred.
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 2
llamacpp:n_busy_slots_per_decode 3.87
""",
    # https://github.com/InternLM/lmdeploy/blob/main/lmdeploy/metrics/loggers.py
    "LMDeploy": """lmdeploy:num_api_requests_waiting{engine="0",model_name="m"} 9.0
lmdeploy:num_requests_running{engine="0",model_name="m"} 5.0
lmdeploy:num_requests_waiting{engine="0",model_name="m"} 2.0
""",
    # https://huggingface.co/docs/text-generation-inference/reference/metrics
    "TGI": """# TYPE tgi_queue_size gauge
tgi_queue_size 2

# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 5
""",
    "with the time of each figure": "tgi_queue_size 2 1700000000000\ntgi_batch_current_size 5 1700000000000\n",
}


@pytest.mark.parametrize("server", METRICS)
def test_each_server_says_how_busy_it_is(server: str) -> None:
    assert read_queue(METRICS[server]) == Queue(running=5, waiting=2)


@pytest.mark.parametrize(
    "text", ["", "<html>404 page not found</html>", "process_cpu_seconds_total 12\n", '{"status": "ok"}']
)
def test_a_server_that_does_not_say_is_not_guessed_about(text: str) -> None:
    assert read_queue(text) is None


@pytest.mark.parametrize("figure", ["NaN", "+Inf", "-Inf", "x", "1e999"])
def test_figures_that_are_none_are_not_taken(figure: str) -> None:
    assert read_queue(f"vllm:num_requests_running 1\nvllm:num_requests_waiting {figure}\n") is None


def test_of_a_server_that_only_says_what_waits_it_is_not_known_what_it_works_on() -> None:
    assert read_queue("tgi_queue_size 4\n") == Queue(running=None, waiting=4)
    assert read_queue("tgi_queue_size 4\ntgi_batch_current_size NaN\n") == Queue(running=None, waiting=4)
