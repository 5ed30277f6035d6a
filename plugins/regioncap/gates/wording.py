"""Reading captions: what of them is quoted, and their words."""

import re

# Stands for what was quoted: it is something, and no word of the model's own.
QUOTED = "※"

_QUOTATION = re.compile(
    r"“([^”]{0,300})”|\"([^\"]{0,300})\"|「([^」]{0,300})」|『([^』]{0,300})』|《([^》]{0,300})》|‘([^’]{0,300})’(?!\w)"
    r"|(?<!\w)'([^'\n]{0,300})'(?!\w)|`([^`]{0,300})`"
)
_QUOTATION_MARK = re.compile("[“\"「『《‘'`]")
_SPACES = re.compile(r" {2,}")
_SHORT_NUMBER = re.compile(r"\s*#?\d{1,3}\s*")
_WORD_CHARACTER = re.compile(r"\w")
HAN = "㐀-䶿一-鿿"
HAN_CHARACTER = re.compile(rf"[{HAN}]")
# A word of a script with spaces, a number, or one character of a script without them.
_TOKEN = re.compile(r"[a-zà-ɏ]+(?:['’-][a-zà-ɏ]+)*|\d+(?:[.,:]\d+)*|[^\W\d_]")
# A point within a number ends none.
_SENTENCE_END = re.compile(r"(?<=[!?;。！？；])\s*|(?<=\.)(?!\d)\s*|\n+")
_MAY_END = re.compile(r"[.!?;。！？；\n]")


# What follows one of these, to the end of the sentence, is read from the picture though no quotation marks say so: a
# verb of reading, what bears words with a colon, a name.
_READING = re.compile(
    r"\b(?:reads?|reading(?! (?:an?|the|his|her|their|books?|newspapers?|to)\b)|says|saying|(?:that|which|signs"
    r"|letters|words|shirts) say|asks|asking|states|stating"
    r"|spells?|spelling(?: out)?|(?:en)?titled|inscribed"
    r"|named|called|slogan|phrase|lettering|inscription|(?:words?|text|message|characters|letters|headline|title"
    r"|lyrics)"
    r"(?!\s(?:on|of|in|is|are|at|with|box|field|message|and|or|from|cannot)\b))\b[\s:,]*(?=\w"
    # after a quotation the model speaks again
    r"|※)(?P<read>※(?:[ ,&/]*(?:and )?※)*|[^.!?。！？\n]*[!?]?)"
    r"|\b(?:an?|the|his|her|its|their|'s|with) (?:[\w-]+ ){0,3}(?:sign|poster|placard|card|banner|message|notice"
    r"|note|letter"
    r"|headline|subtitle|screen|bubble|button|sticker|graffiti|t-shirt|shirt|e-?mail|tweet|post|plaque|board|tattoo"
    r"|page"
    r"|title|menu|window|mug|cap|label|billboard|display|lines?|ticker|stamp|flyer|leaflet|cover|chat)"
    r"(?: [\w-]+){0,3}:\s*(?P<shown>[^\n]*)"
    r"|^(?!please|here|this|as )(?:[\w'’-]+ ){1,3}(?:sign|poster|placard|message|subject|heading|headline"
    r"|notification|pop-?up|dialog|alert"
    r"|sticker|banner|notice|slogan|e-?mail|tweet|post|button|screen|title|card|bubble):\s*(?P<subject>[^\n]*)"
    # a capital in the middle of a sentence, after what bears words
    r"|\b(?:sign|poster|placard|card|banner|message|notice|note|sticker|shirt|button|mug|cap|billboard|plaque|label"
    r"|with) "
    r"(?!let me know|i hope|please (?:let|note|provide)|thank you for (?:shar|provid|your)|do you (?:have|need"
    r"|want))(?-i:(?=(?:I|We|You|How|What|Why|Do|Don't|Please|Sorry|Thank|Let|Can|No"
    r"|Keep)\b))(?P<capital>[^.!?\n]*[!?]?)"
    r"|(?:写着|写有|写道|写了|印着|印有|印上|上书|题着|题有|刻着|刻有|名叫|名为|叫做|标语(?:是|为)?|字样(?:是|为)?"
    r"|内容(?:是|为)|[牌幅报签屏条书信板]上?：)"
    r"[：:，]?(?P<zh>[^。！？\n]*)",
    re.IGNORECASE,
)


_MAY_READ = re.compile(
    r"\b(?:read|sa[yi]|asks|asking|stat(?:es|ing)|spell|titled|entitled|inscri|named|called|slogan|phrase|lett|words?\b"
    r"|text\b|messag|charact|headl|title|lyric"
    r"|sign|poster|placard|card|banner|noti|note|sticker|shirt|button|mug|cap|billb|plaque|label|with (?:i|we"
    r"|you|how|what|why|do|please|let|can|no)\b)"
)
_MAY_READ_ZH = re.compile(r"[写印书题刻名叫字：]|标语|内容")


def any_of(*patterns: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    """A pattern that matches where one of these does."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), flags)


def at_word(*patterns: str) -> str:
    """Matches where a word begins with one of these.

    In one group with one `\\b`: `re` then looks only where a word begins. And it compares first letters before
    anything else, unless it has to disregard case: so `any_of` with `flags=0`, for text in lower case. Together that is
    eight times as fast.
    """
    return rf"\b(?:{'|'.join(patterns)})"


def at_start(*patterns: str) -> str:
    """Matches where the text begins with one of these."""
    return rf"^(?:{'|'.join(patterns)})"


def unquoted(text: str) -> str:
    """The text with `QUOTED` for each quotation. Quoted numbers stay, and so does a text that is one quotation."""
    if not _QUOTATION_MARK.search(text) or not _QUOTATION.search(text):
        return text
    own = _SPACES.sub(" ", _QUOTATION.sub(_replace, text)).strip()
    return own if _WORD_CHARACTER.search(own.replace(QUOTED, "")) else text


def unread(text: str) -> str:
    """The text with `QUOTED` for what is read from the picture without quotation marks, too."""

    def replaced(match: re.Match[str]) -> str:
        read = match["read"] or match["shown"] or match["subject"] or match["capital"] or match["zh"] or ""
        return match[0].removesuffix(read) + QUOTED

    may_read = ":" in text or _MAY_READ.search(text.lower()) or (not text.isascii() and _MAY_READ_ZH.search(text))
    return _READING.sub(replaced, text) if may_read else text


def _replace(match: re.Match[str]) -> str:
    inner = next(group for group in match.groups() if group is not None)
    return f" {inner} " if _SHORT_NUMBER.fullmatch(inner) else f" {QUOTED} "


def tokens(text: str) -> list[str]:
    """The words of a text in lower case, Chinese ones character by character, without punctuation."""
    return _TOKEN.findall(text.lower())


def full_width(text: str) -> str:
    """Chinese with the punctuation marks of Chinese: many write those of English."""
    return text.replace(",", "，").replace("!", "！").replace("?", "？").replace(":", "：").replace(";", "；")


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    if not _MAY_END.search(text, 0, len(text) - 1):
        return [text] if text.strip() else []
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]
