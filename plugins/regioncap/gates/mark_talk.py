"""A caption talks about the mark (the frame, its tag, the number on it) instead of what is in the region.

Boxes, frames, labels and numbers are things in pictures too: a player has a number 7, a form has fields with red
borders, a pathologist outlines a tumour. Words alone seldom tell. So a wording is a *sign*, sure or not, and what else
is known weighs it:

- what bears numbers of its own (a door, a jersey, a ticket), or what frames are drawn on (a map, a screen, a page),
  makes a sign that is not sure none, and a sure one unsure;
- the colours of the marks: a frame of a colour that no mark has is a thing;
- the other captions: where two regions are named by their own numbers, beside different things, the numbers are the
  marks'; where another region is named by a number that is not its own, they are not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from regioncap.gates.gate import Answer, Caption, Failure, Gate, Unsure, of_captions, quote
from regioncap.gates.wording import HAN, any_of, at_start, at_word, full_width, sentences
from regioncap.regions.codes import Code

# Sentences with none of these are done with.
_HINT = re.compile(
    at_word(
        r"b(?:ox|order|ound|box)|fram|rect|squ|outlin|tag|label|mark|num|digit|annot|highl|drawn|region|circle"
        r"|lines?\b|surround"
        r"|enclos|encirc|contour|ident|designat|delin|for emph|overl|indicat|select"
        r"|(?:object|item|subject|thing|one) \d",
        r"corner|darken|dimmed|shaded|spotli|undarken|un-dark",
    )
)
_NUMBER_HINT = re.compile(r"^\W*\d+[:.)]|[(（#]\W?\d")
_HINT_ZH = re.compile(r"[框线圈标号角区域矩形数字方暗#]")

# ---- English

# The palette's: no frame is black or white.
_COLOUR = (
    r"(?:red|blue|green|yellow|purple|violet|orange|cyan|magenta|brown|pink|teal|turquoise|lime(?: green)?|colou?red)"
    r"(?:[ -]colou?red)?"
)
_LOOK = rf"(?:(?:thin|thick|bold|solid|bright|light|dark|dashed|small|large|{_COLOUR}),? )*"
_NUMBERED = r"(?:labell?ed|numbered|tagged|marked|annotated)"
_SINGLED_OUT = (
    r"(?:marked|framed|outlined|highlighted|enclosed|labell?ed|boxed|bordered|surrounded|indicated|numbered"
    r"|tagged|annotated"
    r"|identified|circled|designated)"
)
_SURELY_MARK = r"(?:bounding|rectangular (?:box|frame|outline|border)|rectangle|square (?:outline|frame)|outline)"
_ANYTHING = (
    r"(?:object|subject|item|element|area|section|portion|part|person|people|man|woman|boy|girl|child|animal"
    r"|dog|cat|car"
    r"|figure|player|thing)s?"
)
# What is not in a box, unless the box is a mark.
_NOT_IN_BOXES = (
    r"(?:man|men|woman|women|person|people|boy|girl|child|children|player|car|cars|bus|truck|building|street"
    r"|tree|trees|horse|bicycle"
    r"|motorcycle|house|boat|sky|area|region|section|part|portion|object|item|subject|contents?)"
)

_ANIMAL = r"(?:cat|dog|bird|cow|sheep|goat|zebra|giraffe|elephant|bear|duck|deer|kitten|puppy|animal)s?"

_TALK = any_of(
    at_word(
        r"bounding[- ]?box|bbox|annotation (?:box|frame|mark|tag|label|line)|the annotation\b|(?:box"
        r"|frame|rectangle) overlay\b",
        rf"(?:the|this|a|each|every) {_SINGLED_OUT} (?:image )?(?:region|subject)\b",
        r"(?:the|this) (?:marked|highlighted|outlined|framed|boxed|annotated|numbered|tagged|bordered|selected"
        r"|indicated) "
        r"(?:area|section|part|portion|object|person|item)\b",
        rf"regions?(?: \d+)?,? (?:is |are |was |that is |which is |being )?{_SINGLED_OUT}\b",
        rf"{_ANYTHING},? (?:is |are |that is |that's |which is |who is |being )?{_SINGLED_OUT} (?:with|by|in|as"
        rf"|using|inside|within) (?:a |an |the )?{_LOOK}"
        r"(?:box|rectangle|square|bounding|outline|rectangular|frame\b|tag\b|number \d|label\b)",
        r"(?:object|subject|item|element|area|section|portion|part),? (?:is |are |that is "
        rf"|which is )?{_SINGLED_OUT} in (?:\w+ )?{_COLOUR}\b",
        rf"{_COLOUR} (?:rectangular box|rectangle|bounding|square outline)(?: that| which)?(?: is)?(?: \w+)? "
        rf"(?:around|surround|enclos|highlight|indicat|mark|{_NUMBERED}|outlin|contain|frames|framing|captur)",
        rf"{_COLOUR} (?:box|square) (?:that |which |is )?(?:around|surround|enclos|highlight|indicat|marks"
        r"|marking|numbered|outlin|framing)",
        rf"{_COLOUR} (?:frame|border|outline) (?:that |which |is )?(?:highlight|indicat|marks|marking|{_NUMBERED})",
        rf"(?:in|inside|within|by|using) (?:the|a|an) {_LOOK}{_COLOUR} {_SURELY_MARK}\b",
        rf"{_NOT_IN_BOXES} (?:\w+ ){{0,2}}(?:in|inside|within) the {_LOOK}{_COLOUR} (?:box|frame|rectangle|square"
        r"|border|outline)\b",
        r"(?:tag|digit|numeral|marker|number label|label number) (?:on|of|at|in|above|beside"
        r"|attached to) (?:the )?(?:corner of the |top of the |top left of the )?"
        r"(?:frame|region|rectangle|outline|bounding|box|border)\b",
        r"(?:numbered|number|numeric|numerical) (?:tag|label|marker|box|frame)s?(?: (?:on|of|in|at|and|with|that"
        r"|which|shows|reads|indicat|attached|\d)|[.,]|$)",
        r"(?:tag|mark|marker) (?:shows|reads|says|displays|indicates) (?:the )?(?:number|digit)\b"
        r"|region(?:'s)? (?:number|tag|label|frame|border|box)\b",
        r"frame of the region\b|overlaid (?:box|number|label|frame|tag|with a)|(?:box|frame|rectangle"
        r"|line) (?:is )?drawn around\b",
    ),
    at_start(
        rf"(?:inside|in|within) the {_LOOK}{_COLOUR} (?:frame|rectangle|square|border|outline),? (?:is|are|there"
        r"|we|you|an?)\b",
        rf"(?:inside|in|within) the {_LOOK}{_COLOUR} box,? (?:is|are|there is|there are|we see)? ?(?:an?|the"
        rf"|two) (?:\w+ )?{_NOT_IN_BOXES}\b",
        rf"(?:the|a|an|this) (?:\w+ )?(?:{_COLOUR} )?(?:box|frame|rectangle|square|border|outline) (?:highlight"
        r"|indicate|mark|enclose|surround|encircle|outline)s?\b"
        r"(?! (?:\w+ ){1,3}(?:mirror|painting|portrait|picture|photo|photograph|window|door|poster|print|drawing"
        r"|image|screen|sign)\b)",
        rf"(?:the|a|an|this) (?:\w+ )?{_COLOUR} (?:box|frame|rectangle|square) (?:shows?|contains?|includes?|has"
        r"|features?|displays?|holds?|captures?|frames?)"
        rf" (?:a|an|the|two|three|some|several|part of) (?:\w+ ){{0,3}}{_NOT_IN_BOXES}\b",
    ),
    flags=0,
)

# Of these and others, what nothing else is called.
_SURELY = any_of(
    at_word(
        r"bounding[- ]?box|bbox\b|annotation (?:box|frame|mark|tag|label|line)|identification (?:box|frame|tag)"
        r"|detection box"
        r"|(?:box|frame|rectangle|number|tag|label) overlay\b|overlaid (?:box|frame|number|tag|label|rectangle)",
        r"(?:the|this|each|every) (?:marked|framed|boxed|annotated|numbered|tagged|outlined|bordered|labell?ed"
        r"|designated|highlighted|indicated"
        r"|selected|specified) (?:image )?region\b",
        r"region(?:'s)? (?:number|tag|frame|border|box)\b|frame of the region\b|regions?,? (?:is |that is "
        r"|which is )?(?:marked|framed|boxed|tagged)\b",
        r"(?:box|frame|rectangle|outline) (?:has been |was |is )?drawn (?:around|over|on)\b",
        r"(?:the|this|an?) (?:object|subject|item|thing|content|contents|part|area|section|portion|element|person"
        r"|figure) (?:that is |which is |is |that's "
        r"|enclosed |located |found |shown |seen )?(?:inside|within|in|of) (?:of )?(?:the"
        rf"|this) (?:{_LOOK})?(?:first |second |third |fourth |fifth |marked "
        r"|numbered )?(?:box|frame|rectangle|outline|markings?|border|bounding)\b(?! of)",
        r"(?:the|this) (?:marked|framed|boxed|numbered|outlined|tagged) (?:object|subject|item|thing|area|section"
        r"|part|portion)\b",
    ),
    at_start(
        r"\W*(?:annotated|marked|tagged|framed|boxed|highlighted|outlined|numbered|labell?ed) region\b",
    ),
    flags=0,
)
_MARK = r"(?:bounding box|box|frame|rectangle|border|outline|square|contour|markings?|lines?|circle|oval|highlight)"
_MARK_ENDS = (
    r"(?=\W*$|\s*[,.;:)]|\s(?:around|over|on|in|at|with|and|that|which|is|are|was|shows?|has|contains?|highlight\w*"
    r"|surround\w*|enclos\w*|outlin\w*"
    r"|indicat\w*|mark\w*|label\w*|number\w*|tag\w*|drawn|placed|above|near|next|encircl\w*|fram\w*|bear\w*|from|to"
    r"|for|there|we|you|an?|the|has)\b)"
)
_AROUND = (
    r"(?:around|surrounding|enclosing|encircling|framing|bordering|outlining|highlighting|encompassing|overlaying"
    r"|overlaid on|drawn (?:on|over|around)|covering|marking)"
)
# What is laid over a picture does to the things in it.
_HIDES = (
    r"(?:covers?|covering|hides?|hiding|blocks?|blocking|obscures?|obscuring|overlaps?|overlapping|cuts? (?:off|through"
    r"|across|into)|cutting (?:off|through|across|into)|crops?|sits? (?:on|over)|goes (?:around|round|over|through"
    r"|across)|runs (?:around|round|over|through|across)|stops (?:at|short)|only (?:shows|covers|includes|contains|has)"
    r"|extends|passes (?:through|over)|is (?:over|on top of|partly over|hiding|covering|blocking|around|drawn|placed))"
)
_MAYBE = any_of(
    at_word(
        rf"(?:{_COLOUR} (?:box|frame|rectangle|border|outline|square)|frame(?<=the frame)|outline(?<=the outline)"
        rf"|rectangle"
        rf"|number(?:ed)? tag|\d\W? (?:label|tag|marker)) {_HIDES}\b",
        rf"(?:label(?<=the label|hat label)|tag(?<=the tag|hat tag)) {_HIDES} (?:his|her|him|it|them"
        rf"|part of (?:the|his|her|a)"
        r" (?:\w+ )?(?:face|head|ear|leg|arm|body|view|eyes?|wheel))\b",
        r"(?:tag|label|marker|number)s? (?:above|beneath|below|under|next to|beside|over|near)? ?(?:that |which )?"
        r"(?:reads|says|shows|reading|saying|showing) \W?\d\W?(?:\W*$| (?:covers|hides|is|sits))",
        r"number(?:ed)? (?:tag|label) ?[(:]|(?:tag|label|marker) with (?:its|his|her|their) number\b",
        r"regions? \d+ (?:is|shows?|has|contains?|depicts?|features?|displays?)\b",
        r"(?:in|inside|within) (?:the|this) (?:box|frame|rectangle|outline|marked \w+|tagged \w+)(?:,|:| we\b"
        r"| you\b| u\b"
        r"| i\b)",
        rf"{_COLOUR} {_MARK} (?:\w+ )?{_AROUND} (?:the|an?|it|him|her|them|this|that|his|its|their|one|two|part)\b",
        r"(?:thin|thick|bold|dashed|dotted|solid|bright|rectangular"
        rf"|square) (?:{_COLOUR} )?{_MARK} (?:\w+ )?{_AROUND} (?:the|an?|it|him|her|them|this|his|its|their)\b",
        rf"{_COLOUR} {_MARK} (?:that |which )?(?:surrounds|encloses|encircles|frames|outlines|highlights|marks"
        r"|borders|traces|follows|delimits|bounds) (?:the|an?|it|him|her|them|this|his|its|their)\b",
        r"(?:surrounded|enclosed|framed|bordered|encircled|outlined|highlighted|circled|boxed|marked|indicated"
        r"|delineated|delimited|bounded|contained|captured)"
        rf" (?:in|by|with|inside|within|using) (?:an? |the )?{_LOOK}{_COLOUR}(?: {_MARK}{_MARK_ENDS}|{_MARK_ENDS})",
        r"(?:surrounded|enclosed|framed|bordered|encircled|boxed|bounded|contained) (?:in|by|with|inside"
        rf"|within) (?:an? |the )?(?:{_LOOK})?(?:box|frame|rectangle|square"
        r"|border|outline)\W*$",
        rf"(?:inside|within|in) (?:of )?the {_LOOK}(?:{_COLOUR} )?(?:markings?|rectangle|outline|bounding|border"
        r"|contour)\b",
        r"(?:inside|within|in) (?:the|this) (?:box|frame|rectangle|outline|border),? (?:is|are|there|we|you)\b",
        r"^the (?:frame|rectangle) (?:contains|shows|encloses|highlights)\b|^the box (?:contains|shows|encloses"
        rf"|highlights) (?:an?|the|two) (?:\w+ )?{_NOT_IN_BOXES}\b",
        r"(?:first|second|third|fourth|fifth|sixth) (?:numbered |marked )?(?:box|frame|rectangle|outline|tag"
        rf"|region)\b{_MARK_ENDS}",
        rf"(?:{_NOT_IN_BOXES}|{_ANIMAL}) (?:is|are) (?:shown |located |seen )?(?:inside|within|in|surrounded by"
        r"|enclosed (?:in|by)|framed by) (?:an?|the) "
        rf"{_LOOK}{_COLOUR} {_MARK}{_MARK_ENDS}",
        rf"(?:{_NOT_IN_BOXES}|{_ANIMAL}) with an? {_LOOK}{_COLOUR} (?:outline|bounding box|frame|rectangle|border"
        r"|square)\W*$",
        rf"(?:boundar(?:y|ies)|edges?|borders?|confines|corners?|limits?) of (?:the|this) {_LOOK}(?:{_COLOUR} )?"
        r"(?:box|frame|rectangle|bounding)\b",
        r"what (?:is|has been) (?:framed|marked|boxed|highlighted|outlined|enclosed|circled)\b",
        rf"{_COLOUR}[- ](?:framed|outlined|boxed|bordered|marked) (?:area|region|section|object|part|portion|box"
        r"|person|subject)\b",
        r"(?:annotated|marked|numbered|labell?ed|bounded|delimited|designated|indicated|specified|outlined) (?:box"
        r"|frame|rectangle|area|zone)\b",
        # the styles that are no frames alone
        r"corner (?:mark(?:er|ing)?s?|brackets?|ticks?)\b(?! (?:on|at|of) (?:the|a|an) (?:shelf|table|wall|desk|box))"
        rf"|(?:between|inside|within) the (?:four )?{_LOOK}corners\b(?! of (?:the|a|an) (?!region|frame|box|mark))",
        r"(?:the rest|everything else|all else|the surroundings)(?: of (?:the|this) (?:image|picture|photo|scene))?,? "
        r"(?:is|are|has been|being) (?:darken|dimm|shad)ed\b",
        r"(?:the|this) (?:un-?darkened|not darkened|spotlighted|spotlit) (?:area|region|part|portion|section)\b",
        r"(?:in|by|amid|within|against) (?:the|an?) (?:otherwise )?(?:darkened|dimmed) (?:image|picture|photo)\b",
        r"(?:for emphasis|for identification|for reference|for annotation|as (?:region|number|box|object) \d)",
    ),
    flags=0,
)

# A sentence of these alone describes a mark, if it has one of the pairs in `_EVIDENCE`.
_MARK_WORDS = frozenset(
    """
    a an the this that these there it its is are was be here of in on at next beside with by and or as to for
    from has have
    having which i see one
    only inside within around along near just simply also called named used likely appears seems s
    box boxes frame frames rectangle rectangles square squares border borders bordered outline outlines outlined
    tag tags tagged label
    labels labeled labelled marker markers mark marks marked marking number numbers numbered numeral digit
    digits bounding rectangular
    framed boxed highlighted highlighting highlights enclosed annotation annotated indicator line lines edge
    edges shape no
    red blue green yellow purple violet orange cyan magenta brown pink teal turquoise lime white black light
    dark bright colored
    coloured color colour large big small tiny little thin thick bold solid empty simple single dashed shaped
    top bottom left right upper lower corner corners side center centre middle above below background hand
    region area section part portion image picture object something thing content contents text
    show shows showing shown display displays displayed displaying read reads reading say says saying contain
    contains containing
    surround surrounds surrounding surrounded enclose encloses enclosing indicate indicates indicating indicated
    identify identifies
    identifying identified place placed located positioned drawn written attached visible featuring bearing
    denoting designated
    represent represents representing two three four five six seven eight nine ten twelve
    """.split()
)
_WORD = re.compile(r"[a-z]+|\d+|[^\x00-\x7f]")
_NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_PART = r"(?:box|frame|rectangle|square|tag|label|marker|mark|border|corner)\w*\b"
_NUMBER = r"(?:\d|\bnumber|\bdigit|\bnumeral)"
_EVIDENCE = any_of(
    # "a red frame", and no more
    rf"^\W*(?:a |an |the |one )?{_LOOK}{_COLOUR} (?:square |rectangular )?frame\W*$",
    rf"\b{_SURELY_MARK}|\b(?:border|outlined?|annotation|highlight\w*)\b",
    rf"\b{_PART}.{{0,80}}{_NUMBER}|{_NUMBER}.{{0,80}}\b(?:{_PART}|region\b)",
    r"\b(?:region|area|section|object|part)\b.{0,80}\b(?:marked|framed|boxed|labell?ed|tagged|numbered|enclosed)\b",
    r"\b(?:marked|framed|boxed|tagged|numbered) (?:region|area|section|object|part|box|frame|tag|label)\b",
)

# What has numbers of its own.
_BEARS_NUMBERS = any_of(
    at_word(
        # how a number gets on a thing, and what it counts
        r"(?:print|paint|stamp|emboss|engrav|stencil|spray|handwrit|hand-?writ|sewn|stitch|embroider|carv|etched"
        r"|chalked|taped|stuck"
        r"|inked|penned|scribbled|written|worn|wearing|wears|circled in|ranked|seeded|dated|chapter|volume|edition"
        r"|version|episode"
        r"|season)\w*",
        r"(?:round|phase|level|grade|class|size|scale|rank|prize|price|account|serial|phone|model|page|route|stage"
        r"|line)s?\b",
        # what is numbered: doors and places, what drives, games and sports, paper, goods, tools, samples, animals
        r"(?:door|gate|room|house|building|apartment|flat|floor|storey|platform|track|lane|bay|dock|pier|jetty|stall"
        r"|booth|stand|spot"
        r"|space|seat|row|aisle|locker|cabinet|shelf|shelves|drawer|bin|desk|counter|station|terminal|exit|entrance"
        r"|ward|cell|cage"
        r"|stable|plot|grave|tomb|headstone|pitch|site|camp|berth|hangar|garage|unit|suite|hotel|street|road|avenue"
        r"|highway|motorway|junction"
        r"|kilomet|mile|stop|elevator|lift|staircase|mailbox|letterbox|postbox|window (?:number|seat)|checkout|till"
        r"|ring|arena|field|court"
        r"|hopscotch|parking|slot|zone|sector|district|hole|pole|post|pillar|column|stone|buoy|hive|beehive"
        r"|greenhouse|barn|silo)(?:e?s)?\b",
        r"(?:bus|tram|train|metro|taxi|cab|race ?car|racing|race|van|truck|lorry|locomotive|carriage|wagon|coach"
        r"|boat|ship|yacht|kayak|canoe"
        r"|plane|aircraft|jet|helicopter|rocket|engine|motor ?cycle|motorbike|motocross|kart|sled|bobsled|sail|hull"
        r"|bow|ferry|tractor|trailer"
        r"|trolley|cart|gondola|cable car|formula)(?:e?s)?\b",
        r"(?:player|team|jersey|shirt|t-shirt|bib|kit|uniform|vest|helmet|cap|runner|marathon|athlete|racer|jockey"
        r"|cyclist|swimmer|goalkeeper"
        r"|goalie|quarterback|pitcher|batter|rider|driver|skier|boxer|striker|defender|midfielder|forward|golf"
        r"|billiard|pool|snooker|cue|ball"
        r"|pin|podium|medal|trophy|winner|champion|dice|die|domino|puzzle|piece|block|cube|chess|token|chip|bingo"
        r"|lottery|raffle|balloon|foam"
        r"|finger|horse|saddle|sleeve|patch|armband|back of|chest|shorts|trunks|jacket|hoodie|sash|headband|mascot"
        r"|contestant|competitor"
        r"|candidate|inmate|prisoner|suspect|model walking|fan)(?:e?s)?\b",
        r"(?:sign|signpost|signboard|plate|plaque|card|ticket|coin|bill|banknote|note|envelope|parcel|package|packet"
        r"|letter|book|magazine|newspaper"
        r"|poster|calendar|date|clock|watch|dial|ruler|gauge|meter|thermometer|calculator|phone|keyboard|keypad|key"
        r"|keycap|keyhole|button|remote|switch"
        r"|candle|cake|menu|chart|graph|axis|map|diagram|figure|fig|plan|blueprint|list|form|document|receipt"
        r"|invoice|cheque|check|contract"
        r"|certificate|passport|badge|pass|wristband|bracelet|collar|banner|flag|pennant|screen|monitor|display"
        r"|scoreboard|board|billboard"
        r"|timer|table|whiteboard|blackboard|slide|worksheet|exam|quiz|stamp|sticker on|label on (?:a|the"
        r"|its) (?:bottle|box|jar|can|package|crate|tube|vial))(?:e?s)?\b",
        r"(?:bottle|jar|can|tin|container|crate|bucket|barrel|drum|bag|sack|basket|tank|cylinder|extinguisher"
        r"|hydrant|pump|valve|pipe|wire|cable"
        r"|socket|fuse|battery|resistor|component|panel|circuit|terminal block|tile|brick|tube|vial|flask|beaker"
        r"|specimen|sample|petri|swab|syringe"
        r"|electrode|lead|tooth|teeth|molar|vertebra|rib|bone|lesion|nodule|scan|x-ray|ear tag|ear|cattle|cow|sheep"
        r"|pig|goat|pigeon|duck|calf|lamb"
        r"|evidence|crime|forensic|shell casing|cone|trail|survey|tool|drill|needle|pencil|brush|thread|spool|film"
        r"|tape|cassette|disk|disc|record"
        r"|album|game|console|robot|drone|camera|machine|tray|rack|bed|crib|pallet|carton|cardboard|wooden|metal"
        r"|plastic|rubber|luggage|suitcase"
        r"|trash|recycling|perfume|lipstick|paint|nail|yarn|egg|apple crate|wine|whisky|beer|pillow|plinth|pedestal"
        r"|exhibit|sculpture|museum|auction"
        r"|lot|artwork|toy|lego|puppet|doll|matryoshka|pot|planter|seedling|stake|plant)(?:e?s)?\b",
    ),
    r"(?:\bnumber|\bno\.?|\bnr\.?|#)\s?\d+ (?:of|from|for) ",
    flags=0,
)
_PRINTED = any_of(
    r"\b(?:print|paint|stamp|emboss|engrav|stencil|spray|handwrit|sewn|stitch|carv)|\bon (?:its|the) (?:side"
    r"|lid|front|back|hull|top of)\b"
)
# What frames, outlines and highlights are drawn on, or made of, beside marks.
_DRAWN_ON = any_of(
    at_word(
        # pages and screens
        r"(?:map|chart|graph|diagram|figure|drawing|sketch|cartoon|comic|illustration|poster|page|book|document"
        r"|contract|text|paragraph|sentence"
        r"|word|letters?|form|field|button|icon|menu|screenshot|app|interface|website|web|browser|software"
        r"|spreadsheet|cell|table|slide|dialog|tooltip"
        r"|card|ticket|logo|sticker|patch|caption|subtitle|stamp|envelope|keyboard|game|chess|board|search|result"
        r"|file|row|column|sudoku|crossword|puzzle|calendar|newspaper|magazine|flyer"
        r"|brochure|banner|billboard|worksheet|whiteboard|blackboard|annotat\w+ tool|label+ing tool"
        r"|detection)(?:e?s)?\b",
        # what lines are drawn with, and frames made of
        r"(?:embroider\w*|printed|painted|ink|pen|pencil|chalk|crayon|lipstick|paint|tape|rope|ribbon|fence|barrier"
        r"|neon|led|tattoo|stitch\w*|lace"
        r"|trim|hem|makeup|eyeliner|glow\w*|ic?ing|wooden|wood|gold|golden|silver|metal|steel|iron|chrome|brass"
        r"|copper|plastic|leather|velvet|marble"
        r"|ornate|carved|stained|brick\w*|lines|stripes?|pattern\w*|flowers|bushes|lights|candles|stones|sequins"
        r"|beads|pearls)\b",
        # what has frames
        r"(?:painting|portrait|photo|photograph|artwork|canvas|print|certificate|diploma|mirror|glasses|spectacles"
        r"|goggles|licen[cs]e plate|quilt|rug"
        r"|carpet|tiles?|wallpaper|wrapper|packaging|parking|lane|court|pitch|playground|crosswalk|crossing|gift"
        r"|tissues?|cereal|chocolates?)\b",
        # where somebody else has drawn
        r"(?:scan|x-ray|mri|ct|ultrasound|radiograph|biops\w*|histolog\w*|patholog\w*|radiolog\w*|surgeon|doctor"
        r"|tumou?r|lesion|nodule|tissue|microscop\w*"
        r"|endoscop\w*|polyp|fracture|arrow|on an? \w+ (?:image|photo|photograph|view|film|picture)|brain|lungs?"
        r"|wound|cells?|skin)\b",
    ),
    flags=0,
)


# The region's own number is written as № for these, and as ⁿ where it is a word.
# Beside a part of its mark, or as the name of a thing.
_OWN_NUMBER = any_of(
    r"\b(?:box(?! truck| kite| of)|frame|rectangle|square|tag|label|marker|outline|annotation|mark)s?,? ?"
    r"(?:(?:with|and|has|that has|is|was|which is|that is|containing|bearing|showing|shows|reads|saying|says) )?"
    rf"(?:{_NUMBERED} )?(?:as |with |by )?(?:the |a |an )?(?:white |black |small |corresponding |{_COLOUR} )?"
    r"(?:number |label |tag |digit |no\.? ?|numeral |#|: ?)*(?:reading |saying |showing |of )?№",
    r"\b(?:label|mark) (?:number )?№",
    rf"\b(?:{_NUMBERED}|identified|designated|indicated|highlighted|denoted),? (?:as |with |by "
    r"|using )?(?:a |the |its )?"
    r"(?:object |item |region |number |label |tag |digit |no\.? ?|#)*№",
    r"\b(?:number|digit|numeral|label|tag) № (?:on|in|at|of|inside|above) (?:the |a |its |it )?(?:\w+ ){0,2}"
    r"(?:corner|frame|box|rectangle|square|tag|label|border|region|background)\b",
    rf"\b{_ANYTHING} (?:number |no\.? ?|#)№|\b(?:object|item|subject|thing|region) №",
    r"\b(?:number|tag|label|digit) [№ⁿ] (?:marks|indicates|labels|points|identifies|denotes|designates|refers)\b",
    r"^\W*(?:the )?(?:number|no\.?) ?[№ⁿ] (?:is|shows|has|contains|floats|hovers|hangs)\b|\bgiven the (?:number"
    r"|label|tag) [№ⁿ]",
    r"\b(?:hidden|covered|obscured|blocked|cut off|overlapped) by (?:the|its|a) (?:\w+ )?(?:tag|number|label|marker)"
    r"(?: with (?:its|the|his|her) number| \W?№)",
    r"^\W*(?:#|no\.? ?|number )?№\s?[:.)]\s|[(（](?:marked |labell?ed |number |tag |box |region |#)*№[)）]",
    rf"\b(?:{_NUMBERED}|identified|designated)(?: (?:as|with|by))?(?: (?:the|an?))?(?: (?:number|label|tag|digit"
    r"|no\.?))? \W?№",
    r"\b(?:box|frame|rectangle|tag|label|marker|marking) (?:number |no\.? ?|#)?[№ⁿ]",
    r"(?:\bnumber |\bno\.? ?|#|(?<!\S))№ (?:label|tag|marker|marking|box|sticker)\b",
    r"\b(?:the|an?) (?:\w+ )?(?:number|digit|numeral|label|tag) \W?[№ⁿ]\W? (?:is |was |appears |can be seen |shown "
    r"|placed |located |positioned |visible"
    r" |floating |hover\w* |attached |displayed |overlaid )*(?:above|over|on|in|at|next to|beside|near|covers?"
    r"|covering|attached|overlaid|overlay\w*|partly|partially|to the|below|under)\b",
    r"\b(?:with|has|shows|bearing|displaying|and) (?:the|an?) (?:\w+ )?(?:number|digit|numeral|label"
    r"|tag) \W?[№ⁿ]\W?(?: \w+)? (?:above|over|in the|at the|next to"
    r"|beside|near|to the|below|under|attached|overlaid|superimposed)\b",
    flags=0,
)
# With a tag and a frame in one sentence.
_OWN_NUMBER_FAR = any_of(
    r"\b(?:number |digit )№.{0,60}\b(?:tag|label|marker)\b.{0,60}\b(?:frame|box|rectangle|outline"
    r"|border|region|corner)\b",
    r"\b(?:frame|box|rectangle|outline|border|region|corner)\b.{0,60}\b(?:tag|label|marker|number"
    r"|digit)\b.{0,40}\b№",
    flags=0,
)
_OWN_NAME = any_of(
    r"^\W*(?:(?:in|for|inside|within|this is|here is|description of|caption for|content of) )?<?region\s?№>?(?! of "
    r"| in the | on )"
    r"(?:\W*$|\s*[:,.—–-]|\s(?:is|are|shows?|contains?|depicts?|displays?|features?|has|holds?|presents?|captures?"
    r"|there)\b)",
    r"\b(?:labell?ed|marked|tagged|identified|numbered|known|designated)(?: as)? region №",
    r"\b(?:object|subject|item|thing) (?:labell?ed|numbered|tagged|marked)(?: (?:as|with|by))?(?: (?:the )?(?:number"
    r"|label|tag))? \W?№",
    r"\b(?:object|subject|item|thing|person) (?:inside |within |in |of )?(?:the )?box (?:number )?№",
    r"^\W*(?:box|frame|tag|label|mark(?:ed)?|tagged|labell?ed|numbered) (?:as |with |by |in )?(?:the )?(?:number "
    r"|no\.? ?|#)?\W?№"
    r"\W?\s?[:,—–-]\s",
    flags=0,
)


@lru_cache(maxsize=256)
def _digits(region: int) -> re.Pattern[str]:
    return re.compile(rf"(?<![\d.,:/-]){region}(?!\w|[.,:/-]\d)|(?<!\d){region}(?=[{HAN}])")


def _with_own_number(text: str, region: int | None) -> str:
    """A text in lower case with the region's own number written as № and ⁿ."""
    if region is None:
        return text
    if str(region) in text:
        text = _digits(region).sub("№", text)
    word = _NUMBER_WORDS[region] if region < len(_NUMBER_WORDS) else ""
    return re.sub(rf"\b{word}\b", "ⁿ", text) if word and word in text else text


