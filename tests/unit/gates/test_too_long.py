"""`too_long`: a page is no caption."""

from tests.judging import judge

# No loop: each sentence has words of its own.
_ENGLISH = [
    f"A {a}ish {b}let stands beside the {c}er."
    for a in ("grey", "blue", "old", "tall", "dull")
    for b in ("brook", "leaf", "ring", "house", "star", "cut")
    for c in ("wait", "paint", "bank", "farm", "sing", "hunt", "bake")
]
_CHINESE = [
    f"{a}色的{b}旁边放着{c}。"
    for a in "红黄蓝绿紫灰"
    for b in ("书桌", "木椅", "吊灯", "花瓶", "衣柜")
    for c in ("雨伞", "水杯", "背包", "毛巾", "台历", "闹钟")
]


def test_a_page_rejects_a_long_paragraph_warns_and_a_paragraph_passes() -> None:
    assert judge(" ".join(_ENGLISH)).get("too_long") == "reject"
    assert judge(" ".join(_ENGLISH[:60])).get("too_long") == "warn"
    assert "too_long" not in judge(" ".join(_ENGLISH[:20]))


def test_chinese_says_more_in_a_character() -> None:
    assert judge("".join(_CHINESE)).get("too_long") == "reject"
    assert judge("".join(_CHINESE[:80])).get("too_long") == "warn"
    assert "too_long" not in judge("".join(_CHINESE[:40]))
