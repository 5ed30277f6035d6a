"""The model refuses, apologises, or chats instead of describing."""

import re

from regioncap.gates.gate import Caption, Gate, each_caption, quote
from regioncap.gates.wording import any_of, at_start, at_word
from regioncap.regions.codes import Code

_IMAGE = r"(?:image|picture|photo|region|area|content|contents|object|request|description|file)"
_DESCRIBED = (
    r"(?:described|determined|identified|processed|provided|displayed|analy[sz]ed|loaded|fulfilled"
    r"|recogni[sz]ed|opened"
    r"|completed|given|answered|met)"
)
_CHECK = r"(?:determine|say|tell|describe|identify|analy[sz]e|make out|recogni[sz]e|confirm|know|see)"
# What is asked for as a whole. That a detail "cannot be read" is a part of a good description.
_IT = (
    rf"(?:(?:the|this|that|any|your) (?:\w+ )?{_IMAGE}|the (?:individual|identity|person)|individuals|people"
    rf"|who (?:this|the)|your"
    rf"|what (?:is (?:in|inside|shown|here|depicted|being)|this is|it is|(?:the|this) {_IMAGE}))\b"
)
_POLICY = r"(?:policy|policies|guidelines|rules|terms)"

_SPEAKER = any_of(
    # Nobody in a caption speaks of himself. "I see a dog" is left to pass.
    r"(?:^|[.!?,;:]\s+|\b(?:but|and|so|because|that|as|when|if|unfortunately|sorry)\s+)"
    r"I(?:'m|'d|'ll|'ve)?\s+(?!see\b|can see\b|could see\b|notice\b|observe\b)[a-z]",
    flags=0,
)
_ENGLISH = any_of(
    at_word(
        r"(?:i|we) (?:can(?:no|')?t|can not|won't|will not|do(?:n't| not)|am not|are not|am unable|are unable"
        r"|must decline|apologi[sz]e)\b",
        r"i'm (?:sorry|afraid|unable|not)\b",
        r"(?:for|let|allow|tell|give|told|forgive|excuse) me\b",
        r"your (?:request|question|image|picture|prompt|query|message|input|understanding|patience)\b",
        r"(?:help|assist|tell|inform|show) you\b(?! \w+ (?:sign|text))",
        r"(?:my|our) (?:sincere )?(?:apologies|guidelines|programming|polic(?:y|ies)|training data|capabilities"
        r"|knowledge)\b",
        r"apologies,? (?:but|for|i|that)\b",
        r"sorry,? (?:but|for|i|that|about|we|the|this|there|no)\b",
        r"as an? (?:[\w-]+ ){0,3}(?:ai|language model|assistant|chatbot|llm|vlm)\b",
        r"as (?:artificial intelligence|your assistant)\b",
        rf"unfortunately,? (?:i|we|it is|it's|there is no|the {_IMAGE})\b",
        rf"(?:impossible|not possible|not able|unable|hard|difficult) to (?:accurately |clearly )?{_CHECK} {_IT}",
        r"(?:unable|not able|not possible) to (?:assist|provide|help|process|fulfil|comply|answer|view|access"
        r"|generate)",
        rf"unclear what (?:is (?:in|inside|shown)|(?:the|this) {_IMAGE})",
        rf"{_IMAGE} (?:can ?not|can't|could not|couldn't) be {_DESCRIBED}\b",
        r"it (?:cannot|can't|could not) be described\b",
        r"no (?:description|caption|information)\b.{0,30}\b(?:available|possible|given|provided)\b",
        r"(?:description|caption) (?:is )?(?:not |un)available",
        r"(?:privacy|safety|legal|copyright|ethical) (?:concerns?|reasons?|restrictions?|considerations?)\b",
        rf"no (?:{_IMAGE}|visible content) (?:is |was |has been |were )?(?:provided|attached|uploaded|given"
        r"|available|supplied)\b",
        r"(?:not enough|insufficient|more|enough) (?:information|context)\b",
        r"without (?:more|further|additional) (?:info|context|detail)",
        r"(?:don't|do not) (?:see|have) (?:any|enough|an?|the|access)\b",
        rf"(?:content|usage|safety|privacy|community|use|ethical) {_POLICY}\b",
        rf"(?:violat\w+|against) (?:the |my |our |any )?(?:\w+ )?{_POLICY}\b",
        r"inappropriate to\b",
        r"please (?:provide|upload|share|send|attach|try again|re-?upload|supply|specify|clarify|rephrase"
        r"|note that|feel free)\b",
        r"(?:assist|help) (?:with|in) (?:that|this|your)\b",
        r"i(?:'m| am) (?:just |only |merely )?(?:an? |your )?(?:\w+ ){0,2}(?:ai|language model|assistant|chatbot)\b",
        rf"(?:not [a-z]+ enough|too [a-z]+|nothing|no {_IMAGE}) to (?:describe|identify|analy[sz]e|recogni[sz]e)\b",
        r"let me know\b",
        r"feel free to\b",
        r"hope (?:this|that|it) (?:\w+ )?helps?\b",
        r"(?:happy|glad|here) to (?:help|assist)\b",
        r"if you (?:have|need|want|would like|'d like|could|can|provide|are looking|wish) (?:any|more|further"
        r"|other|additional|another|to know|me)\b",
        r"is there anything (?:else|specific|in particular)\b",
        r"would you like (?:me|to|more)\b",
        r"do you (?:have|want|need) (?:any|me|more)\b",
        r"thank(?:s| you) for (?:sharing|providing|your|the|uploading|asking)\b",
        r"(?:how|what) (?:can|may|else can) i\b",
    ),
    at_start(
        r"apologies\b",
        r"sorry[.!,]",
        r"(?:unfortunately,? )?(?:it(?: is|'s) )?(?:unable|not able|impossible|not possible|cannot|can't"
        r"|could not|failed)\b(?! to fit)",
        r"as (?:you )?requested\b",
        r"(?:sure|certainly|of course|absolutely|okay|ok|alright|great question|no problem|gladly|understood"
        r"|got it|hello|hi)(?: thing| there)?\s?[,!.:;]",
        r"(?:here(?: i|')s|here are|below is|below are|the following is) (?:the|a|an|your"
        r"|my) (?:\w+ ){0,2}(?:description|caption|answer|response|summary|breakdown)\b",
    ),
    flags=0,
)