# ---- Chinese

_FRAME_ZH = r"(?:边框|方框|矩形框|矩形|长方形框|线框|框线|框)"
_PART_ZH = r"(?:边框|方框|矩形|线框|框|方块|正方形|长方形|标签|标记|编号|标注|角|方形)"
_SINGLE_OUT_ZH = r"(?:标|框|圈|围|包|突|高|勾)"
_COLOUR_ZH = r"(?:红|蓝|绿|黄|紫|橙|青|粉红|粉|品红|洋红|棕|褐|白|黑|蓝绿|浅绿|黄绿|青绿|彩|橘|深\w|浅\w)(?:色)?(?:的)?"
# Taken away from a sentence; if nothing stays, it is about a mark.
_MARK_WORDS_ZH = any_of(
    r"[左右][上下]角|一[个条块种圈道]|带有|标有|标着|写有|写着|印有|显示[为着]?|包含|里面|内部|[上下]方|上面"
    r"|角落|边缘|位于|处于|以及|标记出|标[出示注签记识号]"
    r"|编[号码]|数字|号码|序号|[边方线]框|矩形|长方形|正方形|方形|方块|线条|框线|轮廓|区域|部分|图像|图片|画面"
    r"|图中|出现|物体|对象|目标|阿拉伯|字样|文字|内容"
    r"|周围|围绕|包围|[围框]住|[框圈]出|突出|高亮|其中|旁边|中间|中央|对应|表示|指示|背景|所示|作为|分别|它们"
    r"|这里|有着|[小细粗]{2}",
    _COLOUR_ZH,
    r"[一个这该此是有带写里内中上下左右角处的为和与及并着用由被框号小大细粗了其它在圈围标外侧边画色成即叫做名附加]"
    r"|\d+|[a-zA-Z#]|[一二三四五六七八九十]|[^\w]",
)
_EVIDENCE_ZH = any_of(
    rf"{_PART_ZH}[^。]{{0,40}}(?:\d|数字|编号)|(?:\d|数字|编号)[^。]{{0,40}}(?:{_PART_ZH}|区域|背景)",
    r"矩形|方框|边框|线框|框线|区域[^。]{0,40}(?:标记|标出|框|圈|标注)|(?:标记|标注|标出)[^。]{0,40}(?:区域"
    r"|物体|部分)|被?框[住出起]|带(?:有)?编号",
)
_TALK_ZH = any_of(
    r"边界框|标注框|标记框|检测框|包围框|锚框|矩形框|被标[记注]|标记(?:的)?区域|标出的(?:区域|部分|物体)"
    r"|(?:数字|编号)标签|标签(?:编号|号码|数字)",
    r"(?:红|蓝|绿|黄|紫|橙|青|粉|品红|棕|白|黑)色?(?:的)?(?:方|矩形|线|边|标记|标注|长方形|细|粗)?框(?:内|中|里"
    r"|标|圈|框|围|出|选|突|高|住)",
    rf"(?:红|蓝|绿|黄|紫|橙|青|粉|品红|棕)色?(?:的)?{_FRAME_ZH.replace('|框)', ')')}(?:内|中|里)(?:的|是|有|可以"
    r"|能|包含|显示)",
    rf"^(?:在|该|这个|此)?(?:{_COLOUR_ZH})?{_FRAME_ZH}(?:内|中|里|所|包含|标|圈|框|围|突|高|包)",
    rf"(?:被|用|由)[^，。]{{0,12}}(?:{_FRAME_ZH}|数字标签|编号)[^，。]{{0,6}}{_SINGLE_OUT_ZH}"
    r"|被[框圈][住出选起中在]|[框圈](?:选|起来|出来)",
    r"(?:该|此|这个|被|所有)(?:标记|标注|框选|高亮|标出)(?:的)?(?:区域|部分|物体|对象|目标|人)"
    r"|区域(?:的)?(?:编号|标签|边框|标记)",
)


