"""What is asked about a row, and the hash that each question is known by."""

import hashlib
from typing import Any

from regioncap.builds.plan import Plan
from regioncap.builds.settings import BuildSettings
from regioncap.regions.grounding import grounding_prompt, grounding_schema
from regioncap.regions.jsonl import canonical
from regioncap.regions.profiles import PROFILES
from regioncap.regions.prompts import answer_schema, close_up_prompt, system_message, user_prompt
from regioncap.regions.records import RenderedRow
from regioncap.vlm.questions import Part, Question

Regions = tuple[int, ...]


def row_questions(row: RenderedRow, plan: Plan) -> dict[Regions, Question]:
    """The questions that a marked row asks, by the regions that each is about: one about all, or one about each."""
    settings, regions = plan.settings, tuple(region.region for region in row.regions)
    system = system_message(
        settings.system_prompt, settings.caption_mode, settings.answer_format, len(regions), settings.prompt_language
    )
    # Images go before the text, and what questions have in common before what they have not: vLLM computes an equal
    # beginning only once.
    parts = (Part("image", row.marked), Part("text", user_prompt(settings.prompt_template, len(regions))))
    if settings.caption_mode == "joint":
        return {regions: _question(plan, system, parts, answer_schema(regions))}
    return {
        (region,): _question(
            plan,
            system,
            (*parts, Part("image", close_up), Part("text", close_up_prompt(region, settings.prompt_language))),
            answer_schema([region]),
        )
        for region, close_up in zip(regions, row.close_ups, strict=True)
    }


def grounding_question(view: str, plan: Plan) -> Question:
    """The question where things are in an image without boxes; `view` names the image as the model sees it."""
    settings = plan.settings
    coordinates = PROFILES[settings.model_profile].coordinates
    assert coordinates is not None, "BuildSettings lets ask_model through only where the profile has coordinates"
    parts = (Part("image", view), Part("text", grounding_prompt(coordinates, settings.max_boxes)))
    return _question(plan, settings.system_prompt, parts, grounding_schema(settings.max_boxes))


def _question(plan: Plan, system: str, parts: tuple[Part, ...], schema: dict[str, Any]) -> Question:
    options = {**_sampling(plan.settings), "model": plan.model}
    if plan.settings.answer_format == "structured":
        options["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "regions", "strict": True, "schema": schema},
        }
    identity = {
        "system": system,
        "parts": [[part.kind, part.value] for part in parts],
        "options": options,
        # Sets a question apart from equal ones that were asked before.
        "ask_again": plan.ask_again,
    }
    return Question(hashlib.sha256(canonical(identity)).hexdigest()[:32], system, parts, options)


def _sampling(settings: BuildSettings) -> dict[str, Any]:
    return {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
        # vLLM's own sampling parameters, beside those of OpenAI's API.
        "top_k": settings.top_k,
        "repetition_penalty": settings.repetition_penalty,
    }
