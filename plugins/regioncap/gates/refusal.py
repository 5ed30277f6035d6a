"""The model refuses, apologises, or chats instead of describing.

That a detail cannot be read or seen is a good description: where nobody speaks and nobody is spoken to, only a caption
that says little else is taken for a refusal.
"""

import re

from regioncap.gates.gate import Answer, Caption, Failure, Gate, Unsure, each_caption, quote
from regioncap.gates.wording import QUOTED, any_of, at_start, at_word, full_width
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
    r"|who (?:this|the)|your"
    rf"|what (?:is (?:in|inside|shown|here|depicted|being)|this is|it is|(?:the|this) {_IMAGE}))\b"
)
_POLICY = r"(?:policy|policies|guidelines|rules|terms)"

_SPEAKER = any_of(
    # Nobody in a caption speaks of himself. "I see a dog" is left to pass.
    r"(?:^|[.!?,;:]\s+|[，。！？；：]\s*|\b(?:but|and|so|because|that|[Aa]s|[Ww]hen|[Ii]f|unfortunately|sorry)\s+)"
    r"I(?:'m|'d|'ll|'ve)?\s+(?!see\b|can see\b|could see\b|notice\b|observe\b)[a-z]",
    r"\bI (?:can(?:not|'t)?|could(?:n't)?|am|would(?:n't)?|should(?:n't)?|will|won't|must|think|believe|guess"
    r"|assume|suspect|don't"
    r"|do not|have to|had to|need to"
    r"|was not|wasn't)\b(?! see\b| observe\b)",
    r"\bI'd (?:rather|prefer)\b|\b(?:as far as|what|had|if|than|which|sure|afraid|think|believe) I (?:can|could"
    r"|had|have|see|am|know|was)\b",
    flags=0,
)
_ENGLISH = any_of(
    at_word(
        r"(?:i|we) (?:can(?:no|')?t|can not|won'?t|will not|couldn'?t|do(?:n't| not)|am not|are not|am unable"
        r"|are unable|must decline|apologi[sz]e|would rather|'d rather|rather not)\b",
        r"(?:model|ai|assistant|system|bot) (?:can ?not|can't|does not|doesn't|is (?:not able|unable|not allowed)"
        r"|refuse[sd]?)\b"
        r"|we do(?:n'?t| not)\b|would be (?:inappropriate|unethical|irresponsible|speculati\w+|a guess)\b"
        r"|you mean(?:t)?\b|(?:what|one|thing) you(?:'re| are) (?:looking for|asking|after)\b",
        r"(?:rather|prefer|better|'m|am|not) (?:not|going|gonna) (?:to )?(?:say|describe|discuss|comment|speculate"
        r"|guess"
        r"|name|identify|go into|talk about|tell|answer)\b",
        # somebody takes back what was said
        r"my (?:bad|mistake|error)\b|scratch that\b|on (?:second|closer) (?:thought|look|inspection)\b|no,? wait\b"
        r"|wait,? (?:no|actually|that|it|this)\b|i stand corrected|let me (?:correct|rephrase|try)"
        r"|(?:earlier|previous|last|first) (?:answer|description|caption|response|reply) (?:was|is|had|of mine)\b",
        r"(?:can|could|would|will) u (?:please|pls|send|share|upload|provide|tell|give|try|clarify)\b|p(?:ls"
        r"|lz) (?:provide"
        r"|upload|share|send|try|give|clarify)\b|(?:for|let|tell|ask) u\b|idk\b|dunno\b|no (?:idea|clue) what\b",
        r"privacy(?:,| i\b| we\b| it\b| this\b| the\b| no\b)",
        # at an end, and not as the name of a game
        r"sorry(?<=[.,;!:—–-] sorry)(?: about that| for (?:that|the confusion))?\W*$",
        r"any (?:other|more) questions\b|anything(?<=[.!?,;—–-] anything) else\b|want(?<=[.!?,;—–-] want) (?:me|more)\b"
        r"|need(?<=[.!?,;—–-] need) (?:more|anything)\b",
        r"i'?m (?:sorry|afraid|unable|not)\b|(?:i am|we are|we're) (?:sorry|afraid|unable|not able)\b",
        r"(?:for|let|allow|tell|give|told|forgive|excuse) me\b",
        r"your (?:request|question|image|picture|prompt|query|message|input|understanding|patience)\b",
        r"(?:help|assist|tell|inform|show) you\b(?! \w+ (?:sign|text))",
        r"(?:my|our) (?:sincere )?(?:apologies|guidelines|programming|polic(?:y|ies)|training data|capabilities"
        r"|knowledge)\b",
        r"apologies,? (?:but|for|i|that)\b",
        r"sorry,? (?:but|for|i|that|about|we|the|this|there|no)\b",
        r"as an? (?:[\w-]+ ){0,3}(?:ai|language model|assistant|chatbot|llm|vlm)\b",
        r"as (?:artificial intelligence|your assistant)\b",
        r"as an? (?:vision|visual|multimodal|text|language|large|ai)\b[\w -]{0,20}model\b",
        rf"unfortunately,? (?:i|we|it is|it's|there is no|the {_IMAGE})\b",
        r"(?:unable|not able|not possible) to (?:assist|provide|help|process|fulfil|comply|answer|view|access"
        r"|generate)\b",
        rf"(?:{_IMAGE}|identity|person|individual) (?:can ?not|can't|could not|couldn't|did not|didn't|failed to"
        r"|was not|wasn't"
        rf"|has not|hasn't|may not|should not) (?:be )?(?:{_DESCRIBED}|disclosed|verified|load\w*|open|viewed"
        r"|accessed|disclosed"
        r"|shown|shared|confirmed|revealed|uploaded)\b",
        r"it (?:cannot|can't|could not) be described\b",
        r"no (?:description|caption|information)\b.{0,30}\b(?:available|possible|given|provided)\b",
        r"(?:description|caption) (?:is )?(?:not |un)available",
        r"(?:not (?:allowed|permitted|supposed|authori[sz]ed|comfortable|appropriate|ethical)|refuse[sd]?|declin\w+"
        r"|against \w+ \w+) to (?:describe|identify|comment|assist|help|provide|discuss|speculate|name|answer"
        r"|reveal)\b",
        r"(?:inappropriate|unethical|irresponsible|wrong|speculative) (?:to|for me)\b",
        r"(?:content|image|response|answer|request|description) (?:is |was |has been |had been )?(?:blocked|filtered"
        r"|withheld"
        r"|censored|restricted|declined|denied|rejected)\b",
        r"based (?:solely |only |purely )?on (?:the|this|your|what|my) (?:\w+ )?(?:image|picture|photo|information"
        r"|context"
        r"|details|analysis|content|description|is visible|i can|can be|appearance|visual)\b",
        r"(?:my|an? educated|a best|a rough|a wild|my best|best) guess\b|(?:in|to|from|for) my (?:opinion|view|best"
        r"|eye|eyes"
        r"|understanding|knowledge|perspective)\b|my (?:interpretation|description|analysis|answer|caption|response"
        r"|understanding)\b",
        r"as you (?:can|may|will|might|requested|asked|know|see|wish)\b|(?:image|picture|photo|region|what"
        r"|one) you (?:asked"
        r"|requested|provided|uploaded|shared|sent|gave|mentioned|want|need|have|are|marked|highlighted|see)\b",
        r"you (?:asked|requested|provided|uploaded|mentioned|wanted)\b",
        r"(?:could|can|would) you (?:please|provide|tell|share|upload|clarify|give|describe|specify|help)\b",
        r"(?:privacy|safety|legal|copyright|ethical) (?:concerns?|reasons?|restrictions?|considerations?)\b",
        rf"no (?:{_IMAGE}|visible content) (?:is |was |has been |were )?(?:provided|attached|uploaded|given"
        r"|available|supplied)\b",
        r"(?:don't|do not) (?:see|have) (?:any|enough|an?|the|access)\b",
        rf"(?:content|usage|safety|privacy|community|use|ethical) {_POLICY}\b",
        rf"(?:violat\w+|against) (?:the |my |our |any )?(?:\w+ )?{_POLICY}\b",
        r"please (?:provide|upload|share|send|attach|try again|re-?upload|supply|specify|clarify|rephrase"
        r"|note that|feel free)\b",
        r"(?:assist|help) (?:with|in) (?:that|this|your)\b",
        r"i(?:'m| am) (?:just |only |merely )?(?:an? |your )?(?:\w+ ){0,2}(?:ai|language model|assistant|chatbot)\b",
        rf"(?:nothing|no {_IMAGE}) to (?:describe|identify|analy[sz]e|recogni[sz]e)\b",
        r"i (?:can )?(?:see|find|observe|detect) (?:no|nothing)\b",
        r"please (?:consult|contact|refer|seek|consider)\b|you (?:may|might|should|could|would) (?:want|need|wish"
        r"|like|consider|try)\b",
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
        r"apologies\b|let(?:'s| us) (?:see|look|take|describe|examine|think|analy[sz]e)\b|no comment\b",
        r"sorry(?:[.!,:;]|\s?[—–-])",
        r"(?:w?h?oops|oops(?:ie)?|correction|edit|update|p\.?s)\s?[,!.:;—–-]|(?:h+m+|u+h+m*|u+m+|er+|ah+|oh+|well"
        r"|wait|hold on"
        r"|actually|yep|yeah|sure)\s?[,…]|hold on\b|(?:lol|haha|lmao|tbh)?,? ?no (?:clue|idea)\b|actually (?:it"
        r"|this|that|the)\b",
        r"(?:good|great|nice|interesting|excellent|lovely|tricky) (?:question|picture|photo|image|one|shot"
        r"|pic)\s?[!,.:]",
        r"(?:can(?:no|')?t|won'?t|not going to|not gonna|would rather not|rather not|prefer not to"
        r"|refusing to) (?:really "
        r"|actually |quite )?(?:to )?(?:talk|describe|help|say|comment|discuss|speculate|identify|answer|assist|go into"
        r"|tell you)\b",
        r"(?:unfortunately,? )?(?:it(?: is|'s) )?(?:unable|not able|impossible|not possible|cannot|can't|could not"
        r"|failed)"
        rf"(?: to| be)? (?:accurately |clearly |reliably )?(?:{_CHECK}|process|provide|complete|assist|help|comply"
        r"|fulfil"
        rf"|{_DESCRIBED}) (?:{_IT}|any\b|a description)",
        r"as (?:you )?requested\b",
        r"(?:please )?note(?: that\b|:|,)|(?:disclaimer|n\.?b\.?|caveat|important|reminder)\s?[:,]",
        r"(?:i|we) (?:apologi[sz]e|regret)\b|(?:error|exception|warning)\s?[:：] ",
        r"(?:request|response|operation|connection|server)\b[^.]{0,30}\b(?:failed|error|timed out|timeout|declined"
        r"|refused)\b",
        r"(?:sure|certainly|of course|absolutely|okay|ok|alright|great question|no problem|gladly|understood"
        r"|got it|hello|hi)(?: thing| there)?\s?[,!.:;]",
        r"(?:here(?: i|')s|here are|here comes|below is|below are|the following is|this is|(?:the|a) (?:following"
        r"|below)) (?:the|a|an"
        r"|your|my|what)? ?(?:\w+ ){0,2}(?:descriptions?|captions?|answer|response|summary|breakdown|i see"
        r"|i can see)\b(?! of (?:an?|the)"
        r" (?:product|recipe|menu))",
    ),
    flags=0,
)
# Somebody is unable: a detail cannot be seen, or nothing is said.
_UNABLE = any_of(
    at_word(
        r"(?:impossible|not possible|not able|unable|hard|difficult|cannot|can't|could not|couldn't) (?:to "
        r"|be )?(?:\w+ly )?"
        rf"(?:{_CHECK}|{_DESCRIBED}|seen|read|made out|told)\b",
        r"(?:not [a-z]+ enough|too [a-z]+(?: (?:and|or) [a-z]+)?|nothing) to (?:\w+ly )?(?:describe|identify"
        r"|analy[sz]e|recogni[sz]e"
        r"|tell|see|make out|discern|determine|say)\b",
        r"(?:not enough|insufficient|lack of|without (?:more|further|additional)) (?:information|context|detail"
        r"|resolution)",
        rf"unclear what (?:is (?:in|inside|shown)|(?:the|this) {_IMAGE})|uncertain|not (?:clear|sure|certain)\b",
        r"identity (?:is )?(?:unknown|unclear|not)",
    ),
    flags=0,
)
_UNABLE_TO = re.compile(
    r"(?:it(?: is|'s) )?(?:not possible|impossible|unable|not able|hard|difficult|cannot|can't) (?:to )?(?:\w+ly )?"
    r"(?:identify|determine|describe|recogni[sz]e|tell|say|analy[sz]e|confirm|verify)\b[\w' ]{0,40}\W*"
)
# In a refusal there is not much beside these.
_NO_CONTENT = frozenset(
    """
    show shows showing contain contains depict depicts hold holds
    the this that these it its there here is are was be been being in of for with from to at on by and or but as an
    a any what which who because due given since too so very image picture photo region area content contents
    object objects person people individual identity subject thing item detail details description information
    context resolution quality blurry blurred dark small unclear unable impossible possible not no cannot can could
    couldn't can't able hard difficult describe identify determine say tell see seen make out read recognise
    recognize recognised recognized identified described determined analyze analyse analyzed analysed confirm know
    told made clearly accurately reliably exactly specific specifically more enough insufficient lack further
    additional without low view visible shown inside within s t re ve ll don doesn isn wasn clear good sharp bright
    legible hidden seeing tiny far away poor bad marked only nothing anything something discern confidence
    certainty certain sure positively uncertain
    """.split()
)
_ENGLISH_WORD = re.compile(rf"[a-z]+|{QUOTED}+")

