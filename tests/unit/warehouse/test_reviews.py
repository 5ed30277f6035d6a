"""A person's sample: which regions are drawn, and what follows from what is said of them."""

import random
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from regioncap.pages.builds import see_build
from regioncap.warehouse.reader import Build, open_build
from regioncap.warehouse.reviews import Review, draw, estimate, note, reviews_of, verdicts, wilson
from tests.builders import DATE, Place


def build(place: Place, rows: int = 12) -> Build:
    place.good_rows(rows)
    # What looks like a region in a caption is none.
    place.build(
        lambda row: "\n".join(f'<region{r.region}>: a sign that reads "region": {row.image}' for r in row.regions),
        answer_format="free_text", shard_size=5,
    )  # fmt: skip
    return open_build(place.partition)


def test_a_sample_is_the_same_each_time_and_has_each_region_once(place: Place) -> None:
    made = build(place)
    drawn = draw(made, 10)
    assert [one.key for one in drawn] == [one.key for one in draw(made, 10)]
    assert len({one.key for one in drawn}) == 10
    assert [one.key for one in draw(made, 20)][:10] == [one.key for one in drawn]
    everything = draw(made, 1000)
    assert {(one.record.image, one.region) for one in everything} == set(
        product([f"{number}.jpg" for number in range(12)], [1, 2])
    )
    assert all(one.caption == f'a sign that reads "region": {one.record.image}' for one in everything)


def test_a_build_without_records_has_no_sample(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.put_rows("no JSON")
    place.build(lambda row: "")
    assert draw(open_build(place.partition)) == []


def test_the_last_word_about_a_region_counts_and_only_for_its_build(place: Place) -> None:
    journal = reviews_of(place.partition)
    for number, (build_id, region, verdict) in enumerate(
        [("b1", "0.0.1", "right"), ("b1", "0.0.2", "wrong"), ("b2", "0.0.1", "wrong"), ("b1", "0.0.1", "unsure")]
    ):
        said = Review(at="now", by=f"ann{number}", build_id=build_id, region=region, verdict=verdict)  # type: ignore[arg-type]
        note(journal, said)
    assert verdicts(journal.lines(), "b1") == {"0.0.1": "unsure", "0.0.2": "wrong"}
    assert verdicts(journal.lines(), "b2") == {"0.0.1": "wrong"}
    assert verdicts(journal.lines(), "b3") == {}


def test_what_nobody_is_sure_of_widens_the_interval() -> None:
    sure = estimate(["wrong"] * 3 + ["right"] * 47)
    doubtful = estimate(["wrong"] * 3 + ["right"] * 37 + ["unsure"] * 10)
    assert sure.share == 0.06 and doubtful.share == 3 / 40 and doubtful.asked == 50
    assert sure.low is not None and sure.high is not None and doubtful.low is not None and doubtful.high is not None
    assert doubtful.low <= sure.low < sure.high < doubtful.high
    assert estimate(["unsure"]).share is estimate([]).share is None


@pytest.mark.parametrize("share", [0.02, 0.06, 0.2, 0.5, 0.9])
def test_the_interval_holds_95_times_of_100(share: float) -> None:
    chance = random.Random(5)
    held = Counter(
        low <= share <= high
        for _ in range(4000)
        for low, high in [wilson(sum(chance.random() < share for _ in range(50)), 50)]
    )
    assert held[True] / held.total() > 0.91  # Wilson's holds on average over shares, and near that at each


def test_an_interval_of_one_kind_alone_is_no_point() -> None:
    assert wilson(0, 50)[0] == 0 and 0.05 < wilson(0, 50)[1] < 0.09
    assert wilson(50, 50)[1] >= 0.999999 and 0.91 < wilson(50, 50)[0] < 0.95


def test_a_build_that_is_seen_can_be_drawn_from(place: Place) -> None:
    made = build(place, 3)
    seen = see_build(place.warehouse, DATE, made.manifest.build_id)
    assert len(draw(seen.content)) == 6
