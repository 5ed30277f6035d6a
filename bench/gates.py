"""How well the gates tell bad answers from good ones, and what they cost.

    python -m bench.gates [--json FILE] [--answers FILE] [--show N]

An answers file is JSONL of {"prompt_language", "regions": n, "answer", "finish_reason", "defect"}, where `defect` is a
gate's name, or null for a clean answer. Without one, it is the planted-defect corpus of `bench.gate_corpus`. *Found*:
the gate named by the defect fires, at any severity. *False alarm*: any gate fires on a clean answer.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

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
from regioncap.gates import OWN_GATES, Answer, run_gates
from regioncap.marks.styles import STYLES

SEED = 1
CLEAN = 2000
PER_DEFECT = 240


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


def measure(samples: Iterable[Sample], show: int) -> tuple[Table, dict[str, float | None]]:
    """The table, and `min_recall` and `max_false_alarm`; prints `show` answers per defect that were judged wrongly."""
    console = Console(width=140)
    planted: Counter[str | None] = Counter()
    found: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    shown: Counter[str | None] = Counter()
    alarmed = 0
    for sample in samples:
        planted[sample.defect] += 1
        findings = run_gates(as_answer(sample), OWN_GATES)
        codes = {str(finding.gate.code) for finding in findings}
        if sample.defect is None:
            alarmed += bool(codes)
            alarms.update(codes)
        else:
            found[sample.defect] += sample.defect in codes
        if (bool(codes) if sample.defect is None else sample.defect not in codes) and shown[sample.defect] < show:
            shown[sample.defect] += 1
            why = "; ".join(f"{finding.gate.code}: {finding.failure.reason}" for finding in findings)
            console.print(escape(f"{sample.defect} {sample.prompt_language} {sample.answer[:600]!r} -> {why}"))
    clean = planted.pop(None, 0)
    severities = {str(gate.code): gate.severity for gate in OWN_GATES}
    table = Table(title=f"Gates on {sum(planted.values()):,} planted defects and {clean:,} clean answers")
    for heading in ("gate", "severity", "planted", "found", "recall", "false alarms"):
        table.add_column(heading, justify="left" if heading in ("gate", "severity") else "right")
    for code, severity in severities.items():
        number = planted.get(code, 0)
        recall = f"{found[code] / number:.4f}" if number else "-"
        table.add_row(code, severity, str(number), str(found[code]), recall, f"{alarms[code]} of {clean:,}")
    recalls = [found[defect] / number for defect, number in planted.items() if defect is not None]
    false_alarm = alarmed / clean if clean else None
    table.add_section()
    table.add_row(
        "all together", "", str(sum(planted.values())), str(sum(found.values())),
        f"least {min(recalls):.4f}" if recalls else "-", f"{alarmed} of {clean:,} ({false_alarm or 0:.2%})",
    )  # fmt: skip
    return table, {"min_recall": min(recalls, default=None), "max_false_alarm": false_alarm}


def speeds() -> Table:
    """Microseconds that all gates take for an answer."""
    table = Table(title="Microseconds for all gates on an answer, the parsing of it left out")
    for heading in ("answer", "microseconds"):
        table.add_column(heading, justify="left" if heading == "answer" else "right")
    size = 16_384
    for name, samples in {
        "clean, mean of 400": list(corpus(SEED, 400, 0)),
        "16 KB of English": [_said("en", " ".join(f"word{number % 97}" for number in range(size // 6)))],
        "16 KB of Chinese": [_said("zh", "".join(chr(0x4E00 + number * 7919 % 5000) for number in range(size // 3)))],
        "16 KB of a loop": [_said("en", "a hat on top of " * (size // 16))],
        "16 KB of boxes": [_said("en", "a red box " * (size // 10))],
        "16 KB of quotation marks": [_said("en", "\"'" * (size // 2))],
        "16 KB of brackets": [_said("en", "<" * size)],
    }.items():
        answers = [as_answer(sample) for sample in samples]
        run_gates(as_answer(samples[0]), OWN_GATES)
        started = time.process_time()
        for answer in answers:
            run_gates(answer, OWN_GATES)
        table.add_row(name, f"{1e6 * (time.process_time() - started) / len(answers):,.0f}")
    return table


def _said(language: PromptLanguage, answer: str) -> Sample:
    return Sample(language, 1, answer, "stop", None)


def main() -> None:
    """Print the table; with --json, write the figures that are followed over time too."""
    parser = argparse.ArgumentParser(description="How well the gates tell bad answers from good ones.")
    parser.add_argument("--json", type=Path, help="write min_recall and max_false_alarm to this file")
    parser.add_argument("--answers", type=Path, help="a JSONL file of answers from elsewhere")
    parser.add_argument("--show", type=int, default=0, help="print so many misjudged answers of each kind")
    arguments = parser.parse_args()
    samples = read_answers(arguments.answers) if arguments.answers else corpus(SEED, CLEAN, PER_DEFECT)
    table, figures = measure(samples, arguments.show)
    Console(width=120).print(table)
    if not arguments.answers:
        Console(width=120).print(speeds())
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
