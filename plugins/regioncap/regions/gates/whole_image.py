"""A caption describes the whole image instead of its region."""

import re

from regioncap.regions.codes import Code
from regioncap.regions.gates.gate import Caption, Gate, each_caption, quote
from regioncap.regions.gates.wording import QUOTED, sentences

_IMAGE = r"(?:image|picture|photo|photograph|photography|scene|screenshot|snapshot|pic)"
_SHOWS = (
    r"(?:shows?|showing|depicts?|depicting|displays?|features?|captures?|capturing|presents?|portrays?|illustrates?|contains?|includes?|consists?|is|was|has|conveys?"
    r"|appears|seems|showcases?|represents?|reveals?|provides?|gives?|takes|focuses|looks|comprises?|exhibits?|describes?|centers|evokes|offers|suggests)\b"
)
# The image is what the sentence is about. "The picture on the wall shows a ship" is about a picture in the image.
_ABOUT_IMAGE = re.compile(
    rf"^(?:overall,? |generally,? |in general,? |in summary,? |in short,? |well,? )?(?:the|this|that|your)? ?(?:entire |whole |overall |full |given |provided |attached |complete |main |original )*{_IMAGE}"
    rf"(?: as a whole| overall| itself| here| provided| above| below)?,? (?:also |clearly |mainly |overall |primarily |then |generally )?{_SHOWS}"
    rf"|^(?:in|within|throughout|across|from|on) (?:the|this) (?:entire |whole |overall |full |given |provided )*{_IMAGE}\b(?! (?:on|hanging|frame|inside|above)\b)"
    rf"|^(?:this|it|that) (?:is|appears to be|seems to be|looks like) (?:an?|the) (?:\w+[ -]){{0,4}}{_IMAGE}\b"
    rf"|\b(?:entire|whole|overall|full|complete) (?:{_IMAGE}|view|composition|setting|frame)\b|\b{_IMAGE} as a whole\b|\bthe rest of the {_IMAGE}\b"
    rf"|^(?:in )?the (?:background|foreground|center|middle|top|bottom|left|right)(?: side)? of the {_IMAGE} "
    rf"(?:shows?|features?|has|there|is (?:a|an|the|filled|made)|contains?|includes?|we|,)"
    r"|^(?:an? |the )?(?:wide|full|overall|long|establishing|panoramic|aerial|bird's[- ]eye|general)(?:[- ]angle)? (?:shot|view|overview) of\b"
    r"|^(?:an? |the )?(?:\w+ ){0,3}(?:street|city|urban|outdoor|indoor|beach|kitchen|park|office|winter|rural|market|traffic|crowded|domestic|everyday|busy|lively|peaceful"
    r"|bustling|natural|room|cityscape) scene\b(?! (?:on|in a frame|printed|painted))"
    rf"|^(?:we|you|one|i) (?:can )?(?:see|observe)\b[^.]{{0,60}}\b(?:image|picture|photo|scene)\b"
    rf"|^(?:the )?(?:setting|atmosphere|composition|mood) (?:of (?:the|this) {_IMAGE}|is|appears)",
    re.IGNORECASE,
)
_PICTURE_ZH = r"(?:图像|图片|照片|画面|相片|影像|截图|图)"
_ABOUT_IMAGE_ZH = re.compile(
    rf"^(?:总体来说|总的来说|总体而言|整体来看|整体上|整体而言|总之)?[，,]?(?:在|从)?(?:这|该|此|本|那|给定的|提供的)?(?:一)?(?:张|幅|个|副|些)?(?:整张|整幅|整个)?(?:的)?(?:图像|图片|照片|画面|相片|影像|截图|(?:这|该|此)?(?:张|幅)图|该图|此图|本图|图(?=[中里是为显展描]))"
    r"(?:整体|总体|主要|的?主体|的?背景|的?前景|的?主题|的?内容|的?场景)?(?:上|中|里|内|来看|之中|当中)?(?:，|,)?(?:整体|主要|总体|清晰地?|生动地?|还|我们)?"
    r"(?:可以|能|能够)?(?:展示|展现|显示|描绘|呈现|拍摄|捕捉|记录|描述|包含|包括|有|是|为|看到|看见|给人|表现|反映|聚焦|中，|里，|，|,|存在|出现|分为|体现|传达|以)"
    r"|^(?:在|从)(?:这|该|此)?(?:张|幅|个)?(?:整张|整幅)?(?:图像|图片|照片|画面|图)(?:中|里|上|来看)"
    r"|^(?:这|此)(?:是|张是|幅是)(?:一)?(?:张|幅|个)?[^，。]{0,30}(?:照片|图片|图像|画面|图)(?:$|[。，,.])"
    rf"|整(?:个|张|幅|体)(?:的)?(?:{_PICTURE_ZH}|场景|构图|氛围)|(?:图像|图片|照片|画面|场景)(?:的)?(?:整体|全貌|总体)|全图|(?:^|，)整体(?:来看|来说|而言|上看|上)"
    r"|^(?:这个|该|此|整个|这一|这是一个|一个)?[^，。的]{0,6}(?:场景|场面)(?:中|里)?(?:展示|展现|显示|描绘|呈现|有|是|，|充满|包含|位于|发生)"
    rf"|{_PICTURE_ZH}(?:的)?(?:背景|前景)(?:是|为|中|有|里)",
)


def whole_image(caption: Caption) -> str | None:
    """A sentence has the image, the photo, the scene as what it is about."""
    for sentence in sentences(caption.own_words):
        bare = sentence.strip(f" \t-*#{QUOTED}，,")
        if _ABOUT_IMAGE.search(bare) or (not bare.isascii() and _ABOUT_IMAGE_ZH.search(bare)):
            return f"is described by the whole image: {quote(bare)}"
    return None


GATE = Gate(Code.WHOLE_IMAGE, "warn", each_caption(whole_image))
