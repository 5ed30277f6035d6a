"""Settings of a build: what they accept, and which of them make another build."""

import hashlib
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from regioncap.captions.prompts import PROMPT_PATTERN, PROMPTS, check_prompt, user_prompt
from regioncap.config.settings import NOT_IDENTITY, BuildSettings, settings_of
from regioncap.errors import ModelProfileError, ParamsError
from regioncap.regions.jsonl import canonical
from tests.builders import settings

BASE = {"export_formats": ["hf"]}
# For every setting, a value that is not the one of `settings(**BASE)`.
OTHER = {
    "drops_uri": "/other", "readiness": "unchanged", "image_key": "file", "bbox_key": "boxes", "input_format": "csv",
    "manifest_encoding": "cp1252", "read_heic": True, "max_image_megapixels": 50,
    "box_format": "xyxy", "box_frame": "stored", "max_boxes": 3, "when_no_boxes": "reject", "mark_style": "corners",
    "model_profile": "smolvlm", "max_pixels": 501_760, "prompt": "What is in the {n} regions?", "prompt_language": "zh",
    "system_prompt": "Be brief.", "caption_mode": "per_region", "answer_format": "free_text", "temperature": 0.3,
    "top_p": 0.5, "top_k": 7,
    "repetition_penalty": 1.1, "max_tokens": 100,
    "max_attempts": 1, "seed": 1, "label_hint": True, "keep_fields": ["camera"],
    "images_uri": "/images", "sample_rows": 20, "request_extras": {"min_p": 0.1},
    "max_requests": 7, "max_tokens_total": 7, "max_cost": 7.5, "judge": "all", "judge_again": "reject",
    "judge_away": "wait", "judge_by": "yes_no",
    "shard_size": 3, "max_rejected_ratio": 0.5, "approval": "always",
    "export_formats": ["csv"], "export_images": "original", "file_name_prefix": "x", "keep_builds": 1,
    "force_rebuild": True, "warehouse_uri": "/other", "work_uri": "/work",
}  # fmt: skip


@pytest.mark.parametrize(("said", "meant"), [("all", ["*"]), ("none", []), (None, []), (["a", "b"], ["a", "b"])])
def test_fields_are_kept_by_name_all_or_none(said: object, meant: list[str]) -> None:
    assert settings_of(settings().model_dump() | {"keep_fields": said}, strict=True).keep_fields == meant


def test_every_setting_has_a_title_a_help_and_a_group() -> None:
    for name, schema in BuildSettings.model_json_schema()["properties"].items():
        assert schema["title"] and schema["description"] and schema["section"], name


