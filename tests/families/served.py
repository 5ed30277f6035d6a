"""Families of vision-language models in a real vLLM on the CPU, and what becomes of a drop's questions there.

python -m tests.families.served [NAME ...]        prints the table of docs/vlm-servers.md
"""

import io
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
from PIL import Image

from deploy.local.paths import ROOT, VLLM_PYTHON
from regioncap.ask.requests import first_requests
from regioncap.captions.grounding import grounding_schema
from regioncap.config.settings import BuildSettings
from regioncap.errors import ServiceError
from regioncap.marks.profiles import PROFILES, QWEN_GROUNDING, profile_of
from regioncap.processes import free_ports
from regioncap.steps.caption import caption_shard
from regioncap.steps.render import render_shard
from regioncap.vlm import server
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.requests import data_url
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import Place, encoded, picture

# Small and large ones, wide and tall ones: (width, height) in pixels.
SIZES = ((1600, 1200), (640, 480), (200, 150), (480, 1280))
REGIONS = 3


@dataclass(frozen=True)
class Served:
    """How a family is served.

    `model` is the released model whose image processor it has, by which its profile is found; `image_tokens` how many
    tokens an image costs that the model sees at this (width, height).
    """

    model: str
    image_tokens: Callable[[int, int], int]
    dtype: str = "float32"
    arguments: tuple[str, ...] = ()