_OPENS_ZH = r"(?:^|[，。！？；、,.!?;]\s?|但|而|因为|所以|如果|请|让|对|为|帮|给|抱歉|对不起)"
_CANNOT_ZH = r"(?:无法|不能|未能|很难|难以|没法|没有办法|没办法|不便|不方便|不宜)"
_DO_ZH = r"(?:描述|提供|识别|确定|判断|回答|处理|查看|协助|完成|给出|满足|访问|分析|加载|显示|透露|评论|公开|说明)"
_CHINESE = any_of(
    rf"{_OPENS_ZH}(?:我|本助手)(?!国|市|校|家的)|(?<!欢迎)(?<!祝)您",
    r"(?:抱歉|对不起|不好意思|遗憾)[，,。！!的地哦啊\s]{0,2}(?:但|这|该|无法|不能|没|由于|因|目前|暂|图|请|的是|地)",
    r"^(?:非常|很|十分|真的|深感)?(?:抱歉|对不起|不好意思|遗憾)|(?:非常|很|十分|深感|深表)(?:抱歉|遗憾|歉意)",
    r"作为(?:一个|一名|一款|一种)?[^，。]{0,6}(?:人工智能|AI|语言模型|大模型|智能助手|AI助手|助手|模型)(?:，|我"
    r"|,|无|不)",
    rf"^(?:目前|暂时|由于[^，。]{{0,15}}，?)?{_CANNOT_ZH}(?:准确|清楚|直接)?{_DO_ZH}(?!的|[^，。]{{0,8}}的(?!内容"
    r"|区域|图|情况|物体|信息))",
    rf"(?:区域|图像|图片|照片|内容|问题|请求)(?:的内容)?[^，。]{{0,4}}{_CANNOT_ZH}(?:被)?{_DO_ZH}",
    r"(?:出于|由于|因|基于)[^，。]{0,4}(?:隐私|安全|版权|政策|法律)|根据(?:您|你)的|(?:无法|没法|没办法|没有办法"
    r"|不好|不便|不能|难以|不方便|就不)(?:准确|具体|详细|清楚|再|多)*描述(?!的)|可供描述"
    r"|无法(?:协助|提供|满足|回答"
    r"|给出|继续|完成|处理|访问|确定[^，。]{0,8}(?:内容|什么))|不予(?:描述|回答|显示)",
    r"(?:请|建议)(?:您|你|先|尽快|及时|去|到|另行|最好)*(?:咨询|联系|参考|就医|谨慎|去?医院|问|询问|寻求|查询|通过)"
    r"|(?:不能|无法|没法|不便|不予?)(?:给出|作出|做出|下|提供)[^，。]{0,6}(?:结论|诊断|判断|解读|意见|建议|答案)",
    # somebody speaks of what he does not say, or takes back what was said
    r"(?:^|[，。！？；：]|是谁|什么|这里|这个)我(?:就|也|可|还是|真的?|实在|暂时|目前|恕)*(?:不|没|无)[^，。的]{0,5}"
    r"(?:透露|描述|评论|评价|判断|公开|回答|说|讲|确定|清楚|知道|认识|解读|猜|分析|识别)|恕(?:我|不|难|无)"
    r"|(?:看|说|搞|弄|认|写|答)错了(?:[，。！]|$)|(?:更正|纠正|修正|订正)(?:一下|为|[：，])|(?:^"
    r"|[，。！])应该是[^，。]{1,10}，?(?:而)?不是"
    r"|[这那](?:题|个|张图片?|部分)?我(?:不会|不懂|看不|认不|不行|答不)|我(?:也|都)?(?:看|认|猜|分|说|答)不(?:了"
    r"|清|出|到|见|准|好|来)"
    r"|(?:以|凭)我|我的(?:能力|权限|知识|理解|判断)|给(?:你|您)(?!的)|不支持(?:识别|描述|查看|显示|回答)"
    r"|(?:对吧|对吗|对不对|是吧|可以吗|行吗|满意吗)[？?。！]*$"
    r"|(?:刚才|之前|上面|前面|上次)(?:的)?(?:我)?(?:说|回答|描述|答案|看)[^，。]{0,4}(?:错|误|不对)|正确的?(?:应"
    r"|是|描述)",
    r"[，。！；](?:抱歉|不好意思|对不起|见谅|(?:敬请|请|望|多)?(?:谅解|理解|见谅|原谅"
    r"|包涵))[哈啊呀哦了啦呢~～。！\s]*$",
    r"^(?:涉及|属于|事关|出于|考虑到|鉴于)(?:到|个人)?(?:医疗|隐私|赌博|敏感|违法|违规|政治|色情|暴力|版权|安全|健康)"
    r"[^，。的]{0,4}，|(?:这里|该内容|内容|图片|画面)(?:可能)?涉及[^，。的]{0,6}，"
    r"|(?:还有|有)(?:啥|什么|别的|其他)[^，。]{0,6}(?:问|需要|帮)|(?:要不要|需要|用不用|是否需要)我",
    r"请(?:重新|再次|先)?(?:提供|上传|补充|告诉|告知|稍后|换|随时|发送|谅解)",
    r"(?:没有|未)(?:看到|收到|检测到|提供|上传|发现)[^，。]{0,4}(?:图片|图像|照片|区域)|(?:没有|缺乏"
    r"|缺少)(?:足够|充足|更多)?(?:的)?(?:信息|上下文)|信息不足",
    r"违反[^，。]{0,8}(?:政策|规定|准则|规范)|(?:内容|安全|使用|隐私)(?:政策|准则|规范)|相关(?:法律|法规|规定)",
    r"希望[^，。！]{0,16}(?:帮助|帮到|帮上|满意|有用)|随时(?:告诉|联系|问|提问|告知)",
    r"(?:如果|如|若|要是)(?:你)?(?:还)?(?:有|需要|想)[^，。]{0,10}(?:问题|需要|帮助|疑问|了解|信息|修改|细节)",
    r"^(?:请注意|注意|需要说明|需要注意|说明|备注|声明|免责)[：:，,]?(?!牌|标|事)|仅供参考|^(?:根据|基于|依据|从"
    r"|由)(?:您|你|所)?(?:提供|给出|上传|给定)的"
    r"|(?:据|依)我(?:所知|判断|观察|看)|(?:我|个人)(?:觉得|认为|猜测|推测|感觉|判断|猜)|如(?:您|你)所(?:见|愿|要求"
    r"|说)|按照?(?:您|你)的",
    r"(?:乐意|高兴|荣幸)(?:为|能|帮)|有什么(?:可以|能)帮|感谢(?:你)?(?:的)?(?:提供|分享|上传|提问|理解)",
    r"^(?:当然(?:可以)?|好(?:的|嘞|滴|哒|吧|呀|啊|哦)*|没问题|可以的?|明白了?|收到|你好|是的|嗯+|哦+|噢|哎呀?|咦"
    r"|额|呃+|等等|等一下"
    r"|不对|哈喽|嗨|亲|ok|行)[，,！!。:：~～…\s]",
    r"^(?:以下|下面|这)是?[^，。：:]{0,10}(?:描述|说明|介绍|回答|答案)[：:]|好的，(?:以下|这|下面)",
)


