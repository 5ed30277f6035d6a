"""The size rules of model profiles against the image processors of transformers, which decide what models see."""

import json
import math
import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.local.paths import VLLM_PYTHON
from regioncap.marks.profiles import PROFILES, ModelProfile

Size = tuple[int, int]
Sizes = dict[str, list[Size]]  # by processor

PROGRAM = Path(__file__).with_name("image_processors.py")
MANY = 2_000

# Which profile is meant for a processor; the others are called as their profiles are.
ALIKE = {
    "qwen3-omni": "qwen3-vl", "kimi-k2.5": "kimi-vl", "pixtral, mistral-common": "pixtral",
    "mistral-small, mistral-common": "mistral-small", "qwen2.5-vl, 501,760 pixels": "qwen2.5-vl",
}  # fmt: skip
# Those that would make of an image as it is displayed what it is marked at. The others have a budget of pixels that is
# larger than a run's, or (Gemma 4) go on enlarging.
EXACT = (
    "smolvlm", "smolvlm-2.2b", "idefics3", "internvl", "gemma-3", "gemma-3n", "llava-onevision", "llama-4",
)  # fmt: skip
OTHERS = (
    "qwen2-vl", "qwen2.5-omni", "qwen2.5-vl", "qwen2.5-vl, 501,760 pixels", "qwen3-vl", "qwen3-omni", "glm-4v",
    "gemma-4", "pixtral", "pixtral, mistral-common", "mistral-small", "mistral-small, mistral-common", "kimi-vl",
    "kimi-k2.5",
)  # fmt: skip


def profile_for(processor: str) -> ModelProfile:
    profile = PROFILES[ALIKE.get(processor, processor)]
    return profile.within(501_760) if "501,760" in processor else profile


def displayed_sizes() -> list[Size]:
    """Small and large ones, thin ones and photos: sides of 1 to 9,000 pixels, none 200 times the other."""
    random_ = random.Random(17)
    sizes = [(4032, 3024), (3024, 4032), (1920, 1080), (640, 480), (200, 150), (1, 1), (1, 200), (200, 1)]
    while len(sizes) < MANY:
        width, height = (int(math.exp(random_.uniform(0, math.log(9_000)))) for _ in range(2))
        if max(width, height) <= 200 * min(width, height):
            sizes.append((width, height))
    return sizes


def seen(asked: dict[str, Sequence[Size]]) -> Sizes:
    """What the processors make of images of these sizes."""
    done = subprocess.run(
        [VLLM_PYTHON, PROGRAM],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        # Nothing is looked for on the hub.
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return {name: [(width, height) for width, height in sizes] for name, sizes in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def sizes() -> list[Size]:
    return displayed_sizes()


@pytest.fixture(scope="module")
def marked(sizes: list[Size]) -> Sizes:
    """The sizes of marked images, by processor."""
    return {name: [profile_for(name).size(*size) for size in sizes] for name in (*EXACT, *OTHERS)}


@pytest.fixture(scope="module")
def answers(sizes: list[Size], marked: Sizes) -> tuple[Sizes, Sizes]:
    """What processors make of marked images, and of images as they are displayed. In one go: a start takes seconds."""
    asked = {name: [*ours, *(sizes if name in EXACT else ())] for name, ours in marked.items()}
    made = seen(asked)
    return {name: all_[:MANY] for name, all_ in made.items()}, {name: all_[MANY:] for name, all_ in made.items()}


@pytest.mark.parametrize("processor", [*EXACT, *OTHERS])
def test_no_marked_image_is_resized_again(
    processor: str,
    sizes: list[Size],
    marked: Sizes,
    answers: tuple[Sizes, Sizes],
) -> None:
    again = answers[0][processor]
    changed = [case for case in zip(sizes, marked[processor], again, strict=True) if case[1] != case[2]]
    assert not changed, f"{len(changed) / MANY:.1%} resized again, such as (displayed, marked, seen) {changed[:3]}"


@pytest.mark.parametrize("processor", EXACT)
def test_an_image_is_marked_at_the_size_at_which_the_model_would_see_it_unmarked(
    processor: str,
    sizes: list[Size],
    marked: Sizes,
    answers: tuple[Sizes, Sizes],
) -> None:
    unmarked = answers[1][processor]
    other = [case for case in zip(sizes, marked[processor], unmarked, strict=True) if case[1] != case[2]]
    assert not other, f"{len(other) / MANY:.1%} differ, such as (displayed, marked, seen) {other[:3]}"


def test_every_profile_of_a_family_is_held_against_its_processor() -> None:
    held = {profile_for(name).name for name in (*EXACT, *OTHERS)}
    assert set(PROFILES.own) - held == {"generic", "demo"}
