"""How far a caption is trusted by what was heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.trust.answers import Heard
from regioncap.trust.questions import Kind, Sheet
from regioncap.trust.scores import Scored, asked_again, scored, together

SHEET = Sheet("row", 0, ((1, 3), (2, 1), (3, 2)), (1, 2, 3))
CAPTIONS = {1: "a red star", 2: "a blue star", 3: "a green heart"}


def heard(region: int, probabilities: dict[str, float], kind: Kind = "own", caption: str | None = None) -> Heard:
    return Heard(
        question="key", image="row", region=region, kind=kind, caption=caption or CAPTIONS[region], round=0,
        shown=SHEET.number(region), probabilities=probabilities,
    )  # fmt: skip


def own(scores: list[Scored]) -> dict[int, Scored]:
    return {score.region: score for score in scores if score.kind == "own"}


def test_trust_is_how_likely_the_region_is_found_under_the_number_that_it_was_shown_under() -> None:
    (score,) = own(scored(SHEET, [heard(1, {"1": 0.1, "2": 0.05, "3": 0.8, "none": 0.05})], CAPTIONS)).values()
    assert score.trust == pytest.approx(0.8)
    assert score.confused_with is None


def test_a_doubted_caption_says_which_region_was_found_instead_by_its_own_number() -> None:
    answers = [
        heard(1, {"1": 0.9, "2": 0.0, "3": 0.1, "none": 0.0}),
        heard(2, {"1": 0.1, "2": 0.0, "3": 0.0, "none": 0.9}),
    ]
    assert {region: score.confused_with for region, score in own(scored(SHEET, answers, CAPTIONS)).items()} == {
        1: 2,
        2: 0,
    }


def test_of_alike_things_with_alike_captions_the_sheets_count_where_only_one_is_shown() -> None:
    captions = {1: "a red star", 2: "A red star.", 3: "a green heart"}
    (first,) = own(scored(SHEET, [heard(1, {"1": 0.9, "3": 0.05, "none": 0.05})], captions)).values()
    alone = Sheet("row", 1, ((1, 2), (3, 1)), (1, 3))
    (second,) = own(scored(alone, [heard(1, {"1": 0.05, "2": 0.9, "none": 0.05})], captions)).values()
    assert (first.shared, second.shared) == (True, False)
    (score,) = together([[first], [second]])
    assert (score.trust, score.confused_with) == (pytest.approx(0.9), None)


def test_a_caption_that_is_only_the_other_region_s_stays_doubted() -> None:
    captions = {1: "a red star", 2: "a red star", 3: "a green heart"}
    (first,) = own(scored(SHEET, [heard(1, {"1": 0.97, "3": 0.02, "none": 0.01})], captions)).values()
    alone = Sheet("row", 1, ((1, 2), (3, 1)), (1, 3))
    (second,) = own(scored(alone, [heard(1, {"1": 0.05, "2": 0.05, "none": 0.9})], captions)).values()
    (score,) = together([[first], [second]])
    assert (score.trust, score.confused_with) == (pytest.approx(0.05), 2)
    assert second.confused_with == 0


def test_what_is_said_of_an_own_caption_tells_of_the_others_if_they_had_it() -> None:
    scores = scored(SHEET, [heard(1, {"1": 0.1, "2": 0.05, "3": 0.8, "none": 0.05})], CAPTIONS)
    planted = {score.region: score for score in scores if score.kind == "neighbour"}
    assert {region: round(score.trust, 2) for region, score in planted.items()} == {2: 0.1, 3: 0.05}
    assert {score.confused_with for score in planted.values()} == {1}
    assert sum(score.weight for score in planted.values()) == pytest.approx(1.0)


def test_a_neighbour_s_caption_that_also_fits_is_not_planted() -> None:
    captions = {1: "a star", 2: "a red star", 3: "a green heart"}
    scores = scored(SHEET, [heard(2, {"1": 1.0}, caption="a red star")], captions)
    assert [score.region for score in scores if score.kind == "neighbour"] == [3]


def test_what_is_said_of_a_planted_caption_tells_of_no_other() -> None:
    (score,) = scored(SHEET, [heard(1, {"none": 1.0}, "foreign", "a black cross")], CAPTIONS)
    assert (score.kind, score.trust, score.confused_with) == ("foreign", 0.0, 0)


def test_what_was_not_answered_counts_as_none() -> None:
    (score,) = scored(SHEET, [heard(1, {}, "foreign", "a black cross")], CAPTIONS)
    assert (score.trust, score.confused_with) == (0.0, 0)


@given(
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.lists(st.sampled_from(list(CAPTIONS.values())), min_size=3, max_size=3),
)
def test_trust_is_within_0_and_1_and_what_is_doubted_was_taken_for_something(raw: list[float], said: list[str]) -> None:
    total = sum(raw) or 1.0
    probabilities = dict(zip(("1", "2", "3", "none"), (value / total for value in raw), strict=True))
    captions = dict(zip((1, 2, 3), said, strict=True))
    for score in scored(SHEET, [heard(2, probabilities, caption=captions[2])], captions):
        assert 0.0 <= score.trust <= 1.0
        assert score.doubted == (score.confused_with is not None)
        assert score.confused_with != score.region


def test_two_rounds_are_one_score() -> None:
    first = Scored("row", 1, "own", "a red star", 0.2, 2)
    second = Scored("row", 1, "own", "a red star", 0.6, None)
    (score,) = together([[first], [second]])
    assert (score.trust, score.confused_with) == (pytest.approx(0.4), 2)
    (alone,) = together([[first], []])
    assert alone == first


def test_what_is_trusted_under_both_shuffles_was_confused_with_nothing() -> None:
    (score,) = together([[Scored("row", 1, "own", "a", 0.45, 2)], [Scored("row", 1, "own", "a", 0.95, None)]])
    assert score.confused_with is None


def test_what_is_not_sure_is_asked_under_another_shuffle_planted_captions_too() -> None:
    doubtful = Scored("row", 1, "own", "a", 0.3, 2)
    planted = Scored("row", 2, "foreign", "b", 0.0, 0)
    sure = Scored("row", 3, "own", "c", 0.99, None)
    follows = Scored("row", 3, "neighbour", "a", 0.0, 1)
    assert asked_again([doubtful, planted, sure, follows]) == [doubtful, planted]
