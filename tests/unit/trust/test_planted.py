"""Planted captions are wrong for the region that they are claimed to be of."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.trust.alike import fits_too
from regioncap.trust.planted import Captions, ask, head, kinds_for, plant
from regioncap.trust.questions import PLANTED

WORLD = [
    f"a {size} {colour} {shape}"
    for size, colour, shape in product(("small", "large"), ("red", "green", "blue"), ("star", "cross", "heart"))
]
rows = st.dictionaries(st.integers(1, 12), st.sampled_from(WORLD), min_size=1, max_size=8)


@given(rows, st.text(max_size=5))
def test_no_planted_caption_says_what_the_region_s_own_says(captions: dict[int, str], image: str) -> None:
    others = Captions(WORLD)
    for region, own in captions.items():
        for kind in ("foreign", "attribute"):
            text = plant(kind, image, region, captions, others)
            assert text is None or not any(fits_too(text, each) for each in captions.values())
        merged = plant("merged", image, region, captions, others)
        assert merged is None or merged.startswith(f"{own} and ")


@given(rows)
def test_a_changed_caption_differs_in_one_word_which_stands_there_in_others(captions: dict[int, str]) -> None:
    for region, own in captions.items():
        text = plant("attribute", "row", region, captions, Captions(WORLD))
        if text is not None:
            assert text in WORLD
            assert sum(one != other for one, other in zip(text.split(), own.split(), strict=True)) == 1


def test_a_generic_caption_fits_another_region_as_well() -> None:
    captions = {1: "a red star", 2: "a blue star", 3: "a green heart"}
    others = Captions(WORLD)
    assert plant("generic", "row", 1, captions, others) == "a star"
    assert plant("generic", "row", 3, captions, others) == "an object"


def test_where_there_is_one_region_only_another_image_s_caption_or_a_changed_one_can_be_planted() -> None:
    made = {kind: plant(kind, "row", 1, {1: "a small red star"}, Captions(WORLD)) for kind in PLANTED}
    assert {kind for kind, text in made.items() if text} == {"foreign", "attribute"}


def test_where_all_captions_are_alike_nothing_is_planted() -> None:
    same = dict.fromkeys((1, 2, 3), "a small red star")
    assert [plant(kind, "row", 1, same, Captions(same.values())) for kind in PLANTED] == [None] * len(PLANTED)
    assert [question.kind for question in ask("row", same, [1, 2, 3], Captions(same.values()))] == ["own"] * 3


def test_captions_of_a_language_without_spaces_are_not_cut_into_words() -> None:
    captions = {1: "一辆红色的汽车", 2: "一个人"}
    made = {kind: plant(kind, "row", 1, captions, Captions([*captions.values(), "一只狗"])) for kind in PLANTED}
    assert {kind: text for kind, text in made.items() if text} == {"foreign": "一只狗"}


def test_words_that_only_link_others_are_not_changed() -> None:
    others = Captions(["a cat on mats", "a cat under mats"])
    assert plant("attribute", "row", 1, {1: "a cat on mats"}, others) is None


def test_the_punctuation_around_a_changed_word_stays() -> None:
    others = Captions(["a red, round star.", "a blue, round star."])
    assert plant("attribute", "row", 1, {1: "a red, round star."}, others) == "a blue, round star."


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("a large striped red cross", "cross"),
        ("A man in a red hat.", "man"),
        ("two dogs with a ball", "dogs"),
        ("the", "the"),
    ],
)
def test_a_caption_s_head_is_what_it_calls_its_thing(caption: str, name: str) -> None:
    assert head(caption) == name


def test_each_region_is_asked_about_with_its_own_caption_and_with_one_planted_one() -> None:
    captions = {1: "a small red star", 2: "a large blue heart", 3: "a small green cross"}
    asked = ask("row", captions, [3, 1], Captions(WORLD))
    assert [(question.region, question.kind == "own") for question in asked] == [
        (1, True),
        (1, False),
        (3, True),
        (3, False),
    ]
    assert asked == ask("row", captions, [1, 3], Captions(reversed(WORLD)))
    for question in asked:
        if question.kind != "own":
            assert question.kind == kinds_for("row", question.region)[0]


def test_all_kinds_that_are_asked_about_turn_up() -> None:
    first = [kinds_for(f"row {at}", 1)[0] for at in range(400)]
    assert set(first) == {"attribute", "foreign", "generic", "merged"}


def test_one_caption_more_changes_few_planted_ones() -> None:
    captions = [
        f"a {size} {colour} {shape}"
        for size, colour, shape in product(("small", "large"), ("red", "green"), ("star", "cross"))
    ]
    fewer, more = Captions(captions), Captions([*captions, "a small blue star"])
    here = {1: "a small red star", 2: "a large green cross"}
    asked = [[plant("foreign", f"row {at}", 1, here, others) for at in range(300)] for others in (fewer, more)]
    assert sum(one != other for one, other in zip(*asked, strict=True)) < 150
