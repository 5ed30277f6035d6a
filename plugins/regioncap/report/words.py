"""How long a caption is, in any language."""

import re

# Scripts that are written without spaces: Han, Hiragana, Katakana.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PIECE = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def count_words(text: str) -> int:
    """How many words: what spaces set apart, but each character of a script without spaces; no lone punctuation."""
    return sum(1 for piece in _PIECE.findall(text) if any(map(str.isalnum, piece)))
