"""What the report, its page and the dataset card say, and that nothing from a drop or a model gets out of its place."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from regioncap.errors import StepMissingError
from regioncap.gates import OWN_GATES
from regioncap.regions.codes import Code
from regioncap.report.card import code_block, code_span, render_card
from regioncap.report.figures import (
    SAMPLED_PER_CODE,
    SAMPLED_RECORDS,
    SAMPLED_WARNED,
    SCHEMA_IGNORED,
    PartStatistics,
    Statistics,
    held_back,
    told_of_one_colour,
)
from regioncap.report.html import meaning, percent
from regioncap.report.licences import licence_of
from regioncap.report.page import bars, render_page
from regioncap.report.shown import excerpt, legible
from regioncap.report.words import count_words
from regioncap.work.counts import AskCounts
from tests.builders import Place, describe, encoded, picture
from tests.hostile import HOSTILE
from tests.pages import EXPORTED, RECORD, page_of, record, rejected, report_of, rows_that_say


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class _Elements(HTMLParser):
    """Every element of a page, with the names of its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[str]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, [name for name, _ in attrs]))

    def handle_data(self, data: str) -> None:
        self.text += data


# ---- figures


def test_every_row_is_counted_once() -> None:
    statistics = Statistics()
    statistics.add(record(1, "a red door", "a cat", checks=["duplicate_box"], dropped_boxes=RECORD.dropped_boxes))
    statistics.add(record(2, "two old chairs", attempts=3))
    statistics.add_rejected(rejected(1))
    statistics.add_rejected(rejected(2, Code.CUT_OFF))
    assert statistics.counts.model_dump() == {"rows": 4, "captioned": 2, "rejected": 2, "regions": 3}
    assert statistics.rejected_by_code == {"image_not_found": 1, "cut_off": 1}
    assert statistics.dropped_boxes_by_code == {"outside": 1}
    found = {name: (gate.warned, gate.rejected) for name, gate in statistics.gates().items()}
    assert found == {"cut_off": (0, 1), "duplicate_box": (1, 0)}


def test_quality_is_in_shares_and_means() -> None:
    statistics = Statistics()
    statistics.add(record(1, "a red door", "a cat", checks=["duplicate_box"]))
    statistics.add(record(2, "two old chairs", attempts=3))
    statistics.add_rejected(rejected(1))
    statistics.add_rejected(rejected(2, Code.CUT_OFF))
    assert statistics.quality().model_dump() == {
        "rejection_rate": 0.5,
        "warning_rate": 0.5,
        "regions_per_record": 1.5,
        "attempts_per_record": 2.0,
        "caption_characters": pytest.approx((10 + 5 + 14) / 3, abs=1e-4),
        "caption_words": pytest.approx(8 / 3, abs=1e-4),
        # Of the three rows that were answered: the image of the fourth was not even found.
        "gate_rates": {"cut_off": 0.3333, "duplicate_box": 0.3333},
        "look_alike_rate": 0.0,
        "shared_caption_rate": 0.0,
        "alike_caption_rate": 0.0,
        "wrong_captions": None,
    }


def test_a_build_of_nothing_has_figures_too() -> None:
    quality = Statistics().quality().model_dump()
    assert (quality.pop("gate_rates"), quality.pop("wrong_captions")) == ({}, None)
    assert set(quality.values()) == {0.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a red door", 3),
        ("a close-up of a cat, asleep - or not", 8),
        ("一只红色的猫", 6),
        ("一只猫，在 IKEA 的沙发上。", 9),
        ("ネコが2匹", 5),
        ("한국어 문장", 2),
        ("...", 0),
        ("", 0),
    ],
)
def test_words_are_what_spaces_set_apart_or_characters_of_a_script_without_spaces(text: str, words: int) -> None:
    assert count_words(text) == words


def test_samples_are_fair_bounded_and_the_same_each_time() -> None:
    def samples() -> tuple[list[str], list[str], list[int]]:
        statistics = Statistics()
        for number in range(2000):
            statistics.add(record(number, checks=["duplicate_box"] if number % 10 == 0 else []))
            statistics.add_rejected(rejected(number + 1))
        chosen = statistics.samples
        lines = [row.line for row in chosen.rejected["image_not_found"]]
        return [row.id for row in chosen.warned], [row.id for row in chosen.clean], lines

    warned, clean, lines = samples()
    assert samples() == (warned, clean, lines)
    sizes = (SAMPLED_WARNED, SAMPLED_RECORDS - SAMPLED_WARNED, SAMPLED_PER_CODE)
    assert (len(warned), len(clean), len(lines)) == sizes
    # In the order of the build, and from all of it.
    assert clean == sorted(clean, key=int) and int(clean[0]) < 500 and int(clean[-1]) > 1500


