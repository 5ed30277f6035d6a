"""A caption is longer than the description of a region can be."""

from regioncap.gates.gate import Caption, Gate, Unsure, each_caption
from regioncap.gates.wording import HAN_CHARACTER
from regioncap.regions.codes import Code

# In letters; a Chinese character counts as three. Five sentences are about 500, and more than a page (600 words) is no
# description of one region.
MAX_LETTERS = 4000
MANY_LETTERS = 1600


def too_long(caption: Caption) -> str | None:
    """It has more letters than a page, or (a warning) than a long paragraph."""
    if len(caption.text) * 3 <= MANY_LETTERS:
        return None
    letters = len(caption.text) + 2 * len(HAN_CHARACTER.findall(caption.text))
    if letters > MAX_LETTERS:
        return f"is too long: {len(caption.text):,} characters"
    return Unsure(f"is very long: {len(caption.text):,} characters") if letters > MANY_LETTERS else None


GATE = Gate(Code.TOO_LONG, "reject", each_caption(too_long))
