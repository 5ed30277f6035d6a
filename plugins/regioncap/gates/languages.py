"""How likely a text in Latin letters is English, by py3langid: a well-kept identifier whose model is in its package."""

from functools import cache
from pathlib import Path
from typing import Any

# The languages in Latin letters that vision-language models write. Of more, short texts are taken for rare ones.
LANGUAGES = ("en", "fr", "de", "es", "pt", "it", "nl", "sv", "da", "no", "pl", "cs", "ro", "hu", "fi", "tr", "vi", "id")


@cache
def _identifier() -> Any:
    # Only where a text is in doubt: it takes a second to load, and 100 MB.
    import py3langid
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_modelpath(Path(py3langid.__file__).parent / MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(LANGUAGES))
    return identifier


def english(text: str) -> float:
    """How likely a text is English rather than one of the others: 0 to 1. For two words it is a guess."""
    return float(dict(_identifier().rank(text))["en"])