def test_the_report_warns_of_images_of_one_colour() -> None:
    statistics = Statistics()
    statistics.add(record(1, "a red door", "a cat", checks=["one_colour"]))
    assert told_of_one_colour(statistics.checks[Code.ONE_COLOUR])[0].startswith("1 image came out all of one colour")
    assert told_of_one_colour(0) == []


def test_few_records_with_warnings_leave_room_for_others() -> None:
    statistics = Statistics()
    for number in range(100):
        statistics.add(record(number, checks=["duplicate_box"] if number < 3 else []))
    assert (len(statistics.samples.warned), len(statistics.samples.clean)) == (3, SAMPLED_RECORDS - 3)


def test_parts_that_are_joined_say_the_same_as_one_that_has_seen_all_records() -> None:
    records = [
        record(
            number, "a cat", f"thing {number}", attempts=1 + number % 3, dropped_boxes=RECORD.dropped_boxes,
            checks=["duplicate_box"] if number % 7 == 0 else [],
        )
        for number in range(300)
    ]  # fmt: skip
    for number in range(0, 300, 11):
        doubted = records[number].regions[0].model_copy(update={"trust": number / 1000, "confused_with": 2})
        records[number] = records[number].model_copy(update={"regions": [doubted, *records[number].regions[1:]]})
    whole, joined = Statistics(), Statistics()
    for each in records:
        whole.add(each)
    for start, end in ((0, 1), (1, 1), (1, 120), (120, 300)):
        part = Statistics()
        for each in records[start:end]:
            part.add(each)
        written = part.part().model_dump_json()
        joined.join(PartStatistics.model_validate_json(written), records[start:end].__getitem__)
    assert joined.samples == whole.samples
    assert (joined.counts, joined.quality(), joined.gates()) == (whole.counts, whole.quality(), whole.gates())
    for name in ("words_per_caption", "regions_per_image", "attempts_per_record", "dropped_boxes_by_code", "checks"):
        assert getattr(joined, name) == getattr(whole, name)
    assert (joined.warned_records, joined.doubted_captions) == (whole.warned_records, whole.doubted_captions)


@given(st.dictionaries(st.integers(0, 10_000), st.integers(1, 10_000), min_size=1))
def test_a_histogram_holds_every_value_in_few_bars(counts: dict[int, int]) -> None:
    found = bars({str(value): count for value, count in counts.items()})
    assert len(found) <= 16
    assert sum(bar.count for bar in found) == sum(counts.values())
    for bar in found:
        inside = [n for value, n in counts.items() if value >= bar.low and (bar.high is None or value <= bar.high)]
        assert bar.count == sum(inside)


def test_a_few_very_long_captions_do_not_flatten_the_histogram() -> None:
    found = bars({**{str(words): 100 for words in range(3, 9)}, "5000": 1})
    assert [bar.label for bar in found] == ["3", "4", "5", "6", "7", "8", "9+"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.0004, "< 0.1 %"), (0.004, "0.4 %"), (0.5, "50 %"), (0.9996, "> 99.9 %"), (1, "100 %")],
)
def test_shares_are_rounded_for_people(share: float, text: str) -> None:
    assert percent(share, 1).replace("\u00a0", " ") == text


def test_every_gate_and_code_has_a_meaning() -> None:
    assert all(meaning(str(gate.code)).endswith(".") for gate in OWN_GATES)
    assert all(meaning(str(code)).endswith(".") for code in Code)
    assert meaning("a gate that is gone") == ""


@pytest.mark.parametrize(
    ("model", "licence"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen Research License"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Apache-2.0"),
        ("Qwen2.5-VL-7B-Instruct-AWQ", "Apache-2.0"),
        ("Qwen/Qwen3-VL-8B-Instruct", "Apache-2.0"),
        ("HuggingFaceTB/SmolVLM-500M-Instruct", "Apache-2.0"),
        ("regioncap-demo", "Apache-2.0"),
        ("somebody/Qwen3-VL-8B-mine", "unknown: look it up"),
        ("Qwen/Qwen2.5-VL-72B-Instruct", "unknown: look it up"),
        ("vlm", "unknown: look it up"),
    ],
)
def test_known_models_have_their_licence(model: str, licence: str) -> None:
    assert licence_of(model).name == licence


# ---- the page


