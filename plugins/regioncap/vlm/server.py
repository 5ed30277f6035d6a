"""Running a vLLM server: one launcher for GPU and CPU."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import httpx2
from pydantic import BaseModel, ConfigDict, Field, field_validator

from regioncap.errors import VlmSetupError
from regioncap.marks.profiles import GENERIC, PROFILES, ModelProfile, profile_of
from regioncap.processes import Service

# A large model is read from disk and compiled before the server answers; so long nothing is heard of that at most.
READY_SECONDS = 900.0
# Its engine takes some seconds to end.
GRACE_SECONDS = 20.0


# Room for two images and an answer. Of some families an image costs up to 2,913, 3,330 and 7,371 tokens.
_CONTEXT = 4096
_CONTEXTS = {"idefics3": 8192, "internvl": 8192, "llava-onevision": 16384}
# So many requests at once make good use of a CPU, and what they need together stays in bounds.
_CPU_SEQS = 8


class ServerConfig(BaseModel):
    """What vLLM is started with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    python: Path = Field(description="The Python of the environment that vLLM is installed in.")
    model: str = Field(min_length=1, description="A model folder, or a model's name on the hub.")
    revision: str | None = Field(None, description="The model's revision on the hub; by default its newest.")
    served_model_name: str = Field(
        "", description="The name that requests ask for. Empty: the model's, with `@revision` where one is given."
    )
    device: Literal["cpu", "cuda"] = "cuda"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs that share one copy of the model.")
    data_parallel_size: int = Field(1, ge=1, description="Copies of the model; for 7B and below better than the above.")
    max_model_len: int | None = Field(
        None,
        ge=64,
        description="Tokens of one request and its answer, images included; by default as its family needs.",
    )
    max_num_seqs: int | None = Field(
        None, ge=1, description="Requests worked on at once; by default vLLM's choice, on the CPU 8."
    )
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1, description="Share of the GPU's memory to use.")
    kv_cache_gb: int = Field(1, ge=1, description="On the CPU: memory for keys and values.")
    mm_processor_cache_gb: float = Field(
        1, ge=0, description="Memory for images that are asked about again: once for each region, or in a further try."
    )
    min_pixels: int | None = Field(
        None, ge=1, description="Qwen-VL: the fewest pixels an image is scaled to; by default the model's own limit."
    )
    max_pixels: int | None = Field(
        None, ge=1, description="Qwen-VL: the most pixels an image is scaled to, of all runs; by default the run's own."
    )
    hf_home: Path | None = Field(None, description="The hub's cache (HF_HOME).")
    download_dir: Path | None = Field(None, description="Where weights are downloaded to, if not into the cache.")
    local_media_path: str = Field("", description="The one folder that requests may name images in; empty: none.")
    arguments: list[str] = Field(default_factory=list, description="Further arguments of vLLM's command line.")

    @field_validator("arguments")
    @classmethod
    def _no_key_for_all_to_read(cls, arguments: list[str]) -> list[str]:
        if any(word.split("=")[0] == "--api-key" for word in arguments):
            raise ValueError("leave out --api-key: the server gets a key of its own, where others do not read it")
        return arguments

    @property
    def profile(self) -> str:
        """The profile of the model's family, by the model's name or the one that requests ask for."""
        found = profile_of(self.model)
        return found if found != GENERIC else profile_of(self.name)

    @property
    def context(self) -> int:
        """The tokens of one request and its answer."""
        return self.max_model_len or _CONTEXTS.get(self.profile, _CONTEXT)

    @property
    def name(self) -> str:
        """The name that requests ask for."""
        return self.served_model_name or (f"{self.model}@{self.revision}" if self.revision else self.model)

    @property
    def shaping(self) -> dict[str, str]:
        """What of it makes other answers, by name.

        All `arguments` do: what only says how fast it goes, or with how much memory, has fields of its own.
        """
        said = {
            "root": self.model,
            "revision": self.revision,
            "dtype": self.dtype if self.dtype != "auto" else None,
            "min_pixels": str(self.min_pixels) if self.min_pixels else None,
            "arguments": shlex.join(self.arguments),
        }
        return {name: value for name, value in said.items() if value}

    def for_images(self, profile: ModelProfile, max_pixels: int) -> "ServerConfig":
        """The same for a run whose marked images have up to `max_pixels`, so that the server takes them as they are.

        A limit that is given holds for all runs. Raises VlmSetupError where it is below the run's.
        """
        if profile.server_pixels is None:
            return self
        if self.max_pixels is None:
            return self.model_copy(update={"max_pixels": max_pixels})
        if self.max_pixels < max_pixels:
            raise VlmSetupError(
                f"the run's max_pixels is {max_pixels:,}, but the server of the connection scales images down to "
                f"{self.max_pixels:,}, which blurs the marks: set the param max_pixels to {self.max_pixels}, or raise "
                "or leave out max_pixels in the connection's `server`"
            )
        return self


