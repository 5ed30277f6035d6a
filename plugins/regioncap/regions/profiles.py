"""How each model family resizes an image before it looks at it.

Marks are drawn on the image at exactly the size the model will see, so that the model's own resize does nothing and a
digit keeps the size that was chosen for the model's eyes. Add a family by adding one entry to `PROFILES`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from regioncap.regions.grounding import Coordinates

SizeRule = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class ModelProfile:
    """A model family's view of an image.

    `size` maps the displayed (width, height) in pixels to the (width, height) that the model sees; `canvas` is the
    (width, height) onto which the result is padded at the right and the bottom, or None. `coordinates` says how the
    model counts when it is asked where things are; None for a model that cannot say.
    """

    name: str
    size: SizeRule
    canvas: tuple[int, int] | None = None
    coordinates: Coordinates | None = None


def longest_edge(width: int, height: int, *, edge: int) -> tuple[int, int]:
    """Scale so that the longer side is `edge` pixels, up or down, keeping the aspect ratio (SmolVLM, Idefics3)."""
    scale = edge / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def patch_multiple(width: int, height: int, *, patch: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Round both sides to multiples of `patch`, then scale into [min_pixels, max_pixels] (Qwen-VL's `smart_resize`).

    Unlike Qwen's own function, which refuses an aspect ratio above 200, a side never becomes less than one patch.
    """

    def to_patches(side: float, rounding: Callable[[float], int]) -> int:
        return max(patch, rounding(side / patch) * patch)

    new_width, new_height = to_patches(width, round), to_patches(height, round)
    if new_width * new_height > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        return to_patches(width / shrink, math.floor), to_patches(height / shrink, math.floor)
    if new_width * new_height < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        return to_patches(width * grow, math.ceil), to_patches(height * grow, math.ceil)
    return new_width, new_height


# 1,003,520 pixels are 1,280 patches of 28 x 28: the upper end of what Qwen's model cards advise for a balanced cost.
_MAX_PIXELS = 1280 * 28 * 28

PROFILES: dict[str, ModelProfile] = {
    profile.name: profile
    for profile in (
        ModelProfile("demo", partial(longest_edge, edge=256), canvas=(256, 256)),
        ModelProfile(
            "qwen2.5-vl",
            partial(patch_multiple, patch=28, min_pixels=56 * 56, max_pixels=_MAX_PIXELS),
            coordinates="pixels",
        ),
        ModelProfile(
            "qwen3-vl",
            partial(patch_multiple, patch=32, min_pixels=64 * 64, max_pixels=_MAX_PIXELS),
            coordinates="thousandths",
        ),
        ModelProfile("smolvlm", partial(longest_edge, edge=2048)),
    )
}


def profile_of(model: str) -> str:
    """The name of the profile of a model's family, by the model's name; `qwen2.5-vl` for a name that tells nothing."""
    name = model.lower()
    return next((profile for profile in PROFILES if profile in name), "qwen2.5-vl")
