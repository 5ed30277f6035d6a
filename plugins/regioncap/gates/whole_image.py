"""A caption describes the whole image instead of its region."""

import re

from regioncap.gates.gate import Caption, Gate, each_caption, quote
from regioncap.gates.wording import QUOTED, any_of, at_start, at_word, full_width, sentences
from regioncap.regions.codes import Code

_IMAGE = r"(?:image|picture|pic|photo|photograph|scene|screenshot|snapshot|visual)"
_ADJECTIVES = (
    r"(?:entire |whole |overall |full |given |provided |attached |complete |main |original |depicted |general )*"
)
_OVERALL = (
    r"(?:overall|generally|in general|in summary|in short|in conclusion|as a whole|all in all|altogether|taken together"
    r"|on the whole)"
)
_FIRST = rf"(?:{_OVERALL},? )?"
# "The picture on the wall", "the image of a lion", "the photo she is holding": a picture in the image.
_A_THING = (
    r"(?! (?:(?:that|which) (?:is|are|was|hangs|lies|stands|he|she|they|the|a)\b|(?:he|she|they|you|someone|somebody)\b"
    r"|held|lying|leaning|stuck|glued|attached|mounted|propped|being|from the|editing|viewer|gallery|studio|booth"
    r"|op\b|id\b|card|tile|thumbnail|icon|carousel"
    r"|on|of|hanging|hung|frame|frames|inside|above|below|behind|next|printed|painted|pinned|taped|album"
    r"|book|gallery|to the"
    r"|at the|in (?:a|an|the|its) (?:\w+ )?(?:frame|book|magazine|mirror|newspaper|window)|displayed on"
    r"|shown on|depicted on"
    r"|with (?:a|an|the) (?:\w+ )?frame))"
)
_NOT_A_THING = (
    r"(?!.{0,200}\b(?:wall|frames?|framed|hanging|hung|printed|poster|mug|magazine|album|pinned|taped|postcard|easel"
    r"|fridge|refrigerator|monitor|laptop|website|app|newspaper|billboard|brochure|side of|held|holding|mirror"
    r"|reflected"
    r"|canvas|painting|painted|mural|tapestry|tattoo|stamp|calendar|puzzle|projector|thumbnail"
    # what may be in the whole image, too
    r"|(?:on|in|inside|of|at|from|by)(?: (?:an?|the|his|her|its|their|some))?(?: [\w-]+)? (?:screen|shirt|page"
    r"|rack|shelf|card|stand"
    r"|desk|table|phone|tablet|tv|television|banner|sign|box|package|packet|label|cover|menu|van|truck|hands?|window"
    r"|plate|bag|cup|vase|board|display|slide))\b)"
)
# "A wide view of the valley behind the hikers": a part of the image.
_ELSEWHERE = (
    r"(?!.{0,200}\b(?:behind|beyond|through|outside|reflected|reflection|in the (?:window|mirror|background|distance)"
    r"|out of)\b)"
)
_PLACE = (
    r"(?:room|street|city|park|kitchen|beach|landscape|market|office|forest|square|station|airport|restaurant"
    r"|village|town"
    r"|intersection|road|garden|people)"
)
_SHOWS = (
    r"(?:shows?|depicts?|displays?|features?|captures?|presents?|portrays?|illustrates?|contains?|includes?|is"
    r"|appears"
    r"|seems)"
)
_OF_ALL = (
    r"(?:subject|focus|focal point|theme|topic|setting|atmosphere|mood|tone|composition|perspective|style"
    r"|background|foreground|rest"
    r"|content|contents|overall \w+|environment)"
)
_KIND = (
    r"(?:street|city|urban|outdoor|indoor|beach|kitchen|park|office|winter|rural|market|traffic|crowded"
    r"|domestic|everyday|busy|lively"
    r"|peaceful|bustling|natural|cityscape|landscape)"
)
_ENGLISH = any_of(
    at_start(
        rf"{_FIRST}(?:the|this|that|your) {_ADJECTIVES}{_IMAGE}\b{_A_THING}",
        rf"{_FIRST}(?:{_IMAGE}) (?:also |clearly |mainly )?{_SHOWS}\b",
        rf"{_FIRST}(?:in|within|throughout|across|from) (?:the|this) {_ADJECTIVES}{_IMAGE}\b{_A_THING}",
        rf"{_FIRST}(?:this|it|that)(?:'?s| is| appears to be| seems to be| looks like) (?:an?"
        rf"|the) (?:[\w-]+ ){{0,4}}{_IMAGE}\b(?! (?:frame|album|book))",
        rf"{_FIRST}the (?:main |central |primary |overall |general )*{_OF_ALL} (?:of|in) (?:the"
        rf"|this) {_ADJECTIVES}{_IMAGE}\b",
        rf"(?:an? |the )?{_IMAGE} (?:showing|depicting|capturing|that shows|which shows)\b{_NOT_A_THING}",
        rf"(?:an? |the )?(?:[\w-]+ ){{0,4}}{_IMAGE} of (?:an? |the |several "
        rf"|many )?(?:[\w-]+ ){{0,2}}{_PLACE}\b{_NOT_A_THING}",
        r"(?:it|this) (?:shows|depicts|captures) the (?:whole|entire|full)\b",
        r"(?:an? |the )?(?:wide|full|overall|long|establishing|general)(?:[- ]angle)? (?:shot"
        rf"|view) of\b{_NOT_A_THING}{_ELSEWHERE}",
        r"(?:an? |the )?(?:panoramic|aerial|bird's[- ]eye)(?:[- ]angle)? (?:shot|view|image|photo) of (?:an? "
        rf"|the )?(?:[\w-]+ ){{0,2}}{_PLACE}\b"
        rf"{_NOT_A_THING}{_ELSEWHERE}",
        r"(?:the )?(?:whole |entire |overall )?(?:scene|setting|atmosphere|mood|composition|ambiance|ambience) (?:is"
        r"|takes|shows|was|appears"
        r"|seems|feels|has|suggests|conveys|evokes|features|includes|consists|unfolds)\b",
        rf"{_FIRST}(?:this|the|it) {_ADJECTIVES}(?:{_IMAGE} )?(?:was|is|has been|seems to have been"
        r"|appears to be) (?:taken|shot|captured|photographed"
        r"|a (?:black|colou?r|close|wide|still))\b",
        r"(?:it|this|that|here) is (?:an? |the )?(?:[\w-]+ ){0,3}(?:view|scene|shot|panorama|landscape|cityscape"
        r"|snapshot|collage|composition"
        rf"|photography|photograph|picture|photo)\b{_NOT_A_THING}",
        r"(?:an? )?(?:[\w-]+ ){0,2}(?:screenshot|screen capture|collage|panorama) (?:of|showing|from|taken|with)\b"
        r"(?!.{0,200}\b(?:on|in|inside) (?:an?|the|his|her|their) "
        r"(?!left|right|top|bottom|middle|cent|upper|lower|corner|side|foregr|backgr))",
        r"(?:the|this) (?:\w+ )?(?:shot|view|footage|composition) (?:captures|shows|depicts|is (?:of|from|a)"
        r"|features|includes"
        rf"|contains|has)\b{_NOT_A_THING}{_ELSEWHERE}|in this shot\b|here,? (?:we|you|one) (?:have|see|can|could"
        rf"|find)\b",
        r"(?:we|you)(?: are|'re) (?:looking at|seeing|shown|viewing)\b",
        rf"(?:an? |the )?{_IMAGE} (?:in which|where)\b{_NOT_A_THING}",
        rf"{_OVERALL}, (?:an?|the|there)\b",
        rf"{_OVERALL},? (?:this|it|the \w+)(?:'?s| is| looks?| shows?| appears?| seems?| depicts?)\b",
        rf"(?:an? |the )?{_IMAGE} (?:was |is )?(?:taken|shot|snapped) (?:at|from|in|on|by|during|of)\b{_NOT_A_THING}",
        r"(?:seen )?(?:from above|an overview)[,:] ",
        r"(?:an? |the )?(?:[\w-]+ ){0,3}(?:black[- ]and[- ]white|monochrome|colou?r|vintage|sepia|grayscale"
        rf"|greyscale) {_IMAGE}\W*$",
        rf"(?:in|at) the (?:background|foreground),? (?:of (?:the|this) {_IMAGE},? )?(?:there|we|you|one) ",
        rf"(?:an? |the )?(?:\w+ ){{0,2}}{_KIND} scene\b(?! (?:on|in a|printed|painted))",
        rf"(?:an? |the )?(?:\w+ ){{0,2}}scene (?:from|of|with|in|at)\b{_NOT_A_THING}",
        rf"(?:here )?(?:we|you) (?:can )?see an? {_IMAGE}\b",
        r"(?:an? |the )?(?:\w+ )?overview of\b",
        rf"(?:we|you|one|i) (?:can |could )?(?:see|observe)\b[^.]{{0,60}}\b{_IMAGE}\b",
        r"(?:we|you|one) (?:can |could |also )*see\b",
    ),
    at_word(
        rf"(?:entire|whole|overall|full|complete) (?:{_IMAGE}|view|composition|setting)\b|{_IMAGE} as a whole\b"
        rf"|as a whole\b|everything (?:in|within) the {_IMAGE}\b"
        rf"|the rest of the {_IMAGE}\b",
        rf"in (?:this|the given|the provided) {_IMAGE}\b",
        rf"(?:shown|seen|depicted|visible|captured) in (?:the|this) {_ADJECTIVES}{_IMAGE}\b{_A_THING}",
        # near, in the middle and far in one list
        r"foreground\b.{0,100}\b(?:middle|midground|cent(?:er|re)|left|right|behind)\b.{0,100}\bbackground\b"
        r"|background\b.{0,100}\b(?:middle|midground|cent(?:er|re)|left|right|behind)\b.{0,100}\bforeground\b",
        rf"{_IMAGE} of (?:the |an? )?(?:whole|entire|full)\b",
        rf"view of (?:the |an? )?(?:whole|entire|full)\b{_ELSEWHERE}",
        r"(?:there are|contains?|shows?|has|with|includes?|a total of) (?:\w+ )?(?:marked |numbered |labell?ed "
        r"|highlighted |different )?regions\b",
        r"(?:background|foreground|left side|right side|center|centre|middle|top|bottom) of (?:the"
        rf"|this) {_ADJECTIVES}{_IMAGE} (?:is|are|shows?|features?|has|contains?|there)\b",
    ),
    flags=0,
)

