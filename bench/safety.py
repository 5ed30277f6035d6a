"""How safe builds are: so many events in random order, and so many reads over a line that fails.

    python -m bench.safety [--json FILE] [--steps 5000] [--reads 2000] [--seed 1]

*Steps* are what can happen to the builds of one date, as `tests/stateful` has it: tasks of up to three runs with other
settings, in any order, cleared, marked by hand, killed, or struck by faults of the storage; drops that change; people
who approve, reject, roll back and delete. After each step every byte of the current build is looked at. A *violation*
is shown with the shortest example that was found of it, and after it the next steps begin with an empty date. *Reads*
are those of `bench.faulty_reads`. The same seed gives the same steps.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

# Airflow reads its configuration when it is first imported, and keeps a folder of its own.
_HOME = tempfile.TemporaryDirectory(prefix="regioncap-airflow-")
os.environ.update(
    {
        "AIRFLOW_HOME": _HOME.name,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME.name}/db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
    }
)

from bench.faulty_reads import measure as measure_reads  # noqa: E402
from tests.stateful.machine import explore  # noqa: E402

# After so many steps the machine begins anew with the next seed: a violation ends its exploration.
_STEPS_PER_SEED = 1_000

console = Console(width=140, highlight=False)


def measure(steps: int, seed: int) -> dict[str, int]:
    """Let at least so many steps happen. Prints what was violated."""
    figures = {"steps": 0, "published": 0, "faults": 0, "violations": 0}
    while figures["steps"] < steps:
        count, violation = explore(min(_STEPS_PER_SEED, steps - figures["steps"]), seed)
        for name in ("steps", "published", "faults"):
            figures[name] += getattr(count, name)
        if violation is not None:
            figures["violations"] += 1
            console.print(f"seed {seed}: {violation}", *getattr(violation, "__notes__", ()), sep="\n", markup=False)
        seed += 1
    return figures


def main() -> None:
    """Print the figures; with --json, write them too."""
    parser = argparse.ArgumentParser(description="How safe builds are, whatever happens to them.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--reads", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    started = time.perf_counter()
    figures: dict[str, Any] = measure(arguments.steps, arguments.seed)
    seconds = time.perf_counter() - started
    reads = measure_reads(arguments.reads, arguments.seed)
    figures |= {name: reads[name] for name in ("reads", "short_reads", "wrong_rejections")}
    table = Table(
        title=f"Safety, seed {arguments.seed}: {figures['steps']:,} steps in {seconds:.0f} s", title_justify="left"
    )
    for name in figures:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_row(*(f"{number:,}" for number in figures.values()))
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
