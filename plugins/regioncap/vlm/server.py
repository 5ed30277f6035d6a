"""Running a vLLM server: one launcher for GPU and CPU."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import httpx2
from pydantic import BaseModel, ConfigDict, Field

from regioncap.processes import Service

# A large model is read from disk and compiled before the server answers.
READY_SECONDS = 900.0


class ServerConfig(BaseModel):
    """What vLLM is started with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    python: Path = Field(description="The Python of the environment that vLLM is installed in.")
    model: str = Field(description="A model folder, or a model's name on the hub.")
    served_model_name: str = Field(description="The name that requests ask for.")
    port: int = Field(ge=1, le=65535, description="The port on 127.0.0.1.")
    device: Literal["cpu", "cuda"] = "cuda"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    max_model_len: int = Field(4096, ge=64, description="Tokens of one question and its answer, image included.")
    max_num_seqs: int = Field(32, ge=1, description="Questions that are worked on at once.")
    kv_cache_gb: int = Field(1, ge=1, description="On the CPU: memory for keys and values.")

    @property
    def base_url(self) -> str:
        """Where clients reach the server."""
        return f"http://127.0.0.1:{self.port}/v1"


def command(config: ServerConfig) -> list[str]:
    """vLLM's command line: loopback only, nothing fetched on a client's behalf."""
    line = [
        *(str(config.python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", config.model),
        *("--served-model-name", config.served_model_name),
        *("--host", "127.0.0.1", "--port", str(config.port)),
        *("--dtype", config.dtype),
        *("--max-model-len", str(config.max_model_len)),
        *("--max-num-seqs", str(config.max_num_seqs)),
        # The marked image, and a close-up where regions are asked about one by one.
        *("--limit-mm-per-prompt", json.dumps({"image": 2})),
        # Every image is asked about once or twice; keeping it for longer only takes memory.
        *("--mm-processor-cache-gb", "0"),
    ]
    if config.device == "cpu":
        # Chunked prefill with a seeded request at temperature > 0 kills vLLM 0.32's CPU engine.
        line += ["--enforce-eager", "--no-enable-chunked-prefill"]
    return line


def environment(config: ServerConfig, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """vLLM's environment: `base`, without reports to anyone; offline where the model is a folder."""
    variables = {**base, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if Path(config.model).is_dir():
        variables["HF_HUB_OFFLINE"] = "1"
    if config.device == "cpu":
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gb)
    return variables


def start(config: ServerConfig, log: Path) -> Service:
    """Start vLLM; it is ready when `is_ready(config)` says so, and ends when this process does."""
    return Service("vLLM", command(config), environment=environment(config), log=log, grace=20.0)


def is_ready(config: ServerConfig) -> bool:
    """Whether the server answers."""
    try:
        return httpx2.get(f"http://127.0.0.1:{config.port}/health", timeout=2.0, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False
