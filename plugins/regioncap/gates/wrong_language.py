"""A caption is in another language than the run's.

Scripts tell most. Between languages in Latin letters, little words (*una, avec, und*) are better evidence for a short
caption than any model of languages; where there are none, such a model decides, and warns.
"""

import re

from regioncap.gates.gate import Caption, Gate, Unsure, each_caption
from regioncap.gates.languages import english
from regioncap.gates.wording import HAN, HAN_CHARACTER, QUOTED
from regioncap.regions.codes import Code

# A run of Chinese with its little words, so long, in an English caption is a sentence and no sign.
SENTENCE_CHARACTERS = 6
# A Chinese caption may have names in it (MacBook Pro, Café de Flore), with hardly any of the little words of English.
MAX_LATIN_WORDS = 3
MAX_LITTLE_WORDS = 2
# A text without any little word of English is in another language from so low a likelihood on; names are not looked at.
MIN_ENGLISH = 0.03
MIN_ENGLISH_OF_TWO = 0.015
SURE_WORDS = 6

# A word; a serial number, as `d4735e3a`, has none.
_LETTER = r"A-Za-zÀ-ɏ\u1e00-\u1eff"
_LATIN = re.compile(rf"(?<![0-9{_LETTER}])[{_LETTER}]+(?:['’-][{_LETTER}]+)*(?![0-9{_LETTER}])")
_HAN_RUN = re.compile(rf"[{HAN}，、]+")
_KANA_HANGUL = re.compile(r"[぀-ヺー-ヿᄀ-ᇿ가-힯]")
_HIRAGANA = re.compile(r"[ぁ-ゖ]")
# Letters of other scripts: Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai and what lies between.
_OTHER_SCRIPT = re.compile(r"[Ͱ-῿]")
_FOREIGN_WORD = re.compile(r"[Ͱ-ῼ]+|[぀-ヺー-ヿᄀ-ᇿ가-힯]+")
_ACCENTED = re.compile(r"[À-ɏ\u1e00-\u1eff]")
_IN_BRACKETS = re.compile(r"[(（][^()（）]{0,80}[)）]")

