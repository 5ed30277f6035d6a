"""What makes another build of the same drop."""

import ast
from pathlib import Path

import pytest

from regioncap.config.prices import Prices
from regioncap.gates import GATES
from regioncap.work import identity, layout
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


PACKAGE = Path(str(identity.__file__)).parents[1]
# What deciding modules are made of, and yet has no say in what is published.
NO_SAY = {
    # How it is asked, how often, at what price; what is kept meanwhile.
    "ask/asking.py", "ask/bill.py", "ask/ceiling.py", "vlm/endpoint.py", "vlm/flow.py", "work/completions.py",
    "work/counts.py", "work/rendering.py", "work/row_index.py",
    # Its words only: what to do about a row that was refused.
    "vlm/remedies.py",
    # Counted by their values: params, plan, corrections, models; and the identity itself.
    "config/settings.py", "work/identity.py", "work/made_from.py", "work/plan.py", "work/served.py",
    # How files and processes are dealt with, whatever is in them.
    "errors.py", "extend.py", "parallel.py", "processes.py", "storage/patience.py", "storage/readback.py",
    "storage/store.py", "storage/uri.py", "warehouse/journal.py", "warehouse/layout.py", "work/__init__.py",
    "work/layout.py", "work/receipts.py", "work/shard.py",
    # How an answer is kept; what it says is read by others.
    "vlm/completion.py",
}  # fmt: skip


def deciding() -> set[str]:
    places = [PACKAGE / name for name in DECIDING]
    files = (path for place in places for path in (list(place.rglob("*.py")) or [place]))
    return {str(path.relative_to(PACKAGE)) for path in files}


def imported_by(module: str) -> set[str]:
    """The modules of RegionCap that one imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("regioncap."):
            names |= {str(node.module), *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            names |= {each.name for each in node.names if each.name.startswith("regioncap.")}
    places = (PACKAGE / name.removeprefix("regioncap.").replace(".", "/") for name in names)
    files = (file for place in places for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists())
    return {str(file.relative_to(PACKAGE)) for file in files}


def test_each_step_whose_work_records_are_made_of_counts() -> None:
    # `stage` and what comes after it put records where they are published, and change none.
    steps = {f"steps/{name}.py" for name in layout.RECEIPTS if name != "stage"}
    assert steps - deciding() == set()


def test_what_deciding_modules_are_made_of_decides_unless_it_is_known_not_to() -> None:
    made_of = set[str]().union(*map(imported_by, deciding()))
    assert made_of - deciding() - NO_SAY == set()
    # A list that names what is not there any more would hide what comes in its place.
    assert NO_SAY - made_of == set()
    assert NO_SAY & deciding() == set()


def test_what_asking_costs_makes_no_other_build_and_asks_nothing_again(place: Place, vlm: FakeVlm) -> None:
    cheap, dear = (Prices(currency="EUR", prompt_million=price) for price in (0.1, 90.0))
    place.good_rows(3)
    begun = place.plan(prices=cheap)
    render(place, begun)
    caption(place, begun, vlm)
    # Whoever clears the plan task after the prices have changed has the new ones in the report, from the same answers.
    plan = place.plan(prices=dear, max_cost=100.0)
    assert (plan.fingerprint, plan.identity, plan.ask_again) == (begun.fingerprint, begun.identity, begun.ask_again)
    render(place, plan)
    assert [counts.asked for counts in caption(place, plan, vlm)] == [0]
    validate(place, plan)
    publish(place, plan)
    assert place.plan(prices=cheap).unchanged and place.plan(max_cost=7.0).unchanged
