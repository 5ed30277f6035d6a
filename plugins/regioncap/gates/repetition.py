"""The model is stuck: it says the same over and over."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

from regioncap.gates.gate import Answer, Caption, Failure, Gate, Unsure, each_caption, quote
from regioncap.gates.wording import HAN, tokens
from regioncap.regions.codes import Code

# How often a unit of so many words (at least) is said in a row before it is a loop. "Very, very, very old" and
# "red, white, red, white" are not; whole sentences are not repeated at all. Chinese is counted in characters.
_LIMITS_WORDS = ((6, 2), (3, 3), (2, 4), (1, 4))
_LIMITS_CHARACTERS = ((12, 2), (3, 3), (2, 4), (1, 5))
# Numbers and single letters stand in rows on keyboards and scoreboards; signs repeat words on purpose.
MIN_ROUNDS_OF_SIGNS = 10
MIN_ROUNDS_OF_QUOTED = 8
# So many times in a row, without a space between: "hahaha...", "!!!!!!!!".
_UNSPACED = re.compile(r"\S{10,}")
_RUN = re.compile(r"([^\s_.=*…—–~·。-]\S{0,7}?)\1{9,}|([_.=*…—–~·。-])\2{39,}")
# Ends of lines that are written out; parsing reads them as ends.
_ESCAPES = re.compile(r"(\\[nrt])\1{19,}")
_SPACED_RUN = re.compile(r"([^\w\s])(?:\s\1){9,}")
# A password, stars of a rating, an account number, a crossed out line: so many of one digit or symbol, or of X, are in
# pictures.
_ROW = re.compile(r"(\d)(?:\s?\1){0,19}|([xX#*×○●•◦◯□■▪★☆✦✩✓✔→♥❤🌟⭐$€✕✖♪▲▼◆◇█░▒▓])(?:\s?\2){0,39}")
# A loop in which a word or a number changes each time: so much of a text (of at least so many words) is in sequences of
# four words that occur three times or more. Paragraphs without a loop stay below a fifth. Where only numbers change, it
# may be a chart or a table, which is described so up to a length.
NEAR_LOOP_SHARE = 0.6
NEAR_LOOP_TOKENS = 32
TABLE_TOKENS = 160

_HAN = re.compile(rf"[{HAN}]")
_MAX_EARLIER, _MAX_DISTANCES = 6, 48
# A text that is so much in sequences that come three times has no more different ones.
_MAX_DISTINCT = 0.9
_DIGITS = re.compile(r"\d+")


def repeats_itself(caption: Caption) -> str | None:
    """A caption has a loop in it."""
    runs = (run for unspaced in _UNSPACED.findall(caption.text) for run in _RUN.finditer(unspaced))
    for run in chain(runs, _SPACED_RUN.finditer(caption.text)):
        if not _ROW.fullmatch(run[0]):
            return f"repeats {quote(run[1] or run[0][0])} over and over"
    said = caption.tokens
    if len(said) < min(MIN_ROUNDS_OF_QUOTED, 4):
        return None
    own = said if caption.own_words == caption.text else tokens(caption.own_words)
    loop = _loop(own, 1) or (_loop(said, MIN_ROUNDS_OF_QUOTED) if own is not said else None)
    return f"repeats {quote(loop)} over and over" if loop else _near_loop(said)


def _loop(said: Sequence[str], least: int) -> str | None:
    for unit, rounds in _repeats(said):
        limits = _LIMITS_CHARACTERS if _HAN.match(unit[0]) or _HAN.match(unit[-1]) else _LIMITS_WORDS
        limit = max(least, next(rounds for size, rounds in limits if len(unit) >= size))
        if all((len(token) == 1 and not _HAN.match(token)) or token.isdigit() for token in unit):
            limit = MIN_ROUNDS_OF_SIGNS
        if rounds >= limit:
            return " ".join(unit)
    return None


def _repeats(said: Sequence[str]) -> Iterator[tuple[Sequence[str], float]]:
    """Units that follow upon themselves, and how many times they are said in all.

    Within a repetition of a unit of p words, each word is the one p words before. A unit may have repetitions of its
    own in it, so every distance at which some three words come again is tried: at most `_MAX_DISTANCES`, the most
    frequent.
    """
    triples = list(zip(said, said[1:], said[2:], strict=False))
    if len(set(triples)) == len(triples):
        return
    last: dict[tuple[str, str, str], list[int]] = {}
    distances: Counter[int] = Counter()
    for at, key in enumerate(triples):
        before = last.setdefault(key, [])
        distances.update(at - earlier for earlier in before[-_MAX_EARLIER:])
        before.append(at)
    for distance, _ in distances.most_common(_MAX_DISTANCES):
        length = 0
        for at in range(distance, len(said) + 1):
            if at < len(said) and said[at] == said[at - distance]:
                length += 1
            elif length:
                if length >= 3:
                    start = at - length - distance
                    yield said[start : start + distance], length / distance + 1
                length = 0


def _near_loop(said: Sequence[str]) -> str | None:
    if len(said) < NEAR_LOOP_TOKENS:
        return None
    shapes = [_DIGITS.sub("0", token) if token[0].isdigit() else token for token in said]
    share, gram = _in_near_loops(shapes)
    if share < NEAR_LOOP_SHARE:
        return None
    what = f"says nearly the same over and over ({quote(gram)})"
    # Counting (1, 2, 3; 5 %, 10 %) goes on for ever, a table has values.
    numbers = [int(token) for token in said if token.isdecimal() and len(token) < 10]
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    counting = len(numbers) > 3 and len(steps) == 1
    table = len(numbers) > 3 and not counting and _in_near_loops(said)[0] < NEAR_LOOP_SHARE
    if table:
        return Unsure(what) if len(said) > TABLE_TOKENS else None
    return what


def _in_near_loops(shapes: Sequence[str]) -> tuple[float, str]:
    """How much of a text is in sequences of four words that come three times or more, and the most frequent of them."""
    grams = list(zip(shapes, shapes[1:], shapes[2:], shapes[3:], strict=False))
    if len(set(grams)) > _MAX_DISTINCT * len(grams):
        return 0.0, ""
    counts = Counter(grams)
    covered: set[int] = set()
    for at, gram in enumerate(grams):
        # A row of numbers is a keyboard or a calendar.
        if counts[gram] >= 3 and set(gram) != {"0"}:
            covered.update(range(at, at + 4))
    return len(covered) / len(shapes), " ".join(counts.most_common(1)[0][0])


_each = each_caption(repeats_itself)


def repetition(answer: Answer) -> Failure | None:
    """A loop in a caption, or one over the answer, which then describes regions twice or ones that are not there."""
    found = _each(answer)
    if found is None and "\\" in answer.text and (escapes := _ESCAPES.search(answer.text)):
        return Failure(f"the answer repeats {quote(escapes[1])} over and over")
    if found is None and (
        answer.parsed.repeated or any(region not in answer.regions for region in answer.parsed.captions)
    ):
        what = repeats_itself(Caption(answer.text, None, answer.language))
        return Failure(f"the answer {what}", sure=not isinstance(what, Unsure)) if what else None
    return found


GATE = Gate(Code.REPETITION, "reject", repetition)