_OPENS_ZH = r"(?:^|[，。！？；、,.!?;]\s?|但|而|因为|所以|如果|请|让|对|为|帮|给|抱歉|对不起)"
_CANNOT_ZH = r"(?:无法|不能|未能|难以|没法|没有办法|没办法|不便)"
_DO_ZH = r"(?:描述|提供|识别|确定|判断|回答|处理|查看|协助|完成|给出|满足|访问|分析|加载|显示)"
_CHINESE = any_of(
    rf"{_OPENS_ZH}(?:我|本助手)(?!国|市|校|家的)|(?<!欢迎)(?<!祝)您",
    r"(?:抱歉|对不起|不好意思|遗憾)[，,。！!的地哦啊\s]{0,2}(?:但|这|该|无法|不能|没|由于|因|目前|暂|图|请|的是|地)",
    r"^(?:非常|很|十分|真的|深感)?(?:抱歉|对不起|不好意思|遗憾)|(?:非常|很|十分|深感|深表)(?:抱歉|遗憾|歉意)",
    r"作为(?:一个|一名|一款|一种)?[^，。]{0,6}(?:人工智能|AI|语言模型|大模型|智能助手|AI助手|助手|模型)(?:，|我"
    r"|,|无|不)",
    rf"^(?:目前|暂时|由于[^，。]{{0,15}}，?)?{_CANNOT_ZH}(?:准确|清楚|直接)?{_DO_ZH}",
    rf"(?:区域|图像|图片|照片|内容|问题|请求)(?:的内容)?[^，。]{{0,4}}{_CANNOT_ZH}(?:被)?{_DO_ZH}",
    r"(?:出于|由于|因|基于)[^，。]{0,4}(?:隐私|安全|版权|政策|法律)|根据(?:您|你)的|无法描述|可供描述"
    r"|无法(?:协助|提供|满足|回答"
    r"|给出|继续|完成|处理|访问|确定[^，。]{0,8}(?:内容|什么))|不予(?:描述|回答|显示)",
    r"请(?:重新|再次|先)?(?:提供|上传|补充|告诉|告知|稍后|换|随时|发送|谅解)",
    r"(?:没有|未)(?:看到|收到|检测到|提供|上传|发现)[^，。]{0,4}(?:图片|图像|照片|区域)|(?:没有|缺乏"
    r"|缺少)(?:足够|充足|更多)?(?:的)?(?:信息|上下文)|信息不足",
    r"违反[^，。]{0,8}(?:政策|规定|准则|规范)|(?:内容|安全|使用|隐私)(?:政策|准则|规范)|相关(?:法律|法规|规定)",
    r"希望(?:这|以上|该|上述|能|对)[^，。！]{0,14}(?:帮助|帮到|满意|有用)|随时(?:告诉|联系|问|提问|告知)",
    r"(?:如果|如|若|要是)(?:你)?(?:还)?(?:有|需要|想)[^，。]{0,10}(?:问题|需要|帮助|疑问|了解|信息|修改|细节)",
    r"(?:乐意|高兴|荣幸)(?:为|能|帮)|有什么(?:可以|能)帮|感谢(?:你)?(?:的)?(?:提供|分享|上传|提问|理解)",
    r"^(?:当然(?:可以)?|好的?|没问题|可以的?|明白了?|收到|你好|是的|嗯)[，,！!。:：\s]",
    r"^(?:以下|下面|这)是?[^，。：:]{0,10}(?:描述|说明|介绍|回答|答案)[：:]|好的，(?:以下|这|下面)",
)


# What follows is read from the picture, though not in quotation marks.
_READ = re.compile(r"\b(?:words?|reads|reading|says|saying|slogan|lettering|phrase)\b[^.!?。]*", re.IGNORECASE)


def refusal(caption: Caption) -> str | None:
    """Words of refusal or of chat, in either language, outside of quotations."""
    text = _READ.sub(" ", caption.own_words.replace("’", "'")).strip()
    found = (
        _SPEAKER.search(text) or _ENGLISH.search(text.lower()) or (None if text.isascii() else _CHINESE.search(text))
    )
    return f"is no description: {quote(text[max(0, found.start() - 10) :].strip())}" if found else None


GATE = Gate(Code.REFUSAL, "reject", each_caption(refusal))