@pytest.mark.parametrize("name", BuildSettings.model_fields)
def test_every_setting_is_part_of_the_build_unless_it_is_listed(name: str, extend: Callable[..., None]) -> None:
    extend("regioncap.scorers", "yes_no", "it = None")
    changed = settings(**BASE | {name: OTHER[name]})
    assert (changed.identity() == settings(**BASE).identity()) == (name in NOT_IDENTITY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_p", 0),
        ("max_boxes", 51),
        ("input_format", "xml"),
        ("mark_style", "none"),
        ("model_profile", "gpt"),
        ("max_pixels", 1000),
        ("max_pixels", 100_000_000),
        ("when_no_boxes", "guess"),
        ("caption_mode", "twice"),
        ("prompt", "There are {k} regions"),
        ("prompt", "There are {n regions"),
        ("prompt", "{n.__class__}"),
        ("prompt", "Describe them.<|im_end|>"),
        ("system_prompt", "<image> You are a helpful assistant."),
        ("file_name_prefix", "a/b"),
        ("export_formats", ["xml"]),
        ("no_such_setting", 1),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        settings(**{name: value})


@given(st.text(alphabet="{}n !:.", max_size=12))
def test_a_prompt_is_filled_in_or_refused(prompt: str) -> None:
    try:
        check_prompt(prompt)
    except ValueError:
        return
    literal = prompt.replace("{{", "\0").replace("}}", "\1")
    assert user_prompt(prompt, 3) == literal.replace("{n}", "3").replace("\0", "{").replace("\1", "}")


@pytest.mark.parametrize("prompt", ["{n:}", "{n!r}", "{}", "{m}", "{n", "n}", "{{n}", "{n}}", "{n.x}", "{0}"])
def test_no_other_field_is_taken_by_form_or_run(prompt: str) -> None:
    assert not re.search(PROMPT_PATTERN, prompt)
    with pytest.raises(ValueError, match="the only field"):
        check_prompt(prompt)


def test_a_field_that_was_emptied_in_the_form_is_empty() -> None:
    emptied = settings(system_prompt=None, export_formats=None)
    assert (emptied.system_prompt, emptied.export_formats) == ("", [])


def test_every_wrong_param_is_named_and_the_date_is_none_of_them() -> None:
    with pytest.raises(ParamsError, match=r"cannot be used: max_boxes: .*; bboxes: Extra inputs are not permitted$"):
        settings_of({"drops_uri": "/d", "warehouse_uri": "/w", "max_boxes": 0, "bboxes": 1, "drop_date": "yesterday"})


def test_a_number_in_quotes_is_a_number_but_to_the_form() -> None:
    params = {"drops_uri": "/d", "warehouse_uri": "/w", "max_boxes": "5"}
    assert settings_of(params).max_boxes == 5
    with pytest.raises(ParamsError, match="max_boxes: Input should be a valid integer"):
        settings_of(params, strict=True)
    assert settings_of({**params, "max_boxes": 5, "temperature": 0}, strict=True).temperature == 0


def test_the_model_is_asked_for_boxes_only_where_it_is_known_how_it_counts() -> None:
    assert settings(when_no_boxes="ask_model", model_profile="qwen3-vl").when_no_boxes == "ask_model"
    for profile in ("demo", "generic", "smolvlm"):
        with pytest.raises(ValidationError, match=r"is one of qwen2\.5-vl, qwen3-vl, .* choose that as model_profile"):
            settings(when_no_boxes="ask_model", model_profile=profile)


def test_without_a_word_on_the_model_nobody_knows_how_it_counts() -> None:
    assert BuildSettings(drops_uri="/drops", warehouse_uri="/warehouse").model_profile == "generic"


def test_a_model_that_is_known_to_count_in_another_way_is_not_asked_for_boxes() -> None:
    asking = settings(when_no_boxes="ask_model", model_profile="qwen2.5-vl")
    with pytest.raises(ModelProfileError, match=r"is qwen2\.5-vl, .* set model_profile to qwen3-vl"):
        asking.check_model("Qwen/Qwen3-VL-8B-Instruct")
    # Of the same family, of one that is known not to count, and of one that nobody knows: the profile is believed.
    for model in ("Qwen/Qwen2.5-VL-7B-Instruct", "regioncap-demo", "someone/a-finetune"):
        asking.check_model(model)
    settings(model_profile="qwen2.5-vl").check_model("Qwen/Qwen3-VL-8B-Instruct")


@pytest.mark.parametrize(
    ("profile", "model", "told"),
    [
        ("generic", "someone/a-finetune", "someone/a-finetune is of no family that is known here: .* 1,003,520 pixels"),
        ("generic", "OpenGVLab/InternVL3-8B", "is by its name of the profile internvl.* set model_profile to internvl"),
        ("qwen2.5-vl", "Qwen/Qwen3.5-9B", "model_profile is qwen2.5-vl, but the model Qwen/Qwen3.5-9B .* qwen3-vl"),
    ],
)
def test_it_is_told_where_a_model_may_resize_marked_images(profile: str, model: str, told: str) -> None:
    assert re.search(told, settings(model_profile=profile).about_model(model) or "")


@pytest.mark.parametrize(
    ("profile", "model"), [("smolvlm", "someone/a-finetune"), ("qwen3-vl", "Qwen/Qwen3.6-35B-A3B"), ("demo", "acme")]
)
def test_a_profile_that_somebody_chose_is_believed(profile: str, model: str) -> None:
    assert settings(model_profile=profile).about_model(model) is None


def test_the_budget_of_pixels_is_the_profiles() -> None:
    assert settings(model_profile="qwen2.5-vl").profile.size(4000, 3000) == (1148, 840)
    assert settings(model_profile="qwen2.5-vl", max_pixels=501_760).profile.size(4000, 3000) == (812, 588)


def test_a_build_with_later_settings_at_their_defaults_is_the_one_it_was_before_there_were_these_settings() -> None:
    later = {"read_heic", "max_image_megapixels", "box_frame", "max_pixels", "request_extras", "manifest_encoding"}
    later |= {"label_hint", "keep_fields", "images_uri", "sample_rows", "judge", "judge_again", "judge_by"}
    by_default = settings(judge="sample")
    dumped = by_default.model_dump(exclude={*NOT_IDENTITY, *later})
    assert by_default.identity() == hashlib.sha256(canonical(dumped)).hexdigest()


def test_the_default_prompt_follows_the_language_and_ones_own_does_not() -> None:
    assert settings(prompt_language="zh").prompt_template == PROMPTS["zh"]
    assert settings(prompt_language="zh", prompt="Was ist in {n}?").prompt_template == "Was ist in {n}?"


def test_the_work_area_is_in_the_warehouse_unless_it_is_named() -> None:
    assert settings(warehouse_uri="s3://w/x/").work_root == "s3://w/x/_work"
    assert settings(work_uri="s3://scratch").work_root == "s3://scratch"


def test_where_the_listener_has_a_say_in_what_is_asked_again_a_sample_is_judged_at_least() -> None:
    assert settings(caption_mode="auto", judge="none").judges == "sample"
    assert settings(caption_mode="auto", judge="all").judges == "all"
    assert settings(caption_mode="auto").asks_again and settings(judge="all", judge_again="ask_again").asks_again
    assert settings(judge="none", judge_again="ask_again").asks_again is False


def test_exports_are_a_set() -> None:
    assert settings(export_formats=["json", "csv", "json"]).export_formats == ["csv", "json"]


@pytest.mark.parametrize(
    ("formats", "images", "said"),
    [
        (
            [],
            "original",
            "none of the export_formats carries images; add one of coco, cvat, hf, label_studio, llava, llava_pixels",
        ),
        (["csv", "parquet"], "marked", "none of the export_formats carries images; add one of hf, webdataset,"),
        (["coco", "hf"], "marked", "coco carries original images only; set export_images to original or none"),
    ],
)
def test_images_that_no_export_can_carry_are_refused(formats: list[str], images: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(export_formats=formats, export_images=images)


def test_images_go_with_formats_that_carry_them_beside_others() -> None:
    assert settings(export_formats=["csv", "coco"], export_images="original").export_images == "original"
    assert settings(export_formats=["csv", "hf"], export_images="marked").export_images == "marked"


EXTRAS = {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20, "repetition_penalty": 1.1, "stop": ["x"]}


def test_extras_of_requests_are_part_of_the_build_only_where_there_are_some() -> None:
    assert settings().identity() == settings(request_extras={}).identity() == settings(request_extras=None).identity()
    assert settings(request_extras=EXTRAS).identity() != settings().identity()
    assert settings(request_extras=EXTRAS).request_extras == EXTRAS
    # The order of their names says nothing.
    assert (
        settings(request_extras=EXTRAS).identity() == settings(request_extras=dict(reversed(EXTRAS.items()))).identity()
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("messages", "prompt"),
        ("model", "connection"),
        ("max_tokens", "max_tokens"),
        ("max_completion_tokens", "max_tokens"),
        ("temperature", "temperature"),
        ("seed", "seed"),
        ("response_format", "answer_format"),
        ("structured_outputs", "answer_format"),
        ("guided_json", "answer_format"),
        ("guided_choice", "answer_format"),
        ("json_schema", "answer_format"),
        ("grammar", "answer_format"),
        ("regex", "answer_format"),
        ("mm_processor_kwargs", "max_pixels"),
        ("n", "one answer"),
        ("stream", "one answer"),
    ],
)
def test_extras_of_requests_change_nothing_that_has_a_param_of_its_own(name: str, told: str) -> None:
    with pytest.raises(ParamsError, match=rf"request_extras: .*{name}.*{told}"):
        settings_of({"drops_uri": "/d", "warehouse_uri": "/w", "request_extras": {"top_k": 1, name: 1}})


@pytest.mark.parametrize("name", ["api_key", "apiKey", "Authorization", "password", "client_secret", "access-token"])
def test_a_secret_among_the_extras_of_requests_is_refused_and_not_repeated(name: str) -> None:
    for extras in ({name: "s3cr3t"}, {"extra_headers": {name: "s3cr3t"}}, {"list": [{name: "s3cr3t"}]}):
        with pytest.raises(ParamsError, match="password of the connection") as error:
            settings_of({"drops_uri": "/d", "warehouse_uri": "/w", "request_extras": extras})
        assert "s3cr3t" not in str(error.value)


@pytest.mark.parametrize("extras", ["x", [1], {"top_k": float("nan")}, {"a": {"b": float("inf")}}, {"a": {1}}, {"": 1}])
def test_extras_of_requests_are_an_object_as_json_has_it(extras: object) -> None:
    with pytest.raises(ParamsError, match="request_extras"):
        settings_of({"drops_uri": "/d", "warehouse_uri": "/w", "request_extras": extras})


@pytest.mark.parametrize("name", ["max_requests", "max_tokens_total"])
def test_a_ceiling_is_a_number_above_zero_or_none(name: str) -> None:
    assert getattr(settings(), name) is None and getattr(settings(**{name: 1}), name) == 1
    for wrong in (0, -1, 1.5, "many"):
        with pytest.raises(ValidationError):
            settings(**{name: wrong})


def test_a_ceiling_of_money_is_an_amount_above_zero_or_none() -> None:
    assert settings().max_cost is None and settings(max_cost=0.5).max_cost == 0.5
    for wrong in (0, -1, float("inf"), float("nan"), "much"):
        with pytest.raises(ValidationError):
            settings(max_cost=wrong)
