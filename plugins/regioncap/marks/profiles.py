"""How each model family resizes an image before it looks at it.

Marks are drawn on the image at exactly the size the model will see, so that the model's own resize does nothing and a
digit keeps the size that was chosen for the model's eyes. All that differs between families is in their profiles.
"""

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from regioncap.extend import Registry
from regioncap.marks.size_rules import MAX_ASPECT as MAX_ASPECT
from regioncap.marks.size_rules import (
    SizeRule,
    WithinBudget,
    most_patches,
    nearest_grid,
    patch_multiple,
    squashed,
    up_to_edge,
    whole_tiles,
    within_best_grid,
    within_some_grid,
)
from regioncap.marks.size_rules import longest_edge as longest_edge

# How a model family counts: in pixels of the image that it sees (Qwen2.5-VL), or in thousandths of its sides
# (Qwen3-VL).
# See the grounding sections of https://github.com/QwenLM/Qwen3-VL (cookbooks/2d_grounding.ipynb).
Coordinates = Literal["pixels", "thousandths"]


@dataclass(frozen=True)
class Grounding:
    """The words in which models of a family are asked where things are, and the form of their answer.

    In `prompt`, `{n}` is how many boxes there may be, and `{coordinates}` how the family counts, in words; other braces
    are doubled. A structured answer has each box's corners in the field `box_key`.
    """

    prompt: str
    box_key: str


# As Qwen's models are trained; those of other families mostly understand it too.
QWEN_GROUNDING = Grounding(
    prompt="Locate the main objects in the image, at most {n}, most prominent first. Report their bbox coordinates "
    '{coordinates} in JSON format, like [{{"bbox_2d": [x1, y1, x2, y2], "label": "..."}}].',
    box_key="bbox_2d",
)


@dataclass(frozen=True)
class ModelProfile:
    """A model family's view of an image.

    `size` maps the displayed (width, height) in pixels to the (width, height) that the model sees; `canvas` is the
    (width, height) onto which the result is padded at the right and the bottom, or None. `coordinates` says how the
    model counts when it is asked where things are; None for a model that cannot say, or of which nobody knows.
    `grounding` is how it is asked. `family` is what the names of its models have in them, as whole words, and `others`
    are families that see images alike; None and none for no model in particular. `server_pixels` are the fewest and the
    most pixels to which the released models' processors scale an image, where a server can be told other ones as
    `shortest_edge` and `longest_edge`; else None.
    """

    name: str
    family: str | None
    size: SizeRule
    canvas: tuple[int, int] | None = None
    coordinates: Coordinates | None = None
    grounding: Grounding = QWEN_GROUNDING
    others: tuple[str, ...] = ()
    server_pixels: tuple[int, int] | None = None

    def within(self, max_pixels: int) -> "ModelProfile":
        """The same view with another budget of pixels; a family that has none sees images as it does."""
        if not isinstance(self.size, WithinBudget):
            return self
        return replace(self, size=replace(self.size, max_pixels=max_pixels))

    @property
    def families(self) -> tuple[str, ...]:
        """Of which models it is the profile, by what their names have in them."""
        return (self.family, *self.others) if self.family else self.others


def _fault(name: str, profile: Any) -> str | None:
    if not isinstance(profile, ModelProfile) or profile.coordinates not in (None, *get_args(Coordinates)):
        return f"is no ModelProfile whose coordinates are None or one of {', '.join(get_args(Coordinates))}"
    if profile.name != name:
        return f"has the name {profile.name!r} and the entry point {name!r}: they have to be the same"
    if not isinstance(profile.others, tuple):
        return "has others that are no tuple of families"
    return _fault_of_grounding(profile.grounding)


def _fault_of_grounding(grounding: Any) -> str | None:
    if not isinstance(grounding, Grounding):
        return "has a grounding that is no Grounding"
    try:
        grounding.prompt.format(n=1, coordinates="")
    except (LookupError, ValueError, AttributeError):
        return "has a grounding prompt with other fields than {n} and {coordinates}: write other braces as {{ and }}"
    return None


