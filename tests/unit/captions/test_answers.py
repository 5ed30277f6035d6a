"""Answers: taken apart into captions, and put through the gates."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.captions.answers import answer_lines, parse_answer
from regioncap.gates import Answer, run_gates
from regioncap.regions.codes import Code


def captions(text: str, regions: int = 2, answer_format: str = "structured") -> dict[int, str]:
    return parse_answer(text, answer_format, range(1, regions + 1)).captions  # type: ignore[arg-type]


def failed(text: str, regions: int = 2, finish_reason: str = "stop", answer_format: str = "structured") -> list[Code]:
    asked = range(1, regions + 1)
    parsed = parse_answer(text, answer_format, asked)  # type: ignore[arg-type]
    return [finding.gate.code for finding in run_gates(Answer(text, finish_reason, parsed, asked))]


GOOD = json.dumps({"<region1>": "a red door", "<region2>": "a cat,\n asleep"})


def test_a_structured_answer_is_one_caption_per_region_in_one_line_each() -> None:
    assert captions(GOOD) == {1: "a red door", 2: "a cat, asleep"}
    assert failed(GOOD) == []


@pytest.mark.parametrize(
    "text",
    [
        "<region1>: a red door\n<region2>: a cat",
        "<region1> : a red door\n\n<region2> : a cat",
        "- **<region1>**: a red door\n- **<region2>**: a cat",
        "<region1>: a red door <region2>: a cat",
        "Region 1: a red door\nRegion 2: a cat",
        "1. a red door\n2. a cat",
        "**1.** a red door\n**2.** a cat",
        "1、a red door\n2、a cat",
        "区域1：a red door\n区域 2：a cat",
        "Here is what I see.\n<region1>: a red door\n<region2>: a cat",
        "<Region1> a red door\n<Region2> a cat",
    ],
)
def test_free_text_is_taken_apart_in_the_shapes_that_models_write(text: str) -> None:
    assert captions(text, answer_format="free_text") == {1: "a red door", 2: "a cat"}


def test_a_region_that_is_only_mentioned_does_not_start_a_description() -> None:
    text = "<region1>: a door left of <region2>\n<region2>: a cat"
    assert captions(text, answer_format="free_text") == {1: "a door left of <region2>", 2: "a cat"}


def test_one_region_needs_no_name() -> None:
    assert captions("A red door.", regions=1, answer_format="free_text") == {1: "A red door."}


def test_json_in_a_code_fence_is_read() -> None:
    assert captions(f"```json\n{GOOD}\n```", answer_format="free_text")[1] == "a red door"


def test_a_server_that_ignores_the_schema_is_still_understood() -> None:
    assert captions("<region1>: a red door\n<region2>: a cat") == {1: "a red door", 2: "a cat"}


def test_captions_as_one_text_are_one_line_per_region() -> None:
    assert answer_lines(captions(GOOD)) == "<region1>: a red door\n<region2>: a cat, asleep"


@pytest.mark.parametrize("text", ["<region3>: a cat", "a cat", '{"<region3>": "a cat"}', "Region 3: a cat"])
def test_an_answer_about_one_region_is_that_regions_whatever_its_number(text: str) -> None:
    parsed = parse_answer(text, "free_text", [3])
    assert parsed.captions == {3: "a cat"}
    assert run_gates(Answer(text, "stop", parsed, [3])) == []


def test_an_answer_about_another_region_than_the_one_asked_about_is_refused() -> None:
    text = "<region1>: a dog"
    findings = run_gates(Answer(text, "stop", parse_answer(text, "free_text", [3]), [3]))
    assert [finding.gate.code for finding in findings] == [Code.MISSING_REGION, Code.INVENTED_REGION]


@pytest.mark.parametrize(
    ("text", "finish_reason", "first"),
    [
        (GOOD[:30], "length", Code.CUT_OFF),
        (GOOD[:30], "stop", Code.UNPARSEABLE),
        ("", "stop", Code.EMPTY),
        ("  \n", "stop", Code.EMPTY),
        ('{"<region1>": "", "<region2>": "a cat"}', "stop", Code.EMPTY),
        ('{"<region1>": 7, "<region2>": "a cat"}', "stop", Code.EMPTY),
        ('{"<region1>": "a door"}', "stop", Code.MISSING_REGION),
        ('{"<region1>": "a cat", "<region2>": "a dog", "<region3>": "a cow"}', "stop", Code.INVENTED_REGION),
        ('{"<region1>": "a cat", "<region2>": "a dog", "<region0>": "a cow"}', "stop", Code.INVENTED_REGION),
        ('{"<region1>": "a cat", "<region1>": "a cow", "<region2>": "a dog"}', "stop", Code.REPEATED_REGION),
        ("A cat and a dog.", "stop", Code.UNPARSEABLE),
    ],
)
def test_a_bad_answer_is_named_by_its_cause(text: str, finish_reason: str, first: Code) -> None:
    assert failed(text, finish_reason=finish_reason)[0] == first


@given(st.text(), st.integers(min_value=1, max_value=10), st.sampled_from(["structured", "free_text"]))
def test_any_text_is_either_refused_or_has_a_caption_for_each_region(text: str, regions: int, form: str) -> None:
    asked = range(1, regions + 1)
    parsed = parse_answer(text, form, asked)  # type: ignore[arg-type]
    if not run_gates(Answer(text, "stop", parsed, asked)):
        assert sorted(parsed.captions) == list(range(1, regions + 1))
        assert all(parsed.captions.values())


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1), min_size=1, max_size=10
    )
)
def test_what_the_schema_asks_for_comes_back(texts: list[str]) -> None:
    texts = [text.strip("*") or "x" for text in texts]
    answer = json.dumps({f"<region{number}>": text for number, text in enumerate(texts, start=1)})
    assert captions(answer, len(texts)) == dict(enumerate(texts, start=1))
