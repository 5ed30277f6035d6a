"""The model stopped before it was done: it ran out of room, or something stopped it."""

from regioncap.captions.endings import ending
from regioncap.gates.gate import Answer, Failure, Gate
from regioncap.regions.codes import Code


def cut_off(answer: Answer) -> Failure | None:
    """`finish_reason` says so."""
    ended = ending(answer.finish_reason)
    # Nothing at all, and no word on why: `empty` says so.
    if ended == "whole" or (answer.finish_reason == "none" and not answer.text):
        return None
    if ended == "no_room":
        return Failure("the answer was cut off at max_tokens; raise max_tokens")
    if ended == "tool":
        return Failure("the model called a tool instead of answering: serve it without tools")
    return Failure(f"the answer is not whole: the server ended it with finish_reason {answer.finish_reason!r}")


GATE = Gate(Code.CUT_OFF, "reject", cut_off)
