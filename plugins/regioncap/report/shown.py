"""Text from drops and models, made fit to be shown: what a reader sees is what is there."""

import re

# Controls, bidi embeddings, overrides and isolates, line separators, lone surrogates, noncharacters: they are invisible
# or change how the text around them is read.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]"
)

# What CommonMark and its tables give a meaning, and what makes a link of a bare address.
_MARKDOWN = re.compile(r"[\\`*_\[\]<>&~|#!:@]|(?<=www)\.", re.IGNORECASE)


def legible(text: str) -> str:
    """The text with each character that cannot be shown written out, like `[U+202E]`; line ends are `\\n`."""
    return _UNSHOWABLE.sub(lambda found: f"[U+{ord(found[0]):04X}]", text.replace("\r\n", "\n").replace("\r", "\n"))


def markdown(text: str) -> str:
    """The text as one line of Markdown that is nothing but text: no link, picture, code, emphasis or table in it."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(legible(text).split()))


def excerpt(text: str, length: int) -> str:
    """The text, cut to about `length` characters."""
    return text if len(text) <= length else f"{text[:length].rstrip()} … ({len(text):,} characters)"
