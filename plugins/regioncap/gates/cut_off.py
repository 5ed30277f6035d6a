"""The model stopped before it was done: it ran out of room, or something stopped it."""

from regioncap.captions.thoughts import SWITCH_OFF, only_thoughts
from regioncap.gates.gate import Answer, Failure, Gate
from regioncap.regions.codes import Code

# How an answer ends that is whole: of itself, at a stop word (some servers name the token).
_WHOLE = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})


# ... and one for which there was no room.
OUT_OF_ROOM = frozenset({"length", "max_tokens"})


def cut_off(answer: Answer) -> Failure | None:
    """`finish_reason` says so."""
    # Nothing at all, and no word on why: `empty` says so.
    if answer.finish_reason in _WHOLE or (answer.finish_reason == "none" and not answer.text):
        return None
    if answer.finish_reason in OUT_OF_ROOM:
        if only_thoughts(answer.text):
            return Failure(
                f"the model still thought when it was cut off at max_tokens: {SWITCH_OFF}, or raise max_tokens"
            )
        return Failure("the answer was cut off at max_tokens; raise max_tokens")
    return Failure(f"the answer is not whole: the server ended it with finish_reason {answer.finish_reason!r}")


GATE = Gate(Code.CUT_OFF, "reject", cut_off)
