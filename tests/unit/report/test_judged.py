"""How far captions can be trusted, in words: no figure anywhere without its interval and its number of questions."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from regioncap.airflow.approval import approval_request, asks_for_approval
from regioncap.pages.builds import see_build
from regioncap.pages.gallery import Place as At
from regioncap.pages.gallery import Wanted, find
from regioncap.pages.render import build_page
from regioncap.report import judged as words
from regioncap.report.card import render_card
from regioncap.report.drift import drift
from regioncap.report.figures import SAMPLED_DOUBTED, Statistics, WrongCaptions
from regioncap.report.page import render_page
from regioncap.trust.estimate import FEWEST_REGIONS, Judged, Recall
from regioncap.warehouse.reviews import estimate
from regioncap.work.staged import Staged
from tests.builders import DATE, Place, describe, encoded, picture
from tests.pages import RECORD, judged, not_judged, record, report_of, rows_that_say

# The share of `judged()` as it is written anywhere, in figures and in words.
SHARE = re.compile(r"\b7\.3(1)?\s?%|0\.0731")
INTERVAL = re.compile(r"5\.1(2)?\s?%? to 10(\.5)?\s?%")
QUESTIONS = re.compile(r"\b1,?234 questions")


class _Blocks(HTMLParser):
    """What a page says, block by block, and in labels that are read out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said = [""]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("p", "div", "td", "th", "li", "h1", "h2", "h3", "dd", "svg", "section"):
            self.said += [value or "" for name, value in attrs if name in ("aria-label", "title", "alt")]
            self.said.append("")

    def handle_data(self, data: str) -> None:
        self.said[-1] += data


def report_page(of: Judged | None) -> str:
    statistics = rows_that_say("harmless")
    report = report_of(statistics).model_copy(update={"judged": of})
    return render_page(report, statistics.samples, lambda path: encoded(picture()))


def page_of_build(folder: Path, of: Judged | None) -> str:
    """A build's page in Airflow."""
    place = Place(folder)
    place.good_rows(2)
    published = place.build(describe)
    build = see_build(place.warehouse, DATE, published.manifest.build_id)
    build = dataclasses.replace(build, manifest=build.manifest.model_copy(update={"judged": of}))
    return build_page("/root", build, build.report(), find(build, Wanted(), At()), estimate([]), None)


def approval(folder: Path, of: Judged | None, warnings: list[str]) -> str:
    """What a person is asked before the build is published."""
    place = Place(folder)
    place.good_rows(1)
    manifest = place.build(describe).manifest.model_copy(update={"judged": of})
    return approval_request(Staged(manifest=manifest, begun_under=None, warnings=warnings), "s3://place", None)[1]


def more_wrong() -> str:
    """What drift says where the share goes up."""
    quality = Statistics().quality()
    before = [quality.model_copy(update={"wrong_captions": WrongCaptions.of(judged(share=0.01, low=0.0, high=0.02))})]
    (said,) = drift(quality.model_copy(update={"wrong_captions": WrongCaptions.of(judged())}), before * 3)
    return said


def test_wherever_the_share_is_told_its_interval_and_its_questions_are_told_with_it(tmp_path: Path) -> None:
    card = render_card(report_of(rows_that_say("harmless")))
    places = {
        "report": _Blocks(report_page(judged())).said,
        "build's page": _Blocks(page_of_build(tmp_path / "a", judged())).said,
        "card": card.splitlines(),
        "approval": approval(tmp_path / "b", judged(), []).splitlines(),
        "drift": [more_wrong()],
        "words": [words.share_told(judged()), *words.obtained(judged())],
    }
    for place, blocks in places.items():
        telling = [" ".join(block.split()) for block in blocks if SHARE.search(block)]
        assert telling, f"the {place} does not tell the share"
        for block in telling:
            assert INTERVAL.search(block) and QUESTIONS.search(block), f"{place}: {block}"


def test_in_numbers_for_programs_a_share_is_never_alone() -> None:
    report = json.loads(report_of(rows_that_say("harmless")).model_dump_json())
    report["quality"]["wrong_captions"] = json.loads(WrongCaptions.of(judged()).model_dump_json())  # type: ignore[union-attr]
    found = list(_shares(report))
    assert len(found) == 2
    assert all({"low", "high"} < set(one) and {"asked", "questions"} & set(one) for one in found)


