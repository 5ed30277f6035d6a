"""Which captions say the same."""

import pytest

from regioncap.trust.alike import fits_too, same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a red star", "A red star."),
        ("the red star", "red star"),
        ("a red,  star", "a red star"),
        ("一辆红色的汽车", "一辆红色的汽车。"),
        ("...", " ... "),
    ],
)
def test_captions_are_the_same_whatever_their_articles_capitals_and_punctuation(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("a red star", "a blue star"), ("a red star", "a star"), ("a dog on a man", "a man on a dog")]
)
def test_captions_of_other_words_or_another_order_are_not(one: str, other: str) -> None:
    assert not same(one, other)


def test_what_says_less_fits_what_says_more() -> None:
    assert fits_too("a star", "a red star")
    assert fits_too("a red star", "a star")
    assert not fits_too("a blue star", "a red star")


def test_captions_without_a_word_are_taken_as_they_are() -> None:
    assert not same("?", "!")
