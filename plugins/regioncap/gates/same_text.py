"""Two regions are described by (nearly) the same text: alike objects, or a model that mixes regions up."""

import re
from itertools import combinations

from regioncap.gates.gate import Answer, Failure, Gate
from regioncap.regions.codes import Code
from regioncap.regions.names import region_name

# Two captions are nearly the same if so much of their pairs of neighbouring words is: above, where one says all that
# the other says; below, where each says something of its own.
MIN_ALIKE_WITHIN = 0.8
MIN_ALIKE = 0.9
# Shorter captions are the same, or are not.
MIN_WORDS = 4

# Words that say nothing of a thing itself.
_EMPTY = frozenset(
    "a an the this that these there here it its is are was in the image region shows showing show and "
    "has have having 为 呈 并 且 与 和 及 "
    "一 个 只 "
    "条 件 张 辆 位 "
    "这 那 该 是 的 了 着 有 正 区 域 内 显 示 图 中 色".split()
)
# Nor these, if there is enough beside them: what is "on the road" is "in the road", too.
_PLACING = frozenset("on at by near with w of to next beside upon atop".split())
MIN_BESIDE = 3
# Words by which alike things are told apart.
_TELLING = frozenset(
    "left right top bottom upper lower front back rear near far middle center centre first second third fourth "
    "fifth last "
    "for from other another one two three four five six no not without half big large small tall short long larger "
    "smaller open closed "
    "empty full red blue green yellow purple orange cyan magenta brown pink teal lime white black grey gray "
    "silver gold man woman "
    "boy girl male female old young light dark above below under over inside outside behind striped plain "
    "dotted standing "
    "sitting lying 左 右 上 下 前 后 里 外 第 二 三 四 五 大 小 高 矮 长 短 红 蓝 绿 黄 紫 橙 青 粉 棕 白 黑 灰 "
    "银 金 男 女 老 "
    "开 关 空 满 旧 新 远 近 站 坐 躺 不 无 没 东 南 西 北 另".split()
)
_NUMBER = re.compile(r"\d")
# Other words for the same.
_SAME_WORD = {
    "guy": "man", "dude": "man", "gentleman": "man", "lady": "woman", "kid": "child", "big": "large",
    "sofa": "couch", "bicycle": "bike", "automobile": "car", "grey": "gray", "photograph": "photo",
    "picture": "photo", "seated": "sitting", "类": "种", "样": "种", "块": "起", "立": "站",
    "摆": "放", "搁": "放", "置": "放", "旁": "边", "侧": "边", "幅": "张", "位": "个", "名": "个",
}  # fmt: skip


def same_text(answer: Answer) -> Failure | None:
    """The first two regions whose captions are nearly the same, with the others of that text."""
    captions = {caption.region: _content(caption.tokens) for caption in answer.captions if caption.region is not None}
    words = {region: frozenset(content) for region, content in captions.items()}
    for one, other in combinations(captions, 2):
        # Most captions have hardly a word in common.
        common = len(words[one] & words[other])
        if 2 * common >= min(len(words[one]), len(words[other])) > 0 and _alike(captions[one], captions[other]):
            return Failure(f"{region_name(one)} and {region_name(other)} have nearly the same caption", (one, other))
    return None


def _content(said: list[str]) -> tuple[str, ...]:
    words = tuple(_SAME_WORD.get(token, token) for token in said if token not in _EMPTY)
    placed = tuple(word for word in words if word not in _PLACING)
    return placed if len(placed) >= MIN_BESIDE else words or tuple(said)


def _pairs(words: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """Each two neighbouring words, the first and the last with the caption's ends, in the singular."""
    stems = [_singular(word) for word in words]
    return frozenset(zip(("", *stems), (*stems, ""), strict=True))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word.removesuffix("s") if len(word) > 3 else word


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    pairs, others = _pairs(one), _pairs(other)
    if one == other or (pairs == others and len(one) >= MIN_WORDS - 1):
        return True
    if min(len(one), len(other)) < MIN_WORDS:
        return False
    alike = 2 * len(pairs & others) / (len(pairs) + len(others))
    if alike < MIN_ALIKE_WITHIN:
        return False
    only_one, only_other = set(one) - set(other), set(other) - set(one)
    if any(word in _TELLING or _NUMBER.search(word) for word in only_one | only_other):
        return False
    return alike >= MIN_ALIKE or not only_one or not only_other


GATE = Gate(Code.SAME_TEXT, "warn", same_text)
