"""What a listener is asked about a caption, by RegionCap's own scorer and by others."""

from collections.abc import Callable

import pytest

from regioncap.captions.prompts import which_prompt
from regioncap.errors import ExtensionError
from regioncap.trust.answers import Heard
from regioncap.trust.questions import Sheet
from regioncap.trust.scorers import SCORERS, WHICH_REGION
from regioncap.trust.scores import scored


def test_a_listener_may_answer_each_number_shown_or_none() -> None:
    scorer = SCORERS[WHICH_REGION]
    assert scorer.question("a red door", 2, "zh") == which_prompt("a red door", "zh")
    assert scorer.choices(2) == ["1", "2", "none"]
    assert scorer.told(2, {"1": 0.1, "2": 0.7, "none": 0.2}) == {"1": 0.1, "2": 0.7, "none": 0.2}


def test_an_answer_that_tells_of_one_region_alone_says_nothing_of_its_neighbours() -> None:
    sheet = Sheet("row", 0, ((1, 2), (2, 1)), (1, 2))
    captions = {1: "a red door", 2: "a blue cup"}
    answer = Heard(
        question="k", image="row", region=1, kind="own", caption="a red door", round=0, shown=2,
        probabilities={"2": 0.3}, alone=True,
    )  # fmt: skip
    (score,) = scored(sheet, [answer], captions)
    assert (score.kind, score.trust, score.confused_with) == ("own", 0.3, 0)
    of_all = answer.model_copy(update={"probabilities": {"1": 0.7, "2": 0.3, "none": 0.0}, "alone": False})
    own, neighbour = scored(sheet, [of_all], captions)
    assert (own.confused_with, neighbour.kind, neighbour.region) == (2, "neighbour", 2)


def test_what_is_no_scorer_cannot_be_used(extend: Callable[..., None]) -> None:
    extend("regioncap.scorers", "yes_no", "it = 'yes or no'")
    with pytest.raises(ExtensionError, match=r"the scorer yes_no at .* is no Scorer; mend or uninstall"):
        SCORERS["yes_no"]