_UNABLE_ZH = re.compile(
    rf"^{_CANNOT_ZH}(?:准确|清楚|直接)?{_DO_ZH}[^，。]{{0,8}}(?:身份|内容|情况|性别|年龄|信息|细节|物体|对象|人物"
    r"|什么)[。！]?$|"
    r"^(?:(?:图|该|此|这|由于|因为|区域|光线|内容|太|过于)[^，。]{0,12}，)?(?:该|此|这|区域|图|内容|画面|里面|其中"
    rf"|对象|物体)?[^，。]{{0,4}}(?:{_CANNOT_ZH}"
    rf"(?:\w{{0,3}}){_DO_ZH}|看不[清到出见])(?:[^，。的]{{0,3}}(?:内容|东西|任何|什么|细节|具体|物"
    r"|是))?[^，。的]{0,3}[。！]?$"
)


_LATIN = re.compile(r"[a-z]{2}|\bi\b", re.ASCII)


def refusal(caption: Caption) -> str | None:
    """Words of refusal or of chat, in either language, outside of what is read from the picture."""
    text = caption.said.replace("’", "'").strip()
    lower = text.lower()
    if text.isascii():
        found = _speaks(text) or _ENGLISH.search(lower)
    else:
        text = full_width(text)
        found = _CHINESE.search(text)
        if found is None and _LATIN.search(lower):
            found = _speaks(text) or _ENGLISH.search(lower)
    if found:
        return f"is no description: {quote(text[max(0, found.start() - 10) :].strip())}"
    if _unable(text, lower):
        return Unsure(f"may be no description: {quote(text)}")
    return None


