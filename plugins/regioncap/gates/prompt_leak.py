"""Parts of the prompt or of the system message come back in the answer.

A prompt may say what the images are ("photos of bottles on the shelves of a supermarket"), and so may a caption. So
words in common are a leak only where they tell somebody what to do.
"""

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

# Words of instructions: what is asked for, of whom, in what form.
_INSTRUCTS = frozenset(
    """
    describe description descriptions caption captions answer answers respond reply output region regions marked
    tag frame framed json key keys your you must should never please not assistant instruction instructions task
    """.split()
)
_INSTRUCTS_ZH = re.compile(r"描述|区域|回答|请|标签|边框|编号|不要|你|冒号")
# The tag of a region as a label, and what stands before a caption in a form.
_LABEL = re.compile(
    r"^\W*(?:<\s?region[ _-]?\d+\s?>\W*(?:[:：—–-]|is\b|shows?\b|contains?\b|显示|是|中|内|为)"
    r"|(?:(?:the |my |final |short |brief |image |region |region \d+ |object )?(?:caption|description|answer"
    r"|response|output|summary|result|value|desc|english|chinese)"
    r"(?: (?:of|for) (?:the |this )?(?:region|area|object|image)? ?\d*)?|(?:描述|说明|标题|答案|答|问|中文|英文|配文"
    r"|图片说明|回答|输出|结果|图片描述|区域描述|中文描述|内容描述)(?:如下)?)"
    r"\s?[:：]|(?:区域|标签)?\s?\d*\s?即\s?<region)",
    re.IGNORECASE,
)

# In JSON, a caption that begins with its region's name.
_ECHO = re.compile(r"\"\s?:\s?\"\W{0,3}<?(?:region|区域)[ _-]?\d+>?\s?[:：]", re.IGNORECASE)

