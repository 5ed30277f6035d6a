"""Every region that was asked about is described, exactly once, and no other."""

from regioncap.gates.gate import Answer, Failure, Gate, about
from regioncap.regions.codes import Code


def unparseable(answer: Answer) -> Failure | None:
    """The answer has text, but no region in it can be told."""
    if answer.text.strip() and not answer.parsed.captions:
        return Failure("no region can be told in the answer")
    return None


def missing_region(answer: Answer) -> Failure | None:
    """A marked region is not described."""
    return about([region for region in answer.regions if region not in answer.parsed.captions], "is not described")


def invented_region(answer: Answer) -> Failure | None:
    """A region is described that was not asked about: which is which cannot be trusted."""
    invented = [region for region in sorted(answer.parsed.captions) if region not in answer.regions]
    found = about(invented, "is described, but was not asked about")
    return Failure(found.reason) if found else None


def repeated_region(answer: Answer) -> Failure | None:
    """A region is described more than once: which description is meant cannot be told."""
    found = about(answer.parsed.repeated, "is described more than once")
    return Failure(found.reason) if found else None


UNPARSEABLE = Gate(Code.UNPARSEABLE, "reject", unparseable)
MISSING_REGION = Gate(Code.MISSING_REGION, "reject", missing_region)
INVENTED_REGION = Gate(Code.INVENTED_REGION, "reject", invented_region)
REPEATED_REGION = Gate(Code.REPEATED_REGION, "reject", repeated_region)