def _shares(value: Any) -> Any:
    if isinstance(value, dict):
        if "share" in value:
            yield value
        for inner in value.values():
            yield from _shares(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _shares(inner)


def test_what_a_share_is_made_of_is_told_too(tmp_path: Path) -> None:
    for page in (report_page(judged()), page_of_build(tmp_path, judged())):
        text = " ".join(" ".join(_Blocks(page).said).split())
        assert "112 of 120 found (87 to 97 % of such, 95 % interval)" in text
        assert "11 that were doubted were asked for again (8 of the new ones are trusted)" in text
        assert "the same model" in text and "regioncap review" in text


@pytest.mark.parametrize("upper", [0.0, 0.011])
def test_how_often_right_captions_are_doubted_is_told_as_an_interval_with_what_it_is_from(upper: float) -> None:
    (said,) = [text for text in words.obtained(judged(false_alarm=upper, judged=400)) if "Of right captions" in text]
    assert "95 % interval" in said and "400 captions" in said
    # Of 400 none: that may be one of a hundred all the same.
    assert f"0 to {words.percent(upper or 0.00951)} (" in said


def test_second_askings_are_told_with_how_many_there_were() -> None:
    told = " ".join(words.obtained(judged(asked_twice=48, agreed=46, same_model=True)))
    assert "46 of 48" in told and "86 to 99 %, 95 % interval" in told
    assert "the same model" in told and "regioncap review" in told
    other_words = " ".join(words.obtained(judged(asked_twice=48, agreed=6, same_model=True)))
    assert "6 of 48" in other_words and "as far as is usual" in other_words
    none = " ".join(words.obtained(judged(asked_twice=0, agreed=0, same_model=True)))
    assert "as far as is usual" in none and "0 of 0" not in none


def test_another_scorer_is_named_as_what_was_asked() -> None:
    assert "by 1,234 questions: which of the marked regions" in words.obtained(judged())[0]
    assert words.obtained(judged(scorer="yes_no"))[0].endswith("by 1,234 questions: those of the scorer yes_no.")


def test_a_sample_and_another_model_are_told_as_such() -> None:
    told = " ".join(words.obtained(judged(how="sample", judged=200, regions=5000, same_model=False)))
    assert told.startswith("200 of 5,000 captions were drawn and judged, by 1,234 questions")
    assert "two models" in told


@pytest.mark.parametrize("of", [not_judged("the judge at http://gpu:8000 cannot be reached"), None])
def test_where_a_build_is_not_judged_no_figure_is_shown_anywhere(tmp_path: Path, of: Judged | None) -> None:
    statistics = rows_that_say("harmless")
    card = render_card(report_of(statistics).model_copy(update={"judged": of}))
    for text in (report_page(of), page_of_build(tmp_path, of), card):
        said = " ".join(" ".join(_Blocks(text).said).split()).replace("*", "")
        assert "not judged" in said
        assert not re.search(r"\d\s?% of the captions wrong|95 % interval", said)
        assert of is None or "cannot be reached" in said


def test_of_a_small_build_it_is_told_from_how_many_captions_on_there_is_a_figure() -> None:
    small = not_judged("12 captions were judged", regions=12)
    assert words.why_not(small) == f"12 captions were judged. There is a figure from {FEWEST_REGIONS} captions on."
    few = not_judged("20 of 5000 captions were judged", regions=5000).model_copy(update={"judged": 20})
    assert words.why_not(few).endswith(f"There is a figure from {FEWEST_REGIONS} captions on.")
    assert "There is a figure" not in words.why_not(not_judged("the judge is away", regions=5000))


def test_a_build_that_is_not_judged_though_it_should_be_is_a_warning_and_is_asked_about() -> None:
    warnings = words.to_be_warned_of(not_judged("the judge is away", regions=400))
    assert warnings == ["Not judged: the judge is away."]
    assert asks_for_approval("on_warning", warnings)
    assert words.to_be_warned_of(None) == words.to_be_warned_of(judged()) == []


def test_a_build_of_which_much_is_surely_wrong_is_a_warning() -> None:
    (warning,) = words.to_be_warned_of(judged(share=0.3, low=0.22, high=0.41))
    assert warning.startswith("30 % (95 % interval 22 to 41 %, 1,234 questions) of the captions are wrong")


def test_a_share_within_the_intervals_of_the_builds_before_is_no_drift() -> None:
    quality = Statistics().quality()

    def of(share: float, low: float, high: float) -> Any:
        return quality.model_copy(update={"wrong_captions": WrongCaptions.of(judged(share=share, low=low, high=high))})

    before = [of(0.02, 0.01, 0.04), of(0.03, 0.01, 0.06), of(0.02, 0.0, 0.05)]
    assert drift(of(0.08, 0.055, 0.12), before) == []
    assert len(drift(of(0.09, 0.065, 0.12), before)) == 1
    # Builds of before, and those that nobody judged, tell nothing of what is usual.
    assert drift(of(0.09, 0.065, 0.12), [*before[:2], quality, quality]) == []
    assert drift(quality, before) == []


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "0 %"), (0.0004, "0.04 %"), (0.0213, "2.1 %"), (0.127, "13 %"), (1.0, "100 %")]
)
def test_shares_are_told_by_the_digits_that_count(share: float, said: str) -> None:
    assert words.percent(share) == said


def test_the_scale_of_the_bar_holds_the_interval() -> None:
    assert [words.scale(judged(high=high)) for high in (0.04, 0.1, 0.18, 0.4, 0.9, 1.0)] == [0.1, 0.1, 0.2, 0.5, 1, 1]


def test_kinds_of_which_none_was_planted_are_left_out() -> None:
    found = {"foreign": Recall(planted=0, found=0), "neighbour": Recall(planted=10, found=10)}
    assert [kind.what for kind in words.heard(judged(found=found))] == ["another region's caption"]


# ---- the doubted ones come first


def doubted(number: int, trust: float, taken_for: int) -> Any:
    region = RECORD.regions[0].model_copy(update={"caption": f"c{number}", "trust": trust, "confused_with": taken_for})
    return record(number, regions=[region])


def test_the_least_trusted_records_come_first_in_the_sheet() -> None:
    statistics = Statistics()
    for number in range(100):
        statistics.add(record(number, checks=["duplicate_box"] if number % 10 == 0 else []))
    for number in range(100, 140):
        statistics.add(doubted(number, (number - 99) / 100, 0))
    assert statistics.doubted_captions == 40
    samples = statistics.samples
    assert [one.id for one in samples.doubted] == [str(100 + at) for at in range(SAMPLED_DOUBTED)]
    page = render_page(report_of(statistics), samples, lambda path: encoded(picture()))
    assert page.index("c100") < page.index("c101") < page.index("Warning: ")


def test_a_doubted_caption_says_what_it_was_taken_for() -> None:
    statistics = Statistics()
    statistics.add(doubted(1, 0.1, 0))
    statistics.add(doubted(2, 0.2, 3))
    text = " ".join(
        _Blocks(render_page(report_of(statistics), statistics.samples, lambda path: encoded(picture()))).said
    )
    assert "doubted: taken for none of the regions" in text and "doubted: taken for region 3" in text
