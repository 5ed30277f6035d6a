"""What xgrammar, by which vLLM makes answers follow a schema, lets a model write."""

import json
import subprocess

import pytest

from deploy.local.paths import VLLM_PYTHON
from regioncap.captions.grounding import grounding_schema
from regioncap.captions.prompts import answer_schema
from regioncap.marks.profiles import QWEN_GROUNDING

_ACCEPTS = """
import json, sys
from xgrammar import Grammar
from xgrammar.testing import _is_grammar_accept_string as accepts
asked = json.load(sys.stdin)
print(json.dumps([accepts(Grammar.from_json_schema(json.dumps(one["schema"])), one["text"]) for one in asked]))
"""

REGIONS = answer_schema([1, 2])
BOXES = grounding_schema(QWEN_GROUNDING, 3)

CASES = {
    "plain captions": (REGIONS, '{"<region1>": "a cat", "<region2>": "a dog"}', True),
    "a quotation mark": (REGIONS, r'{"<region1>": "a sign, \"Stop\"", "<region2>": "a dog"}', True),
    "a backslash": (REGIONS, r'{"<region1>": "C:\\>", "<region2>": "a dog"}', True),
    "an escaped line end": (REGIONS, r'{"<region1>": "a\nb", "<region2>": "a dog"}', True),
    "Chinese": (REGIONS, '{"<region1>": "一只猫", "<region2>": "“停”字"}', True),
    "a raw tab": (REGIONS, '{"<region1>": "a\tb", "<region2>": "a dog"}', False),
    "a raw control character": (REGIONS, '{"<region1>": "a\x01b", "<region2>": "a dog"}', False),
    "a region too few": (REGIONS, '{"<region1>": "a cat"}', False),
    "a region too many": (REGIONS, '{"<region1>": "a", "<region2>": "b", "<region3>": "c"}', False),
    "words before it": (REGIONS, 'Sure: {"<region1>": "a cat", "<region2>": "a dog"}', False),
    "a label with a quotation mark": (BOXES, r'[{"bbox_2d": [1, 2, 3, 4], "label": "a 19\" screen"}]', True),
}


@pytest.fixture(scope="module")
def accepted() -> dict[str, bool]:
    asked = json.dumps([{"schema": schema, "text": text} for schema, text, _ in CASES.values()])
    done = subprocess.run(
        [str(VLLM_PYTHON), "-c", _ACCEPTS], input=asked, capture_output=True, text=True, timeout=900, check=True
    )
    return dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_an_answer_may_hold_any_text_and_exactly_the_regions(accepted: dict[str, bool], name: str) -> None:
    assert accepted[name] is CASES[name][2]
