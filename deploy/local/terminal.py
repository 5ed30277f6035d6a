"""Showing what others wrote: names of files, captions, logs."""

import re

from rich.markup import escape

# What makes terminals do something, or show text in another order, or is no character at all; but for new lines, tabs.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    """Text as markup of rich's in which nothing is a command, neither to rich nor to the terminal."""
    return escape(_COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text))