_OWN_NUMBER_ZH = any_of(
    r"(?:标签|标记|框|标注)(?:编号|号码|数字)?(?:上)?(?:的)?(?:数字|编号)?(?:显示为|显示|写着|为|是|："
    r"|:)?(?:数字|编号)?[“\"]?\s?№(?!路|[年月日])",
    r"(?:编号|标号|序号)(?:为|是)?[“\"]?\s?№(?:号)?(?:的)?[^，。]{0,4}(?:框|标签|区域|标记|对象|物体|部分|方块|目标)",
    r"(?:标记|标注|标签|标)(?:为|成|着|有)(?:数字|编号|区域)?[“\"]?\s?№(?:号)?(?:的)?(?:区域|物体|对象|部分|人"
    r"|目标|框|方)",
    r"№\s?号(?:区域|框|标签|标记|方框)|区域[“\"]?\s?№[，,]?(?:由|被|用)",
    r"(?:编号|标号|序号|标签|标着|标有|标为|标记为|标注为|注有|数字|号码)[^，。]{0,3}[“\"]?\s?№",
    r"角[^，。]{0,6}[“\"]?\s?№|[“\"]?\s?№(?:的)?(?:标签|标记|编号|标号)",
    r"^(?:这是|显示)?(?:白色|黑色)?(?:的)?(?:数字|编号|号码)\s?№[。，\s]*$",
    flags=0,
)
_OWN_NAME_ZH = re.compile(
    r"^\W*(?:在|这是|该|此)?区域\s?№|№\s?号(?:区域|框|方框|标记框|边框)"
    r"|(?:编号|标号|序号|标签|标记|标注)(?:为|是|成)?\s?№(?:号)?(?:的)?(?:区域|物体|对象|目标|部分)"
    r"|第№个(?:区域|方框|框|标记)|^\W*№号(?:框|标记|标签|区域|物体|对象|目标)|^(?:数字|序号|编号|标号"
    r"|标记)\s?№(?:处|对应|下面|上面|旁边|后面|所|指|是|：)|^(?:编号|标号)(?:为|是)?\s?№，|标(?:了|着|有)?\s?№的是"
    r"|(?:边框|方框|框)\s?№(?:中|内|里|[：:])"
)


