"""The real vLLM with models of many families: what images cost, and whether answers have just the regions asked for.

Their weights are chance, so nothing is said of what they see. `make test` visits two families, `make prove` all.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from regioncap.errors import VlmSetupError
from regioncap.vlm.doctor import read_doctor_figures
from tests.families.served import FAMILIES, REGIONS, SIZES, Answers, Visit, config, make_checkpoints, running

QUICK = ("qwen2.5-vl", "smolvlm2-500m")


@pytest.fixture(
    scope="module", params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.prove) for name in FAMILIES]
)
def visit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Each family in turn, in a vLLM of its own."""
    folder: Path = tmp_path_factory.mktemp("family")
    make_checkpoints(folder / "checkpoints", request.param)
    with running(request.param, folder / "checkpoints", folder / "vllm.log") as endpoint:
        yield Visit(request.param, endpoint, folder)


def good(answers: Answers, questions: int) -> bool:
    """All that were answered to the end are as asked for, and that is most of them: by chance one has no end."""
    return answers.refused == 0 and answers.exact == answers.whole >= questions * 3 / 4


def test_an_image_costs_what_its_profile_says(visit: Visit) -> None:
    # A marked image that the server resized once more would cost other tokens.
    assert visit.tokens("joint").wrong == []


def test_so_do_a_marked_image_and_a_close_up(visit: Visit) -> None:
    assert visit.tokens("per_region").wrong == []


def test_an_answer_has_exactly_the_regions_of_its_image(visit: Visit) -> None:
    assert good(visit.ask(), len(SIZES))


def test_an_answer_about_a_close_up_has_exactly_its_region(visit: Visit) -> None:
    assert good(visit.ask(caption_mode="per_region"), REGIONS * len(SIZES))


def test_so_it_is_in_chinese(visit: Visit) -> None:
    assert good(visit.ask(prompt_language="zh"), len(SIZES))


def test_boxes_come_in_the_form_that_was_asked_for(visit: Visit) -> None:
    assert good(visit.ground(), len(SIZES))


def test_a_question_that_is_too_long_for_the_server_ends_the_task_with_what_to_change(visit: Visit) -> None:
    longest = 8_192
    if config(visit.name, visit.folder).context > longest:
        pytest.skip("the longest answer that can be asked for has room")
    with pytest.raises(VlmSetupError, match=r"max.tokens"):
        visit.ask(max_tokens=longest)


def test_what_is_asked_about_a_region_is_found_in_the_caches_but_for_an_images_first(visit: Visit) -> None:
    if "--no-enable-prefix-caching" in visit.family.arguments:
        pytest.skip("vLLM has no prefix cache for this family on a CPU")
    images = sum(count for _, count in visit.tokens("joint").counted)
    one_by_one = Visit(visit.name, replace(visit.endpoint, max_in_flight=1), visit.folder / "caches")
    before = read_doctor_figures(visit.metrics())
    # A system prompt of its own: what was asked before is of no use.
    one_by_one.ask(caption_mode="per_region", system_prompt="Look closely.")
    after = read_doctor_figures(visit.metrics())
    assert before is not None and after is not None
    counted = after.since(before)
    again = REGIONS - 1
    assert counted.images_found >= again * len(SIZES)
    # The image and what stands before it, in whole blocks of 32 tokens.
    assert counted.prefix_found >= again * (images - 32 * len(SIZES))
