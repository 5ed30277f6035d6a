"""Answers in JSON, and in what is nearly JSON."""

import json

import pytest

from regioncap.captions.json_answers import looks_like_json, read_json
from regioncap.captions.reading import DoubtError

TWO = {1: "a red door", 2: "a cat"}
OBJECT = '{"<region1>": "a red door", "<region2>": "a cat"}'


def read(text: str) -> dict[int, str] | None:
    reading = read_json(text, [1, 2])
    return None if reading is None else dict(reading.said)


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        json.dumps(json.loads(OBJECT), indent=4),
        f"```json\n{OBJECT}\n```",
        f"```JSON\n{OBJECT}\n```",
        f"Here you are: {OBJECT}\n\nLet me know.",
        f"{OBJECT}\n{OBJECT}",
        '{"region1": "a red door", "Region 2": "a cat"}',
        '{"1": "a red door", "2": "a cat"}',
        '{"区域1": "a red door", "区域2": "a cat"}',
        '[{"<region1>": "a red door"}, {"<region2>": "a cat"}]',
        '[{"region": 1, "caption": "a red door"}, {"region": "2", "caption": "a cat"}]',
        '{"regions": [{"id": 1, "description": "a red door"}, {"id": 2, "description": "a cat"}]}',
        '{"regions": [{"<region1>": "a red door"}, {"<region2>": "a cat"}]}',
        '{"<region1>": {"caption": "a red door", "box": [1, 2, 3, 4]}, "<region2>": ["a cat"]}',
        '{"region": 1, "text": "a red door"}\n{"region": 2, "text": "a cat"}',
        '[{"index": 0, "region": "<region1>", "text": "a red door"}, {"index": 1, "id": "<region2>", "text": "a cat"}]',
    ],
)
def test_json_is_read_in_the_forms_that_models_give_it(text: str) -> None:
    assert read(text) == TWO


@pytest.mark.parametrize(
    "text",
    [
        OBJECT[:-1] + ",}",
        OBJECT[:-1],
        OBJECT[1:-1],
        OBJECT + "}",
        "{" + OBJECT,
        str(json.loads(OBJECT)),
        '{region1: "a red door", region2: "a cat"}',
        '{<region1>: "a red door", <region2>: "a cat"}',
        '{\n"<region1>": "a red door"\n"<region2>": "a cat"\n}',
        "{“<region1>”: “a red door”, “<region2>”: “a cat”}",
        '```json\n{"<region1>": "a red door",\n"<region2>": "a cat"\n```',
    ],
)
def test_broken_json_is_read_where_it_still_says_what_belongs_where(text: str) -> None:
    assert read(text) == TWO


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ('{"<region1>": "a "red", round door", "<region2>": "a cat"}', 'a "red", round door'),
        ("{'<region1>': 'the dog's door', '<region2>': 'a cat'}", "the dog's door"),
        ("{'<region1>': \"the dog's door\", '<region2>': 'a cat',}", "the dog's door"),
        (r'{"<region1>": "a \"red\" door – \u00e9", "<region2>": "a cat",}', 'a "red" door – é'),
        ('{"<region1>": "a\nred door", "<region2>": "a cat",}', "a\nred door"),
        (r'{"<region1>": "\ud83d\ude00", "<region2>": "a cat",}', "😀"),
    ],
)
def test_what_is_in_a_string_is_what_the_model_meant(text: str, first: str) -> None:
    assert read(text) == {1: first, 2: "a cat"}


@pytest.mark.parametrize(
    "text",
    [
        '{"<region1>": "a red door", "<region2>": "a c',
        '{"<region1>": "a red door, "<region2>": "a cat"}',
        '{"<region1>": "a red door", "<region2>": a cat}',
        '{"<region1>": "a red door", "caption": "a cat", "<region2>": "a "big" cat"}',
        '{"<region1>": {"object": "door", "colour": "red"}, "<region2>": "a cat"}',
        '{"<region1>": ["a red door", "a dog"], "<region2>": "a cat"}',
        '[{"region": 1, "caption": "a red door", "description": "a door"}, {"region": 2, "caption": "a cat"}]',
        '[{"region": 1, "caption": "a "red" door"}, {"region": 2, "caption": "a cat"}]',
        '<region1> is a door", "<region2>": "a cat',
    ],
)
def test_json_that_leaves_doubt_is_not_read(text: str) -> None:
    with pytest.raises(DoubtError):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "a red door",
        '<region1>: a screen with {"a": 1}',
        "[1] a red door",
        '["a red door", "a cat"]',
        "{}",
        "a { and a [",
    ],
)
def test_what_names_no_region_is_no_json_about_regions(text: str) -> None:
    reading = read_json(text, [1, 2])
    assert reading is None or reading.said == []


def test_strings_side_by_side_are_never_joined() -> None:
    with pytest.raises(DoubtError):
        read('{"<region1>": "a red door" "a cat", "<region2>": "x"}')


def test_a_region_that_is_told_of_twice_stays_so() -> None:
    reading = read_json('{"<region1>": "a red door", "<region1>": "a dog", "<region2>": "a cat",}', [1, 2])
    assert reading is not None and reading.said == [(1, "a red door"), (1, "a dog"), (2, "a cat")]


def test_what_stands_beside_is_kept_apart() -> None:
    reading = read_json(
        'Sure!\n```json\n{"<region1>": "a red door", "note": "old", "<region2>": "a cat"}\n```\nBye', [1, 2]
    )
    assert reading is not None and reading.said == list(TWO.items())
    assert set(reading.outside.split("\n")) >= {"Sure!", "Bye", "note: old"}


def test_a_value_that_is_no_text_is_an_empty_description() -> None:
    assert read('{"<region1>": 7, "<region2>": null}') == {1: "", 2: ""}


def test_keys_of_json_are_told_from_words() -> None:
    assert looks_like_json('"<region1>": "a') and looks_like_json('"caption": "a')
    assert not looks_like_json('a screen with {"a": 1} and <region1>: b')