def _merged(pixels: int) -> Callable[[int, int], int]:
    """A token for each square of so many pixels a side."""
    return lambda width, height: (width // pixels) * (height // pixels)


def _tiled(tile: int, tokens: int) -> Callable[[int, int], int]:
    """So many tokens for each tile, where there are several for the whole image once more, and one at either end."""

    def count(width: int, height: int) -> int:
        tiles = (width // tile) * (height // tile)
        return tokens * (tiles + (tiles > 1)) + 2

    return count


def _named_tiles(tile: int, tokens: int) -> Callable[[int, int], int]:
    """With two tokens before each tile and the whole image, one behind each row of tiles, and two at the end."""

    def count(width: int, height: int) -> int:
        across, down = width // tile, height // tile
        return (tokens + 2) * (across * down + 1) + down + 2

    return count


def _rows(pixels: int) -> Callable[[int, int], int]:
    """A token for each square, and one that ends each row of them."""
    return lambda width, height: (width // pixels + 1) * (height // pixels)


def _llava(width: int, height: int) -> int:
    """The whole image, and its tiles: without what is padded, and scaled down to at most nine tiles."""
    across, down = 27 * math.ceil(width / 384), 27 * math.ceil(height / 384)
    if width / height > across / down:
        down -= 2 * ((down - int(height * across / width)) // 2)
    else:
        across -= 2 * ((across - int(width * down / height)) // 2)
    if (shrink := math.sqrt(across * down / (9 * 27 * 27))) > 1.1:
        across, down = int(across // shrink), int(down // shrink)
    return 27 * 27 + (across + 1) * down


FAMILIES = {
    "qwen2.5-vl": Served("Qwen/Qwen2.5-VL-7B-Instruct", _merged(28)),
    "qwen3-vl": Served("Qwen/Qwen3-VL-8B-Instruct", _merged(32)),
    "qwen3.5": Served(
        "Qwen/Qwen3.5-9B", _merged(32), dtype="bfloat16", arguments=("--no-enable-prefix-caching",)
    ),
    "smolvlm2-500m": Served("HuggingFaceTB/SmolVLM2-500M-Video-Instruct", _named_tiles(512, 64)),
    "smolvlm2-2.2b": Served("HuggingFaceTB/SmolVLM2-2.2B-Instruct", _named_tiles(384, 81)),
    "idefics3": Served("HuggingFaceM4/Idefics3-8B-Llama3", _named_tiles(364, 169)),
    "internvl3": Served("OpenGVLab/InternVL3-8B-hf", _tiled(448, 256)),
    "gemma-3": Served("google/gemma-3-4b-it", lambda width, height: 260),
    "llava-onevision": Served("llava-hf/llava-onevision-qwen2-7b-ov-hf", _llava),
    "mistral-small": Served("mistralai/Mistral-Small-3.1-24B-Instruct-2503", _rows(28)),
}  # fmt: skip


def make_checkpoints(folder: Path, *names: str) -> None:
    """Write these families' checkpoints into the folder, each into one of its name."""
    command = [str(VLLM_PYTHON), "-m", "tests.families.checkpoints", str(folder), *names]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])


def config(name: str, checkpoints: Path) -> server.ServerConfig:
    """How the family's checkpoint is served, under the name of the released model."""
    family = FAMILIES[name]
    return server.ServerConfig(
        python=VLLM_PYTHON,
        model=str(checkpoints / name),
        served_model_name=family.model,
        device="cpu",
        dtype=family.dtype,
        arguments=["--enable-prompt-tokens-details", *family.arguments],
    )


@contextmanager
def running(name: str, checkpoints: Path, log: Path) -> Iterator[Endpoint]:
    """The family's checkpoint in a vLLM of its own."""
    (port,) = free_ports(1)
    profile = PROFILES[profile_of(FAMILIES[name].model)]
    told = config(name, checkpoints).for_images(profile, BuildSettings.model_fields["max_pixels"].default)
    with server.start(told, port, log) as service:
        service.wait_ready(lambda: server.is_ready(port), server.READY_SECONDS)
        yield Endpoint(base_urls=(server.base_url(port),), model=told.name, max_in_flight=16)


@dataclass(frozen=True)
class Answers:
    """What came of requests: how many were answered to the end, of these how many as their schema has it; the rest."""

    exact: int
    whole: int
    cut_off: int
    refused: int

    def __str__(self) -> str:
        lost = [f"{number} {what}" for number, what in ((self.cut_off, "cut off"), (self.refused, "refused")) if number]
        return ", ".join([f"{self.exact}/{self.whole}", *lost])


@dataclass(frozen=True)
class Tokens:
    """What images cost: (as predicted, as vLLM counted) of each request."""

    counted: list[tuple[int, int]]

    @property
    def wrong(self) -> list[tuple[int, int]]:
        """Where the two differ."""
        return [pair for pair in self.counted if pair[0] != pair[1]]

    def __str__(self) -> str:
        numbers = [count for _, count in self.counted]
        span = f"{min(numbers):,}" if min(numbers) == max(numbers) else f"{min(numbers):,} to {max(numbers):,}"
        return span + (f", {len(self.wrong)} of {len(numbers)} not as predicted" if self.wrong else "")


class Visit:
    """A drop of pictures of all sizes, and a family's server to ask about them."""

    def __init__(self, name: str, endpoint: Endpoint, folder: Path) -> None:
        self.name = name
        self.family = FAMILIES[name]
        self.endpoint = endpoint
        self.folder = folder
        self._visits = 0

    def ask(self, **changes: Any) -> Answers:
        """Ask all that the drop asks with these settings, once."""
        place, plan = self._marked(**changes)
        caption_shard(work=place.work, shard_id=plan.shards[0], plan=plan, vlm=self.endpoint, progress=lambda at: None)
        shard = Shard(place.work, plan, plan.shards[0])
        came = load_completions(shard.shared, layout.ANSWERS)
        requests = [request for row in shard.rendered().rows for request in first_requests(row, plan)]
        assert len(requests) == len(came), f"{len(requests)} requests, {len(came)} answers"
        return judged([(came[each.key], each.options["response_format"]["json_schema"]["schema"]) for each in requests])

    def tokens(self, mode: str) -> Tokens:
        """What the images of each request cost."""
        place, plan = self._marked(caption_mode=mode)
        shard = Shard(place.work, plan, plan.shards[0])
        counted = []
        for row in shard.rendered().rows:
            request = first_requests(row, plan)[0]
            files = {name: shard.shared.read(image_path(name)) for name in request.images}
            urls = {name: data_url(data) for name, data in files.items()}
            details = self.post({**request.body(urls), "max_tokens": 1})["usage"]["prompt_tokens_details"]
            predicted = sum(self.family.image_tokens(*size_of(files[name])) for name in request.images)
            counted.append((predicted, details["multimodal_tokens"]["image"]))
        return Tokens(counted)

    def ground(self) -> Answers:
        """Ask where things are, in Qwen's words."""
        schema = grounding_schema(QWEN_GROUNDING, 3)
        came = []
        for number, (width, height) in enumerate(SIZES):
            content = [
                {"type": "image_url", "image_url": {"url": data_url(encoded(picture(width, height)))}},
                {"type": "text", "text": QWEN_GROUNDING.prompt.format(n=3, coordinates="in pixels")},
            ]
            told = {"name": "boxes", "strict": True, "schema": schema}
            body = {
                "messages": [{"role": "user", "content": content}], "model": self.endpoint.model, "max_tokens": 512,
                "seed": number, "temperature": 0.7, "top_k": 40,
                "response_format": {"type": "json_schema", "json_schema": told},
            }  # fmt: skip
            (choice,) = self.post(body)["choices"]
            text, reason = choice["message"]["content"] or "", choice["finish_reason"]
            came.append((Completion(key="", text=text, finish_reason=reason), schema))
        return judged(came)

    def metrics(self) -> str:
        """The server's metrics."""
        text: str = httpx2.get(self._address + "/metrics", trust_env=False, timeout=120).text
        return text

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """One chat request."""
        answer = httpx2.post(
            self._address + "/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {self.endpoint.api_key}"} if self.endpoint.api_key else {},
            trust_env=False,
            timeout=300,
        )
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    @property
    def _address(self) -> str:
        return self.endpoint.base_urls[0].removesuffix("/v1")

    def _marked(self, **changes: Any) -> tuple[Place, Plan]:
        """A drop whose images are marked for the family."""
        self._visits += 1
        place = Place(self.folder / str(self._visits))
        rows = []
        for number, (width, height) in enumerate(SIZES):
            place.put(f"{number}.jpg", encoded(picture(width, height, (40 * number, 60, 90))))
            step = width // (REGIONS + 1)
            boxes = [[step // 2 + step * region, height // 3, step - 4, height // 2] for region in range(REGIONS)]
            rows.append({"image": f"{number}.jpg", "bbox": boxes})
        place.put_rows(*rows)
        sampled = {"temperature": 0.7, "max_tokens": 400, "max_attempts": 1}
        plan = place.plan(
            model=self.endpoint.model, model_profile=profile_of(self.family.model), **{**sampled, **changes}
        )
        render_shard(
            drop=place.drop, work=place.work, shard_id=plan.shards[0], plan=plan, progress=lambda done, rows: None
        )
        return place, plan


def judged(came: list[tuple[Completion, dict[str, Any]]]) -> Answers:
    """Whether answers are as their schemas have them; read strictly, as JSON has to be."""
    whole = [(completion, schema) for completion, schema in came if completion.finish_reason == "stop"]
    return Answers(
        exact=sum(_exact(completion.text, schema) for completion, schema in whole),
        whole=len(whole),
        cut_off=sum(completion.finish_reason == "length" for completion, _ in came),
        refused=sum(completion.refused is not None for completion, _ in came),
    )


def _exact(text: str, schema: dict[str, Any]) -> bool:
    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def size_of(jpeg: bytes) -> tuple[int, int]:
    """The size of a picture."""
    with Image.open(io.BytesIO(jpeg)) as image:
        return image.size


COLUMNS = ("family", "starts", "tokens an image", "tokens of two", "joint", "per region", "Chinese", "grounding")


def visited(name: str, checkpoints: Path, folder: Path) -> list[str]:
    """The family's row of the table."""
    try:
        with running(name, checkpoints, folder / f"{name}.log") as endpoint:
            visit = Visit(name, endpoint, folder / name)
            return [
                name, "yes", str(visit.tokens("joint")), str(visit.tokens("per_region")), str(visit.ask()),
                str(visit.ask(caption_mode="per_region")), str(visit.ask(prompt_language="zh")), str(visit.ground()),
            ]  # fmt: skip
    except ServiceError as error:
        return [name, f"no: {str(error)[-200:]}"]


def main() -> None:
    """Visit families, and print the table as Markdown."""
    names = sys.argv[1:] or list(FAMILIES)
    with tempfile.TemporaryDirectory(prefix="regioncap-families-") as place:
        folder = Path(place)
        make_checkpoints(folder / "checkpoints", *names)
        print(f"| {' | '.join(COLUMNS)} |\n| {' | '.join('---' for _ in COLUMNS)} |")
        for name in names:
            print(f"| {' | '.join(visited(name, folder / 'checkpoints', folder))} |", flush=True)


if __name__ == "__main__":
    main()
