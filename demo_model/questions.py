"""What the demo model is asked beside captions: whose a caption is; and labels that came with an image.

An image's truth is an (n, 4) array of indices into SIZES, TEXTURES, COLOURS and SHAPES, a row for each region.
"""

from collections.abc import Sequence

import numpy as np

from demo_model.world import COLOURS, SHAPES, SIZES, TEXTURES
from regioncap.captions.prompts import NO_REGION, label_hint
from regioncap.regions.names import region_label

CHOICES = tuple(map(tuple, (SIZES, TEXTURES, COLOURS, SHAPES)))
# The share of captions that are one of the image's own, and of those that are of some other image; the rest are one of
# its own with one attribute changed.
_OWN, _FOREIGN = 0.5, 0.2
# The share of labels that are wrong.
_WRONG = 0.2


def caption_of(attributes: Sequence[int]) -> str:
    """The caption of a thing by its attributes' indices."""
    return "a " + " ".join(words[index] for words, index in zip(CHOICES, attributes, strict=True))


def fitting(truth: np.ndarray, attributes: Sequence[int]) -> list[int]:
    """The regions (1-based) that a caption with these attributes describes."""
    return [int(place) + 1 for place in np.nonzero((truth == np.array(attributes)).all(axis=1))[0]]


def nearest(truth: np.ndarray, caption: str) -> list[int]:
    """The regions (1-based) that have most of a caption's attributes."""
    said = [words.index(word) for words, word in zip(CHOICES, caption.split()[1:], strict=True)]
    alike = (truth == np.array(said)).sum(axis=1)
    return [int(place) + 1 for place in np.nonzero(alike == alike.max())[0]]


def own_caption(truth: np.ndarray, rng: np.random.Generator) -> list[int]:
    """The attributes of one of the image's regions."""
    return [int(index) for index in truth[rng.integers(len(truth))]]


def foreign_caption(truth: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Attributes that no region has, otherwise any."""
    while True:
        drawn = [int(rng.integers(len(words))) for words in CHOICES]
        if not fitting(truth, drawn):
            return drawn


def changed_caption(truth: np.ndarray, rng: np.random.Generator) -> list[int]:
    """One region's attributes but for one, so that no region has them; foreign ones where there are none such."""
    for _ in range(20):
        drawn = own_caption(truth, rng)
        kind = int(rng.integers(len(CHOICES)))
        drawn[kind] = (drawn[kind] + int(rng.integers(1, len(CHOICES[kind])))) % len(CHOICES[kind])
        if not fitting(truth, drawn):
            return drawn
    return foreign_caption(truth, rng)


def listen(truth: np.ndarray, rng: np.random.Generator) -> tuple[str, str]:
    """A caption, and which region it describes: its number, any of those that are alike, or none."""
    kind = rng.random()
    draw = own_caption if kind < _OWN else foreign_caption if kind < _OWN + _FOREIGN else changed_caption
    caption = draw(truth, rng)
    regions = fitting(truth, caption)
    return caption_of(caption), region_label(int(rng.choice(regions))) if regions else NO_REGION


def hint(truth: np.ndarray, rng: np.random.Generator) -> tuple[list[int], str]:
    """Some regions or all, and a sentence with their labels, some of them wrong, as it may stand after the question."""
    share = rng.uniform(0.3, 1.3)
    labels: dict[int, str] = {}
    for region, (*_, shape) in enumerate(truth.tolist(), start=1):
        wrong = rng.random() < _WRONG
        said = (shape + int(rng.integers(1, len(SHAPES)))) % len(SHAPES) if wrong else shape
        if rng.random() < share or (not labels and region == len(truth)):
            labels[region] = SHAPES[said]
    return list(labels), str(rng.choice(["", " ", "\n"])) + label_hint(labels, "en")