_IMAGE_ZH = r"(?:图像|图片|照片|画面|相片|影像|截图|截屏)"
_THIS_ZH = r"(?:这|该|此|本|那|整)?(?:一)?(?:张|幅|个)?(?:整张|整幅|整个)?"
_CHINESE = any_of(
    # 图片左侧的自行车, 照片墙, 照片上的女子: things at a place of the image, or pictures in it
    rf"^(?:总体来说|总的来说|总体而言|整体来看|整体上|整体而言|总之)?[，,]?(?:在|从)?{_THIS_ZH}(?:给定的"
    rf"|提供的)?(?:{_IMAGE_ZH}|(?<=[这该此本][张幅])图|(?<=[这该此本幅张])图(?=[是为里中上拍显展描呈]))"
    r"(?![^，。]{0,4}(?:被|贴|挂|夹|压|钉|摆|裱|印在|放在|立在|靠在|插在)|感|分割|编辑|墙|框|册|架|夹|(?:的)?(?:左"
    r"|右|上|下|中|前|后|最|边|正|顶|底|角|背景|前景)[^，。是有为]{0,6}的"
    r"|(?:上|中|里|内)?的(?!主|背景|前景|整体|内容|中心|场景|氛围|色调|风格|焦点|构图|重点))",
    r"^(?:在|从)?图(?=[中里])(?:中|里)(?!的)|^图上(?:一共|总共|共|有|是|显示|展示|能|可|画的)",
    r"^(?:这|该|此|本|整)(?:张|幅)?画(?:画的|描绘|展示|展现|呈现|表现|由|是一)|^从整体|^综观|^从图(?:上|中|片)?看"
    r"|^图为(?!案)|^(?:这里|这|此)是整个",
    r"^(?:总体来说|总的来说|总的来看|总体来看|整体来说|总体而言|整体来看|整体而言|总之|综合来看)[，,]?(?:这|该|此"
    r"|本|是|画|图|场|有)",
    r"^(?:总体来说|总的来说|总体而言|整体来看|整体而言)?[，,]?(?:这|此)(?:是|张是|幅是|似乎是"
    rf"|应该是)(?:一)?(?:张|幅|个)?[^，。]{{0,40}}(?:{_IMAGE_ZH}|图|合影)(?:$|[。，,.])",
    rf"{_IMAGE_ZH}(?:中)?(?:的)?(?:左|右|上|下|中|前|后|正|远|近)(?:边|侧|方|部|间|央|面|景|处)?(?:是|有|为|可以看到"
    r"|可见|站着|坐着|停着)",
    rf"整(?:个|张|幅|体)(?:的)?(?:{_IMAGE_ZH}|场景|构图|氛围|图(?!案|标|书|纸|层|形|钉|章|腾))"
    rf"|{_IMAGE_ZH}(?:的)?(?:整体|全貌|总体)|全图|(?:^"
    r"|，)(?:整体|总体)(?:来看|来说|而言|上看)",
    rf"^(?:整个|这是)?(?:{_IMAGE_ZH}|图|场景|画面)?(?:中|里|内)?(?:一?共|总共|共?有)?(?:有|标出|标记"
    r"|包含)?(?:了)?[\d一二两三四五六七八九十几多]+个(?:标记|标注|编号|不同)?(?:的)?区域",
    r"^(?:我们|可以|能)(?:可以|能够?)?(?:看到|看见|发现)|(?:拍摄|摄)(?:于|的是)|^(?:一|这是一)?(?:张|幅"
    r"|个)(?:[^，。的]{0,8}(?:的)?)?(?:截图|截屏|全景图|全家福|合影|拼图)$",
    r"^(?:整体|总体)?(?:氛围|气氛|构图|色调|环境)(?:是|为|显得|给人|营造|非常|十分|很)|^背景(?:是|为"
    r"|中有)[^，。]*，前景",
    r"^(?:这|该|此|整)(?:个|一)?[^，。的]{0,6}(?:场景|场面)|^(?:这|此)(?:是|为)一个[^，。]{0,12}(?:场景|画面)\W*$"
    r"|^场景(?:中|里|是|为|展|显|描|呈)|全景(?!天窗|相机)",
)


