"""A corpus of answers, clean ones and ones with a planted defect, to measure the gates by.

The words are in `gate_words.json`: per list, in English and Chinese, in the wording of what vision-language models
write. Everything follows from the seed.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regioncap.captions.prompts import PROMPTS, PromptLanguage, system_message, user_prompt
from regioncap.marks.styles import STYLES
from regioncap.regions.names import region_name

WORDS: dict[str, Any] = json.loads(Path(__file__).with_name("gate_words.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Sample:
    """An answer about regions 1 to `regions`; `defect` is the gate that should fire, None for none."""

    prompt_language: PromptLanguage
    regions: int
    answer: str
    finish_reason: str
    defect: str | None


def corpus(seed: int, clean: int, per_defect: int) -> Iterator[Sample]:
    """So many clean answers, and so many with each defect, half of them in Chinese."""
    for number in range(clean):
        yield _Writer(random.Random(f"{seed}/clean/{number}"), ("en", "zh")[number % 2]).clean()
    for defect in DEFECTS:
        for number in range(per_defect):
            yield _Writer(random.Random(f"{seed}/{defect}/{number}"), ("en", "zh")[number % 2]).spoilt(defect)


class _Writer:
    """Writes one answer in one language."""

    def __init__(self, rng: random.Random, language: PromptLanguage) -> None:
        self.rng = rng
        self.language: PromptLanguage = language

    def clean(self) -> Sample:
        captions = self.captions()
        return self._sample(self.answer(list(enumerate(captions, start=1))), len(captions), None)

    def spoilt(self, defect: str) -> Sample:
        answer, regions, finish_reason = DEFECTS[defect](self)
        return self._sample(answer, regions, defect, finish_reason)

    def _sample(self, answer: str, regions: int, defect: str | None, finish_reason: str = "stop") -> Sample:
        return Sample(self.language, regions, answer, finish_reason, defect)

    def pick(self, words: str) -> Any:
        found = WORDS[words]
        return self.rng.choice(found[self.language] if isinstance(found, dict) else found)

    def captions(self, least: int = 1, style: str | None = None) -> list[str]:
        """Different captions in one style: short phrases, sentences, paragraphs, or hard ones."""
        number = max(least, self.rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 7, 10)))
        style = style or self.rng.choice(("phrase", "phrase", "sentence", "paragraph", "hard", "hard", "alike"))
        if style == "alike":
            alike = list(self.pick("alike"))
            if len(alike) >= least:
                return alike
            style = "sentence"
        if style == "hard":
            return self.rng.sample(WORDS["hard"][self.language], number)
        things = self.rng.sample(WORDS["things"][self.language], number)
        return [getattr(self, style)(thing) for thing in things]

    def phrase(self, thing: str) -> str:
        """A noun phrase."""
        if self.language == "zh":
            return f"{self.rng.choice(('', '一个', '一件'))}{self.pick('adjectives')}的{thing}"
        adjective = self.pick("adjectives")
        article = "an" if adjective[0] in "aeiou" else "a"
        text = f"{article} {adjective} {thing}{self.rng.choice(('', '', ' ' + self.pick('places')))}"
        return self.rng.choice((text, text.capitalize(), text + ".", f"{adjective} {thing}"))

    def sentence(self, thing: str) -> str:
        """A sentence about a thing, or about somebody with it."""
        about: tuple[str, ...]
        if self.language == "zh":
            about = (f"一个{self.pick('adjectives')}的{thing}，{self.pick('places')}。",
                     f"{self.pick('people')}{self.pick('actions')}，旁边有{thing}。",
                     f"该区域内是{self.pick('adjectives')}的{thing}，{self.pick('places')}。")  # fmt: skip
        else:
            about = (f"There is a {self.pick('adjectives')} {thing} {self.pick('places')}.",
                     f"{self.pick('people').capitalize()} is {self.pick('actions')}, with a {thing} nearby.",
                     f"The {thing} is {self.pick('adjectives')} and {self.pick('places')}.",
                     f"This region shows a {self.pick('adjectives')} {thing} {self.pick('places')}.")  # fmt: skip
        return self.rng.choice(about)

    def paragraph(self, thing: str) -> str:
        """Several sentences."""
        details = self.rng.sample(WORDS["details"][self.language], self.rng.randint(2, 5))
        return ("" if self.language == "zh" else " ").join([self.sentence(thing), *details])

    def answer(self, described: Sequence[tuple[int, str]]) -> str:
        """Captions with their regions' numbers, in one of the forms that models answer in."""
        form = self.rng.choice(("json", "json", "json", "lines", "lines", "markdown", "words", "numbers", "bare"))
        if form == "json":
            text = json.dumps(
                {region_name(region): caption for region, caption in described},
                ensure_ascii=self.rng.random() < 0.3,
                indent=self.rng.choice((None, 2)),
            )
            return self.rng.choice((text, text, f"```json\n{text}\n```"))
        if form == "bare" and len(described) == 1:
            return described[0][1]
        head, tail = {
            "markdown": ("- **{tag}**: ", "\n"),
            "words": ("Region {region}: ", "\n"),
            "numbers": ("{region}. ", "\n"),
        }.get(form, ("{tag}: ", self.rng.choice(("\n", "\n\n"))))
        lines = [head.format(tag=region_name(region), region=region) + caption for region, caption in described]
        return str(self.pick("preambles")) + tail.join(lines)

    def fill(self, template: str, region: int, regions: int) -> str:
        """Fill a template of the word lists."""
        caption = self.captions(style=self.rng.choice(("phrase", "sentence")))[0].rstrip(".。")
        forms = [
            system_message("", STYLES["box"], mode, form, regions, self.language)
            for mode in ("joint", "per_region")
            for form in ("structured", "free_text")
        ]
        return template.format(
            n=region,
            colour=self.pick("colours"),
            caption=caption,
            prompt=user_prompt(PROMPTS[self.language], regions),
            form=self.rng.choice(forms).splitlines()[1],
            x=self.pick("varied"),
        )

    def one_spoilt(self, words: str) -> tuple[str, int, str]:
        """An answer of which one caption (or each) is a filled template of a list."""
        captions = self.captions(style=self.rng.choice(("phrase", "sentence", "paragraph")))
        everywhere = self.rng.random() < 0.2
        chosen = self.rng.randrange(len(captions))
        for at in range(len(captions)):
            if everywhere or at == chosen:
                captions[at] = self.fill(self.pick(words), at + 1, len(captions))
        return self.answer(list(enumerate(captions, start=1))), len(captions), "stop"