def test_the_page_of_a_build_says_what_happened(place: Place) -> None:
    place.good_rows(3)
    place.put_rows(
        {"image": "0.jpg", "bbox": [[10, 10, 40, 30]]},
        {"image": "1.jpg", "bbox": [[10, 10, 40, 30], [10, 10, 40, 30], [900, 900, 5, 5]]},
        {"image": "2.jpg", "bbox": [[11, 10, 40, 30]]},
        {"image": "none.jpg"},
    )
    place.build(lambda row: "{" if row.image == "2.jpg" else describe(row), model="Qwen/Qwen2.5-VL-3B-Instruct")
    text = " ".join(_Elements(place.published("report.html")).text.split())
    assert "What became of all 4 rows" in text
    assert "captioned 1 25 %" in text.replace("\u00a0", " ") and "captioned, with a warning 1" in text
    assert "rejected for the answer 1" in text and "rejected before there was an answer 1" in text
    assert "Warning: duplicate_box" in text and "not used: 1 box outside" in text
    assert "manifest.jsonl:4 there is no such file in the drop" in text
    assert "Qwen Research License" in text
    assert "ignored that answers" not in text


def test_the_page_says_what_is_unusual_about_the_build() -> None:
    report = report_of(Statistics()).model_copy(update={"warnings": [SCHEMA_IGNORED, "<b>odd</b>"]})
    page = render_page(report, Statistics().samples, lambda path: b"")
    assert "ignored that answers were to be structured" in page and "&lt;b&gt;odd" in page


def test_the_page_of_a_build_without_records_is_a_page() -> None:
    statistics = Statistics()
    statistics.add_rejected(rejected(1))
    assert "There are no records." in page_of(statistics)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_nothing_in_the_page_but_text(text: str) -> None:
    plain, page = _Elements(page_of(rows_that_say("harmless"))), page_of(rows_that_say(text), text)
    found = _Elements(page)
    assert found.elements == plain.elements
    shown = excerpt(legible(text), 500)
    assert " ".join(shown.split()) in " ".join(found.text.split())


@given(st.text(min_size=1))
@hypothesis.settings(deadline=None, max_examples=50)
def test_no_text_changes_anything_in_the_page_but_text(text: str) -> None:
    plain = _Elements(page_of(rows_that_say("harmless")))
    assert _Elements(page_of(rows_that_say(text), text)).elements == plain.elements


def test_a_page_allows_no_script_and_no_style_but_its_own() -> None:
    page = page_of(rows_that_say("harmless"))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; img-src data:; form-action 'none'; style-src 'sha256-")
    assert "unsafe" not in policy and "script" not in page
    attributes = {name for _, names in _Elements(page).elements for name in names}
    assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
    assert set(re.findall(r'href="(.)', page)) == {"#"}


@pytest.mark.parametrize("length", [0, 2, 40, 300, -200])
def test_a_marked_image_that_is_cut_says_which_tasks_to_clear(length: int) -> None:
    statistics = rows_that_say("harmless")
    jpeg = encoded(picture())
    with pytest.raises(StepMissingError, match=r"images/\w+\.jpg is damaged .*: clear the run's render tasks"):
        render_page(report_of(statistics), statistics.samples, lambda path: jpeg[:length])


def test_a_store_that_fails_while_the_page_is_made_is_no_damaged_image() -> None:
    def unreachable(path: str) -> bytes:
        raise ConnectionError("the bucket is away")

    statistics = rows_that_say("harmless")
    with pytest.raises(ConnectionError):
        render_page(report_of(statistics), statistics.samples, unreachable)


def test_long_texts_are_cut_in_the_page() -> None:
    page = page_of(rows_that_say("unbroken" * 100_000), "unbroken" * 100)
    assert len(page) < 100_000 and "(800,000 characters)" in page


def test_invisible_characters_are_written_out() -> None:
    assert legible("\u202egnp.exe\x00\r\n\ud800") == "[U+202E]gnp.exe[U+0000]\n[U+D800]"
    assert legible("plain, 中文, עברית, 👩‍👩‍👧") == "plain, 中文, עברית, 👩‍👩‍👧"


# ---- the card


def metadata(card: str) -> Any:
    """The metadata block of a card, as hubs read it."""
    opening, block, _ = card.split("---\n", 2)
    assert opening == ""
    return yaml.safe_load(block)