# What nothing else is called, in Chinese; and further signs.
_SURELY_ZH = re.compile(
    r"边界框|标注框|标记框|检测框|包围框|锚框|(?:被|所)(?:标[记注出]|框[选出住中起])(?:的|住|起来"
    r"|出来)?(?:的)?(?:区域|部分|物体|对象|目标)"
    r"|(?:该|此|这个|所有|本)(?:标记|标注|框选|高亮|标出)(?:的)?(?:区域|部分|物体|对象|目标)|区域(?:的)?(?:编号|标签"
    r"|边框|标记)|方框标记|框选(?:的)?(?:区域|部分)"
)
_MAYBE_ZH = re.compile(
    r"^(?:被)?[框圈标](?:住|起来|出来|选|中|出)的(?:是|为|地方|位置)|"
    rf"(?:周围|外面|四周|外围|外侧|边缘|上面|身上)[^，。]{{0,6}}(?:{_COLOUR_ZH})(?:的)?(?:细|粗|方|矩形|长方形)?(?:框"
    r"|线|边框|线条|边)"
    rf"|(?:{_COLOUR_ZH})(?:的)?(?:框|线|线条|边框|方框|矩形|圈)(?:围|环绕|包围|圈|框|标)(?:着|住|起|出|绕)"
    rf"|(?:被|用|由|以)(?:一个|一条)?(?:{_COLOUR_ZH})(?:的)?(?:框|线|线条|边框|方框|矩形|圈|标记)[^，。]{{0,3}}(?:围"
    r"|环绕|包围|圈|框|标|突出)"
    # the regions by their names, and what is laid over the picture
    r"|^\W*(?:在)?(?:区域\s?\d+|第[一二三四五六七八九十]个(?:标记)?区域)(?:内|中|里)?(?:的?(?:是|为|有|展示|显示"
    r"|包含|描|呈)|[：，])"
    r"|^\W*\d+号(?:框|标记|标签|区域)(?:内|中|里)?(?:[：，是为有]|$)|(?:编号|标号|标记|标签)(?:为"
    r"|是)?\s?\d+的(?:区域|物体|对象|框|目标)"
    r"|(?:图上|图中|上面|角上|画面上)?标(?:了|着|有|注)?\s?\d+的(?:是|为|人|那个|这个|物体)"
    r"|(?:数字|编号|号码)(?:标签|标记|标牌)|(?:数字|编号)\s?\d+的(?:标签|标记|框)|^编号(?:为|是)?\s?\d+，"
    rf"|(?:(?:^|[，。])(?:数字|编号)?(?:标签|标记|标注)|(?:方框|边框|矩形框|标注框)的?[左右上下]?边?缘?"
    rf"|(?:{_COLOUR_ZH})(?:的)?(?:框|线|边框|线框|方框|矩形))(?:把|将)?[^，。]{{0,4}}(?:挡|遮|盖住|覆盖"
    r"|压住|只框|只圈|只包|框到|切掉|截断|穿过)"
    r"|角标|四角(?:的|上的)?标记|四个?角之间|(?:其余|其他|其它|以外的?|周围)(?:的)?(?:部分|区域|地方|图像|画面)?(?:都|均|被)?(?:变|调|压)暗"
    r"|(?:被)?(?:变|调|压)暗的(?:部分|区域|图像|画面)"
    r"|(?:超出|超过|越过|露出|伸出)(?:了)?(?:这个|该)?(?:框|边框|方框|矩形|标记)"
    r"|第[一二三四五六七八九十\d]+个(?:框|方框|矩形|标记)(?:内|中|里)?(?:的|是|有)|(?:框|方框|矩形)(?:内|中|里)(?:是"
    r"|有)(?:一|个|着)"
)
# A frame with a number, and one that nothing has but a mark, whatever is in it.
_FRAMED_NUMBER_ZH = re.compile(r"(?:边框|方框|矩形框|矩形)[^。]{0,8}№|№[^。]{0,6}(?:边框|方框|矩形框)")
_FRAMED_ZH = re.compile(rf"(?:{_COLOUR_ZH})(?:矩形框|线框|标记框|方框)(?:内|中|里)(?:的|是|有)")
# Frames that are things, and what lies in frames.
_FRAMED_THINGS_ZH = re.compile(
    r"(?:篮球|球|手提|输入|对话|文本|文字|搜索|弹|门|窗|相|像|画|镜|眼镜|黑|金属|木|钢|塑料|车|床|登录|密码|提示"
    r"|选择|复选|消息|表|方格|书|竹|铁|花|菜|果|购物|网|球门|外|灯|号码|证件|照片|广告)框"
    r"|框架|框子|筐|眼镜|(?:装|放|裱|镶|挂|摆|盛)(?:在|入|进)[^，。]{0,6}框|框(?:眼镜|画|里的(?:照片|画|奖状"
    r"|证书))|相片"
    r"|油画|奖状|证书|壁画|地图|截图|界面|图表|表格|软件|网页|屏幕|按钮|流程图|车位|停车|球场|斑马线|消防|通道"
    r"|公告栏|公告板|布告|通知|宣传栏|日历|报纸|海报|名单|黑板|白板|图纸|试题|地面上|墨水|粉笔"
    r"|口红|医生|病理|肿瘤|病灶|结节|切片|扫描|合同|文件|文档|课本|试卷|棋盘|棋|施工|警戒|隔离|围栏"
)
_BEARS_NUMBERS_ZH = re.compile(
    r"球衣|号码布|球员|选手|运动员|队员|赛车|跑道|泳道|赛道|车厢|车次|列车|公交|巴士|大巴|卡车|货车|车牌|车门|门牌"
    r"|房|楼|室|层|站|路|街|桌|座|席|柜|箱|盒|瓶|罐|桶|管|袋|包裹|快递|标本|样本|试剂|药|灭火器|消防|消火栓"
    r"|按钮|按键|键|旋钮|电梯|遥控|钥匙|锁|门|登机口|闸机|站台|月台|泊位|车位|停车|码头|船|艇|飞机|航班|火车|机车"
    r"|货架|架子|抽屉|摊位|展位|展品|展台|作品|雕塑|画作|墓|碑|桩|杆|柱|井|井盖|球洞|台球|彩票|骰子|麻将|扑克|拼图"
    r"|积木|棋"
    r"|蜡烛|蛋糕|气球|奖牌|奖杯|领奖台|名次|证物|现场|弹壳|耳标|牛|羊|猪|马|鸽|鸡|日历|日期|时钟|钟|表盘|计分|记分"
    r"|比分|屏|显示器|海报|书|页|章|图表|坐标|地图|表格|试卷|试题|车票|门票|票号|证件|卡片|号牌|牌子|铭牌|站牌|吊牌"
    r"|指示牌|价签|吊牌|包装|印|喷|漆|绣|刻|贴|背号|背后|胸前|上衣|队服|帽上|帽子上"
    r"|头盔|手环|臂章|布条|牙|椎|肋骨|电极|导联|切片|机器|设备|仪器|阀|泵|电缆|插座|开关|电池|元件|芯片|引脚|轨道"
    r"|隧道|出口|入口|窗口|检票|收银|病床|床位|宿舍|教室|仓库|场馆|大厅|展厅|厅|馆|塔|桥|炉|罩|盆|盘|碗|杯"
)


