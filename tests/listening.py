"""A fake VLM that knows the truth: it captions by it, with errors where a test wants some, and listens by it."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from regioncap.ask.listening import draw_sheet
from regioncap.captions.prompts import NO_REGION
from regioncap.marks.view import content_name
from regioncap.regions.names import region_name
from regioncap.regions.records import RenderedRow
from regioncap.trust.questions import Sheet
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import Place, encoded, picture
from tests.fake_vlm import Reply, completion
from tests.steps import jpeg_bytes

_SIZES = ("small", "large", "tiny", "huge", "narrow", "wide", "tall", "flat")
_COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "brown", "pink", "black", "white")
_THINGS = ("door", "cat", "chair", "bridge", "lamp", "window", "boat", "tree", "clock", "bottle", "shoe", "table")

_ASKED = re.compile(r'describe: "(.*)"\?')
_ALONE = re.compile(r"Describe <region(\d+)> only")

# Of several boxes in a picture of 120 x 80.
BOXES = [[4, 4, 30, 30], [40, 4, 30, 30], [80, 40, 30, 30]]


def truth(row_id: str, region: int) -> str:
    """What is in a region, in fact."""
    digest = hashlib.sha256(f"{row_id} {region}".encode()).digest()
    words = (options[digest[place] % len(options)] for place, options in enumerate((_SIZES, _COLOURS, _THINGS)))
    return f"a {' '.join(words)}"


def rows(place: Place, number: int) -> None:
    """A drop of so many rows with three regions each."""
    for index in range(number):
        place.put(f"{index}.jpg", encoded(picture(colour=(index * 37 % 256, index * 11 % 256, 90))))
    place.put_rows(*({"id": f"row-{index}", "image": f"{index}.jpg", "bbox": BOXES} for index in range(number)))


class Knowing:
    """How a `FakeVlm` behaves that knows what is in the regions of plans whose images are marked.

    It says `wrong` of a region where that has its row's id and number, but `alone`, asked about it by itself, the truth
    unless that says something else. `asked` are the captions that it was asked about as a listener, and
    `sheets` the images that were drawn for it. Where it is `deaf`, it hears the first region always; where it is
    `fooled`, it takes what it says wrong for true. With `tells`, it says how sure it is of its words where it is asked
    for that: not sure of what is wrong.
    """

    def __init__(self, wrong: Mapping[tuple[str, int], str] | None = None) -> None:
        self.wrong = dict(wrong or {})
        self.alone: dict[tuple[str, int], str] = {}
        self.asked: list[str] = []
        self.sheets: list[Sheet] = []
        self.deaf = self.fooled = self.tells = False
        self._images: dict[str, tuple[str, dict[int, int]]] = {}

    def learn(self, place: Place, plan: Plan) -> None:
        """See which images a plan has marked, and how."""
        for shard_id in plan.shards:
            for row in Shard(place.work, plan, shard_id).rendered().rows:
                self._images.setdefault(row.marked, (row.id, {each.region: each.region for each in row.regions}))

    def draw_sheet(self, row: RenderedRow, sheet: Sheet, plan: Plan, unmarked: bytes) -> bytes:
        """Takes the place of the product's, and remembers what is shown in it."""
        jpeg = draw_sheet(row, sheet, plan, unmarked)
        self._images[content_name(jpeg)] = row.id, dict(sheet.shown)
        self.sheets.append(sheet)
        return jpeg

    def __call__(self, number: int, body: dict[str, Any]) -> Reply:
        content = body["messages"][1]["content"]
        row_id, shown = self._images[content_name(jpeg_bytes(content[0]))]
        if "top_logprobs" in body:
            return self.listen(content[1]["text"], row_id, shown)
        if alone := _ALONE.search(content[-1].get("text", "")):
            region = int(alone[1])
            said = self.alone.get((row_id, region), truth(row_id, region))
            return completion(json.dumps({region_name(region): said}))
        schema = body["response_format"]["json_schema"]["schema"]
        regions = sorted(int(re.sub(r"\D", "", name)) for name in schema["required"])
        said_of = {n: self.wrong.get((row_id, n), truth(row_id, n)) for n in regions}
        reply = completion(json.dumps({region_name(n): said for n, said in said_of.items()}))
        doubtful = [said for n, said in said_of.items() if (row_id, n) in self.wrong]
        return sure_but(reply, doubtful) if self.tells and body.get("logprobs") else reply

    def listen(self, text: str, row_id: str, shown: dict[int, int]) -> Reply:
        """Its answer to a listener's question about an image that shows regions (by number) under other numbers."""
        caption = _ASKED.search(text)[1]  # type: ignore[index]
        self.asked.append(caption)
        fits = [number for region, number in shown.items() if caption in self._true(row_id, region)]
        return heard(["1"] if self.deaf else [str(number) for number in fits] or [NO_REGION], len(shown))

    def _true(self, row_id: str, region: int) -> set[str | None]:
        """What it takes for true of a region."""
        return {truth(row_id, region), self.wrong.get((row_id, region)) if self.fooled else None}


def sure_but(reply: Reply, doubtful: Sequence[str]) -> Reply:
    """The reply with how likely its tokens were, which are its characters: the first ones of some texts were not."""
    told = json.loads(reply.body)
    text = told["choices"][0]["message"]["content"]
    places = {text.index(each) for each in doubtful}
    tokens = [{"token": one, "logprob": -0.5 if at in places else -0.001} for at, one in enumerate(text)]
    told["choices"][0]["logprobs"] = {"content": tokens}
    return Reply(body=json.dumps(told))


def heard(right: Sequence[str], shown: int, sure: float = 0.97) -> Reply:
    """A listener's answer: the one token, and how likely each of the choices was; those that are right equally."""
    choices = [*map(str, range(1, shown + 1)), NO_REGION]
    others = (1 - sure) / max(1, len(choices) - len(right))
    tokens = [{"token": each, "logprob": math.log(sure / len(right) if each in right else others)} for each in choices]
    reply = json.loads(completion(right[0], "length").body)
    first = next(token for token in tokens if token["token"] == right[0])
    reply["choices"][0]["logprobs"] = {"content": [{**first, "top_logprobs": tokens}]}
    return Reply(body=json.dumps(reply))