def markdown(card: str) -> list[str]:
    """What the card is made of, without the text in it."""
    body = card.split("---\n", 2)[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    return [part.type for token in tokens for part in (token, *(token.children or ()))]


def test_the_card_has_the_metadata_that_hubs_read() -> None:
    found = metadata(render_card(report_of(rows_that_say("harmless"))))
    assert found["language"] == ["en"]
    assert found["size_categories"] == ["n<1K"]
    assert found["task_categories"] == ["image-to-text"]
    assert found["configs"] == [{"config_name": "default", "data_files": "captions-*.jsonl"}]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_nothing_in_the_card_but_text(text: str) -> None:
    plain = render_card(report_of(rows_that_say("harmless")))
    card = render_card(report_of(rows_that_say(text), text))
    assert metadata(card) == metadata(plain)
    assert markdown(card) == markdown(plain)


@given(st.text(st.sampled_from("`~|*_[]()<>#-=:!&\\ \n\r\tab1."), max_size=40))
def test_a_code_span_holds_any_text_in_one_line(text: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(f"- it is {code_span(text)}, or so")
    inline = next(token for token in tokens if token.type == "inline")
    before, code, after = inline.children or ()
    assert (before.content, code.type, after.content) == ("it is ", "code_inline", ", or so")
    assert code.content.strip() == " ".join(text.split())


@given(st.text())
def test_a_code_block_holds_any_text(text: str) -> None:
    opening, block, closing = MarkdownIt("commonmark").parse(f"Before\n\n{code_block(text)}\n\nAfter")[2:5]
    assert (opening.type, block.type, closing.type) == ("paragraph_close", "fence", "paragraph_open")
    assert block.content == legible(text) + "\n"


def test_the_card_tells_the_model_and_its_licence() -> None:
    statistics = rows_that_say("harmless")
    assert "Qwen Research License" in render_card(report_of(statistics, "Qwen/Qwen2.5-VL-3B-Instruct"))
    assert "unknown: look it up" in render_card(report_of(statistics, "my-model"))


def test_the_lines_that_load_a_build_load_it(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    place.good_rows(3)
    # A record's id is text, also where it looks like a number.
    place.put_rows(*({"id": f"00{k}", "image": f"{k}.jpg", "bbox": [[10, 10, 40, 30]]} for k in range(3)))
    done = place.build(describe, shard_size=2, export_formats=EXPORTED, file_name_prefix="street")
    card = place.published("README.md")
    monkeypatch.chdir(Path(place.partition.uri.removeprefix("file://"), done.manifest.build))
    snippets = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len(snippets) == 4
    for snippet in snippets:
        names: dict[str, Any] = {}
        exec(snippet, names)
        records = names["records"]
        ids = [row["id"] for row in records] if isinstance(records, list) else list(records["id"])
        assert ids == ["000", "001", "002"]


def test_what_held_most_shards_back_is_told_first_and_once() -> None:
    nothing = {"questions": 1, "kept": 0, "taken_over": 0, "asked": 1, "prompt_tokens": 0, "completion_tokens": 0}
    said = ["by the client, 40%.", "by the model, 70%.", "", "by the client, 45%.", "by the client, 45%."]
    counts = [AskCounts(**nothing, seconds=1, schema_ignored=False, held_back=each) for each in said]
    assert held_back(counts) == ["by the client, 45%.", "by the client, 40%.", "by the model, 70%."]


def test_the_page_says_what_held_captioning_back() -> None:
    said = "Asking is held back by <b>the model</b>."

    def page(held_back: list[str]) -> str:
        report = report_of(Statistics())
        timings = report.timings.model_copy(update={"held_back": held_back})
        return render_page(report.model_copy(update={"timings": timings}), Statistics().samples, lambda path: b"")

    assert said in _Elements(page([said])).text
    assert "Held back" in page([said]) and "Held back" not in page([])


def test_the_report_knows_what_the_steps_took(place: Place) -> None:
    place.good_rows(3)
    place.build(describe, shard_size=2)
    timings = json.loads(place.published("report.json"))["timings"]
    assert timings["asking_seconds"] == pytest.approx(1.2)
    assert {"rendering_seconds", "publishing_seconds"} <= set(timings)


def test_card_and_page_tell_what_was_added_to_requests(place: Place) -> None:
    place.good_rows(1)
    place.build(describe, request_extras={"chat_template_kwargs": {"enable_thinking": False}, "stop": ["`</code>"]})
    text = " ".join(_Elements(place.published("report.html")).text.split())
    assert (
        'extras of requests {"chat_template_kwargs": {"enable_thinking": false}, "stop": ["`\\u003c/code\\u003e"]}'
        in text
    )
    assert '"enable_thinking": false' in place.published("README.md")
