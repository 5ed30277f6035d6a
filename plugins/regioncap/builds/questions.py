"""What is asked about a marked row, and the hash that the question is known by."""

import hashlib
from typing import Any

from regioncap.builds.plan import Plan
from regioncap.builds.settings import BuildSettings
from regioncap.regions.jsonl import canonical
from regioncap.regions.prompts import answer_schema, system_message, user_prompt
from regioncap.regions.records import RenderedRow
from regioncap.vlm.questions import Question


def row_question(row: RenderedRow, plan: Plan) -> Question:
    """The question that a marked row asks."""
    return question(row.marked, len(row.regions), plan.settings, plan.model, plan.ask_again)


def question(marked: str, regions: int, settings: BuildSettings, model: str, ask_again: str = "") -> Question:
    """The question about a marked image (named by its content hash) with regions 1..`regions`.

    `ask_again` sets the question apart from equal ones that were asked before.
    """
    system = system_message(settings.system_prompt, settings.answer_format, regions, settings.prompt_language)
    prompt = user_prompt(settings.prompt_template, regions)
    options: dict[str, Any] = {
        "model": model,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
        # vLLM's own sampling parameters, which the OpenAI client passes on as they are.
        "extra_body": {"top_k": settings.top_k, "repetition_penalty": settings.repetition_penalty},
    }
    if settings.answer_format == "structured":
        options["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "regions", "strict": True, "schema": answer_schema(regions)},
        }
    identity = {"marked": marked, "system": system, "prompt": prompt, "options": options, "ask_again": ask_again}
    return Question(hashlib.sha256(canonical(identity)).hexdigest()[:32], marked, system, prompt, options)
