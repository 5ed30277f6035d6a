"""What the image processors of vision-language models make of images of given sizes.

    .venv-vllm/bin/python tests/integration/image_processors.py < SIZES

SIZES is JSON: lists of [width, height] by the names in `PROCESSORS`. Prints lists of the [width, height] at which the
models see images of these sizes. The processors are transformers' own, with the settings of the released models as
written out below; no pixel is computed: where a processor resizes an image, the size is noted instead.
"""

import ast
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from mistral_common.tokens.tokenizers.image import ImageConfig, ImageEncoder
from transformers import image_processing_backends
from transformers.image_utils import SizeDict
from transformers.models.gemma4 import image_processing_pil_gemma4

Size = tuple[int, int]

_QWEN2 = {"shortest_edge": 56 * 56, "longest_edge": 3584 * 3584}
_GRIDS = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]

# The class, its settings in the `preprocessor_config.json` of the model named, and how often it resizes the image as a
# whole; what comes after that are overviews, which these models look at too. `AT_MOST_ONCE` for one that does not call
# its `resize` where an image fits.
AT_MOST_ONCE = 0
PROCESSORS: dict[str, tuple[str, dict[str, Any], int]] = {
    # Qwen/Qwen2.5-Omni-7B
    "qwen2.5-omni": ("Qwen2VLImageProcessorPil", {"size": _QWEN2, "patch_size": 14, "merge_size": 2}, 1),
    # Qwen/Qwen2-VL-7B-Instruct
    "qwen2-vl": ("Qwen2VLImageProcessorPil", {"size": _QWEN2, "patch_size": 14, "merge_size": 2}, 1),
    # Qwen/Qwen2.5-VL-7B-Instruct
    "qwen2.5-vl": ("Qwen2VLImageProcessorPil", {"size": _QWEN2, "patch_size": 14, "merge_size": 2}, 1),
    # Qwen/Qwen3-VL-8B-Instruct, Qwen/Qwen3.5-9B
    "qwen3-vl": (
        "Qwen2VLImageProcessorPil",
        {"size": {"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096}, "patch_size": 16, "merge_size": 2},
        1,
    ),
    # Qwen/Qwen3-Omni-30B-A3B-Instruct
    "qwen3-omni": ("Qwen2VLImageProcessorPil", {"size": _QWEN2, "patch_size": 16, "merge_size": 2}, 1),
    # As vLLM is told of a run's max_pixels.
    "qwen2.5-vl, 501,760 pixels": (
        "Qwen2VLImageProcessorPil",
        {"size": {"shortest_edge": 56 * 56, "longest_edge": 501_760}, "patch_size": 14, "merge_size": 2},
        1,
    ),
    # zai-org/GLM-4.1V-9B-Thinking, zai-org/GLM-4.5V, zai-org/GLM-4.6V; an image counts as two frames
    "glm-4v": (
        "Glm4vImageProcessorPil",
        {"size": {"shortest_edge": 112 * 112, "longest_edge": 9_633_792}, "patch_size": 14, "merge_size": 2},
        1,
    ),
    # HuggingFaceTB/SmolVLM2-500M-Video-Instruct, HuggingFaceTB/SmolVLM-256M-Instruct
    "smolvlm": (
        "SmolVLMImageProcessorPil",
        {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}},
        2,
    ),
    # HuggingFaceTB/SmolVLM2-2.2B-Instruct, HuggingFaceTB/SmolVLM-Instruct
    "smolvlm-2.2b": (
        "SmolVLMImageProcessorPil",
        {"size": {"longest_edge": 1536}, "max_image_size": {"longest_edge": 384}},
        2,
    ),
    # HuggingFaceM4/Idefics3-8B-Llama3
    "idefics3": (
        "Idefics3ImageProcessorPil",
        {"size": {"longest_edge": 1456}, "max_image_size": {"longest_edge": 364}},
        2,
    ),
    # OpenGVLab/InternVL3-8B-hf; its processor class switches crop_to_patches on
    "internvl": (
        "GotOcr2ImageProcessorPil",
        {"size": {"height": 448, "width": 448}, "crop_to_patches": True, "min_patches": 1, "max_patches": 12},
        1,
    ),
    # google/gemma-3-4b-it
    "gemma-3": ("Gemma3ImageProcessorPil", {"size": {"height": 896, "width": 896}}, 1),
    # google/gemma-3n-E4B-it
    "gemma-3n": ("SiglipImageProcessorPil", {"size": {"height": 768, "width": 768}}, 1),
    # google/gemma-4-E4B-it
    "gemma-4": (
        "Gemma4ImageProcessorPil",
        {"patch_size": 16, "max_soft_tokens": 280, "pooling_kernel_size": 3},
        AT_MOST_ONCE,
    ),
    # mistral-community/pixtral-12b
    "pixtral": ("PixtralImageProcessorPil", {"size": {"longest_edge": 1024}, "patch_size": 16}, 1),
    # mistralai/Mistral-Small-3.1-24B-Instruct-2503; its processor class takes merged patches, 2 x 2 of 14 pixels
    "mistral-small": ("PixtralImageProcessorPil", {"size": {"longest_edge": 1540}, "patch_size": 28}, 1),
    # llava-hf/llava-onevision-qwen2-7b-ov-hf
    "llava-onevision": (
        "LlavaOnevisionImageProcessorPil",
        {"size": {"height": 384, "width": 384}, "image_grid_pinpoints": _GRIDS},
        1,
    ),
}


class _Seen(Exception):
    """The image has been resized for the last time."""


class _Notes:
    """Stands in for the backend's `resize`."""

    def __init__(self) -> None:
        self.sizes: list[Size] = []
        self.most = 0

    def __call__(self, size: Size) -> np.ndarray:
        self.sizes.append(size)
        if len(self.sizes) == self.most:
            raise _Seen
        return _image(size)


def _image(size: Size) -> np.ndarray:
    """A black image without memory: channels, height, width."""
    return np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (3, size[1], size[0]))