@dataclass(frozen=True)
class _Sign:
    """What a sentence has of a mark. `excused`: what else it is about explains it."""

    sentence: str
    sure: bool = False
    numbered: bool = False
    excused: bool = False


def mark_talk(answer: Answer) -> Failure | None:
    """A caption has a wording that only fits a mark, or (a warning) one that fits a mark well."""
    signs = {
        caption.region: sign for caption in answer.captions if (sign := _sign(caption, answer.colours)) is not None
    }
    if not signs:
        return None
    # Real numbers are not those of the regions, region for region, unless alike things stand in a row.
    by_number = [sign for sign in signs.values() if sign.numbered]
    things = {_NUMBERS.sub("", sign.sentence.lower()) for sign in by_number}
    in_step = len(things) > 1 and not all(sign.excused for sign in by_number)
    others = any(_NAMED.search(caption.own_words) for caption in answer.captions if caption.region not in signs)
    faults: list[tuple[int | None, str]] = []
    for region, sign in signs.items():
        what = f"is about the mark: {quote(sign.sentence.strip())}"
        if sign.sure or (sign.numbered and in_step and not sign.excused):
            faults.append((region, what))
        elif in_step or (not sign.excused and not (sign.numbered and others)):
            faults.append((region, Unsure(f"may be about the mark: {quote(sign.sentence.strip())}")))
    return of_captions(faults)


