"""How well answers are taken apart, and what it costs.

    python -m bench.answers [--json FILE] [--answers FILE]

An answers file is JSONL of {"name", "answer_format", "regions": n, "answer", "want"}, where `want` maps regions to
captions, and is null where the answer must not be taken apart; with "asked": [2], only these of the n regions were
asked about. Without one, it is `bench/answers.jsonl`. White space, a verb that joins a region's name to what it shows
("there is", "shows"), and a full stop at the end are not held against a caption.

*right*: what would be published is `want`. *rejected*: nothing would be, though `want` says what. *wrong*: all else.
Without an answers file, random answers of `bench.answer_forms` follow, and what taking an answer apart costs.
"""

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.answer_forms import RandomAnswer, random_answer
from regioncap.captions.answers import parse_answer
from regioncap.captions.prompts import AnswerFormat
from regioncap.gates import OWN_GATES, Answer, run_gates
from regioncap.regions.codes import Code

OWN_CASES = Path(__file__).with_name("answers.jsonl")
RANDOM = 100_000
# Those that tell whether an answer says anything, and of which regions; the others judge what it says.
_GATES = [
    gate
    for gate in OWN_GATES
    if gate.code
    in (Code.EMPTY, Code.REFUSAL, Code.UNPARSEABLE, Code.MISSING_REGION, Code.INVENTED_REGION, Code.REPEATED_REGION)
]
_JOINS = re.compile(
    r"(?:(?:there (?:is|are)|shows?|is|are|contains?|depicts?|displays?|features?)(?![a-z])|显示|展示|有|是)"
    r"(?:\s*:)?\s*",
    re.IGNORECASE,
)

Outcome = Literal["right", "wrong", "rejected"]


@dataclass(frozen=True)
class Case:
    """An answer about `regions` marked regions, of which `asked` were asked about, and what has to become of it."""

    name: str
    answer_format: AnswerFormat
    regions: int
    answer: str
    want: dict[str, str] | None
    asked: Sequence[int] = ()


