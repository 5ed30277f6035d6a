"""The model refuses, apologises, or chats instead of describing."""

import re

from regioncap.regions.codes import Code
from regioncap.regions.gates.gate import Caption, Gate, each_caption, quote

_NOT_ABLE = (
    r"(?:can(?:no|')?t|can not|could(?:n't| not)|won't|will not|do(?:n't| not)|am not|'m not|was not|wasn't|am unable|'m unable|was unable"
    r"|must decline|must refuse|have to decline|decline|refuse|lack|regret|apologi[sz]e|am sorry|'m sorry|am afraid|'m afraid|would rather not)"
)
_WHAT = r"(?:the|this|that|any|what|which|whether|its|an?|your)\b"
_REFUSED = re.compile(
    # I cannot, I'm sorry, we are unable: nobody in a caption speaks of himself
    rf"\b(?:i|we)\s?(?:(?:really|truly|simply|also|currently|just|therefore|must|have to)\s)?{_NOT_ABLE}\b"
    r"|\b(?:my|our) (?:sincere )?apologies\b|\bapologies,? (?:but|for)\b|\bsorry,? (?:but|for|i|that|about|we|the|this|there|no)\b|^(?:i'm |so )?sorry\b"
    r"|\bas an? (?:\w+[ -]){0,3}(?:ai|language model|assistant|chatbot|llm|vlm|machine)\b|\bas (?:artificial intelligence|your assistant)\b"
    r"|\bi(?:'m| am) (?:just |only |merely )?(?:an? |your )?(?:\w+ ){0,2}(?:ai|language model|assistant|chatbot)\b"
    # unable to describe, cannot be determined: said of the whole, not of a detail
    r"|^(?:unfortunately,? )?(?:it(?: is|'s) )?(?:unable|not able|impossible|not possible|cannot|can't|could not|couldn't|failed|unclear)\b"
    r"(?! to fit)"
    r"|\bunfortunately,? (?:i|we|it is|it's|there is no|the (?:image|region|picture))\b"
    rf"|\b(?:impossible|not possible|not able|unable|hard|difficult) to (?:determine|say|tell|describe|identify|assist|provide|process|analy[sz]e|make out|recogni[sz]e) {_WHAT}"
    r"|\b(?:image|picture|region|area|content|contents|request|it|this|description) (?:can ?not|can't|could not|is unable to|cannot) be"
    r" (?:described|determined|identified|processed|provided|displayed|analy[sz]ed|loaded|fulfilled|recogni[sz]ed)\b"
    r"|\bno (?:image|picture|photo|file|region) (?:is |was |has been |were )?(?:provided|attached|uploaded|given|included|found|available|supplied)\b"
    r"|\b(?:not enough|insufficient) (?:information|context|detail)|\b(?:don't|do not) (?:see|have) (?:any|enough|an?|the) (?:image|picture|information|access|ability)\b"
    r"|\b(?:content|usage|safety|privacy|community|use|openai'?s?) (?:policy|policies|guidelines|rules)\b|\b(?:my|our) (?:guidelines|programming|policy|policies|training data|capabilities)\b"
    r"|\b(?:violates?|against) (?:the |my |our |any )?(?:\w+ )?(?:policy|policies|guidelines|rules|terms)\b"
    r"|\bplease (?:provide|upload|share|send|attach|try again|re-?upload|supply|specify|clarify|rephrase|note that|let me know|feel free|consult)\b"
    r"|\bassist (?:you )?(?:with|in) (?:that|this|your)\b|\bhelp (?:you )?with (?:that|this|your)\b"
    # chat around a description
    r"|\blet me know (?:if|how|what|whether)\b|\bfeel free to\b|\b(?:i )?hope (?:this|that|it) (?:description )?helps?\b"
    r"|\b(?:happy|glad|here) to (?:help|assist)\b|\bif you (?:have|need|want|would like|'d like|could provide|can provide) (?:any|more|further|other|additional|me|another|a)\b"
    r"|\bis there anything (?:else|specific|in particular)\b|\bwould you like (?:me|to|more)\b|\bdo you (?:have|want|need) (?:any|me|more)\b"
    r"|\bthank(?:s| you) for (?:sharing|providing|your|the|uploading|asking)\b|\b(?:how|what) (?:can|may|else can) i (?:help|assist|do)\b"
    r"|^(?:sure|certainly|of course|absolutely|okay|ok|alright|great question|no problem|gladly|understood|got it|yes|hello|hi)(?: thing)?\s?[,!.:;]"
    r"|^(?:here(?: i|')s|here are|below is|below are|the following is) (?:the|a|an|your|my) (?:\w+ ){0,2}(?:description|caption|answer|response|summary|breakdown)\b"
    r"|\bi(?:'d| would|'ll| will) be (?:happy|glad)\b|\bi(?:'ll| will) (?:describe|do my best|try|provide|now)\b|\bbased on (?:the|your) (?:information|prompt|request)\b",
    re.IGNORECASE,
)
_REFUSED_ZH = re.compile(
    r"(?:抱歉|对不起|不好意思|遗憾)[，,。！!的地\s]{0,2}(?:但|我|您|你|这|该|无法|不能|没|由于|因|目前|暂|图|请|的是|地)|^(?:非常|很|十分|真的)?(?:抱歉|对不起|不好意思|遗憾)"
    r"|(?:非常|很|十分|深感)(?:抱歉|遗憾)"
    r"|(?:我|本人|本助手|小助手|系统)(?:目前|暂时|现在|也|真的|还|并|确实|实在)?(?:无法|不能|没法|没有办法|没办法|不便|不可以|不会|无权|看不到|看不见|看不清|没有能力|没有看到|没看到|没有收到|未能|不清楚|不知道|不确定|拒绝)"
    r"|作为(?:一个|一名|一款|您的|你的|一种)?[^，。]{0,6}(?:人工智能|AI|语言模型|大模型|助手|模型|机器人)"
    r"|我(?:只)?是(?:一个|一款|一名|由)?[^，。]{0,8}(?:人工智能|AI|语言模型|大模型|助手|通义|模型)"
    r"|^(?:目前|暂时|由于[^，。]{0,15}，?)?(?:无法|不能|未能|难以)(?:描述|提供|识别|确定|判断|回答|处理|查看|协助|完成|给出|辨认|看清|满足|访问|分析)"
    r"|(?:区域|图像|图片|内容|问题|请求)[^，。]{0,6}(?:无法|不能)(?:被)?(?:描述|识别|确定|判断|回答|处理|查看|提供|显示|满足|完成)"
    r"|无法(?:为您|为你|协助|满足|回答|提供|给出|继续|完成|处理|访问|确定[^，。]{0,8}(?:内容|什么))"
    r"|请(?:您|你)?(?:重新|再次|先)?(?:提供|上传|补充|告诉我|告知|稍后|换|注意|随时|发送|咨询|谅解|联系)|(?:没有|未)(?:看到|收到|检测到|提供|上传|发现)[^，。]{0,4}(?:图片|图像|照片|区域)"
    r"|违反[^，。]{0,8}(?:政策|规定|准则|规范)|(?:内容|安全|使用|隐私)(?:政策|准则|规范)|相关(?:法律|法规|规定)|信息不足|不予"
    r"|希望(?:这|以上|我|该|上述|能|对)[^，。！]{0,14}(?:帮助|帮到|满意|有用)|(?:如果|如|若|要是)(?:您|你)?(?:还)?(?:有|需要|想)[^，。]{0,10}(?:问题|需要|帮助|疑问|了解|信息|修改)"
    r"|随时(?:告诉|联系|问|提问|向我|告知)|(?:很|非常)?(?:乐意|高兴|荣幸)(?:为|能|帮)|有什么(?:可以|能)帮|感谢(?:您|你)(?:的)?(?:提供|分享|上传|提问|理解)"
    r"|^(?:当然(?:可以)?|好的?|没问题|可以的?|明白了?|收到|您好|你好|是的|嗯)[，,！!。:：\s]|^(?:以下|下面|这)是?[^，。：:]{0,10}(?:描述|说明|介绍|回答|答案)[：:]"
    r"|好的，(?:以下|我|这|下面|让)|为您(?:描述|提供|服务|解答)",
    re.IGNORECASE,
)


def refusal(caption: Caption) -> str | None:
    """Words of refusal or of chat, in either language, outside of quotations."""
    text = caption.own_words.replace("’", "'").strip()
    found = _REFUSED.search(text) or (None if text.isascii() else _REFUSED_ZH.search(text))
    return f"is no description: {quote(text[max(0, found.start() - 10) :].strip())}" if found else None


GATE = Gate(Code.REFUSAL, "reject", each_caption(refusal))