_SHORT = 200
_NUMBERS = re.compile(r"\d+")
# A thing that is named by a number.
_NAMED = any_of(
    rf"\b(?:{_NUMBERED}|number|no\.|#)(?: (?:as|with|by|the|number))* ?#?\d{{1,3}}\b|(?:编号|标号|序号"
    r"|号码)为?\d{1,3}|\d{1,3}号"
)


def _sign(caption: Caption, colours: Mapping[int, str]) -> _Sign | None:
    """The best sign of a caption."""
    text = caption.own_words
    if not _may_talk(text):
        return None
    if not text.isascii():
        text = full_width(text)
    found: _Sign | None = None
    said = sentences(text)
    for sentence in said:
        if len(said) > 1 and not _may_talk(sentence):
            continue
        # What a short caption says before and after is about the same thing.
        context = text if len(text) <= _SHORT else sentence
        sign = _sign_zh(sentence, caption.region, context) if not sentence.isascii() else None
        sign = sign or _sign_en(sentence, caption.region, context.lower(), colours)
        if sign and (found is None or sign.sure or (found.excused and not sign.excused)):
            found = sign
        if found and found.sure:
            break
    return found


_DIGIT = frozenset("0123456789")


def _may_talk(text: str) -> bool:
    if _HINT.search(text.lower()):
        return True
    if not _DIGIT.isdisjoint(text) and _NUMBER_HINT.search(text):
        return True
    return not text.isascii() and _HINT_ZH.search(text) is not None


