"""The requests about a row, each known by a hash of all that is sent."""

import hashlib
from dataclasses import replace
from typing import Any

from regioncap.captions.grounding import grounding_prompt, grounding_schema
from regioncap.captions.prompts import (
    RequestMode,
    answer_schema,
    crop_prompt,
    label_hint,
    only_prompt,
    system_message,
    user_prompt,
)
from regioncap.config.settings import BuildSettings
from regioncap.gates.special_tokens import input_token
from regioncap.marks.styles import STYLES
from regioncap.regions.jsonl import canonical
from regioncap.regions.records import RenderedRow
from regioncap.vlm.requests import ChatRequest, Part, as_schema
from regioncap.work.plan import Plan
from regioncap.work.row_index import image_digest

# In order.
RegionNumbers = tuple[int, ...]

RETRY_TEMPERATURE = 0.3


def asked_together(row: RenderedRow, plan: Plan) -> list[RegionNumbers]:
    """Which of a row's regions are asked about together: all, or each by itself."""
    regions = tuple(region.region for region in row.regions)
    return [regions] if first_mode(plan) == "joint" else [(region,) for region in regions]


def first_requests(row: RenderedRow, plan: Plan) -> list[ChatRequest]:
    """What a marked row asks to begin with; see `follow_attempts` for what may follow."""
    return [caption_request(row, plan, regions, regions) for regions in asked_together(row, plan)]


def caption_request(
    row: RenderedRow,
    plan: Plan,
    regions: RegionNumbers,
    left: RegionNumbers,
    attempt: int = 1,
    token_multiplier: int = 1,
    room: int | None = None,
    *,
    alone: bool = False,
) -> ChatRequest:
    """The request about `regions` of a marked row, of which `left` have no caption yet.

    `attempt` counts from 1; `token_multiplier` is how many times `max_tokens` the answer may have, as far as the
    server has `room` for more than one time, in tokens. With `alone`, the one region is asked about by itself,
    whatever the run does first.
    """
    settings, marked = plan.settings, len(row.regions)
    language = settings.prompt_language
    mode: RequestMode = "per_region" if alone else first_mode(plan)
    system = _system(plan, mode, marked)
    # Images go before the text, and what requests have in common before what they have not: vLLM computes an equal
    # beginning only once.
    parts = [Part("image", row.marked), Part("text", user_prompt(settings.prompt_template, marked))]
    if hint := hint_of(row, settings):
        parts.append(Part("text", hint))
    if mode == "per_region":
        (region,) = regions
        parts += [Part("image", row.crops[region - 1]), Part("text", crop_prompt(region, language))]
    if left != regions:
        parts.append(Part("text", only_prompt(left, language)))
    sampling = sampling_options(settings)
    if attempt > 1:
        sampling["seed"] += attempt - 1
        sampling["temperature"] = max(sampling["temperature"], RETRY_TEMPERATURE)
        tokens = token_multiplier * settings.max_tokens
        sampling["max_tokens"] = tokens if room is None else max(settings.max_tokens, min(tokens, room))
    options = {**sampling, "model": plan.model, **_schema(plan, answer_schema(left))}
    request = request_of(system, tuple(parts), options, row.image, plan.ask_again)
    # How sure the model is of its words changes none of them: the answer is the same as without.
    return replace(request, options={**options, **told_of(settings)}) if mode == "joint" else request


def first_system(plan: Plan, regions: int) -> str:
    """The system message of what is asked first about so many marked regions."""
    return _system(plan, first_mode(plan), regions)


def first_mode(plan: Plan) -> RequestMode:
    """How regions are asked about at first: all of an image together, or each by itself."""
    return "per_region" if plan.settings.caption_mode == "per_region" else "joint"


def _system(plan: Plan, mode: RequestMode, regions: int) -> str:
    settings = plan.settings
    style = STYLES[settings.mark_style]
    return system_message(
        settings.system_prompt, style, mode, settings.answer_format, regions, settings.prompt_language
    )


def hint_of(row: RenderedRow, settings: BuildSettings) -> str | None:
    """The labels of a row's regions in words, the same for all of its requests; None where none are to be told."""
    if not settings.label_hint or row.labels is None:
        return None
    given = {region.region: row.labels[region.box_index] for region in row.regions}
    # They may come from anybody: one that could crash the model's server is not told.
    told = {number: label for number, label in given.items() if label and input_token(label) is None}
    return label_hint(told, settings.prompt_language) if told else None


def grounding_request(view: str, plan: Plan, image: str = "") -> ChatRequest:
    """The request that asks where things are in an image without boxes.

    `view` names the image as the model sees it, `image` is its path in the drop.
    """
    settings = plan.settings
    profile = settings.profile
    assert profile.coordinates is not None, "BuildSettings lets ask_model through only where the profile has them"
    prompt = grounding_prompt(profile.grounding, profile.coordinates, settings.max_boxes)
    schema = grounding_schema(profile.grounding, settings.max_boxes)
    options = {**sampling_options(settings), "model": plan.model, **_schema(plan, schema)}
    parts = (Part("image", view), Part("text", prompt))
    return request_of(settings.system_prompt, parts, options, image, plan.ask_again)


def _schema(plan: Plan, schema: dict[str, Any]) -> dict[str, Any]:
    return as_schema(schema) if plan.settings.answer_format == "structured" else {}


def request_of(
    system: str, parts: tuple[Part, ...], options: dict[str, Any], image: str, ask_again: str
) -> ChatRequest:
    """A request under its key; `image` is the path, in the drop, of what it is about.

    `ask_again` sets it apart from equal ones that were sent before, or to another model of the same name.
    """
    identity = {
        "system": system,
        "parts": [[part.kind, part.value] for part in parts],
        "options": options,
        "ask_again": ask_again,
    }
    key = hashlib.sha256(canonical(identity)).hexdigest()[:32]
    return ChatRequest(key, system, parts, options, f"{image_digest(image):016x}")


def told_of(settings: BuildSettings) -> dict[str, Any]:
    """What is to be told beside the answer to a request about all regions of an image."""
    return {"logprobs": True} if settings.caption_mode == "auto" else {}


def sampling_options(settings: BuildSettings) -> dict[str, Any]:
    """What every request of a run has beside what it asks, in its first attempt."""
    return {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
        # vLLM's own sampling parameters, beside those of OpenAI's API.
        "top_k": settings.top_k,
        "repetition_penalty": settings.repetition_penalty,
        **settings.request_extras,
    }
