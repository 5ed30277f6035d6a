"""How vLLM is started."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from regioncap.errors import VlmSetupError
from regioncap.marks.profiles import PROFILES
from regioncap.vlm.server import ServerConfig, command, environment


def config(**changes: Any) -> ServerConfig:
    return ServerConfig(**{"python": Path("/v/bin/python"), "model": "org/model", "served_model_name": "m", **changes})


def option(line: list[str], name: str) -> str:
    return line[line.index(name) + 1]


def test_it_listens_on_loopback_only() -> None:
    line = command(config(), 8001)
    assert option(line, "--host") == "127.0.0.1"
    assert option(line, "--port") == "8001"


def test_the_marked_image_and_a_crop_in_a_request_and_the_name_that_clients_ask_for() -> None:
    line = command(config(), 8001)
    assert option(line, "--limit-mm-per-prompt") == '{"image": 2}'
    assert option(line, "--served-model-name") == "m"


def test_the_cpu_needs_what_a_gpu_does_not() -> None:
    assert "--no-enable-chunked-prefill" in command(config(device="cpu"), 8001)
    assert "--no-enable-chunked-prefill" not in command(config(), 8001)
    assert environment(config(device="cpu", kv_cache_gb=2), {})["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment(config(), {})


@pytest.mark.parametrize(
    ("told", "seqs", "tokens"),
    [
        ({}, "8", "32768"),
        ({"max_num_seqs": 128, "max_model_len": 1024}, "128", "131072"),
        ({"model": "llava-hf/llava-onevision-qwen2-7b-ov-hf"}, "8", "131072"),
    ],
)
def test_on_a_cpu_the_images_of_all_requests_at_once_have_room_in_a_step(
    told: dict[str, Any], seqs: str, tokens: str
) -> None:
    line = command(config(device="cpu", **told), 8001)
    assert option(line, "--max-num-seqs") == seqs
    assert option(line, "--max-num-batched-tokens") == tokens
    assert "--max-num-batched-tokens" not in command(config(**told), 8001)


def test_on_a_cpu_an_equal_beginning_is_kept_in_small_pieces() -> None:
    # By itself vLLM takes pieces of 128 tokens there: of the demo's requests no two share one.
    assert option(command(config(device="cpu"), 8001), "--block-size") == "32"
    assert "--block-size" not in command(config(), 8001)


def test_an_image_that_is_asked_about_again_is_prepared_once() -> None:
    assert option(command(config(), 8001), "--mm-processor-cache-gb") == "1"


@pytest.mark.parametrize(
    ("model", "served", "given", "length"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "", None, "4096"),
        ("/models/mine", "", None, "4096"),
        ("OpenGVLab/InternVL3-8B-hf", "", None, "8192"),
        ("/models/mine", "HuggingFaceM4/Idefics3-8B-Llama3", None, "8192"),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "", None, "16384"),
        ("OpenGVLab/InternVL3-8B-hf", "", 2048, "2048"),
    ],
)
def test_two_images_and_their_answer_have_room_whatever_a_familys_images_cost(
    model: str, served: str, given: int | None, length: str
) -> None:
    line = command(config(model=model, served_model_name=served, max_model_len=given), 8001)
    assert option(line, "--max-model-len") == length


def test_what_the_connection_says_of_model_memory_and_folders_is_passed_on() -> None:
    line = command(
        config(
            revision="abc", served_model_name="", tensor_parallel_size=2, data_parallel_size=4, max_num_seqs=64,
            gpu_memory_utilization=0.8, min_pixels=3136, max_pixels=1_003_520, download_dir=Path("/models"),
            mm_processor_cache_gb=2, local_media_path="/work", arguments=["--kv-cache-dtype", "fp8"],
        ),
        8001,
    )  # fmt: skip
    expected = {
        "--model": "org/model", "--revision": "abc", "--served-model-name": "org/model@abc",
        "--tensor-parallel-size": "2", "--data-parallel-size": "4", "--max-num-seqs": "64",
        "--gpu-memory-utilization": "0.8", "--download-dir": "/models", "--mm-processor-cache-gb": "2",
        "--mm-processor-kwargs": '{"size": {"shortest_edge": 3136, "longest_edge": 1003520}}',
        "--allowed-local-media-path": "/work", "--kv-cache-dtype": "fp8",
    }  # fmt: skip
    assert {name: option(line, name) for name in expected} == expected
    assert environment(config(hf_home=Path("/cache")), {})["HF_HOME"] == "/cache"


@pytest.mark.parametrize(
    ("model", "given", "size"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", {"max_pixels": 1_003_520}, (3_136, 1_003_520)),
        ("Qwen/Qwen2.5-VL-7B-Instruct", {"min_pixels": 50_176}, (50_176, 12_845_056)),
        ("Qwen/Qwen2.5-VL-7B-Instruct", {"max_pixels": 784}, (784, 784)),
        ("/models/mine", {"max_pixels": 1_003_520}, (3_136, 1_003_520)),
        ("Qwen/Qwen3-VL-8B-Instruct", {"max_pixels": 1_003_520}, (65_536, 1_003_520)),
        ("/models/qwen3_vl_8b", {"min_pixels": 3_136}, (3_136, 16_777_216)),
    ],
)
def test_a_limit_of_an_images_size_comes_with_the_other(
    model: str, given: dict[str, int], size: tuple[int, int]
) -> None:
    line = command(config(model=model, **given), 8001)
    assert json.loads(option(line, "--mm-processor-kwargs")) == {
        "size": {"shortest_edge": size[0], "longest_edge": size[1]}
    }


@pytest.mark.parametrize(
    ("profile", "given", "most"),
    [
        ("qwen2.5-vl", None, 501_760),
        ("qwen3-vl", None, 501_760),
        # That of the connection is for all runs, as far as it leaves their images alone.
        ("qwen2.5-vl", 501_760, 501_760),
        ("qwen2.5-vl", 1_003_520, 1_003_520),
        # Of these a server cannot be told a number of pixels.
        ("smolvlm", None, None),
        ("generic", None, None),
    ],
)
def test_a_server_of_ones_own_takes_the_marked_images_of_a_run_as_they_are(
    profile: str, given: int | None, most: int | None
) -> None:
    assert config(max_pixels=given).for_images(PROFILES[profile], 501_760).max_pixels == most


def test_a_server_that_would_resize_marked_images_is_not_used() -> None:
    with pytest.raises(VlmSetupError, match=r"set the param max_pixels to 401408, or raise"):
        config(max_pixels=401_408).for_images(PROFILES["qwen2.5-vl"], 501_760)


def test_without_a_limit_the_models_own_size_rule_holds() -> None:
    assert "--mm-processor-kwargs" not in command(config(), 8001)


def test_it_fetches_from_nobody_and_follows_nobody_elsewhere() -> None:
    assert option(command(config(), 8001), "--allowed-media-domains").endswith(".invalid")
    assert environment(config(), {})["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_the_key_is_not_for_all_users_to_read() -> None:
    assert environment(config(), {}, api_key="k3y")["VLLM_API_KEY"] == "k3y"
    assert "api-key" not in " ".join(command(config(), 8001))
    for arguments in (["--api-key", "k3y"], ["--api-key=k3y"]):
        with pytest.raises(ValidationError, match="leave out --api-key"):
            config(arguments=arguments)


def test_a_key_that_happens_to_be_around_is_not_the_servers() -> None:
    assert not environment(config(), {"VLLM_API_KEY": "another"})["VLLM_API_KEY"]


def test_another_pythons_packages_and_airflows_secrets_do_not_reach_it() -> None:
    ours = {
        "PYTHONPATH": "/opt/airflow/plugins", "PYTHONHOME": "/opt/python", "PYTHONSTARTUP": "/x.py",
        "PYTHONOPTIMIZE": "2", "PYTHONUSERBASE": "/home/airflow/.local", "PYTHONNOUSERSITE": "1",
        "AIRFLOW__CORE__FERNET_KEY": "f", "AIRFLOW_CONN_REGIONCAP_VLM": "{}", "_AIRFLOW_PROCESS_CONTEXT": "server",
    }  # fmt: skip
    given = environment(config(), {**ours, "HOME": "/home/airflow", "CUDA_VISIBLE_DEVICES": "1"})
    assert not ours.keys() & given.keys()
    assert given["HOME"] == "/home/airflow" and given["CUDA_VISIBLE_DEVICES"] == "1"


def test_no_image_is_read_from_disk_unless_a_folder_is_named() -> None:
    assert "--allowed-local-media-path" not in command(config(), 8001)


def test_it_reports_to_nobody_and_a_model_folder_needs_no_hub(tmp_path: Path) -> None:
    assert environment(config(), {})["VLLM_NO_USAGE_STATS"] == "1"
    assert environment(config(model=str(tmp_path)), {})["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment(config(), {})


@pytest.mark.parametrize("changes", [{"model": ""}, {"device": "tpu"}, {"max_num_seqs": 0}, {"host": "0.0.0.0"}])
def test_a_wrong_setting_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "org/other"}, {"revision": "abc"}, {"dtype": "float16"}, {"min_pixels": 3136},
        {"arguments": ["--quantization", "awq"]}, {"arguments": ["--mm-processor-kwargs", '{"do_resize": false}']},
    ],
)  # fmt: skip
def test_what_makes_other_answers_tells_its_model_from_others_of_the_same_name(changes: dict[str, Any]) -> None:
    assert config(**changes).shaping != config().shaping


@pytest.mark.parametrize(
    "changes",
    [
        {"max_model_len": 8192}, {"max_num_seqs": 4}, {"gpu_memory_utilization": 0.5}, {"tensor_parallel_size": 2},
        {"data_parallel_size": 2}, {"python": Path("/w/bin/python")}, {"hf_home": Path("/models")},
        {"mm_processor_cache_gb": 4}, {"local_media_path": "/work"},
    ],
)  # fmt: skip
def test_what_says_how_fast_it_goes_or_where_things_are_makes_no_other_model(changes: dict[str, Any]) -> None:
    assert config(**changes).shaping == config().shaping == {"root": "org/model"}
