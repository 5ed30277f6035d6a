"""How each model family resizes an image before it looks at it.

Marks are drawn on the image at exactly the size the model will see, so that the model's own resize does nothing and a
digit keeps the size that was chosen for the model's eyes. All that differs between families is in their profiles.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from regioncap.extend import Registry

# How a model family counts: in pixels of the image that it sees (Qwen2.5-VL), or in thousandths of its sides
# (Qwen3-VL).
# See the grounding sections of https://github.com/QwenLM/Qwen3-VL (cookbooks/2d_grounding.ipynb).
Coordinates = Literal["pixels", "thousandths"]

# Qwen's models refuse what is longer, and none sees anything in it.
MAX_ASPECT = 200

SizeRule = Callable[[int, int], tuple[int, int]]


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
    `grounding` is how it is asked. `family` is what the names of its models have in them, as whole words; None for no
    model in particular.
    """

    name: str
    family: str | None
    size: SizeRule
    canvas: tuple[int, int] | None = None
    coordinates: Coordinates | None = None
    grounding: Grounding = QWEN_GROUNDING


def longest_edge(width: int, height: int, *, edge: int) -> tuple[int, int]:
    """Scale so that the longer side is `edge` pixels, up or down, keeping the aspect ratio (SmolVLM, Idefics3)."""
    scale = edge / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def patch_multiple(width: int, height: int, *, patch: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Round both sides to multiples of `patch`, then scale into [min_pixels, max_pixels] (Qwen-VL's `smart_resize`).

    Qwen's own function refuses an aspect ratio above 200. Here a side never becomes less than one patch, and the other
    never more than 200 times that, which rounding alone could make of it.
    """

    def to_patches(side: float, rounding: Callable[[float], int]) -> int:
        return max(patch, rounding(side / patch) * patch)

    new_width, new_height = to_patches(width, round), to_patches(height, round)
    if new_width * new_height > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        new_width, new_height = to_patches(width / shrink, math.floor), to_patches(height / shrink, math.floor)
    elif new_width * new_height < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        new_width, new_height = to_patches(width * grow, math.ceil), to_patches(height * grow, math.ceil)
    longest = MAX_ASPECT * min(new_width, new_height)
    return min(new_width, longest), min(new_height, longest)


# 1,003,520 pixels are 1,280 patches of 28 x 28: the upper end of what Qwen's model cards advise for a balanced cost.
_MAX_PIXELS = 1280 * 28 * 28


def _fault(name: str, profile: Any) -> str | None:
    if not isinstance(profile, ModelProfile) or profile.coordinates not in (None, *get_args(Coordinates)):
        return f"is no ModelProfile whose coordinates are None or one of {', '.join(get_args(Coordinates))}"
    if profile.name != name:
        return f"has the name {profile.name!r} and the entry point {name!r}: they have to be the same"
    return _fault_of_grounding(profile.grounding)


def _fault_of_grounding(grounding: Any) -> str | None:
    if not isinstance(grounding, Grounding):
        return "has a grounding that is no Grounding"
    try:
        grounding.prompt.format(n=1, coordinates="")
    except (LookupError, ValueError, AttributeError):
        return "has a grounding prompt with other fields than {n} and {coordinates}: write other braces as {{ and }}"
    return None


_OWN = (
    # A model of which nothing is known: a size that most can do with, and no word on how it counts.
    ModelProfile("generic", None, partial(patch_multiple, patch=28, min_pixels=56 * 56, max_pixels=_MAX_PIXELS)),
    ModelProfile("demo", "regioncap-demo", partial(longest_edge, edge=256), canvas=(256, 256)),
    ModelProfile(
        "qwen2.5-vl",
        "qwen2.5-vl",
        partial(patch_multiple, patch=28, min_pixels=56 * 56, max_pixels=_MAX_PIXELS),
        coordinates="pixels",
        grounding=QWEN_GROUNDING,
    ),
    # The least is `shortest_edge` in the models' preprocessor_config.json (https://github.com/QwenLM/Qwen3-VL).
    ModelProfile(
        "qwen3-vl",
        "qwen3-vl",
        partial(patch_multiple, patch=32, min_pixels=256 * 256, max_pixels=_MAX_PIXELS),
        coordinates="thousandths",
        grounding=QWEN_GROUNDING,
    ),
    ModelProfile("smolvlm", "smolvlm", partial(longest_edge, edge=2048)),
)
PROFILES = Registry("regioncap.profiles", "model profile", {profile.name: profile for profile in _OWN}, _fault)


def profile_of(model: str) -> str:
    """The name of the profile of a model's family, by the model's name or path; `generic` for one that tells nothing.

    Only the model's own name counts, not the folders that it lies in nor a revision behind `@`, and only whole words
    of it: `Qwen3VL-8B` and `qwen3_vl_8b` are of `qwen3-vl`; Qwen3.5 and democracy-vl are of no family known here. The
    profiles of installed packages are asked last. Raises ExtensionError where one of them cannot be used.
    """
    parts = [part for part in re.split(r"[/\\]", model) if part]
    # In the cache of Hugging Face, the folder with the name has the revision's folder in it.
    cached = [part.rpartition("--")[2] for part in parts if part.startswith("models--")]
    words = _words((cached or parts or [""])[-1].partition("@")[0])
    known = (profile.name for profile in PROFILES.values() if profile.family and _words(profile.family) in words)
    return next(known, "generic")


def _words(name: str) -> str:
    """The runs of letters and of digits in a name, in lower case, a space around each."""
    return f" {' '.join(re.findall('[a-z]+|[0-9]+', name.lower()))} "