def _speaks(text: str) -> re.Match[str] | None:
    return _SPEAKER.search(text) if "I" in text else None


def _unable(text: str, lower: str) -> bool:
    if _UNABLE_TO.fullmatch(lower) or (not text.isascii() and _UNABLE_ZH.search(text)):
        return True
    return _says_no_more(lower) and _UNABLE.search(lower) is not None


def _says_no_more(lower: str) -> bool:
    return all(word[0] in _NO_CONTENT for word in _ENGLISH_WORD.finditer(lower))


# Beside captions chat is fair; that the model excuses itself belongs to what it says of the regions.
_EXCUSE = any_of(
    at_word(
        r"(?:i'm|i am|we are|we're) (?:sorry|afraid|unable|not able)\b",
        r"(?:i|we) (?:can(?:no|')t|can not|won't|will not|must decline|am unable|apologi[sz]e)\b",
        r"as an? (?:[\w-]+ ){0,3}(?:ai|language model|assistant)\b",
    ),
    r"抱歉|对不起|我(?:无法|不能|没有办法|没法)|作为(?:一个|一名)?[^，。]{0,6}(?:AI|人工智能|语言模型|助手)",
)


def of_answer(answer: Answer) -> Failure | None:
    """Words of refusal or of chat instead of a description, or (a warning) an excuse beside the captions."""
    found = _each(answer)
    if found is None and answer.parsed.captions:
        excuse = _EXCUSE.search(answer.outside.said.replace("’", "'").lower())
        if excuse:
            return Failure(f"the answer excuses itself beside the captions: {quote(excuse[0])}", sure=False)
    return found


_each = each_caption(refusal)
GATE = Gate(Code.REFUSAL, "reject", of_answer)