def read_cases(path: Path) -> list[Case]:
    """Cases from a JSONL file, as the module says."""
    return [Case(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def published(case: Case) -> dict[int, str]:
    """The captions that would be taken from the answer: of regions that no gate rejects."""
    marked = range(1, case.regions + 1)
    asked = case.asked or marked
    parsed = parse_answer(case.answer, case.answer_format, asked, marked)
    findings = run_gates(Answer(case.answer, "stop", parsed, asked), _GATES)
    failures = [finding.failure.regions for finding in findings if finding.severity == "reject"]
    if any(regions is None for regions in failures):
        return {}
    failed = {region for regions in failures for region in regions or ()}
    return {region: parsed.captions[region] for region in asked if region in parsed.captions and region not in failed}


def outcome(want: dict[int, str] | None, got: dict[int, str]) -> Outcome:
    """What the captions are worth."""
    if got == {} and want:
        return "rejected"
    return (
        "right" if {k: _bare(v) for k, v in got.items()} == {k: _bare(v) for k, v in (want or {}).items()} else "wrong"
    )


def _bare(caption: str) -> str:
    folded = " ".join(caption.split()).rstrip(".。 ")
    joins = _JOINS.match(folded)
    return folded[joins.end() :] if joins else folded


def measure(cases: Sequence[Case], show: Callable[[str], None]) -> dict[str, int]:
    """How many of the cases come out how; says of each that is not right what became of it."""
    counts: Counter[Outcome] = Counter({"right": 0, "wrong": 0, "rejected": 0})
    for case in cases:
        want = None if case.want is None else {int(region): caption for region, caption in case.want.items()}
        got = published(case)
        counts[found := outcome(want, got)] += 1
        if found != "right":
            show(f"{found}: {case.name}: {case.answer!r} -> {got}")
    return {str(name): number for name, number in counts.items()}


@dataclass(frozen=True)
class RandomFigures:
    """Of random answers: how many, those read wrongly, the clear ones, and how many of these are taken apart whole."""

    answers: int
    wrong: list[RandomAnswer]
    clear: int
    taken: int


def measure_random(seed: int, answers: int) -> RandomFigures:
    """Take random answers apart."""
    random = Random(seed)
    wrong: list[RandomAnswer] = []
    clear = taken = 0
    for _ in range(answers):
        answer = random_answer(random)
        got = published(Case(answer.form, answer.answer_format, answer.regions, answer.answer, None, answer.asked))
        if not is_harmless(answer, got):
            wrong.append(answer)
        clear += answer.clear
        taken += answer.clear and outcome(answer.want, got) == "right"
    return RandomFigures(answers, wrong, clear, taken)


def is_harmless(answer: RandomAnswer, got: dict[int, str]) -> bool:
    """Whether each caption is what the answer says of its region.

    Where a description has a whole piece of an answer in it, the caption may end where that begins, and signs of
    markup are not looked at: no word of it may be another's.
    """
    want = answer.want or {}
    if not got.keys() <= want.keys():
        return False
    if not answer.nasty:
        return all(_bare(caption) == _bare(want[region]) for region, caption in got.items())
    return all(_letters(want[region]).startswith(_letters(caption)) for region, caption in got.items())


def _letters(caption: str) -> str:
    return re.sub(r"\W+", "", _bare(caption).lower())


def microseconds(answers: Sequence[tuple[str, AnswerFormat, int]]) -> float:
    """Microseconds that an answer takes to be taken apart, on average: (text, form, regions)."""
    for text, form, regions in answers:
        parse_answer(text, form, range(1, regions + 1))
    rounds = 1 if len(answers[0][0]) > 10_000 else 300
    started = time.process_time()
    for _ in range(rounds):
        for text, form, regions in answers:
            parse_answer(text, form, range(1, regions + 1))
    return 1e6 * (time.process_time() - started) / (rounds * len(answers))


_SIX = [
    "a woman in a long red coat who is waiting at a crossing with a small dog",
    "a white delivery van that is parked at the kerb with its rear doors open",
    "a green street sign with white letters that hangs above the crossing",
    "two cyclists in yellow vests who are riding side by side along the road",
    "a café terrace with four round tables, wicker chairs and a striped awning",
    "a stone fountain with a bronze figure of a fish in the middle of a square",
]


def speeds() -> dict[str, float]:
    """Microseconds for answers of six captions in several forms, and for long hostile ones of 16 KB."""
    named = {f"<region{number}>": caption for number, caption in enumerate(_SIX, start=1)}
    lines = "\n".join(f"{name}: {caption}" for name, caption in named.items())
    size = 16_384
    forms: dict[str, tuple[str, AnswerFormat, int]] = {
        "JSON": (json.dumps(named, ensure_ascii=False), "structured", 6),
        "JSON in a fence, with words": (f"Sure!\n```json\n{json.dumps(named)}\n```\nHope it helps.", "structured", 6),
        "Python's notation": (str(named), "structured", 6),
        "lines": (lines, "free_text", 6),
        "list": ("\n".join(f"{number}. {caption}" for number, caption in enumerate(_SIX, start=1)), "free_text", 6),
        "sentences": (" ".join(f"In {name}, there is {caption}." for name, caption in named.items()), "free_text", 6),
        "elements": ("".join(f"<region{n}>{c}</region{n}>" for n, c in enumerate(_SIX, start=1)), "free_text", 6),
        "table": ("\n".join(f"| {name} | {caption} |" for name, caption in named.items()), "free_text", 6),
        **{f"16 KB of {text[:20]!r}": (text[:size], form, 2) for text, form in _hostile(size)},
    }
    return {name: microseconds([form]) for name, form in forms.items()}


def _hostile(size: int) -> list[tuple[str, AnswerFormat]]:
    repeated = (
        "word ", "<", "{", '{"a":', "[", '"', '"<region1>": "', "<region1>", "<region1> and ", "<region1>: a ",
        "of <region2> ", "| 1 ", "|", "1. a\n", "*", "**a", "- ", "<region1></region2>", "<region ", "区域", "一", "(",
        "<think>", "{'a': 'b'}, ", "```\n", "first region ", "'", "\\",
    )  # fmt: skip
    spaced = (
        '"<region1>": "a"',
        "<region1>: a.",
        "<region1>: a,",
        "|",
        "<region1>",
        "1.",
        "{",
        "</think>",
        "final",
        "#",
    )
    texts = [piece * size for piece in repeated] + [f"{start}{' ' * (size - 20)}x | y\n{start}" for start in spaced]
    return [(text, "structured" if text[0] in "{[" else "free_text") for text in texts]


def main() -> None:
    """Print the tables; with --json, write `right`, `wrong` and `rejected` too."""
    parser = argparse.ArgumentParser(description="How well answers are taken apart.")
    parser.add_argument("--json", type=Path, help="write right, wrong and rejected to this file")
    parser.add_argument("--answers", type=Path, help="a JSONL file of answers from elsewhere")
    parser.add_argument("--random", type=int, default=RANDOM, help="so many random answers")
    arguments = parser.parse_args()
    console = Console(width=140)
    cases = read_cases(arguments.answers or OWN_CASES)
    figures = measure(cases, lambda line: console.print(escape(line)))
    table = Table(title=f"{len(cases):,} answers taken apart")
    for name in figures:
        table.add_column(name, justify="right")
    table.add_row(*(f"{number:,}" for number in figures.values()))
    console.print(table)
    if not arguments.answers:
        found = measure_random(1, arguments.random)
        for answer in found.wrong[:20]:
            console.print(escape(f"wrong: {answer.form}: {answer.answer!r}"))
        share = found.taken / max(found.clear, 1)
        console.print(
            f"{found.answers:,} random answers: {len(found.wrong)} wrong; {share:.1%} of the {found.clear:,} clear "
            "ones taken apart"
        )
        costs = Table(title="What taking an answer apart costs")
        costs.add_column("answer")
        costs.add_column("microseconds", justify="right")
        for name, cost in speeds().items():
            costs.add_row(escape(name), f"{cost:,.0f}")
        console.print(costs)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
