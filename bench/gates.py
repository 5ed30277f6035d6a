"""How well the gates tell bad answers from good ones, and what they cost.

    python -m bench.gates [--json FILE] [--answers FILE] [--show N]

An answers file is JSONL of {"prompt_language", "regions": n, "answer", "finish_reason", "defect"}, where `defect` is a
gate's name, or null for a right answer. Without one, it is the planted-defect corpus of `bench.gate_corpus`, and after
it each file in tests/data/gates: answers written by others than the gates. *Found*: the gate named by the defect fires,
at any severity. *False alarm*: any gate fires on a right answer; it is *rejected* where one of them rejects, else
*warned* of.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.gate_corpus import Sample, corpus
from regioncap.captions.answers import parse_answer
from regioncap.captions.prompts import (
    PROMPTS,
    AnswerFormat,
    PromptLanguage,
    crop_prompt,
    only_prompt,
    system_message,
    user_prompt,
)
from regioncap.gates import OWN_GATES, Answer, Finding, run_gates
from regioncap.marks.styles import STYLES
from regioncap.regions.names import region_name

SEED = 1
CLEAN = 2000
PER_DEFECT = 240
BY_OTHERS = Path(__file__).parents[1] / "tests" / "data" / "gates"


def as_answer(sample: Sample) -> Answer:
    """What the gates look at, given the default prompts; JSON or free text, whichever it is."""
    form: AnswerFormat = "structured" if sample.answer.lstrip().startswith("{") else "free_text"
    regions = range(1, sample.regions + 1)
    parsed = parse_answer(sample.answer, form, regions)
    return Answer(sample.answer, sample.finish_reason, parsed, regions, sample.prompt_language, prompts(sample))


def prompts(sample: Sample) -> tuple[str, ...]:
    """Every text that a run with default settings may have sent."""
    n, language = sample.regions, sample.prompt_language
    system = [
        system_message("You are a helpful assistant.", STYLES["box"], "joint", "structured", n, language),
        system_message("", STYLES["box"], "joint", "free_text", n, language),
        system_message("", STYLES["box"], "per_region", "structured", n, language),
        system_message("", STYLES["box"], "per_region", "free_text", n, language),
    ]
    asked = [user_prompt(PROMPTS[language], n), only_prompt([1], language), crop_prompt(1, language)]
    return (*system, *asked)


def read_answers(path: Path) -> list[Sample]:
    """Samples from a JSONL file, as the module says."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [Sample(**json.loads(line)) for line in lines if line.strip()]


