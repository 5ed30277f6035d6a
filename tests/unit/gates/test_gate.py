"""What a gate is: how sure its findings are."""

from regioncap.gates import Caption, Failure, Finding, Gate, Unsure, each_caption, run_gates
from tests.judging import an_answer


def _finding(gate: Gate, captions: dict[int, str]) -> Finding:
    (finding,) = run_gates(an_answer(captions), [gate])
    return finding


def _says_maybe(caption: Caption) -> str | None:
    if "surely" in caption.text:
        return "says surely"
    return Unsure("says maybe") if "maybe" in caption.text else None


GATE = Gate("says_maybe", "reject", each_caption(_says_maybe))


def test_a_finding_that_is_not_sure_warns_whatever_the_gates_severity() -> None:
    finding = _finding(GATE, {1: "a cat", 2: "maybe a dog"})
    assert (finding.severity, finding.sure) == ("warn", False)
    assert finding.failure == Failure("<region2> says maybe", (2,), sure=False)


def test_what_is_sure_rejects_and_only_its_regions() -> None:
    finding = _finding(GATE, {1: "surely a cat", 2: "maybe a dog"})
    assert (finding.severity, finding.sure) == ("reject", True)
    assert finding.failure.regions == (1,)


def test_gates_that_know_nothing_of_being_sure_are_sure() -> None:
    gate = Gate("no_cats", "reject", lambda answer: Failure("there is a cat", (1,)))
    assert _finding(gate, {1: "a cat"}).severity == "reject"


def test_read_text_is_not_the_models_own() -> None:
    def said(text: str) -> str:
        return Caption(text, 1, "en").said

    assert "late" not in said("A text message: sorry, I'm late.")
    assert "silent" not in said("A sign that says We will not be silent!")
    assert "感谢" not in said("一面锦旗，写着感谢您的帮助。")
    assert said("A red car on a road.") == "A red car on a road."


def test_a_quoted_number_stays_in_its_place() -> None:
    assert Caption('A woman, labelled "1" in red.', 1, "en").own_words == "A woman, labelled 1 in red."