_BEARS_PICTURES = re.compile(
    r"\b(?:screen|post|phone|tablet|monitor|tv|poster|postcard|card|page|magazine|newspaper|book|album|frame|wall|mug"
    r"|shirt|billboard|canvas|slide|website|app|stamp|calendar|cover|display|sign|painting|photo|print)\b"
    r"|屏|手机|海报|明信片|杂志|报纸|相框|画框|墙|杯|广告牌|幻灯片|网页|封面|日历|白板|相册"
)
_THE_PICTURE = re.compile(
    r"(?:the|its) (?:picture|image|photo|photograph|pic|scene)\b|(?:图片|照片|画面|相片|图)[上中里]?"
)

# Captions with none of these are done with.
_HINTS = (
    "overall", "all in all", "altogether", "together", "from above",
    "pic", "setting", "atmosph", "mood", "ambi", "regions", "panorama", "scape", "collage", "screen", "ground",
    "we ", "one see", "see a", "taken", "image", "photo", "scene", "visual", "view", "shot", "composition",
    "you can", "you are", "whole", "entire",
)  # fmt: skip
_LATIN = re.compile(r"[A-Za-z]{2}")
_HINT_ZH = re.compile(r"[拍图照影画场整全总]|相片|综观|区域|看[到见]|氛围|背景")


def whole_image(caption: Caption) -> str | None:
    """A sentence has the image, the photo, the scene as what it is about."""
    text = caption.own_words.lower()
    if not (any(hint in text for hint in _HINTS) or (not text.isascii() and _HINT_ZH.search(text))):
        return None
    own = caption.own_words
    before = ""
    for sentence in sentences(own if own.isascii() else full_width(own)):
        bare = sentence.replace("’", "'").strip(f" \t-*#{QUOTED}，,")
        # After a screen, a poster, a postcard, "the picture" is the one on it.
        if _BEARS_PICTURES.search(before) and _THE_PICTURE.match(bare.lower()):
            continue
        before += sentence.lower()
        found = not bare.isascii() and _CHINESE.search(bare)
        if found or (_LATIN.search(bare) and _ENGLISH.search(bare.lower())):
            return f"is about the whole image: {quote(bare)}"
    return None


GATE = Gate(Code.WHOLE_IMAGE, "warn", each_caption(whole_image))
