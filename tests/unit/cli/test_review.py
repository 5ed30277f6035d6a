"""`regioncap review`, on a warehouse in a folder."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from regioncap.cli import review
from regioncap.cli.app import app
from regioncap.warehouse.reviews import reviews_of
from tests.builders import DATE, Place, describe


@pytest.fixture
def published(place: Place) -> Place:
    place.good_rows(4)
    place.build(describe)
    return place


def run(place: Place, keys: str, *arguments: str) -> Result:
    arguments = ("review", DATE, *arguments, "--by", "ada", "--warehouse-uri", str(place.folder / "warehouse"))
    return CliRunner().invoke(app, arguments, input=keys)


def said(place: Place) -> list[tuple[str, str]]:
    return [(line.by, line.verdict) for line in reviews_of(place.partition).lines()]


def test_each_drawn_region_is_shown_and_what_a_key_says_of_it_is_kept(published: Place) -> None:
    done = run(published, "yynu", "--regions", "4")
    assert done.exit_code == 0
    assert said(published) == [("ada", verdict) for verdict in ("right", "right", "wrong", "unsure")]
    assert re.search(r"1 of 4  \d\.jpg  /.*\.jpg", done.stdout) and done.stdout.count("<region") == 4
    assert "1 of 3 wrong, 1 that nobody can tell: 4.6 to 85 % of the captions (95 % interval)" in done.stdout


def test_a_later_call_goes_on_where_one_ended(published: Place) -> None:
    first = run(published, "yq", "--regions", "3")
    assert "1 of 3" in first.stdout and len(said(published)) == 1
    second = run(published, "nn", "--regions", "3")
    assert "2 of 3" in second.stdout and "\n1 of 3  " not in second.stdout
    assert [verdict for _, verdict in said(published)] == ["right", "wrong", "wrong"]
    third = run(published, "", "--regions", "3")
    assert third.exit_code == 0 and "<region" not in third.stdout and "2 of 3 wrong" in third.stdout


def test_what_is_skipped_is_asked_about_the_next_time(published: Place) -> None:
    assert "nothing is judged yet" in run(published, "ss", "--regions", "2").stdout
    assert said(published) == []
    assert "1 of 2" in run(published, "yy", "--regions", "2").stdout


def test_keys_that_mean_nothing_say_nothing(published: Place) -> None:
    run(published, "xX1 y", "--regions", "1")
    assert said(published) == [("ada", "right")]


def test_the_image_is_there_while_it_is_looked_at_and_gone_after(
    published: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[Path, bytes]] = []
    monkeypatch.setattr(review.typer, "launch", lambda path: opened.append((Path(path), Path(path).read_bytes()[:2])))
    run(published, "yy", "--regions", "2", "--open")
    assert [start for _, start in opened] == [b"\xff\xd8"] * 2
    assert not any(path.exists() for path, _ in opened)


def test_a_date_without_a_build_is_told(place: Place) -> None:
    done = run(place, "")
    assert done.exit_code == 1 and "nothing is published" in done.stderr
