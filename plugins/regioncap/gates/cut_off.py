"""The model stopped because it ran out of room, not because it was done."""

from regioncap.gates.gate import Answer, Failure, Gate
from regioncap.regions.codes import Code


def cut_off(answer: Answer) -> Failure | None:
    """`finish_reason` says so."""
    return (
        Failure("the answer was cut off at max_tokens; raise max_tokens") if answer.finish_reason == "length" else None
    )


GATE = Gate(Code.CUT_OFF, "reject", cut_off)