def _missing(writer: _Writer) -> tuple[str, int, str]:
    captions = writer.captions(least=2)
    described = list(enumerate(captions, start=1))
    for _ in range(writer.rng.randint(1, max(1, len(described) // 3))):
        described.pop(writer.rng.randrange(len(described)))
    return writer.answer(described), len(captions), "stop"


def _invented(writer: _Writer) -> tuple[str, int, str]:
    captions = writer.captions(least=2)
    regions = len(captions) - writer.rng.randint(1, max(1, len(captions) // 3))
    numbers = list(range(1, len(captions) + 1))
    if writer.rng.random() < 0.2:
        numbers[-1] = writer.rng.choice((0, 50, 99))
    return writer.answer(list(zip(numbers, captions, strict=True))), regions, "stop"


def _same_text(writer: _Writer) -> tuple[str, int, str]:
    captions = writer.captions(least=2, style=writer.rng.choice(("phrase", "sentence", "paragraph", "hard")))
    source, target = writer.rng.sample(range(len(captions)), 2)
    text = captions[source]
    changes: list[Callable[[str], str]] = [
        lambda text: text, lambda text: text.rstrip(".。") + ".", str.lower, str.capitalize, lambda text: f"  {text} ",
        lambda text: text.replace("，", ", ").replace(",", ""),
    ]  # fmt: skip
    if writer.language == "en":
        changes += [lambda text: re.sub(r"\ba\b", "the", text, flags=re.IGNORECASE), lambda text: "There is " + text]
    else:
        changes += [lambda text: text.replace("一个", "一只"), lambda text: "这是" + text]
    captions[target] = writer.rng.choice(changes)(text)
    return writer.answer(list(enumerate(captions, start=1))), len(captions), "stop"


def _empty(writer: _Writer) -> tuple[str, int, str]:
    if writer.rng.random() < 0.2:
        return writer.rng.choice(("", " ", "\n\n", "{}", "```json\n{}\n```", "...", "null")), 1, "stop"
    captions = writer.captions()
    captions[writer.rng.randrange(len(captions))] = writer.pick("empty")
    return writer.answer(list(enumerate(captions, start=1))), len(captions), "stop"


def _cut_off(writer: _Writer) -> tuple[str, int, str]:
    captions = writer.captions()
    text = writer.answer(list(enumerate(captions, start=1)))
    return text[: writer.rng.randint(1, len(text))], len(captions), "length"


def _repetition(writer: _Writer) -> tuple[str, int, str]:
    captions = writer.captions(style=writer.rng.choice(("phrase", "sentence", "paragraph")))
    at = writer.rng.randrange(len(captions))
    if writer.rng.random() < 0.25:
        template = writer.pick("near_loops")
        words = list(WORDS["varied"][writer.language])
        writer.rng.shuffle(words)
        loop = "".join(template.format(x=words[i % len(words)], i=5 * i) for i in range(writer.rng.randint(8, 30)))
    else:
        unit = writer.pick("loops")
        # As long as what a runaway fills before a limit ends it, or before the model finds a way out.
        loop = unit * (writer.rng.randint(12, 200) if len(unit) < 4 else writer.rng.randint(4, 60))
    text = writer.rng.choice(("", captions[at] + " ")) + loop
    cut = writer.rng.random() < 0.5
    captions[at] = text
    if cut:
        captions = captions[: at + 1]
    answer = writer.answer(list(enumerate(captions, start=1)))
    if cut:
        answer = answer.rstrip('`\n"} ')
    return answer, len(captions), "length" if cut else "stop"


def _too_long(writer: _Writer) -> tuple[str, int, str]:
    captions = writer.captions(style="phrase")
    at = writer.rng.randrange(len(captions))
    things = list(WORDS["things"][writer.language])
    writer.rng.shuffle(things)
    said = " ".join(writer.sentence(thing) for _ in range(4) for thing in things)
    captions[at] = said[: writer.rng.randint(2500, 6000)]
    return writer.answer(list(enumerate(captions, start=1))), len(captions), "stop"


def _with_piece(writer: _Writer, words: str) -> tuple[str, int, str]:
    captions = writer.captions()
    at = writer.rng.randrange(len(captions))
    text, piece = captions[at], writer.pick(words)
    middle = writer.rng.randint(1, len(text) - 1) if len(text) > 1 else 1
    captions[at] = writer.rng.choice((piece + text, text + piece, text[:middle] + piece + text[middle:], piece))
    if captions[at] == piece:
        captions[at] += " " + text
    return writer.answer(list(enumerate(captions, start=1))), len(captions), "stop"


def _wrong_language(writer: _Writer) -> tuple[str, int, str]:
    other = _Writer(writer.rng, "zh" if writer.language == "en" else "en")
    captions = other.captions(style=writer.rng.choice(("phrase", "sentence", "paragraph")))
    kind = writer.rng.random()
    if kind < 0.3:
        own = writer.captions(least=2, style="sentence")
        own[writer.rng.randrange(len(own))] = captions[0]
        captions = own
    elif kind < 0.6:
        captions = [writer.pick("foreign") for _ in captions]
    elif kind < 0.7:
        # Begun in the right language, gone on in another one.
        captions = [writer.phrase(writer.pick("things")) + " " + other.paragraph(other.pick("things"))]
    return writer.answer(list(enumerate(captions, start=1))), len(captions), "stop"


DEFECTS: dict[str, Callable[[_Writer], tuple[str, int, str]]] = {
    "missing_region": _missing,
    "invented_region": _invented,
    "same_text": _same_text,
    "empty": _empty,
    "cut_off": _cut_off,
    "repetition": _repetition,
    "too_long": _too_long,
    "refusal": lambda writer: writer.one_spoilt("refusals"),
    "mark_talk": lambda writer: writer.one_spoilt("mark_talk"),
    "prompt_leak": lambda writer: writer.one_spoilt("leaks"),
    "special_tokens": lambda writer: _with_piece(writer, "special_tokens"),
    "control_characters": lambda writer: _with_piece(writer, "control_characters"),
    "wrong_language": _wrong_language,
    "whole_image": lambda writer: writer.one_spoilt("whole_image"),
}