def _sign_en(sentence: str, region: int | None, context: str, colours: Mapping[int, str]) -> _Sign | None:
    lower = sentence.lower()
    own = _with_own_number(lower, region)
    if _SURELY.search(lower) or _OWN_NAME.search(own):
        # In a picture of software that draws boxes there are some.
        return _Sign(sentence, sure=not _DRAWN_ON.search(context))
    words = _WORD.findall(lower)
    if all(word in _MARK_WORDS or word.isdigit() for word in words) and _is_mark(sentence, words, region):
        its_colour = _COLOURS_OF.get(colours.get(region or 0, ""), frozenset())
        return _Sign(sentence, sure=str(region) in words and not its_colour.isdisjoint(words))
    if _AREA.match(lower):
        return _Sign(sentence)
    talk = _TALK.search(lower) or _MAYBE.search(lower)
    if talk and "border" in talk[0] and _DECORATED.search(context):
        return None
    if talk and not _DRAWN_ON.search(context) and _is_a_marks_colour(talk[0], colours):
        return _Sign(sentence)
    number = (_OWN_NUMBER.search(own) or _OWN_NUMBER_FAR.search(own)) if own != lower else None
    if number is None:
        return None
    generic = _GENERIC.search(own[max(0, number.start() - 12) : number.end() + 12]) is not None
    # The end of the text says what the thing does, or is beside.
    beside = _BESIDE.search(own, number.end())
    bearer = context.replace(lower[beside.start() - len(own) :], " ") if beside else context
    return _Sign(sentence, numbered=True, excused=not generic and _BEARS_NUMBERS.search(bearer) is not None)


