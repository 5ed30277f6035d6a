"""Characters that no text has: control characters, broken encodings, invisible and reordering ones."""

import re

from regioncap.gates.gate import Caption, Gate, each_caption
from regioncap.regions.codes import Code

# Tabs and line ends are fine, and so are the joiners that emoji and some scripts need. Beside the control characters:
# zero width space, word joiner and its like, marks that turn the reading direction, lone surrogates, private use,
# the byte order mark, the replacement character, noncharacters.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060-\u2064\u202a-\u202e\u2066-\u206f\ud800-\udfff\ue000-\uf8ff"
    "\ufdd0-\ufdef\ufeff\ufff9-\uffff\U000f0000-\U0010ffff]"
)
# The same, written out: as text, or in JSON that cannot be read.
_ESCAPED = re.compile(r"\\u00(?:0[0-8bcef]|1[0-9a-f]|7f|[89][0-9a-f])|\\x(?:0[0-8bcef]|1[0-9a-f]|7f)", re.IGNORECASE)


def control_characters(caption: Caption) -> str | None:
    """There is one of them."""
    found = _FORBIDDEN.search(caption.text)
    if found:
        return f"has the character U+{ord(found[0]):04X} in it"
    escaped = _ESCAPED.search(caption.text)
    return f"has {escaped[0]} in it" if escaped else None


GATE = Gate(Code.CONTROL_CHARACTERS, "reject", each_caption(control_characters, outside=True))
