"""The original pipeline's way to caption: offline `LLM.chat` over all rows in one call, images loaded in this process.

    .venv-vllm/bin/python -m bench.vlm_offline MODEL ROWS.jsonl

A row of ROWS is {"image": path, "system": ..., "prompt": ..., "options": {...}}. Prints the seconds that the call
takes, after a first one over a few rows.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from vllm import LLM, SamplingParams


def main() -> None:
    """Measure, apart from loading the model."""
    rows = [json.loads(line) for line in Path(sys.argv[2]).read_bytes().splitlines()]
    llm = LLM(
        sys.argv[1], dtype="float32", max_model_len=1024, max_num_seqs=128, enforce_eager=True,
        enable_chunked_prefill=False, enable_prefix_caching=True, mm_processor_cache_gb=0,
        limit_mm_per_prompt={"image": 2},
    )  # fmt: skip
    ask(llm, rows[:100])  # what is computed or loaded only once
    llm.reset_prefix_cache()
    started = time.perf_counter()
    ask(llm, rows)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def ask(llm: LLM, rows: list[dict[str, Any]]) -> None:
    """Load the rows' images and ask about all of them in one call."""
    conversations, sampling = [], []
    for row in rows:
        image = Image.open(row["image"]).convert("RGB")
        content = [{"type": "image_pil", "image_pil": image}, {"type": "text", "text": row["prompt"]}]
        conversations.append([{"role": "system", "content": row["system"]}, {"role": "user", "content": content}])
        sampling.append(SamplingParams(**row["options"]))
    llm.chat(conversations, sampling, use_tqdm=False)


if __name__ == "__main__":
    main()
