"""`regioncap try`, on drops in a folder and a server that answers as it is told."""

import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from regioncap.cli import trial
from regioncap.cli.app import app
from regioncap.config.settings import BuildSettings
from regioncap.steps.reading import REGIONS, SIZES, said, shuffled
from tests.builders import Place, encoded, picture
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, completion

BOXES = [[10, 10, 40, 30], [60, 20, 50, 50]]


def answer(_: int, request: dict[str, Any]) -> Reply:
    """Describe regions, each image otherwise; asked which one is described, say 1."""
    (text, *_) = [part["text"] for part in request["messages"][1]["content"] if part["type"] == "text"]
    return completion("1") if text.startswith("Which marked region") else answer_well(request)


@pytest.fixture(autouse=True)
def answering(vlm: FakeVlm) -> None:
    vlm.behave = answer


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing."""
    for name in [name for name in os.environ if name.startswith("REGIONCAP_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def tried(place: Place, vlm: FakeVlm) -> Callable[..., Result]:
    def run(*arguments: str, **sets: dict[str, Any]) -> Result:
        given = []
        for name, params in sets.items():
            (place.folder / f"{name}.json").write_text(json.dumps(params))
            given += ["--params", str(place.folder / f"{name}.json")]
        out = str(place.folder / "out")
        return CliRunner().invoke(
            app, ["try", str(place.drop_folder), "--vlm", vlm.url, "--out", out, *given, *arguments]
        )

    return run


def page(place: Place) -> str:
    return (place.folder / "out/try.html").read_text("utf-8")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_params_may_be_in_what_a_shell_writes(place: Place, tried: Callable[..., Result], encoding: str) -> None:
    place.good_rows(1)
    (place.folder / "shell.json").write_bytes('{"no_such_param": 1}'.encode(encoding))
    done = tried("--params", str(place.folder / "shell.json"))
    assert done.exit_code == 2 and "no_such_param" in done.output


def test_the_same_rows_are_built_under_each_set_of_params(
    place: Place, vlm: FakeVlm, tried: Callable[..., Result]
) -> None:
    place.good_rows(7)
    done = tried("--rows", "3", A={"mark_style": "box"}, B={"mark_style": "corners", "seed": 7})
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    text = page(place)
    assert re.findall(r"<bdi>manifest.jsonl</bdi>:(\d)", text) == ["1", "3", "5"]
    assert text.count("what is in &lt;region1&gt;") == 2 * 3
    assert "<code>mark_style</code>" in text and "<code>seed</code>" in text and "<code>top_k</code>" not in text
    assert len(list((place.folder / "out/images").iterdir())) == 2 * 3
    assert "captions unlike those of A: 0 of 6" in done.stdout
    assert {request["model"] for request in vlm.requests} == {MODEL}


def test_nothing_is_written_into_the_drop(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(2)
    before = sorted(place.drop_folder.rglob("*"))
    tried(A={})
    assert sorted(place.drop_folder.rglob("*")) == before
    assert tried("--out", str(place.drop_folder / "out")).exit_code == 2


def test_a_rejected_row_stands_beside_what_another_set_makes_of_it(place: Place, tried: Callable[..., Result]) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "bbox": [[100, 10, 110, 30]]}, {"image": "none.jpg", "bbox": BOXES})
    done = tried(A={"box_format": "xywh"}, B={"box_format": "xyxy", "when_no_boxes": "reject"})
    assert done.exit_code == 0, done.output
    assert page(place).count("image_not_found</bdi>") == 2
    assert "rejected rows: image_not_found (1)" in done.stdout


def test_tokens_and_warnings_are_told(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(1)
    done = tried(A={})
    assert "tokens of prompts and images, per row: 10.0" in done.stdout
    assert "tokens of answers, per row: 5.0" in done.stdout


def test_it_says_how_many_planted_numbers_the_model_reads(
    place: Place, vlm: FakeVlm, tried: Callable[..., Result]
) -> None:
    place.good_rows(3)
    done = tried(A={})
    told = re.findall(r"numbers read back, (\w+), ([\w ]+): (\d+) of (\d+)", done.stdout)
    assert len(told) == 3 * len(SIZES) and {asked for *_, asked in told} == {"6"}
    # It says 1 whatever it sees.
    assert all(int(right) == 3 for _, _, right, _ in told)
    asked = [request for request in vlm.requests if "Which marked" in str(request["messages"])]
    images = {request["messages"][1]["content"][0]["image_url"]["url"] for request in asked}
    assert len(asked) == 9 * 6 and len(images) == 9 * 3


def test_where_no_image_has_two_unlike_captions_nothing_is_said_of_marks(
    place: Place, tried: Callable[..., Result]
) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "bbox": BOXES[:1]})
    done = tried(A={})
    assert done.exit_code == 0 and "read back" not in done.stdout and 'id="marks"' not in page(place)


def test_a_set_that_stops_says_why_beside_the_others(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(2)
    done = tried(A={}, B={"input_format": "csv"})
    assert done.exit_code == 1
    assert "B: a run would stop" in done.stderr and "has no manifest" in page(place)


@pytest.mark.parametrize(
    ("params", "said_of_it"),
    [('{"top_q": 1}', "top_q"), ("[1]", "no JSON object"), ("{", "not JSON"), ('{"top_p": "a"}', "top_p")],
)
def test_params_that_make_no_sense_are_named_with_their_file(
    place: Place, vlm: FakeVlm, params: str, said_of_it: str
) -> None:
    place.good_rows(1)
    path = place.folder / "odd.json"
    path.write_text(params)
    arguments = ["--vlm", vlm.url, "--out", str(place.folder / "out"), "--params", str(path)]
    done = CliRunner().invoke(app, ["try", str(place.drop_folder), *arguments])
    assert done.exit_code == 2
    assert "odd.json" in done.stderr and said_of_it in done.stderr


@pytest.mark.parametrize(
    ("name", "told"), [("none.json", "none.json: there is no such file"), ("folder", "folder: it is a folder")]
)
def test_params_that_cannot_be_read_are_named(place: Place, tried: Callable[..., Result], name: str, told: str) -> None:
    place.good_rows(1)
    (place.folder / "folder").mkdir()
    done = tried("--params", str(place.folder / name))
    assert done.exit_code == 2 and told in done.stderr and "Errno" not in done.stderr


def test_a_param_that_is_misspelt_is_told_its_name(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(1)
    done = tried(A={"markstyle": "box"})
    assert done.exit_code == 2 and "did you mean mark_style?" in done.stderr


def test_params_with_a_byte_order_mark_are_read(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(1)
    (place.folder / "A.json").write_bytes(b"\xef\xbb\xbf{}")
    assert tried("--params", str(place.folder / "A.json")).exit_code == 0


def test_the_same_file_of_params_twice_is_no_comparison(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(1)
    (place.folder / "A.json").write_text("{}")
    done = tried(*["--params", str(place.folder / "A.json")] * 2)
    assert done.exit_code == 2 and "A.json is given twice" in done.stderr


def test_files_of_one_name_are_told_apart_by_their_folders(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(1)
    files = [place.folder / name / "A.json" for name in ("one", "two")]
    for file in files:
        file.parent.mkdir()
        file.write_text("{}")
    done = tried(*(part for file in files for part in ("--params", str(file))))
    assert done.exit_code == 0, done.output
    assert all(str(file) in done.stdout for file in files)


def test_sets_that_are_the_same_are_said_to_be(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(1)
    done = tried(A={}, B={"seed": BuildSettings.model_fields["seed"].default})
    assert done.exit_code == 0, done.output
    assert "the same in all sets" in done.stdout and "the same in all sets" in page(place)


@pytest.mark.parametrize(("what", "told"), [("none", "there is no such folder"), ("file", "it is a file")])
def test_a_drop_that_is_none_is_told_before_the_server_is_asked(
    place: Place, tried: Callable[..., Result], what: str, told: str
) -> None:
    (place.folder / "file").write_text("x")
    drop, out = str(place.folder / what), str(place.folder / "out")
    # Nobody listens there, and nobody waits for it.
    done = CliRunner().invoke(app, ["try", drop, "--vlm", "http://nobody.invalid:1/v1", "--out", out])
    assert done.exit_code == 1 and told in done.stderr and "nobody.invalid" not in done.stderr


def test_params_that_make_no_sense_are_told_before_the_server_is_asked(place: Place) -> None:
    place.good_rows(1)
    (place.folder / "A.json").write_text('{"top_p": 7}')
    arguments = ["--params", str(place.folder / "A.json"), "--out", str(place.folder / "out")]
    done = CliRunner().invoke(app, ["try", str(place.drop_folder), "--vlm", "http://nobody.invalid:1/v1", *arguments])
    assert done.exit_code == 2 and "top_p" in done.stderr and "nobody.invalid" not in done.stderr


def test_an_out_that_is_a_file_is_told(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(1)
    (place.folder / "out").write_text("x")
    done = tried()
    assert done.exit_code == 2 and "out is a file: choose another folder" in done.stderr


def test_of_a_drop_without_rows_nothing_is_said_but_that(place: Place, tried: Callable[..., Result]) -> None:
    place.put("manifest.jsonl", "")
    done = tried(A={}, B={"mark_style": "corners"})
    assert done.exit_code == 1
    assert done.stderr.count("have no rows") == 2 and "captioned rows" not in done.stdout


def test_a_server_that_is_away_or_serves_several_models_is_told_in_words_of_the_command(
    place: Place, vlm: FakeVlm, tried: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(1)
    vlm.models = ["a", "b"]
    done = tried()
    assert done.exit_code == 1 and "serves a, b" in done.stderr and "--model" in done.stderr
    monkeypatch.setattr(trial, "_PATIENCE_SECONDS", 0.1)
    away = ["try", str(place.drop_folder), "--vlm", "http://127.0.0.1:1/v1", "--out", str(place.folder / "out")]
    done = CliRunner().invoke(app, away)
    assert done.exit_code == 1 and "did not answer" in done.stderr and "--vlm" in done.stderr


def test_a_judge_that_cannot_be_asked_is_told(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(2)
    done = tried(A={}, B={"judge": "none"})
    assert "wrong captions, by estimate: not judged: " in done.stdout
    assert "wrong captions, by estimate: nobody was asked: judge is none" in done.stdout
    assert "nobody was asked" in page(place)


def test_a_server_that_serves_another_model_is_told(place: Place, tried: Callable[..., Result]) -> None:
    place.good_rows(1)
    done = tried("--model", "other")
    assert done.exit_code == 1 and MODEL in done.stderr


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("Region 12.", 12), ('{"<region2>": "x"}', 2), ("none", None)])
def test_a_number_is_read_from_an_answer(text: str, number: int | None) -> None:
    assert said(text) == number


@pytest.mark.parametrize("regions", [2, 3, 9])
def test_planted_numbers_are_other_ones_and_always_the_same(regions: int) -> None:
    numbers = shuffled("a", regions)
    assert sorted(numbers) == sorted(numbers.values()) == list(range(1, regions + 1))
    assert all(region != number for region, number in numbers.items())
    assert numbers == shuffled("a", regions)


def test_enough_regions_are_asked_about_and_not_too_many() -> None:
    assert 4 <= REGIONS <= 20
    assert BuildSettings.model_fields["sample_rows"].default is None