# What makes vLLM faster where its threads, images and clients share a few cores.
CPU_ENVIRONMENT = {
    # One process computes and schedules. As two, each spins on a core while it waits for the other, and takes it from
    # preparing images: a third more of a core for each image.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Of the threads of a parallel loop, those that wait for the slowest sleep instead of spinning: a quarter less of a
    # core for each image.
    "OMP_WAIT_POLICY": "passive",
}

# Nobody's host (RFC 2606): images are sent along or lie in `local_media_path`, so vLLM need not fetch from anywhere.
NO_HOST = "nobody.invalid"


def base_url(port: int) -> str:
    """Where clients reach the server."""
    return f"http://127.0.0.1:{port}/v1"


def command(config: ServerConfig, port: int) -> list[str]:
    """vLLM's command line: loopback only, nothing fetched on a client's behalf. Everybody on the host can read it."""
    line = [
        *(str(config.python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", config.model),
        *("--served-model-name", config.name),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", config.dtype),
        *("--max-model-len", str(config.context)),
        # The marked image, and a crop where regions are asked about one by one.
        *("--limit-mm-per-prompt", json.dumps({"image": 2})),
        *("--mm-processor-cache-gb", f"{config.mm_processor_cache_gb:g}"),
        *("--tensor-parallel-size", str(config.tensor_parallel_size)),
        *("--data-parallel-size", str(config.data_parallel_size)),
        *("--allowed-media-domains", NO_HOST),
        # A line for each of thousands of requests costs time and tells nothing.
        "--disable-uvicorn-access-log",
    ]
    if config.revision:
        line += ["--revision", config.revision]
    seqs = config.max_num_seqs or (_CPU_SEQS if config.device == "cpu" else None)
    if seqs is not None:
        line += ["--max-num-seqs", str(seqs)]
    if config.gpu_memory_utilization is not None:
        line += ["--gpu-memory-utilization", str(config.gpu_memory_utilization)]
    if config.min_pixels or config.max_pixels:
        line += ["--mm-processor-kwargs", json.dumps({"size": _size(config)})]
    if config.download_dir is not None:
        line += ["--download-dir", str(config.download_dir)]
    if config.local_media_path:
        line += ["--allowed-local-media-path", config.local_media_path]
    if config.device == "cpu":
        # vLLM 0.32's CPU engine dies of a seeded request at temperature > 0 whose prompt it computes in parts: where it
        # may cut it, and where the images of all requests at once are more than it takes in a step.
        line += ["--enforce-eager", "--no-enable-chunked-prefill"]
        line += ["--max-num-batched-tokens", str((seqs or _CPU_SEQS) * config.context)]
        # What requests have in common at their beginning is kept in blocks. There they have 128 tokens by themselves.
        line += ["--block-size", "32"]
    return line + config.arguments


def _size(config: ServerConfig) -> dict[str, int]:
    # The image processors of Qwen2-VL and Qwen2.5-VL take both limits of an image's size or none, so one that is not
    # given is the model's own. A model whose name tells nothing is taken for one of these.
    own = PROFILES[config.profile].server_pixels or PROFILES["qwen2.5-vl"].server_pixels
    assert own is not None
    fewest, most = own
    fewest = config.min_pixels or min(fewest, config.max_pixels or fewest)
    most = config.max_pixels or max(most, fewest)
    return {"shortest_edge": fewest, "longest_edge": most}


def environment(config: ServerConfig, base: Mapping[str, str] = os.environ, *, api_key: str = "") -> dict[str, str]:
    """vLLM's environment: `base`, without reports to anyone; offline where the model is a folder.

    What tells Python where its packages are, and how to run, is meant for ours: vLLM has a Python of its own. Nor has
    it business with the secrets of Airflow's processes. Without an `api_key` the server answers everybody.
    """
    variables = {name: value for name, value in base.items() if not name.startswith("PYTHON") and "AIRFLOW" not in name}
    variables |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}
    # Also where it is empty: a key of the surroundings is none that clients know.
    variables["VLLM_API_KEY"] = api_key
    if Path(config.model).is_dir():
        variables["HF_HUB_OFFLINE"] = "1"
    if config.hf_home is not None:
        variables["HF_HOME"] = str(config.hf_home)
    if config.device == "cpu":
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gb)
        variables.update(CPU_ENVIRONMENT)
    return variables