def _processed(name: str) -> Callable[[Size], Size]:
    kind, settings, most = PROCESSORS[name]
    processor = getattr(transformers, kind)(**settings)

    def seen(size: Size) -> Size:
        notes.sizes, notes.most = [], most or 1
        try:
            processor.preprocess(_image(size), input_data_format="channels_first", do_rescale=False, do_normalize=False)
        except _Seen:
            return notes.sizes[-1]
        if most == AT_MOST_ONCE:
            return size
        raise RuntimeError(f"{kind} resized an image of {size} to {notes.sizes} only")

    return seen


notes = _Notes()


def _resize(_: Any, image: np.ndarray, size: SizeDict, **__: Any) -> np.ndarray:
    return notes((size.width, size.height))


def _functions(module: str, *names: str) -> dict[str, Any]:
    """Functions of a module that cannot be imported here, since it wants torchvision, as they stand in its source."""
    spec = find_spec("transformers")
    assert spec and spec.origin
    path = Path(spec.origin).parent / "models" / f"{module}.py"
    wanted = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    code = ast.Module([node for node in wanted if node.name in names], [])
    space: dict[str, Any] = {
        "math": math, "torch": torch, "lru_cache": lru_cache, "defaultdict": defaultdict, "SizeDict": SizeDict
    }  # fmt: skip
    exec(compile(code, str(path), "exec"), space)
    return space


def _llama4() -> Callable[[Size], Size]:
    """meta-llama/Llama-4-Scout-17B-16E-Instruct: `_preprocess` of Llama4ImageProcessor up to its resize."""
    has = _functions(
        "llama4/image_processing_llama4",
        *("get_factors", "find_supported_resolutions", "get_best_fit", "get_max_res_without_distortion"),
    )
    tile = 336
    canvases = torch.tensor(has["find_supported_resolutions"](16, SizeDict(height=tile, width=tile)))

    def seen(size: Size) -> Size:
        image = (size[1], size[0])
        canvas = has["get_best_fit"](image, canvases, resize_to_max_canvas=False)
        within = tuple(min(max(side, tile), int(limit)) for side, limit in zip(image, canvas, strict=True))
        height, width = has["get_max_res_without_distortion"](image, within)
        return max(width, 1), max(height, 1)

    return seen


def _kimi_k25() -> Callable[[Size], Size]:
    """moonshotai/Kimi-K2.5: the size after resizing and padding, by Kimi_K25ImageProcessor."""
    resize = _functions("kimi_k25/image_processing_kimi_k25", "navit_resize")["navit_resize"]

    def seen(size: Size) -> Size:
        _, (height, width) = resize(size[1], size[0], 14, 2, 16384, 512)
        return width, height

    return seen


def _kimi_vl(size: Size) -> Size:
    """moonshotai/Kimi-VL-A3B-Instruct: vLLM's own account of it (`get_num_image_tokens` in its kimi_vl.py).

    The model's `image_processing_kimi_vl.py` is not in transformers; it refuses a side of 512 patches, told as 0 x 0.
    """
    width, height = size
    patches = (width // 14) * (height // 14)
    if patches > 4096:
        scale = math.sqrt(4096 / patches)
        width, height = int(width * scale), int(height * scale)
    width, height = width + -width % 28, height + -height % 28
    if max(width, height) >= 512 * 14:
        return 0, 0
    return width, height


def _mistral_common(edge: int, patch: int, merge: int) -> Callable[[Size], Size]:
    """How vLLM counts where it reads a model of Mistral's in Mistral's own format."""
    config = ImageConfig(image_patch_size=patch, max_image_size=edge, spatial_merge_size=merge)
    encoder: Any = SimpleNamespace(image_config=config)

    def seen(size: Size) -> Size:
        image: Any = SimpleNamespace(size=size)
        columns, rows = ImageEncoder._image_to_num_tokens(encoder, image)
        return columns * patch * merge, rows * patch * merge

    return seen


def main(asked: dict[str, Sequence[Size]]) -> dict[str, list[Size]]:
    """What the processors make of each size."""
    image_processing_backends.PilBackend.resize = _resize

    def gemma4(image: np.ndarray, size: Size, **_: Any) -> np.ndarray:
        return notes((size[1], size[0]))

    image_processing_pil_gemma4.resize = gemma4
    others: dict[str, Callable[[], Callable[[Size], Size]]] = {
        "llama-4": _llama4,
        "kimi-vl": lambda: _kimi_vl,
        "kimi-k2.5": _kimi_k25,
        "pixtral, mistral-common": lambda: _mistral_common(1024, 16, 1),
        "mistral-small, mistral-common": lambda: _mistral_common(1540, 14, 2),
    }
    answers = {}
    for name, sizes in asked.items():
        seen = others[name]() if name in others else _processed(name)
        answers[name] = [seen((width, height)) for width, height in sizes]
    return answers


if __name__ == "__main__":
    json.dump(main(json.load(sys.stdin)), sys.stdout)