# What a thing does or what is beside it bears no number of the thing.
_BESIDE = re.compile(
    r",? (?:is |and )?(?:carrying|holding|pushing|pulling|looking|talking|eating|drinking|walking|standing|sitting"
    r"|next to"
    r"|beside|behind|in front of|near)\b"
)


# What is said of "the highlighted area of the map" is of the map; this is of the mark, whatever is in it.
_AREA = re.compile(
    r"\W*(?:the |this |an? )?(?:highlighted|marked|annotated|outlined|boxed|framed|tagged|selected|indicated|circled) "
    r"(?:area|section|part|portion|spot|zone|place|bit|region)\b(?:,| (?:shows?|is|are|has|contains?|looks|depicts)\b)"
)
# What has a border of its own.
_DECORATED = re.compile(
    r"\b(?:plates?|dish(?:es)?|bowls?|saucers?|napkins?|table ?cloths?|handkerchiefs?|scarf|scarves|shawls?|flags?"
    r"|skirts?"
    r"|dress(?:es)?|curtains?|cushions?|towels?|blankets?|sari|kimono|flower ?beds?|lawns?|gardens?)\b"
)
# What things are called where nobody looks at what they are.
_GENERIC = re.compile(
    r"\b(?:object|item|subject|thing|region|area)\b|\b(?:in|inside|within|of) (?:the )?(?:box|frame|rectangle"
    r"|outline|bounding)\b|^\W*(?:tag|box|frame|rectangle|label|marked|tagged|labell?ed)\b"
    r"|\b(?:rectangle|frame|outline|mark) (?:labell?ed|numbered|marked|tagged|with)\b|\bwith (?:the )?tag\b"
    r"|\b(?:marks|indicates|labels|points|identifies|denotes|designates)\b"
    rf"|\b(?:label|tag|number|marker|box) \W?№\W? (?:\w+ )?{_HIDES}"
)


# What the colours of marks are called, by those who do not know their names.
_COLOURS_OF: Mapping[str, frozenset[str]] = {
    "red": frozenset({"red", "pink", "magenta"}),
    "blue": frozenset({"blue"}),
    "green": frozenset({"green"}),
    "yellow": frozenset({"yellow"}),
    "purple": frozenset({"purple", "violet", "magenta"}),
    "orange": frozenset({"orange"}),
    "cyan": frozenset({"cyan", "turquoise", "blue", "teal"}),
    "magenta": frozenset({"magenta", "pink", "purple", "violet"}),
    "brown": frozenset({"brown", "orange"}),
    "pink": frozenset({"pink"}),
    "teal": frozenset({"teal", "green", "blue", "cyan", "turquoise"}),
    "lime": frozenset({"lime", "green", "yellow"}),
}
_NAMES_OF_COLOURS = frozenset().union(*_COLOURS_OF.values())


def _is_a_marks_colour(text: str, colours: Mapping[int, str]) -> bool:
    """Whether a text has no colour, or the colour of some mark; or nothing is known of them."""
    named = _NAMES_OF_COLOURS.intersection(_WORD.findall(text))
    known = [_COLOURS_OF.get(colour, _NAMES_OF_COLOURS) for colour in colours.values()]
    return not named or not known or any(not named.isdisjoint(names) for names in known)


def _is_mark(sentence: str, words: Sequence[str], region: int | None) -> bool:
    # Several numbers, and not the region's own: "boxes numbered 1, 3 and 4".
    if str(region) not in words and sum(1 for word in words if word.isdigit()) > 1:
        return False
    if _EVIDENCE.search(sentence):
        return not _PRINTED.search(sentence)
    # "Number 3", and no more: the region's own.
    names = {str(region), *(_NUMBER_WORDS[region : region + 1] if region else ())}
    return not names.isdisjoint(words) and not {"number", "digit", "numeral", "label", "tag"}.isdisjoint(words)


def _sign_zh(sentence: str, region: int | None, context: str) -> _Sign | None:
    own = _with_own_number(sentence, region)
    if _SURELY_ZH.search(sentence) or _OWN_NAME_ZH.search(own):
        return _Sign(sentence, sure=not _FRAMED_THINGS_ZH.search(context))
    alone = _EVIDENCE_ZH.search(sentence) and not _MARK_WORDS_ZH.sub("", sentence)
    plain = _FRAMED_THINGS_ZH.sub("", sentence)
    if alone or ((_TALK_ZH.search(plain) or _MAYBE_ZH.search(plain)) and plain == sentence):
        return _Sign(sentence)
    if _FRAMED_ZH.search(sentence):
        return _Sign(sentence)
    if "№" not in own or not _OWN_NUMBER_ZH.search(own):
        return None
    if _FRAMED_NUMBER_ZH.search(own):
        return _Sign(sentence, numbered=True)
    # What lies under a tag or beside it bears no number of the thing.
    bearer = _BESIDE_ZH.sub("", context)
    return _Sign(sentence, numbered=True, excused=_BEARS_NUMBERS_ZH.search(bearer) is not None)


_BESIDE_ZH = re.compile(
    r"[，。](?:下面|后面|旁边|前面|里面|背后|正在|手[里中]?[拿端捧]|端着|拿着|推着|站在|坐在)[^，。]*"
)


GATE = Gate(Code.MARK_TALK, "reject", mark_talk)
