"""A caption is in another language than the run's."""

import re

from regioncap.gates.gate import Caption, Gate, each_caption
from regioncap.gates.wording import HAN
from regioncap.regions.codes import Code

# An English caption may name what is written in the picture (a sign 出口): so many characters, and so large a share of
# what is said (two characters count as a word), are more than that.
MAX_FOREIGN_CHARACTERS = 2
MAX_FOREIGN_SHARE = 0.4
# A Chinese caption may have names in it (MacBook Pro, Café de Flore), with hardly any of the little words of English.
MAX_LATIN_WORDS = 3
MAX_LITTLE_WORDS = 2

_LATIN = re.compile(r"[A-Za-zÀ-ɏ]+(?:['’-][A-Za-zÀ-ɏ]+)*")
_HAN = re.compile(rf"[{HAN}]")
_KANA_HANGUL = re.compile(r"[぀-ヺー-ヿᄀ-ᇿ가-힯]")
# Letters of other scripts: Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai and what lies between.
_OTHER_SCRIPT = re.compile(r"[Ͱ-῿]")
_ACCENTED = re.compile(r"[À-ɏ\u1e00-\u1eff]")
# After these, what follows is read from the picture; brackets hold translations.
_READ_FROM_PICTURE = re.compile(
    r"(?:read(?:s|ing)?|say(?:s|ing)?|text|characters?|letters|words?|written|labell?ed|titled?|named|called"
    r"|inscription|signs?|logo|brand"
    rf"|kanji|calligraphy|script|name)\W{{0,3}}[{HAN}぀-ヿ가-힯·，、！。\s\d]+|[(（][^()（）]{{0,80}}[)）]",
    re.IGNORECASE,
)

# Little words of Chinese: no name and no sign is made of them.
_LITTLE_CHINESE = re.compile(r"[的是在着了]|一[个只张条位辆]|^图中|^这")
# How an English description begins.
_BEGINS_ENGLISH = re.compile(r"^\W*(?:an?|the|this|there|two|three|some|several) [a-z]", re.IGNORECASE)
_LITTLE_ENGLISH = frozenset(
    """
    a an the of with and is are on in at to from by for its his her their this that there it which while has next near
    under
    """.split()
)
# The little words of other languages in Latin letters, as far as they are no English words.
_LITTLE_FOREIGN = frozenset(
    # Spanish, Portuguese, Italian, French
    "un una unos unas el la los las del con de y en que sobre por para su está es e o os as um uma uns umas com "
    "na da dos das ao "
    "il lo gli le di della del che nel sulla sul è une des du au aux et avec dans sur qui est une sont ce cette "
    "son sa "
    # German, Dutch, Scandinavian, Polish
    "der die das ein eine einem einen einer und mit auf ist dem den im am von zu neben vor een het van en met "
    "op naast voor zijn "
    "og med på av som till och ett jest na z w i się ze do przy".split()
) - frozenset("a as on do am die den met son sa i w z e o en".split())


def wrong_language(caption: Caption) -> str | None:
    """Most of a caption's own words are not in the language asked for."""
    text = caption.own_words
    return _not_chinese(text) if caption.language == "zh" else _not_english(text)


def _not_english(text: str) -> str | None:
    if text.isascii():
        return "is not in English" if _other_latin(_LATIN.findall(text)) else None
    text = _READ_FROM_PICTURE.sub(" ", text)
    words = _LATIN.findall(text)
    foreign = len(_HAN.findall(text)) + len(_KANA_HANGUL.findall(text)) + len(_OTHER_SCRIPT.findall(text))
    in_words = foreign / 2
    if _LITTLE_CHINESE.search(text):
        return "is not in English throughout"
    if foreign and (not words or in_words > len(words)):
        return "is not in English"
    if foreign > MAX_FOREIGN_CHARACTERS and in_words > MAX_FOREIGN_SHARE * (in_words + len(words)):
        return "is not in English throughout"
    return "is not in English" if _other_latin(words) else None


def _other_latin(words: list[str]) -> bool:
    """Whether words in Latin letters are rather of another language than English."""
    if len(words) < 2:
        return False
    own = sum(1 for word in words if word.lower() in _LITTLE_ENGLISH)
    foreign = {
        lower
        for at, word in enumerate(words)
        if (lower := word.lower()) in _LITTLE_FOREIGN and (word == lower or at == 0)
    }
    accented = sum(1 for word in words if _ACCENTED.search(word))
    if len(foreign) >= 3 and len(foreign) > own:
        return True
    if not own and (len(foreign) >= 2 or (foreign and words[0].lower() in foreign)):
        return True
    if not own and foreign and accented and len(words) > 3 and all(word[0].islower() for word in words[1:]):
        return True
    return accented >= 2 and accented > 0.3 * len(words) and own <= 1


def _not_chinese(text: str) -> str | None:
    han, words = len(_HAN.findall(text)), _LATIN.findall(text)
    if len(_KANA_HANGUL.findall(text)) > max(2, han // 4) or len(_OTHER_SCRIPT.findall(text)) > han:
        return "is not in Chinese"
    if not han:
        # "STOP" and "Coca-Cola" are names.
        return (
            "is not in Chinese"
            if any(word[0].islower() and len(word) > 1 for word in words) or len(words) > 4
            else None
        )
    if _BEGINS_ENGLISH.search(text):
        return "is not in Chinese throughout"
    little = sum(1 for word in words if word in _LITTLE_ENGLISH)
    if (len(words) > MAX_LATIN_WORDS and len(words) > han) or (little > MAX_LITTLE_WORDS and 2 * len(words) > han / 2):
        return "is not in Chinese throughout"
    return None


GATE = Gate(Code.WRONG_LANGUAGE, "reject", each_caption(wrong_language))