# The turns of a chat, and instructions, in words that no caption has.
_TURN = any_of(
    at_word(
        r"(?:user|assistant)\s?[:：]",
        r"(?:system|user) (?:message|prompt)\b",
        r"you are (?:an? )?(?:\w+ ){0,3}(?:assistant|ai|model|expert|annotator|captioner|qwen|chatgpt|claude|gemini"
        r"|llama|llava"
        r"|internvl)\b",
        r"created by (?:alibaba|openai|google|anthropic|meta|microsoft|deepseek|mistral)\b",
        r"(?:your|the) (?:task|job|goal|role|instructions?) (?:is|are|here is) to\b|you (?:will be|are"
        r"|have been) (?:given|shown|asked"
        r"|provided|presented)\b|you (?:must|should|need to|have to) (?:not )?(?:describe|answer|write|use|output"
        r"|only|be|mention|return)\b",
        r"(?:describe|caption|list|identify) (?:only |just )?(?:the )?(?:<?region|these regions"
        r"|the (?:contents? of (?:the )?)?(?:region|image)s? (?:below|above|in detail|only|in one)"
        r"|the image\b|what is (?:inside|in) the\b)",
        r"(?:do not|don't|never) (?:mention|describe|include|refer to|repeat|use|add|output|write|explain) (?:the"
        r"|any|it|more|other|a|your|anything)\b",
        r"(?:in|using|with) (?:one|a single|at most \w+|no more than \w+|a short|one short) (?:short )?(?:english "
        r"|chinese )?(?:sentences?|words|phrase)\b",
        r"(?:keep|make) (?:it|the (?:description|caption|answer)s?|each \w+|your \w+) (?:short|brief|concise|under"
        r"|to)\b",
        r"use (?:one|a single|at most|short|simple|plain|complete|only)\b[^.]{0,20}(?:sentences?|words?|phrases?"
        r"|english|chinese|language)\b",
        r"the (?:user|prompt|question|instructions?) (?:wants?|asks?|asked|is asking|are asking|needs|requests?"
        r"|requested|provided|says|requires?)\b",
        r"we (?:need to|should|must|have to|are asked to|are given) (?:describe|answer|identify|provide|write|output"
        r"|give|an?)\b",
        r"(?:be|as) (?:brief|concise|specific|detailed) (?:and|as possible)\b",
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
    flags=0,
)
# The same with a colon, and in Chinese.
_TURN_LABEL = any_of(
    r"(?:^|\n|[.。!！?？]\s?|\s{2})(?:###? ?)?(?:user|assistant|system|human|instruction|response|prompt|input"
    r"|question|answer|用户|助手|系统|指令|问题|回答)\s?[:：]",
    flags=0,
)
_TURN_ZH = any_of(
    r"(?:用户|助手|系统提示)[:：]",
    r"系统(?:提示词?|消息)",
    r"提示词",
    r"你是(?:一个|一名|一位)?[^，。]{0,8}(?:助手|助理|模型|专家)",
    r"请(?:只|仅|按|用|以)?[^，。]{0,4}(?:描述|回答|输出|返回|给出)[^，。]{0,12}(?:区域|边框|内容|json|中文|格式|每)",
    r"json\s?(?:对象|格式)",
    r"每个区域一(?:个键|行)",
    r"不要描述",
    r"描述(?:图像|图片|图)中(?:的)?每个?|用户(?:要求|想要?|需要|希望|让|询问|提供|问)|(?:题目|指令|提示)要求"
    r"|我们?(?:需要|应该|要)(?:描述|回答|给出)",
    r"(?:只|仅|请)(?:能)?描述\s?<region|请只?描述|你的任务|(?:值|键)为(?:该|每个|所问)?区域|所问区域|用(?:一句话"
    r"|中文|英文|简短)[^，。]{0,6}(?:描述|回答|概括)",
    r"(?:由|是)(?:阿里云|阿里巴巴|openai|深度求索|谷歌)[^，。]{0,6}(?:开发|创建|训练|创造)|(?:不|勿)(?:要|得"
    r"|能)(?:提及|提到|描述|包含|使用|输出)|标签\s?\d+\s?(?:是|即|为|对应)[^，。]{0,4}<region",
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
        said = caption.said.lower()
        turn = _TURN.search(said) or (_TURN_ZH.search(said) if not said.isascii() else None)
        turn = turn or (_TURN_LABEL.search(said) if ":" in said or "：" in said else None)
        # Before captions labels are the form of the answer.
        turn = turn or (_LABEL.search(caption.text) if caption.region is not None else None)
        leaked = turn[0].strip() if turn else _shared(caption, phrases, beginnings)
        return f"has a part of the prompt in it: {quote(leaked)}" if leaked else None

    found = each_caption(leaks)(answer)
    if found is None and answer.parsed.captions:
        said = {" ".join(sentence) for sentence in _sentences(answer.parsed.outside)}
        leaked = min(said & _whole(answer.prompts), default=None)
        if leaked:
            return Failure(f"the answer has a part of the prompt in it: {quote(leaked)}")
        # Parsing may have taken it off: then no harm is done.
        echo = _ECHO.search(answer.text)
        return Failure(f"the answer says a region's name twice: {quote(echo[0])}", sure=False) if echo else None
    return found


def _instructs(phrase: str) -> bool:
    words = phrase.split()
    return not _INSTRUCTS.isdisjoint(words) or _INSTRUCTS_ZH.search("".join(words)) is not None


def _shared(caption: Caption, phrases: frozenset[str], beginnings: frozenset[tuple[str, ...]]) -> str | None:
    if beginnings.isdisjoint(_fours(caption.tokens)):
        return None
    for sentence in _sentences(caption.text):
        if beginnings.isdisjoint(_fours(sentence)):
            continue
        runs = (" ".join(sentence[at : at + size]) for size in _SIZES for at in range(len(sentence) - size + 1))
        leaked = next((run for run in runs if run in phrases and _instructs(run)), None)
        if leaked is not None:
            return leaked
    return None


GATE = Gate(Code.PROMPT_LEAK, "reject", prompt_leak)
