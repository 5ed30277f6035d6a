"""Gates: small checks that an answer passes before it becomes a record.

`gate` says what a gate is; `wording` reads captions for them, `languages` tells English from others. Each gate is in
the file of its name, or of what it is about: `cut_off`, `empty`, `repetition`, `too_long`, `control_characters`,
`special_tokens`, `refusal`, `prompt_leak`, `described_once`, `wrong_language`, `mark_talk`, `whole_image`, `same_text`.
Installed packages can add gates (docs/extending.md).
"""

import logging
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from regioncap.extend import Registry
from regioncap.gates import (
    control_characters,
    cut_off,
    described_once,
    empty,
    mark_talk,
    prompt_leak,
    refusal,
    repetition,
    same_text,
    special_tokens,
    too_long,
    whole_image,
    wrong_language,
)
from regioncap.gates.gate import Answer, Caption, Check, Failure, Finding, Gate, Unsure, about, each_caption, quote
from regioncap.regions.codes import Code

__all__ = [
    "GATES", "OWN_GATES", "Answer", "Caption", "Check", "Failure", "Finding", "Gate", "Unsure", "about",
    "all_gates", "each_caption", "quote", "run_gates",
]  # fmt: skip

_log = logging.getLogger(__name__)
# Gates whose errors are in the log already: a gate that fails on every answer must not fill it.
_told: set[str] = set()

# In this order: the first that rejects names the row's code, so causes come before their consequences.
OWN_GATES: tuple[Gate, ...] = (
    cut_off.GATE,
    empty.GATE,
    repetition.GATE,
    too_long.GATE,
    control_characters.GATE,
    special_tokens.GATE,
    refusal.GATE,
    prompt_leak.GATE,
    described_once.UNPARSEABLE,
    described_once.MISSING_REGION,
    described_once.INVENTED_REGION,
    described_once.REPEATED_REGION,
    wrong_language.GATE,
    mark_talk.GATE,
    whole_image.GATE,
    same_text.GATE,
)


def _fault(name: str, gate: Any) -> str | None:
    if not isinstance(gate, Gate) or gate.severity not in ("reject", "warn"):
        return "is no Gate with the severity reject or warn"
    if gate.code != name or not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        return (
            f"has the code {gate.code!r} and the entry point {name!r}: they have to be the same, of small letters, "
            "digits and underscores"
        )
    return "has the name of a code of RegionCap's own" if name in list(Code) else None


GATES = Registry("regioncap.gates", "gate", {str(gate.code): gate for gate in OWN_GATES}, _fault)


@cache
def all_gates() -> tuple[Gate, ...]:
    """RegionCap's gates, then those of installed packages, by name. Raises ExtensionError."""
    return tuple(GATES.values())


def run_gates(answer: Answer, gates: Sequence[Gate] | None = None) -> list[Finding]:
    """Every gate that does not pass, in the order of `gates` (default: all).

    A gate that raises does not reject: what it should have looked at is noted as the warning `gate_error`.
    """
    findings: list[Finding] = []
    for gate in all_gates() if gates is None else gates:
        try:
            failure = gate.check(answer)
            if failure is not None and not isinstance(failure, Failure):
                raise TypeError(f"it returned {failure!r}, neither a Failure nor None")
        except Exception:
            if gate.code not in _told:
                _told.add(gate.code)
                _log.exception("the gate %s failed; rows it fails on are marked with %s", gate.code, Code.GATE_ERROR)
            failed = Gate(Code.GATE_ERROR, "warn", gate.check)
            findings.append(Finding(failed, Failure(f"the gate {gate.code} raised an error instead of looking")))
            continue
        if failure is not None:
            findings.append(Finding(gate, failure))
    return findings
