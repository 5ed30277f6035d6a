"""The share of wrong captions that a listener's answers tell."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from regioncap.trust.estimate import FEWEST_PLANTED, FEWEST_REGIONS, Judged, estimate, not_judged, tells, told_apart
from regioncap.trust.questions import PLANTED
from regioncap.trust.scores import Scored


def drawn(random: np.random.Generator, image: str, region: int, kind: str, wrong: bool, miss: float = 0.1) -> Scored:
    """What a listener that is mostly right makes of a caption: it misses `miss` of the wrong ones."""
    found = random.random() > (miss if wrong else 0.99)
    trust = random.beta(1, 12) if found else random.beta(9, 1)
    taken = None if trust >= 0.5 else int(random.random() < 0.5) * (region + 1)
    return Scored(image, region, kind, f"{kind} {image} {region}", float(trust), taken)  # type: ignore[arg-type]


def build(seed: int, regions: int, share: float, miss: float = 0.1) -> tuple[list[Scored], set[tuple[str, int]]]:
    """A build's scores, planted ones among them, and which of its captions are wrong."""
    random = np.random.default_rng(seed)
    places = [(f"row {at // 4}", at % 4 + 1) for at in range(regions)]
    wrong = {places[at] for at in random.choice(regions, round(share * regions), replace=False)}
    scores = [drawn(random, *place, "own", place in wrong, miss) for place in places]
    for at, place in enumerate(places):
        scores += [drawn(random, *place, "neighbour", True, miss)]
        scores += [drawn(random, *place, ("foreign", "attribute", "generic", "merged")[at % 4], True, miss)]
    return scores, wrong


def judged(scores: Sequence[Scored], regions: int = 400, **others: object) -> Judged:
    told = {"asked": len(scores), "how": "all", "judge": "demo", "same_model": False, **others}
    return estimate(scores, regions=regions, **told)  # type: ignore[arg-type]


def asked_twice(scores: Sequence[Scored], wrong: set[tuple[str, int]], number: int = 100) -> list[Scored]:
    """The scores, where a second asking about the first so many captions finds the right one."""
    return [
        replace(score, agreed=(score.image, score.region) not in wrong)
        if score.kind == "own" and at < number
        else score
        for at, score in enumerate(scores)
    ]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2])
def test_the_interval_holds_the_true_share(share: float) -> None:
    held = 0
    for seed in range(12):
        scores, wrong = build(seed, 400, share)
        told = judged(asked_twice(scores, wrong))
        assert told.low is not None and told.high is not None and told.share is not None
        assert told.low <= told.share <= told.high
        held += told.low <= len(wrong) / 400 <= told.high
    # The seeds are fixed: of twelve intervals of 95 %, one may miss.
    assert held >= 11


def test_without_captions_that_are_known_to_be_right_the_interval_is_wider_and_still_holds() -> None:
    scores, wrong = build(1, 400, 0.05)
    with_known, without = judged(asked_twice(scores, wrong)), judged(scores)
    assert without.low is not None and without.high is not None
    assert with_known.low is not None and with_known.high is not None
    assert without.high - without.low >= with_known.high - with_known.low
    assert without.low <= 0.05 <= without.high


def test_the_captioner_s_own_model_as_judge_has_a_wider_interval_where_nothing_is_asked_twice() -> None:
    scores, _ = build(2, 400, 0.05)
    same, other = (judged(scores, same_model=same) for same in (True, False))
    assert same.high is not None and other.high is not None
    assert same.high > other.high


def test_a_sample_has_a_wider_interval_than_all() -> None:
    scores, _ = build(3, 400, 0.05)
    rows = {f"row {at}" for at in range(0, 100, 2)}
    sample = judged([score for score in scores if score.image in rows], how="sample")
    whole = judged(scores)
    assert sample.low is not None and sample.high is not None and whole.low is not None and whole.high is not None
    assert sample.high - sample.low > whole.high - whole.low


def test_a_listener_that_misses_more_has_a_wider_interval() -> None:
    widths = []
    for miss in (0.02, 0.2):
        scores, wrong = build(4, 400, 0.2, miss)
        told = judged(asked_twice(scores, wrong))
        assert told.low is not None and told.high is not None
        widths.append(told.high - told.low)
    assert widths[1] > widths[0]


def test_errors_that_only_a_second_asking_sees_widen_the_interval() -> None:
    scores, _ = build(2, 400, 0.0)
    places = [(score.image, score.region) for score in scores if score.kind == "own"][:100]
    alike = judged(asked_twice(scores, set()))
    unlike = judged(asked_twice(scores, set(places[::10])))
    assert alike.high is not None and unlike.high is not None
    assert alike.high < 0.07
    assert unlike.high > 0.1


