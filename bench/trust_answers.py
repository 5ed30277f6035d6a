"""What the demo model answers to many questions, with how likely each answer is: vLLM in this process, no server.

    .venv-vllm/bin/python -m bench.trust_answers MODEL ROWS.jsonl OUT.jsonl

A row of ROWS is {"images": [path, ...], "texts": [one after each image], "options": {...}, "choices": [...]}; with
`choices` the answer is one of them. A line of OUT has the answer's `text`, its `tokens` with their natural `logprobs`,
and the `probabilities` of the choices.
"""

import json
import math
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image
from vllm import LLM, SamplingParams
from vllm.sampling_params import StructuredOutputsParams

_AT_ONCE = 4000


def main() -> None:
    """Ask, and write the answers in the rows' order; prints the seconds."""
    rows = [json.loads(line) for line in Path(sys.argv[2]).read_bytes().splitlines()]
    llm = LLM(
        sys.argv[1], dtype="float32", max_model_len=1024, max_num_seqs=128, enforce_eager=True,
        enable_chunked_prefill=False, enable_prefix_caching=True, mm_processor_cache_gb=1, block_size=32,
        limit_mm_per_prompt={"image": 2},
    )  # fmt: skip
    ask(llm, rows[:100])  # what is computed or loaded only once
    llm.reset_prefix_cache()
    started = time.perf_counter()
    with Path(sys.argv[3]).open("w") as out:
        for begin in range(0, len(rows), _AT_ONCE):
            for row, told in zip(rows[begin : begin + _AT_ONCE], ask(llm, rows[begin : begin + _AT_ONCE]), strict=True):
                out.write(json.dumps(answer(row, told)) + "\n")
    print(json.dumps({"seconds": time.perf_counter() - started}))


@lru_cache(maxsize=64)
def opened(path: str) -> Image.Image:
    """An image; questions about one follow each other."""
    return Image.open(path).convert("RGB")


def ask(llm: LLM, rows: list[dict[str, Any]]) -> list[Any]:
    """vLLM's outputs of one call."""
    conversations, sampling = [], []
    for row in rows:
        content: list[dict[str, Any]] = []
        for path, text in zip(row["images"], row["texts"], strict=True):
            content += [{"type": "image_pil", "image_pil": opened(path)}, {"type": "text", "text": text}]
        conversations.append([{"role": "user", "content": content}])
        options = dict(row["options"])
        if "choices" in row:
            options |= {"max_tokens": 1, "logprobs": 20, "temperature": 0}
            options["structured_outputs"] = StructuredOutputsParams(choice=row["choices"])
        sampling.append(SamplingParams(**options))
    return list(llm.chat(conversations, sampling, use_tqdm=False))


def answer(row: dict[str, Any], told: Any) -> dict[str, Any]:
    """What is kept of an output."""
    said = told.outputs[0]
    if "choices" not in row:
        return {
            "text": said.text,
            "tokens": [each[token].decoded_token for each, token in zip(said.logprobs, said.token_ids, strict=True)],
            "logprobs": [each[token].logprob for each, token in zip(said.logprobs, said.token_ids, strict=True)],
        }
    likely = {each.decoded_token: math.exp(each.logprob) for each in said.logprobs[0].values()}
    return {"text": said.text, "probabilities": {choice: likely.get(choice, 0.0) for choice in row["choices"]}}


if __name__ == "__main__":
    main()
