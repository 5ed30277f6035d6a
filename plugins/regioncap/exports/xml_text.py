"""Text as XML can hold it."""

import re

# What no XML 1.0 can have, not even written as a number.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Text in which each character that XML cannot hold is U+FFFD; it is still to be escaped."""
    return _FORBIDDEN.sub("\ufffd", text)