# The profile of models of which nothing is known.
GENERIC = "generic"

# Fewest and most pixels of Qwen's image processors: `size` in the `preprocessor_config.json` of the models named below.
_QWEN2 = (56 * 56, 3584 * 3584)
_QWEN3 = (256 * 256, 4096 * 4096)


def _patches(patch: int, fewest: int, most: int, longest: int | None = None) -> WithinBudget:
    return WithinBudget(partial(patch_multiple, patch=patch, min_pixels=fewest, longest=longest), most=most)


# Each with the class of transformers whose rule it is, and the model whose `preprocessor_config.json` has the numbers.
# `tests/integration/test_image_processors.py` holds them against these classes.
_OWN = (
    # A model of which nothing is known: a size that most can do with, and no word on how it counts.
    ModelProfile(GENERIC, None, _patches(28, 56 * 56, 3584 * 3584)),
    ModelProfile("demo", "regioncap-demo", partial(longest_edge, edge=256), canvas=(256, 256)),
    # Qwen2VLImageProcessor; Qwen/Qwen2.5-VL-7B-Instruct.
    ModelProfile(
        "qwen2.5-vl",
        "qwen2.5-vl",
        _patches(28, *_QWEN2),
        coordinates="pixels",
        grounding=QWEN_GROUNDING,
        server_pixels=_QWEN2,
    ),
    # Qwen2VLImageProcessor with patches of 16; Qwen/Qwen3-VL-8B-Instruct, Qwen/Qwen3.5-9B. Qwen/Qwen3-Omni-30B-A3B-
    # Instruct takes smaller images too, and leaves these as they are.
    ModelProfile(
        "qwen3-vl",
        "qwen3-vl",
        _patches(32, *_QWEN3),
        coordinates="thousandths",
        grounding=QWEN_GROUNDING,
        others=("qwen3.5", "qwen3.6", "qwen3-omni"),
        server_pixels=_QWEN3,
    ),
    # Qwen2VLImageProcessor; Qwen/Qwen2-VL-7B-Instruct. It counts otherwise than Qwen2.5-VL: https://arxiv.org/abs/2409.12191.
    ModelProfile("qwen2-vl", "qwen2-vl", _patches(28, *_QWEN2), coordinates="thousandths", server_pixels=_QWEN2),
    # Qwen2VLImageProcessor; Qwen/Qwen2.5-Omni-7B. Nobody says how it counts.
    ModelProfile("qwen2.5-omni", "qwen2.5-omni", _patches(28, *_QWEN2), server_pixels=_QWEN2),
    # SmolVLMImageProcessor; HuggingFaceTB/SmolVLM2-500M-Video-Instruct, and all of 256M and 500M.
    ModelProfile("smolvlm", "smolvlm", partial(whole_tiles, tile=512, tiles=4)),
    # The same; HuggingFaceTB/SmolVLM2-2.2B-Instruct. The first ones of 2.2B do not say so in their names.
    ModelProfile(
        "smolvlm-2.2b",
        "smolvlm2-2.2b",
        partial(whole_tiles, tile=384, tiles=4),
        others=("smolvlm-instruct", "smolvlm-base", "smolvlm-synthetic"),
    ),
    # Idefics3ImageProcessor; HuggingFaceM4/Idefics3-8B-Llama3.
    ModelProfile("idefics3", "idefics3", partial(whole_tiles, tile=364, tiles=4)),
    # GotOcr2ImageProcessor with crop_to_patches; OpenGVLab/InternVL3-8B-hf.
    ModelProfile("internvl", "internvl3", partial(nearest_grid, tile=448, most=12), others=("internvl2",)),
    # Gemma3ImageProcessor, without pan and scan; google/gemma-3-4b-it.
    ModelProfile("gemma-3", "gemma-3", partial(squashed, edge=896), others=("medgemma-4b", "medgemma-27b")),
    # SiglipImageProcessor; google/gemma-3n-E4B-it.
    ModelProfile("gemma-3n", "gemma-3n", partial(squashed, edge=768)),
    # Gemma4ImageProcessor: 280 tokens of 3 x 3 patches of 16; google/gemma-4-E4B-it.
    ModelProfile("gemma-4", "gemma-4", partial(most_patches, patch=48, patches=280)),
    # PixtralImageProcessor; mistral-community/pixtral-12b.
    ModelProfile("pixtral", "pixtral", WithinBudget(partial(up_to_edge, edge=1024, patch=16), most=1024 * 1024)),
    # PixtralImageProcessor with patches of 14, 2 x 2 of them one; mistralai/Mistral-Small-3.1-24B-Instruct-2503.
    ModelProfile(
        "mistral-small",
        "mistral-small-3.1",
        WithinBudget(partial(up_to_edge, edge=1540, patch=28), most=1540 * 1540),
        others=("mistral-small-3.2",),
    ),
    # LlavaOnevisionImageProcessor; llava-hf/llava-onevision-qwen2-7b-ov-hf. Later ones (1.5, 2) see otherwise.
    ModelProfile("llava-onevision", "llava-onevision-qwen2", partial(within_best_grid, tile=384, side=6)),
    # Glm4vImageProcessor, which counts an image as two frames of a video; zai-org/GLM-4.1V-9B-Thinking. They count in
    # thousandths, and call a box bbox_2d: https://www.skills.sh/zai-org/glm-skills/glmv-grounding.
    ModelProfile(
        "glm-4v",
        "glm-4.1v",
        _patches(28, 112 * 112 // 2, 9_633_792 // 2),
        coordinates="thousandths",
        others=("glm-4.5v", "glm-4.6v"),
    ),
    # Llama4ImageProcessor; meta-llama/Llama-4-Scout-17B-16E-Instruct.
    ModelProfile(
        "llama-4", "llama-4-scout", partial(within_some_grid, tile=336, most=16), others=("llama-4-maverick",)
    ),
    # 4,096 patches of 14, merged 2 x 2, and less than 512 a side: image_processing_kimi_vl.py and its settings in
    # moonshotai/Kimi-VL-A3B-Instruct. Kimi_K25ImageProcessor leaves them as they are, too.
    ModelProfile("kimi-vl", "kimi-vl", _patches(28, 28 * 28, 4096 * 14 * 14, 510 * 14), others=("kimi-k2.5",)),
)
PROFILES = Registry("regioncap.profiles", "model profile", {profile.name: profile for profile in _OWN}, _fault)


def profile_of(model: str) -> str:
    """The name of the profile of a model's family, by the model's name or path; `generic` for one that tells nothing.

    Only the model's own name counts, not the folders that it lies in nor a revision behind `@`, and only whole words
    of it: `Qwen3VL-8B` and `qwen3_vl_8b` are of `qwen3-vl`; democracy-vl is of no family known here. Of several
    families the longest counts: gemma-3n is not gemma-3. The profiles of installed packages are asked
    last. Raises ExtensionError where one of them cannot be used.
    """
    parts = [part for part in re.split(r"[/\\]", model) if part]
    # In the cache of Hugging Face, the folder with the name has the revision's folder in it.
    cached = [part.rpartition("--")[2] for part in parts if part.startswith("models--")]
    words = _words((cached or parts or [""])[-1].partition("@")[0])
    for names in (PROFILES.own, PROFILES.added):
        families = {_words(family): name for name in names for family in PROFILES[name].families}
        if fitting := [family for family in families if family in words]:
            return families[max(fitting, key=len)]
    return GENERIC


def _words(name: str) -> str:
    """The runs of letters and of digits in a name, in lower case, a space around each."""
    return f" {' '.join(re.findall('[a-z]+|[0-9]+', name.lower()))} "
