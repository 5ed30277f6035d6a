"""Parts of the prompt or of the system message come back in the answer."""

import re
from collections.abc import Iterator
from functools import lru_cache

from regioncap.gates.gate import Answer, Caption, Failure, Gate, each_caption, quote
from regioncap.gates.wording import HAN, any_of, at_start, at_word, tokens
from regioncap.regions.codes import Code

# So many words of a prompt in a row are no coincidence; "a tag on the frame" (five) may be in a picture. In Chinese,
# characters.
MIN_WORDS = 6
MIN_CHARACTERS = 8
# A sentence of the prompt counts whole from so many words on.
MIN_SENTENCE = 4

_SIZES = range(MIN_SENTENCE, MIN_CHARACTERS + 1)

_HAN = re.compile(rf"[{HAN}]")
# A region's name reads as a word of its own, so that "<region1>" is not a part of a sentence by its number.
_SENTENCES = re.compile(r"[.!?:;。！？：；\n]+")

# The turns of a chat, and instructions, in words that no caption has.
_TURN = any_of(
    at_word(
        r"(?:user|assistant)\s?[:：]",
        r"(?:system|user) (?:message|prompt)\b",
        r"you are an? (?:\w+ ){0,3}(?:assistant|ai|model|expert|annotator|captioner)\b",
        r"(?:describe|list|caption|identify|explain|provide) (?:the |a )?(?:contents?|descriptions?"
        r"|captions?)? ?(?:of |for |in )?(?:each|every|all|only these|the) (?:the )?(?:marked |numbered |framed "
        r"|following )?regions?\b",
        r"(?:answer|respond|reply|output|return)(?:s|ed)? (?:only )?(?:with|in|using|as) (?:one |a |an |only "
        r"|valid |the )?(?:json|english|chinese|single|following|line|name|format)",
        r"json (?:object|schema|format)\b",
        r"one key for each\b",
        r"do not describe the (?:frame|tag|mark|box)",
        r"not the frame or the tag\b",
    ),
    at_start(
        rf"\s*(?:user|assistant|system)\s*(?:\n|you are\b|describe\b|a |an |the |你是|请|描述|[{HAN}])",
    ),
    r"(?:^|\n|[.。!！?？]\s?|\s{2})(?:###? ?)?(?:user|assistant|system|human|instruction|response|prompt|input"
    r"|question|answer|用户|助手|系统|指令|问题|回答)\s?[:：]",
    r"(?:用户|助手|系统提示)[:：]",
    r"系统(?:提示词?|消息)",
    r"提示词",
    r"你是(?:一个|一名|一位)?[^，。]{0,8}(?:助手|助理|模型|专家)",
    r"请(?:只|仅|按|用|以)?[^，。]{0,4}(?:描述|回答|输出|返回|给出)[^，。]{0,12}(?:区域|边框|内容|json|中文|格式|每)",
    r"json\s?(?:对象|格式)",
    r"每个区域一(?:个键|行)",
    r"不要描述",
    r"描述(?:图像|图片|图)中(?:的)?每个?",
    flags=0,
)


@lru_cache(maxsize=512)
def _whole(prompts: tuple[str, ...]) -> frozenset[str]:
    """The prompts' sentences."""
    said = (sentence for prompt in prompts for sentence in _sentences(prompt))
    return frozenset(" ".join(sentence) for sentence in said if len(sentence) >= MIN_SENTENCE)


@lru_cache(maxsize=512)
def _phrases(prompts: tuple[str, ...]) -> frozenset[str]:
    """What of the prompts must not come back: each run of so many words in a sentence, and each whole sentence."""
    found = set(_whole(prompts))
    for prompt in prompts:
        for sentence in _sentences(prompt):
            length = MIN_CHARACTERS if _HAN.match(sentence[0]) else MIN_WORDS
            found.update(" ".join(sentence[at : at + length]) for at in range(len(sentence) - length + 1))
    return frozenset(found)


@lru_cache(maxsize=512)
def _beginnings(prompts: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """The first words of all phrases: a text without any of them has none of the phrases."""
    return frozenset(four for phrase in _phrases(prompts) for four in list(_fours(phrase.split()))[:1])


def _fours(words: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(words, words[1:], words[2:], words[3:], strict=False)


def _sentences(text: str) -> list[list[str]]:
    return [found for part in _SENTENCES.split(text) if (found := tokens(part))]


def prompt_leak(answer: Answer) -> Failure | None:
    """A caption has a phrase of what was sent, or words of a chat's turns; beside the captions, a whole sentence."""
    phrases, beginnings = _phrases(answer.prompts), _beginnings(answer.prompts)

    def leaks(caption: Caption) -> str | None:
        turn = _TURN.search(caption.own_words.lower())
        leaked = turn[0].strip() if turn else _shared(caption.text, phrases, beginnings)
        return f"has a part of the prompt in it: {quote(leaked)}" if leaked else None

    found = each_caption(leaks)(answer)
    if found is None and answer.parsed.captions:
        said = {" ".join(sentence) for sentence in _sentences(answer.parsed.outside)}
        leaked = min(said & _whole(answer.prompts), default=None)
        return Failure(f"the answer has a part of the prompt in it: {quote(leaked)}") if leaked else None
    return found


def _shared(text: str, phrases: frozenset[str], beginnings: frozenset[tuple[str, ...]]) -> str | None:
    for sentence in _sentences(text):
        if beginnings.isdisjoint(_fours(sentence)):
            continue
        runs = (" ".join(sentence[at : at + size]) for size in _SIZES for at in range(len(sentence) - size + 1))
        leaked = next((run for run in runs if run in phrases), None)
        if leaked is not None:
            return leaked
    return None


GATE = Gate(Code.PROMPT_LEAK, "reject", prompt_leak)
