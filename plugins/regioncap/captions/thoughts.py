"""What a model thinks aloud before it answers is no part of its answer."""

import re

from regioncap.captions.reading import WHITE_SPACE

_WORDS = r"(?:seed:)?(?:think|thinking|thought|thoughts|reasoning|reason|reflection|analysis|scratchpad)"
_OPENED = re.compile(
    rf"<{_WORDS}>|◁think▷|\[think\]|<\|(?:begin_of_thought|start_thinking)\|>|<unused94>"
    r"|<\|channel\|>(?:analysis|commentary)",
    re.IGNORECASE,
)
_ENDED = re.compile(
    rf"</{_WORDS}>|◁/think▷|\[/think\]|<\|(?:end_of_thought|end_thinking)\|>|<unused95>"
    r"|<\|channel\|>final(?:<\|message\|>)?",
    re.IGNORECASE,
)
# Where the prompt's template has opened the thought, only its end is seen: on a line of its own, or ending one.
_LONE_END = re.compile(rf"(?:^[ \t]*(?:{_ENDED.pattern})|(?:{_ENDED.pattern})[ \t]*$)", re.IGNORECASE | re.MULTILINE)

# Thoughts under a heading of their own, and the heading of the answer that follows them.
_HEADING = r"^[ \t>#*_]*(?:{words})[ \t*_]*[:：][ \t*_]*|^[ \t>]*#+[ \t]*[*_]*(?:{words})[*_]*[ \t]*$"
_FINAL = r"(?:my |the )?final (?:answer|output|response)|最终(?:答案|回答|结果)"
_THINKING = r"(?:my )?(?:thoughts?|thinking|thought process|reasoning)|思考(?:过程)?|推理(?:过程)?"
_ANALYSIS = r"(?:my )?analysis|分析(?:过程)?"


def _heading(words: str) -> re.Pattern[str]:
    return re.compile(_HEADING.format(words=words), re.IGNORECASE | re.MULTILINE)


# What helps where a model thinks for too long. Servers name it differently: docs/vlm-servers.md.
SWITCH_OFF = 'switch thinking off: set the param request_extras to {"chat_template_kwargs": {"enable_thinking": false}}'

# Without any of these there is no heading to look for.
_HEADING_WORDS = ("final", "thought", "thinking", "reasoning", "analysis", "最终", "思考", "推理", "分析")
_FINAL_HEADING = _heading(_FINAL)
_ANSWER_HEADING = _heading(rf"{_FINAL}|(?:my |the )?(?:answer|output|response)|答案|回答")
_THINKING_HEADING = _heading(_THINKING)
_THOUGHT_HEADING = _heading(f"{_THINKING}|{_ANALYSIS}")


def without_thoughts(text: str) -> str:
    """The answer without what was thought before it, and without white space round it.

    A thought that is begun and never ended leaves nothing: what follows it is no answer.
    """
    spoken = text.strip(WHITE_SPACE)
    if not _OPENED.match(spoken):
        end = _LONE_END.search(spoken) if _ENDED.search(spoken) else None
        if end and not _OPENED.search(spoken, 0, end.start()):
            spoken = spoken[end.end() :].lstrip()
    while opened := _OPENED.match(spoken):
        ended = _ENDED.search(spoken, opened.end())
        if ended is None:
            return ""
        spoken = spoken[ended.end() :].lstrip()
    small = spoken.lower()
    if not any(word in small for word in _HEADING_WORDS):
        return spoken
    headings = _ANSWER_HEADING if _THOUGHT_HEADING.match(spoken) else _FINAL_HEADING
    starts = [found.end() for found in headings.finditer(spoken)]
    if starts:
        return spoken[starts[-1] :].strip(WHITE_SPACE)
    return "" if _THINKING_HEADING.match(spoken) else spoken


def as_thoughts(text: str) -> str:
    """A text that is known to be thoughts, so that `without_thoughts` leaves nothing of it."""
    return "<think>" + _ENDED.sub("", text)


def only_thoughts(text: str) -> bool:
    """Whether somebody has thought, and answered nothing."""
    return bool(text.strip(WHITE_SPACE)) and not without_thoughts(text)