# Little words of Chinese: no name and no sign is made of them.
_LITTLE_CHINESE = re.compile(r"[的是在着了]|一[个只张条位辆些把块片杯碗盘群名座棵]|^图中|^这")
# A sentence of Chinese without any of them.
_SENTENCE_ZH = re.compile(rf"[{HAN}]{{2,}}，[{HAN}]{{2,}}。")
# How an English description begins.
_BEGINS_ENGLISH = re.compile(r"^\W*(?:an?|the|this|there|two|three|some|several) [a-z]", re.IGNORECASE)
# English that goes on where a Chinese sentence has begun; "一个 app" is Chinese.
_WITHIN_CHINESE = re.compile(rf"一[{HAN}]\s?[a-z]{{2,}} [a-z]{{2,}}|[{HAN}]\s?(?:the|an?) [a-z]{{2,}}\s?(?:[{HAN}]|$)")
_CODE = re.compile(r"[()\[\]{}=/\\_`$]")
_LITTLE_ENGLISH = frozenset(
    """
    a an the of with and is are on in at to from by for its his her their this that there it which while has next near
    under
    """.split()
)
# Of these, those that are words of no other language, or rare ones.
_SURELY_ENGLISH = _LITTLE_ENGLISH - {"a", "an", "is", "of", "on", "in", "at", "for", "her", "under"}
# Words that captions in English have and those in other languages do not: with one of them no model is asked.
_CAPTION_ENGLISH = frozenset(
    """
    large small big little tall short long old young white black red blue green yellow purple pink brown grey gray
    silver striped dotted round bright shiny wooden metal plastic leather glass stone broken empty open closed
    woman women boy girl people person child dog bird horse car truck house tree street door chair table sign box
    bag shirt shoes standing sitting wearing holding walking lying parked hanging filled covered painted two three
    four five several left right top bottom side front back
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
    """A caption's own words are not in the language asked for."""
    text = _IN_BRACKETS.sub(" ", caption.said) if "(" in caption.said or "（" in caption.said else caption.said
    if not text.isascii() and text.strip(f" .。!！{QUOTED}") == caption.text.strip(' .。!！“”"「」『』《》'):
        # One quotation and no more: the region is what is written there.
        quoted = caption.text.strip(" .。!！") != text.strip(f" .。!！{QUOTED}")
    else:
        quoted = False
    what = _not_chinese(text) if caption.language == "zh" else _not_english(text)
    return Unsure(what) if what and quoted else what


def _not_english(text: str) -> str | None:
    words = _LATIN.findall(text)
    if text.isascii():
        return _other_latin(text, words)
    han = HAN_CHARACTER.findall(text)
    foreign = _FOREIGN_WORD.findall(text)
    # Two characters count as a word.
    in_words = len(han) / 2 + sum(max(1, len(word) / 6) for word in foreign)
    if not words:
        return "is not in English" if han or foreign else None
    lower = {word.lower() for word in words}
    sentences = [
        run for run in _HAN_RUN.findall(text) if len(run) >= SENTENCE_CHARACTERS and _LITTLE_CHINESE.search(run)
    ]
    if sentences:
        return "is not in English throughout"
    english_too = not lower.isdisjoint(_LITTLE_ENGLISH)
    if in_words > len(words) and not english_too:
        return "is not in English"
    # "The characters 天道酬勤" is English, however much it shows.
    if _LITTLE_CHINESE.search(text) or _SENTENCE_ZH.search(text) or in_words > 2 * len(words):
        return Unsure("is not in English throughout")
    return _other_latin(text, words)


def _other_latin(text: str, words: list[str]) -> str | None:
    """Whether words in Latin letters are rather of another language than English."""
    if len(words) < 2:
        return None
    lower = [word.lower() for word in words]
    own = sum(1 for word in lower if word in _LITTLE_ENGLISH)
    foreign = {word for at, word in enumerate(lower) if word in _LITTLE_FOREIGN and (word == words[at] or at == 0)}
    accented = 0 if text.isascii() else sum(1 for word in words if _ACCENTED.search(word))
    if lower[0] in ("ein", "eine") and not own:
        return "is not in English"
    if len(foreign) >= 3 and len(foreign) > own:
        return "is not in English"
    if len(foreign) >= 2 and lower[0] in foreign and words[1][0].isupper() and _SURELY_ENGLISH.isdisjoint(lower):
        # "Ein Fahrrad lehnt an einer Mauer": "an" is a word of German, too.
        return "is not in English" if any(word.islower() for word in words[1:]) else None
    if not own and (len(foreign) >= 2 or (lower[0] in foreign and words[1][0].islower())):
        return "is not in English"
    if not own and foreign and accented and len(words) > 3 and all(word[0].islower() for word in words[1:]):
        return "is not in English"
    if accented >= 2 and accented > 0.3 * len(words) and own <= 1 and any(word[0].islower() for word in words[1:]):
        # "Crème brûlée" is eaten in English too.
        return "is not in English" if not own and len(words) > 3 else Unsure("is not in English throughout")
    if (_SURELY_ENGLISH | _CAPTION_ENGLISH).isdisjoint(lower) and own * 4 < len(words):
        # Names begin with capitals, and are of any language.
        plain = [word for at, word in enumerate(words) if word[0].islower() or (at == 0 and words[1][0].islower())]
        least = MIN_ENGLISH if len(plain) > 2 else MIN_ENGLISH_OF_TWO
        if len(plain) >= 2 and len(plain) * 2 > len(words) and english(" ".join(plain)) < least:
            return "is not in English" if len(plain) >= SURE_WORDS else Unsure("is not in English")
    return None


def _not_chinese(text: str) -> str | None:
    han, words = len(HAN_CHARACTER.findall(text)), _LATIN.findall(text)
    kana = len(_KANA_HANGUL.findall(text))
    if kana > max(2, han // 4) or len(_OTHER_SCRIPT.findall(text)) > han:
        return "is not in Chinese" if kana > han // 2 or not _LITTLE_CHINESE.search(text) else None
    if kana and not han and not words:
        return "is not in Chinese"
    if 0 < han <= 4 and _HIRAGANA.search(text):
        return Unsure("is not in Chinese")
    if not han:
        # "STOP", "Coca-Cola" and "iPhone 15 Pro Max" are names.
        plain = [word for word in words if word.islower() and len(word) > 1]
        if len(words) > 4 or (plain and len(words) > 1):
            has_little = any(word.lower() in _LITTLE_ENGLISH | _LITTLE_FOREIGN for word in words)
            return (
                "is not in Chinese" if has_little or len(plain) > 2 or len(words) > 4 else Unsure("is not in Chinese")
            )
        return Unsure("is not in Chinese") if plain or (words and text.rstrip().endswith(".")) else None
    if _BEGINS_ENGLISH.search(text):
        return "is not in Chinese throughout"
    little = sum(1 for word in words if word in _LITTLE_ENGLISH)
    if (len(words) > MAX_LATIN_WORDS and len(words) > han) or (little > MAX_LITTLE_WORDS and 2 * len(words) > han / 2):
        return "is not in Chinese throughout"
    if words and _WITHIN_CHINESE.search(text) and not _CODE.search(text):
        return Unsure("is not in Chinese throughout")
    return None


GATE = Gate(Code.WRONG_LANGUAGE, "reject", each_caption(wrong_language))