def start(config: ServerConfig, port: int, log: Path, *, api_key: str = "") -> Service:
    """Start vLLM; it is ready when `is_ready(port)` says so, and ends when this process does.

    With an `api_key`, it answers who sends it.
    """
    variables = environment(config, api_key=api_key)
    return Service("vLLM", command(config, port), environment=variables, log=log, grace=GRACE_SECONDS)


def is_ready(port: int) -> bool:
    """Whether the server answers."""
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health", timeout=2.0, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def download_folder(config: ServerConfig, environment: Mapping[str, str]) -> Path | None:
    """Where a model from the hub is downloaded to, by a server that is started in this environment; None for a folder.

    See https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables.
    """
    if Path(config.model).is_dir():
        return None
    home = Path(environment.get("HOME") or Path.home())
    caches = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    hf_home = config.hf_home or Path(environment.get("HF_HOME") or caches / "huggingface")
    own = environment.get("HF_HUB_CACHE")
    cache = config.download_dir or (Path(own) if own else hf_home / "hub")
    return cache / f"models--{config.model.replace('/', '--')}"


# What vLLM 0.32, torch and the hub's client say where something else was in the way.
_PASSING = re.compile(
    r"free memory on device|error in memory profiling|out of memory|devices are busy"  # another program has the GPU
    r"|address already in use"
    r"|couldn't connect|connection ?error"
    r"|connection (?:reset|aborted|refused|timed out)|connect ?timeout|read ?time(?:out|d out)"
    r"|name resolution|server disconnected|chunkedencodingerror|localentrynotfounderror|too many requests"
    r"|\b(?:429|500|502|503|504) (?:client|server) error",
    re.IGNORECASE,
)
_ERROR = re.compile(r"\b(?:\w+\.)*\w*(?:Error|Exception): .+")
# vLLM's parts report that another one failed.
_ABOUT_OTHERS = ("initialization failed", "See root cause above")


def cause(log: str) -> str:
    """The error that ended a start of vLLM, from what it logged: not the last, which only says that there was one."""
    errors = [match[0] for match in _ERROR.finditer(log) if not any(words in match[0] for words in _ABOUT_OTHERS)]
    return errors[-1][:500] if errors else "it does not say why"


def may_pass(log: str) -> bool:
    """Whether a start that ended with this log failed for something that may pass by itself."""
    return bool(_PASSING.search(cause(log)))