@dataclass
class Tally:
    """What the gates did with answers of which it is known what is wrong with them."""

    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    surely: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    right: int = 0
    rejected: int = 0
    warned: int = 0
    misjudged: list[tuple[Sample, list[Finding]]] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Have the gates judge an answer."""
        findings = run_gates(as_answer(sample), OWN_GATES)
        codes = {str(finding.gate.code) for finding in findings}
        rejects = any(finding.severity == "reject" for finding in findings)
        if sample.defect is None:
            self.right += 1
            self.rejected += rejects
            self.warned += bool(codes) and not rejects
            self.alarms.update(codes)
        else:
            self.planted[sample.defect] += 1
            self.found[sample.defect] += sample.defect in codes
            self.surely[sample.defect] += any(
                finding.sure for finding in findings if finding.gate.code == sample.defect
            )
        if bool(codes) if sample.defect is None else sample.defect not in codes:
            self.misjudged.append((sample, findings))

    @property
    def figures(self) -> dict[str, float | None]:
        """What is followed over time, as shares; None where there is nothing to take a share of."""

        def share(number: int) -> float | None:
            return number / self.right if self.right else None

        return {
            "min_recall": min((self.found[defect] / number for defect, number in self.planted.items()), default=None),
            "max_false_alarm": share(self.rejected + self.warned),
            "rejected_right": share(self.rejected),
            "warned_right": share(self.warned),
        }


def measure(samples: Iterable[Sample]) -> Tally:
    """What the gates do with answers."""
    tally = Tally()
    for sample in samples:
        tally.add(sample)
    return tally


def table(name: str, tally: Tally) -> Table:
    """Found and alarms for each gate, and the figures."""
    planted = tally.planted.total()
    shown = Table(title=f"{name}: {planted:,} defects and {tally.right:,} right answers")
    for heading in ("gate", "severity", "planted", "found", "recall", "surely", "false alarms"):
        shown.add_column(heading, justify="left" if heading in ("gate", "severity") else "right")
    for gate in OWN_GATES:
        code, number = str(gate.code), tally.planted.get(str(gate.code), 0)
        recall = f"{tally.found[code] / number:.4f}" if number else "-"
        surely = f"{tally.surely[code] / number:.4f}" if number else "-"
        alarms = f"{tally.alarms[code]} of {tally.right:,}"
        shown.add_row(code, gate.severity, str(number), str(tally.found[code]), recall, surely, alarms)
    figures = tally.figures
    least = figures["min_recall"]
    shown.add_section()
    shown.add_row(
        "all together", "", str(planted), str(tally.found.total()), "-" if least is None else f"least {least:.4f}", "",
        f"rejected {figures['rejected_right'] or 0:.2%}, warned {figures['warned_right'] or 0:.2%}",
    )  # fmt: skip
    return shown


def show_misjudged(tally: Tally, most: int) -> None:
    """Print so many misjudged answers of each kind."""
    shown: Counter[str | None] = Counter()
    for sample, findings in tally.misjudged:
        shown[sample.defect] += 1
        if shown[sample.defect] <= most:
            why = "; ".join(
                f"{finding.gate.code} ({finding.severity}): {finding.failure.reason}" for finding in findings
            )
            line = f"{sample.defect} {sample.prompt_language} {sample.answer[:600]!r} -> {why}"
            Console(width=140).print(escape(line))


def speeds() -> Table:
    """Microseconds that all gates take for an answer."""
    shown = Table(title="Microseconds for all gates on an answer, the parsing of it left out")
    for heading in ("answer", "microseconds"):
        shown.add_column(heading, justify="left" if heading == "answer" else "right")
    size = 16_384
    for name, samples in {
        "six captions, mean of 200": six_captions(200),
        "clean, mean of 400": list(corpus(SEED, 400, 0)),
        "16 KB of English": [_said("en", " ".join(f"word{number % 97}" for number in range(size // 6)))],
        "16 KB of Chinese": [_said("zh", "".join(chr(0x4E00 + number * 7919 % 5000) for number in range(size // 3)))],
        "16 KB of a loop": [_said("en", "a hat on top of " * (size // 16))],
        "16 KB of boxes": [_said("en", "a red box " * (size // 10))],
        "16 KB of quotation marks": [_said("en", "\"'" * (size // 2))],
        "16 KB of brackets": [_said("en", "<" * size)],
    }.items():
        shown.add_row(name, f"{1e6 * min(seconds(samples) for _ in range(3)):,.0f}")
    return shown


def seconds(samples: list[Sample]) -> float:
    """What the gates take for one of these answers, in the mean."""
    answers = [as_answer(sample) for sample in samples]
    started = time.process_time()
    for answer in answers:
        run_gates(answer, OWN_GATES)
    return (time.process_time() - started) / len(answers)


def six_captions(number: int) -> list[Sample]:
    """Right answers about six regions, with captions of all lengths."""
    samples: list[Sample] = []
    left: dict[PromptLanguage, list[str]] = {"en": [], "zh": []}
    for sample in corpus(SEED, 6 * number, 0):
        captions = left[sample.prompt_language]
        captions += as_answer(sample).parsed.captions.values()
        while len(captions) >= 6 and len(samples) < number:
            described = {region_name(region): captions.pop() for region in range(1, 7)}
            text = json.dumps(described, ensure_ascii=False)
            samples.append(Sample(sample.prompt_language, 6, text, "stop", None))
    return samples


def _said(language: PromptLanguage, answer: str) -> Sample:
    return Sample(language, 1, answer, "stop", None)


def main() -> None:
    """Print the tables; with --json, write the figures that are followed over time too."""
    parser = argparse.ArgumentParser(description="How well the gates tell bad answers from good ones.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--answers", type=Path, help="a JSONL file of answers from elsewhere")
    parser.add_argument("--show", type=int, default=0, help="print so many misjudged answers of each kind")
    arguments = parser.parse_args()
    console = Console(width=140)
    first = read_answers(arguments.answers) if arguments.answers else corpus(SEED, CLEAN, PER_DEFECT)
    first_name = arguments.answers.name if arguments.answers else "bench/gate_corpus.py"
    figures: dict[str, Any] = {}
    for name, samples in ((first_name, first), *(() if arguments.answers else by_others())):
        tally = measure(samples)
        show_misjudged(tally, arguments.show)
        console.print(table(name, tally))
        # The figures of the first stand at the top; those of further files under their names.
        figures |= {name: tally.figures} if figures else tally.figures
    if not arguments.answers:
        console.print(speeds())
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def by_others() -> Iterator[tuple[str, list[Sample]]]:
    """The files of answers that were written by others than the gates, with their names."""
    for path in sorted(BY_OTHERS.glob("*.jsonl")):
        yield path.name, read_answers(path)


if __name__ == "__main__":
    main()
