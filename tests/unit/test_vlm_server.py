"""How vLLM is started."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from regioncap.vlm.server import ServerConfig, command, environment


def config(**changes: Any) -> ServerConfig:
    return ServerConfig(
        **{"python": Path("/v/bin/python"), "model": "org/model", "served_model_name": "m", "port": 8001, **changes}
    )


def option(line: list[str], name: str) -> str:
    return line[line.index(name) + 1]


def test_it_listens_on_loopback_only() -> None:
    line = command(config())
    assert option(line, "--host") == "127.0.0.1"
    assert option(line, "--port") == "8001"


def test_the_marked_image_and_a_close_up_in_a_question_and_the_name_that_clients_ask_for() -> None:
    line = command(config())
    assert option(line, "--limit-mm-per-prompt") == '{"image": 2}'
    assert option(line, "--served-model-name") == "m"


def test_the_cpu_needs_what_a_gpu_does_not() -> None:
    assert "--no-enable-chunked-prefill" in command(config(device="cpu"))
    assert "--no-enable-chunked-prefill" not in command(config())
    assert environment(config(device="cpu", kv_cache_gb=2), {})["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment(config(), {})


def test_it_reports_to_nobody_and_a_model_folder_needs_no_hub(tmp_path: Path) -> None:
    assert environment(config(), {})["VLLM_NO_USAGE_STATS"] == "1"
    assert environment(config(model=str(tmp_path)), {})["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment(config(), {})


@pytest.mark.parametrize("changes", [{"port": 0}, {"device": "tpu"}, {"max_num_seqs": 0}, {"host": "0.0.0.0"}])
def test_a_wrong_setting_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**changes)
