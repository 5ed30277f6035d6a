"""What the gates say of captions."""

import json
from collections.abc import Mapping

from regioncap.captions.answers import ParsedAnswer
from regioncap.captions.prompts import PROMPTS, PromptLanguage, system_message, user_prompt
from regioncap.gates import OWN_GATES, Answer, run_gates
from regioncap.marks.styles import STYLES


def an_answer(
    captions: Mapping[int, str], language: PromptLanguage = "en", prompts: tuple[str, ...] = (), colours: bool = False
) -> Answer:
    """A structured answer; with `colours`, those of the marks are known."""
    text = json.dumps({f"<region{region}>": caption for region, caption in captions.items()}, ensure_ascii=False)
    regions = sorted(captions)
    sent = prompts or (
        system_message("You are a helpful assistant.", STYLES["box"], "joint", "structured", len(captions), language),
        user_prompt(PROMPTS[language], len(captions)),
    )
    names = dict(enumerate(("red", "blue", "green", "yellow", "purple", "orange"), start=1)) if colours else {}
    return Answer(text, "stop", ParsedAnswer(dict(captions)), regions, language, sent, names)


def judged(answer: Answer) -> dict[str, str]:
    """What fires, with its severity."""
    return {str(finding.gate.code): finding.severity for finding in run_gates(answer, OWN_GATES)}


def judge(caption: str, language: PromptLanguage | None = None, region: int = 1) -> dict[str, str]:
    """What fires on a caption of region `region`, in Chinese if there is Chinese in it, and with what severity."""
    chinese = any("\u4e00" <= character <= "\u9fff" for character in caption)
    others = (
        ["一棵树", "一盏路灯", "一只棕色的狗"]
        if (language or "zh") == "zh" and chinese
        else ["a tree", "a lamp post", "a brown dog"]
    )
    captions = dict(enumerate([*others[: region - 1], caption], start=1))
    return judged(an_answer(captions, language or ("zh" if chinese else "en")))
