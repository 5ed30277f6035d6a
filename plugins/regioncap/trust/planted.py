"""Planted captions: known to be wrong for the region that they are claimed to be of.

A neighbour's caption needs no question of its own: what the listener says of it is heard when it is asked about the
neighbour (`scores`). What is planted is drawn by hashes, in a way that one changed caption changes few others.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from regioncap.trust.alike import fits_too, words_of
from regioncap.trust.questions import Kind, Question, chance, drawn_number

# Of which kind a region's planted caption is: the one up to whose number its chance is; the first that can be made.
_SHARES: tuple[tuple[float, tuple[Kind, ...]], ...] = (
    (0.4, ("attribute", "foreign", "merged")),
    (0.7, ("foreign", "attribute", "merged")),
    (0.85, ("generic", "merged", "attribute", "foreign")),
    (1.0, ("merged", "generic", "attribute", "foreign")),
)
# What is said of a thing stands before one of these, and another for it says nothing else of the thing.
_LINKS = frozenset(
    {
        *("a", "an", "the", "of", "in", "on", "at", "with", "and", "or", "by", "near", "to", "from", "for", "as", "is"),
        *("are", "was", "were", "that", "which", "who", "its", "his", "her", "their", "under", "over", "behind"),
        *("beside", "next", "above", "below", "between", "against", "into", "onto", "through"),
    }
)
_ENDS = ".,;:!?"
# What has fewer words, as spaces set them apart, is too short to be changed, or of a language without spaces.
_FEWEST_WORDS = 2
# Captions that are tried before it is said that none can be had.
_TRIES = 50


class Captions:
    """The captions that planted ones are made of: those of a shard, or of a build."""

    def __init__(self, captions: Iterable[str]) -> None:
        texts = sorted(set(captions))
        self._by_number = sorted((drawn_number(text), text) for text in texts)
        # What stands between two words, the beginning and the end being words too.
        self._between: dict[tuple[str, str], set[str]] = defaultdict(set)
        for text in texts:
            for _, before, word, after in _places(text):
                self._between[before, after].add(word)

    def foreign(self, here: Collection[str], image: str, region: int) -> str | None:
        """Another image's caption that says nothing of what the captions `here` say; None where none was found."""
        start = bisect(self._by_number, (drawn_number(f"foreign {image} {region}"), ""))
        for step in range(min(_TRIES, len(self._by_number))):
            text = self._by_number[(start + step) % len(self._by_number)][1]
            if not any(fits_too(text, other) for other in here):
                return text
        return None

    def changed(self, caption: str, here: Collection[str], image: str, region: int) -> str | None:
        """The caption with another word at one place, as other captions have it there; None where there is none.

        It says nothing of what the captions `here` say.
        """
        places = _places(caption)
        places.sort(key=lambda place: drawn_number(f"place {image} {region} {place[0]}"))
        for at, before, word, after in places:
            others = self._between[before, after] - {word} if word.lower() not in _LINKS else set()
            # The first by a number of its own, so that one word more changes few choices.
            for other in sorted(others, key=lambda other: drawn_number(f"word {image} {region} {other}")):
                words = caption.split()
                words[at] = words[at].replace(word, other)
                changed = " ".join(words)
                if other.lower() not in _LINKS and not any(fits_too(changed, each) for each in here):
                    return changed
        return None


def _places(caption: str) -> list[tuple[int, str, str, str]]:
    """A caption's words, each with its place and its neighbours, without the punctuation that ends them."""
    words = [word.strip(_ENDS) for word in caption.split()]
    if len(words) < _FEWEST_WORDS:
        return []
    framed = ["", *words, ""]
    return [(at, framed[at], word, framed[at + 2]) for at, word in enumerate(words) if word]


def head(caption: str) -> str:
    """What a caption calls its thing: the last word before it is said where it is, or what with."""
    words = [word.casefold() for word in words_of(caption)]
    end = next((at for at, word in enumerate(words) if at and word in _LINKS), len(words))
    return words[end - 1]


def plant(kind: Kind, image: str, region: int, captions: Mapping[int, str], others: Captions) -> str | None:
    """A caption of a kind that is wrong for `region` of a row, as far as the row's `captions` are right.

    None where there is none, and for kinds that no question is asked for.
    """
    here, own = list(captions.values()), captions[region]
    if len(own.split()) < _FEWEST_WORDS and kind != "foreign":
        return None
    beside = [text for number, text in sorted(captions.items()) if number != region and not fits_too(text, own)]
    make: dict[str, Callable[[], str | None]] = {
        "foreign": lambda: others.foreign(here, image, region),
        "attribute": lambda: others.changed(own, here, image, region),
        "generic": lambda: _generic(own, beside),
        "merged": lambda: f"{own.rstrip(_ENDS)} and {_one(beside, image, region)}" if beside else None,
    }
    return make[kind]() if kind in make else None


def _generic(own: str, beside: list[str]) -> str | None:
    """What also fits another region: the thing's name where one beside it has it too, else that it is something."""
    name = head(own)
    if any(name in words_of(text) for text in beside):
        return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"
    return "an object" if beside else None


def _one(texts: list[str], image: str, region: int) -> str:
    return min(texts, key=lambda text: drawn_number(f"merged {image} {region} {text}"))


def kinds_for(image: str, region: int) -> tuple[Kind, ...]:
    """Of which kind a region's planted caption is: the first that can be made."""
    lot = chance("kind", image, region)
    return next(kinds for up_to, kinds in _SHARES if lot < up_to)


def ask(image: str, captions: Mapping[int, str], regions: Collection[int], others: Captions) -> list[Question]:
    """What is asked about `regions` of a row (by id): each one's own caption, and a planted one where one can be made.

    `captions` are all of the row's, by region.
    """
    asked = []
    for region in sorted(regions):
        asked.append(Question(image, region, captions[region], "own"))
        made = ((kind, plant(kind, image, region, captions, others)) for kind in kinds_for(image, region))
        asked += [Question(image, region, text, kind) for kind, text in made if text][:1]
    return asked