def test_few_second_askings_and_those_of_a_model_that_finds_other_words_each_time_tell_nothing() -> None:
    scores, _ = build(2, 400, 0.02)
    places = {(score.image, score.region) for score in scores if score.kind == "own"}
    without = judged(scores, same_model=True)
    for told in (judged(asked_twice(scores, places), same_model=True), judged(asked_twice(scores, set(), 10))):
        assert told.share is not None and told.high is not None and without.high is not None
        assert not tells(told.asked_twice, told.agreed)
        # As far as is usual where nothing is asked for twice.
        assert told.high == pytest.approx(without.high, abs=0.03)
    assert (told.asked_twice, told.agreed) == (10, 10)


def test_what_is_doubted_tells_nothing_of_what_nobody_hears() -> None:
    scores, wrong = build(7, 400, 0.2)
    told = judged(asked_twice(scores, wrong))
    trusted = [score for score in asked_twice(scores, wrong) if score.agreed is not None and not score.doubted]
    assert told.asked_twice == len(trusted) < 100
    assert told.agreed == sum(bool(score.agreed) for score in trusted)


def test_the_same_answers_give_the_same_figures() -> None:
    scores, _ = build(5, 200, 0.1)
    assert judged(scores, 200) == judged(scores, 200)


def test_the_figures_say_what_was_planted_and_found() -> None:
    scores, wrong = build(7, 400, 0.0)
    told = judged(asked_twice(scores, wrong))
    assert set(told.found) == set(PLANTED)
    assert told.planted == 800
    assert told.found["foreign"].planted == 100
    assert 80 <= told.found["foreign"].found <= 100
    assert (told.regions, told.judged, told.asked) == (400, 400, len(scores))
    assert told.false_alarm is not None and told.reason is None
    assert 0.0 < told.false_alarm < 0.25


def test_where_nothing_is_doubted_right_captions_may_be_all_the_same() -> None:
    scores, _ = build(7, 400, 0.0)
    trusting = [replace(s, trust=0.99, confused_with=None) if s.kind == "own" else s for s in scores]
    told = judged(asked_twice(trusting, set()))
    assert told.false_alarm is not None
    assert 0.002 < told.false_alarm < 0.02


def test_too_few_captions_are_not_judged() -> None:
    scores, _ = build(8, FEWEST_REGIONS - 1, 0.0)
    told = judged(scores, FEWEST_REGIONS - 1)
    assert told.reason == f"{FEWEST_REGIONS - 1} captions were judged"
    assert (told.share, told.low, told.high, told.false_alarm) == (None, None, None, None)


def test_few_judged_of_many_are_not_judged_either() -> None:
    scores, _ = build(8, 20, 0.0)
    assert "20 of 5000 captions were judged" in str(judged(scores, 5000).reason)


def test_no_captions_at_all_are_not_judged() -> None:
    assert judged([], 0).share is None


def test_without_enough_planted_captions_nothing_is_told() -> None:
    scores, _ = build(9, 400, 0.0)
    few = [score for score in scores if score.kind == "own"] + [score for score in scores if score.kind == "foreign"][
        :9
    ]
    assert f"from {FEWEST_PLANTED} on" in str(judged(few).reason)
    assert judged([score for score in scores if score.kind in ("own", "neighbour")]).share is None


@pytest.mark.parametrize("deaf", ["always one", "by chance", "always sure", "never sure"])
def test_a_deaf_judge_is_not_believed(deaf: str) -> None:
    random = np.random.default_rng(1)
    scores, _ = build(10, 400, 0.05)
    trust = {
        "always one": lambda: float(random.random() < 0.25), "by chance": random.random,
        "always sure": lambda: 1.0, "never sure": lambda: 0.0,
    }[deaf]  # fmt: skip
    heard = [
        replace(score, trust=value, confused_with=None if value >= 0.5 else 0)
        for score in scores
        for value in [trust()]
    ]
    told = judged(heard)
    assert told.share is None
    assert "cannot tell planted captions from the build's own" in str(told.reason)


def test_a_judge_that_is_deaf_to_changed_words_only_is_not_believed() -> None:
    random = np.random.default_rng(1)
    scores, _ = build(11, 400, 0.05)
    heard = [drawn(random, s.image, s.region, s.kind, False) if s.kind == "attribute" else s for s in scores]
    assert "'attribute'" in str(judged(heard).reason)


def test_wrong_captions_are_no_fault_of_the_judge() -> None:
    scores, wrong = build(12, 400, 0.4)
    told = judged(asked_twice(scores, wrong))
    assert told.low is not None and told.high is not None
    assert told.low <= 0.4 <= told.high


def test_planted_captions_are_held_against_the_middle_one_of_the_own() -> None:
    def of(*trusts: float) -> list[Scored]:
        return [Scored("row", 1, "own", "a", trust, None) for trust in trusts]

    assert told_apart(of(0.9, 0.8, 0.1), of(0.2, 0.7)) == 1.0
    assert told_apart(of(0.9, 0.8, 0.1), of(0.2, 0.85)) == 0.5
    assert told_apart(of(0.5), of(0.5)) == 0.5


def test_a_judge_that_was_away_leaves_the_build_not_judged() -> None:
    told = not_judged("the judge did not answer", regions=400, how="all", judge="demo", same_model=True)
    assert (told.share, told.low, told.high, told.reason) == (None, None, None, "the judge did not answer")
