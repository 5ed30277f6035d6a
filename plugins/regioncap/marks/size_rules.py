"""The size rules of image processors: (width, height) as displayed -> (width, height) at which a model sees an image.

Each is written so that a processor that follows the rule leaves an image of the size that comes out as it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

Size = tuple[int, int]
SizeRule = Callable[[int, int], Size]

# Qwen's models refuse what is longer, and none sees anything in it.
MAX_ASPECT = 200
# 1,003,520 pixels are 1,280 patches of 28 x 28: the upper end of what Qwen's model cards advise for a balanced cost.
MAX_PIXELS = 1280 * 28 * 28


@dataclass(frozen=True)
class WithinBudget:
    """The rule of models that take an image of any size, up to a budget of pixels, which a run may choose.

    `rule` takes `max_pixels` beside width and height; `most` is what the models themselves stop at.
    """

    rule: Callable[..., Size]
    most: int
    max_pixels: int = MAX_PIXELS

    def __call__(self, width: int, height: int) -> Size:
        """The size of a `width` x `height` image."""
        return self.rule(width, height, max_pixels=min(self.max_pixels, self.most))


def longest_edge(width: int, height: int, *, edge: int) -> Size:
    """Scale so that the longer side is `edge` pixels, up or down, keeping the aspect ratio."""
    scale = edge / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def squashed(width: int, height: int, *, edge: int) -> Size:
    """Always `edge` x `edge`, whatever the shape."""
    return edge, edge


def patch_multiple(
    width: int, height: int, *, patch: int, min_pixels: int, max_pixels: int, longest: int | None = None
) -> Size:
    """Round both sides to multiples of `patch`, then scale into [min_pixels, max_pixels] (Qwen-VL's `smart_resize`).

    Qwen's own function refuses an aspect ratio above 200. Here a side never becomes less than one patch, and the other
    never more than 200 times that, which rounding alone could make of it, nor more than `longest` (a multiple of
    `patch`), nor more than the budget has room for.
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
    shorter = min(new_width, new_height)
    limit = min(MAX_ASPECT * shorter, to_patches(max_pixels / shorter, math.floor), longest or MAX_ASPECT * shorter)
    return min(new_width, limit), min(new_height, limit)


def up_to_edge(width: int, height: int, *, edge: int, patch: int, max_pixels: int) -> Size:
    """No side over `edge`, both rounded up to whole patches, never enlarged otherwise (Pixtral).

    Within a smaller budget, both sides are rounded down. `edge` is a multiple of `patch`.
    """
    shrink = max(1.0, width / edge, height / edge)
    size = _patches_over(math.floor(width / shrink), patch), _patches_over(math.floor(height / shrink), patch)
    if size[0] * size[1] > max_pixels:
        shrink = max(shrink, math.sqrt(width * height / max_pixels))
        size = max(1, int(width / shrink / patch)) * patch, max(1, int(height / shrink / patch)) * patch
    return size


def most_patches(width: int, height: int, *, patch: int, patches: int) -> Size:
    """Scaled, up or down, to as many pixels as `patches` patches have; sides rounded down to whole ones (Gemma 4).

    What rounding left unused lets the model enlarge such an image once more: until there is no room, as often.
    """
    size, fitted = (0, 0), (width, height)
    while size != fitted:
        size, (width, height) = fitted, fitted
        factor = math.sqrt(patches * patch * patch / (width * height))
        columns, rows = math.floor(factor * width / patch), math.floor(factor * height / patch)
        if rows == 0:
            columns, rows = min(width // height, patches), 1
        elif columns == 0:
            columns, rows = 1, min(height // width, patches)
        fitted = (columns * patch, rows * patch)
    return size


def whole_tiles(width: int, height: int, *, tile: int, tiles: int) -> Size:
    """The longer side becomes `tiles` tiles, the other is stretched up to whole ones (Idefics3, SmolVLM)."""
    longest = tile * tiles
    shorter = int(longest / (max(width, height) / min(width, height)))
    shorter = _patches_over(shorter + shorter % 2, tile)
    return (longest, shorter) if width >= height else (shorter, longest)


def nearest_grid(width: int, height: int, *, tile: int, most: int) -> Size:
    """Stretched to the grid of at most `most` tiles whose shape is nearest (InternVL).

    Of grids of the same shape, to the largest that has less than twice the image's pixels.
    """
    best, nearest = (1, 1), math.inf
    for columns, rows in _grids(most):
        off = abs(width / height - columns / rows)
        if off < nearest or (off == nearest and width * height > tile * tile * columns * rows / 2):
            best, nearest = (columns, rows), off
    return best[0] * tile, best[1] * tile


def within_best_grid(width: int, height: int, *, tile: int, side: int) -> Size:
    """As large as fits into the best of the grids of up to `side` x `side` tiles, its shape kept (LLaVA-OneVision).

    The model pads it to the grid, on both sides. The best is the one in which most of the image's pixels are kept, and
    then the smallest.
    """

    def kept(grid: Size) -> tuple[int, int]:
        scale = min(grid[0] / width, grid[1] / height)
        pixels = min(int(width * scale) * int(height * scale), width * height)
        return pixels, pixels - grid[0] * grid[1]

    best = max(
        ((columns * tile, rows * tile) for rows in range(1, side + 1) for columns in range(1, side + 1)), key=kept
    )
    scale_x, scale_y = best[0] / width, best[1] / height
    if scale_x < scale_y:
        return best[0], min(math.ceil(height * scale_x), best[1])
    return min(math.ceil(width * scale_y), best[0]), best[1]


def within_some_grid(width: int, height: int, *, tile: int, most: int) -> Size:
    """As it is, if a grid of at most `most` tiles has room for it; else as large as has room, its shape kept (Llama 4).

    The model pads it to the grid, at the right and the bottom. An image smaller than a tile is enlarged to one.
    """
    grids = [(columns * tile, rows * tile) for columns, rows in _grids(most)]
    scale = max(min(columns / width, rows / height) for columns, rows in grids)
    if scale >= 1:
        # The smallest grid that holds it; it is enlarged to no more than a tile.
        wide, high = max(width, tile), max(height, tile)
    else:
        wide, high = max(grids, key=lambda grid: (min(grid[0] / width, grid[1] / height), -grid[0] * grid[1]))
    scale_x, scale_y = wide / width, high / height
    if scale_x < scale_y:
        return wide, max(1, min(math.floor(height * scale_x), high))
    return max(1, min(math.floor(width * scale_y), wide)), high


def _patches_over(side: int, patch: int) -> int:
    """The least multiple of `patch` that is not below `side`, and at least one patch."""
    return max(1, math.ceil(side / patch)) * patch


@cache
def _grids(most: int) -> list[tuple[int, int]]:
    """All (columns, rows) of at most `most` tiles, those of fewest tiles first."""
    every = ((columns, rows) for columns in range(1, most + 1) for rows in range(1, most + 1))
    return sorted((grid for grid in every if grid[0] * grid[1] <= most), key=lambda grid: grid[0] * grid[1])
