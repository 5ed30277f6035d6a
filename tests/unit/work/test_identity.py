"""What makes another build of the same drop."""

from pathlib import Path

import pytest

from regioncap.gates import GATES
from regioncap.work import identity
from regioncap.work.identity import DECIDING, code_hash, hash_of_sources, identity_of
from tests.builders import Place, settings
from tests.fake_vlm import FakeVlm
from tests.steps import caption, publish, records, render, validate

GATE = '''"""A gate."""

LIMIT = 5


def gate(text: str) -> bool:
    """Whether it is short."""
    return len(text) < LIMIT  # in characters
'''


def hashed(folder: Path, text: str) -> str:
    path = folder / "gate.py"
    path.write_text(text)
    return hash_of_sources([path])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# in characters", "# in letters"),
        ('"""Whether it is short."""', '"""Whether it is not long."""'),
        ('"""A gate."""\n', ""),
        ("len(text) < LIMIT", "(len(text)\n        < LIMIT)"),
    ],
)
def test_words_about_the_code_and_its_form_make_no_other_build(tmp_path: Path, old: str, new: str) -> None:
    assert hashed(tmp_path, GATE.replace(old, new)) == hashed(tmp_path, GATE)


@pytest.mark.parametrize(("old", "new"), [("LIMIT = 5", "LIMIT = 6"), ("<", "<="), ("return", "return not")])
def test_code_that_does_something_else_makes_another_build(tmp_path: Path, old: str, new: str) -> None:
    assert hashed(tmp_path, GATE.replace(old, new)) != hashed(tmp_path, GATE)


def test_the_deciding_modules_are_there() -> None:
    package = Path(str(identity.__file__)).parents[1]
    assert [name for name in DECIDING if not (package / name).exists()] == []


def test_model_settings_and_code_are_what_a_build_is_known_by(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {identity_of(settings(), "a"), identity_of(settings(), "b"), identity_of(settings(max_boxes=3), "a")}
    monkeypatch.setattr(identity, "code_hash", lambda: "changed")
    assert len({*known, identity_of(settings(), "a")}) == 4
    assert len(code_hash()) == 64


def test_changed_code_judges_the_kept_answers_anew_and_asks_nothing(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(4)
    before = place.plan()
    render(place, before)
    caption(place, before, vlm)
    validate(place, before)
    first = publish(place, before)
    assert place.plan().unchanged

    monkeypatch.setattr(identity, "code_hash", lambda: "changed")
    after = place.plan(run_id="run-2")
    assert not after.unchanged and after.identity != before.identity
    render(place, after)
    assert [counts.asked for counts in caption(place, after, vlm)] == [0]
    validate(place, after)
    second = publish(place, after)
    assert second.manifest.build_id != first.manifest.build_id
    assert second.manifest.captions[0].sha256 == first.manifest.captions[0].sha256
    assert len(records(place)) == 4


def test_a_gate_of_ones_own_counts_by_its_source(extend, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code = "from regioncap.gates import Gate\nit = Gate('short', 'warn', lambda answer: None)\n"
    extend("regioncap.gates", "short", code)
    (source,) = GATES.source("short")
    before = identity_of(settings(), "a")
    source.write_text(code + "# the same\n")
    assert identity_of(settings(), "a") == before
    source.write_text(code.replace("None", "[]"))
    assert identity_of(settings(), "a") != before
