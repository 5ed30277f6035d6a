"""Gates: small checks that an answer passes before it becomes a record.

A gate is a function from an `Answer` to the reason why it fails, or None. Add one by adding it to `GATES`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from regioncap.regions.answers import ParsedAnswer
from regioncap.regions.codes import Code
from regioncap.regions.prompts import region_tag


@dataclass(frozen=True)
class Answer:
    """Everything a gate may look at: the raw text, why the model stopped, its parts, and the regions asked about."""

    text: str
    finish_reason: str
    parsed: ParsedAnswer
    regions: Sequence[int]


@dataclass(frozen=True)
class Gate:
    """`code` is the gate's name; severity `reject` rejects the row, `warn` notes the name in the record's `checks`."""

    code: Code
    severity: Literal["reject", "warn"]
    check: Callable[[Answer], str | None]


@dataclass(frozen=True)
class Finding:
    """A gate that did not pass, and why."""

    gate: Gate
    reason: str


def cut_off(answer: Answer) -> str | None:
    """The model stopped because it ran out of `max_tokens`, not because it was done."""
    return "the answer was cut off at max_tokens; raise max_tokens" if answer.finish_reason == "length" else None


def empty(answer: Answer) -> str | None:
    """Nothing was answered, or a region's caption has no text."""
    if not answer.text.strip():
        return "the answer is empty"
    return _about([region for region, caption in sorted(answer.parsed.captions.items()) if not caption], "is empty")


def unparseable(answer: Answer) -> str | None:
    """The answer has text, but no region in it can be told."""
    if answer.text.strip() and not answer.parsed.captions:
        return "no region can be told in the answer"
    return None


def missing_region(answer: Answer) -> str | None:
    """A marked region is not described."""
    return _about(
        [region for region in answer.regions if region not in answer.parsed.captions],
        "is not described",
    )


def invented_region(answer: Answer) -> str | None:
    """A region is described that was not asked about."""
    return _about(
        [region for region in sorted(answer.parsed.captions) if region not in answer.regions],
        "is described, but was not asked about",
    )


def repeated_region(answer: Answer) -> str | None:
    """A region is described more than once."""
    return _about(answer.parsed.repeated, "is described more than once")


# In this order: the first that rejects names the row's code, so causes come before their consequences.
GATES: tuple[Gate, ...] = (
    Gate(Code.CUT_OFF, "reject", cut_off),
    Gate(Code.EMPTY, "reject", empty),
    Gate(Code.UNPARSEABLE, "reject", unparseable),
    Gate(Code.MISSING_REGION, "reject", missing_region),
    Gate(Code.INVENTED_REGION, "reject", invented_region),
    Gate(Code.REPEATED_REGION, "reject", repeated_region),
)


def run_gates(answer: Answer, gates: Sequence[Gate] = GATES) -> list[Finding]:
    """Every gate that does not pass, in the order of `gates`."""
    return [Finding(gate, reason) for gate in gates if (reason := gate.check(answer)) is not None]


def _about(regions: Sequence[int], what: str) -> str | None:
    return f"{', '.join(map(region_tag, regions))} {what}" if regions else None
