"""Every setting of a build, with its title, help, bounds and default: the one place where they are declared.

The form in the Airflow UI is made from this model, and so is the documentation.
"""

import hashlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from regioncap.captions.prompts import PROMPT_PATTERN, PROMPTS, AnswerFormat, CaptionMode, PromptLanguage, check_prompt
from regioncap.config.extras import check_extras
from regioncap.drop.decoding import View
from regioncap.drop.detectors import DETECTORS
from regioncap.drop.drop import Readiness
from regioncap.drop.given import ALL_FIELDS
from regioncap.drop.images import MAX_FILE_PIXELS
from regioncap.drop.plain import is_text_encoding
from regioncap.drop.readers import AUTO, READERS
from regioncap.errors import ExtensionError, ModelProfileError, ParamsError
from regioncap.exports import EXPORTERS
from regioncap.exports.export import ExportImages, carried_by
from regioncap.gates.special_tokens import input_token
from regioncap.marks.profiles import GENERIC, PROFILES, ModelProfile, profile_of
from regioncap.marks.size_rules import MAX_PIXELS
from regioncap.marks.styles import STYLES
from regioncap.regions.boxes import BoxFormat
from regioncap.regions.frames import BoxFrame
from regioncap.regions.jsonl import canonical
from regioncap.trust.scorers import SCORERS, WHICH_REGION


def _ways_without_boxes() -> list[str]:
    return [*DETECTORS, "ask_model", "reject"]


Approval = Literal["never", "on_warning", "always"]
Judge = Literal["none", "sample", "all"]
JudgeAgain = Literal["nothing", "ask_again", "reject"]
JudgeAway = Literal["publish", "wait"]


def _group(name: str, **extra: Any) -> dict[str, Any]:
    return {"section": name, **extra}


class BuildSettings(BaseModel):
    """What a run may choose. Each field's description is the help that its form field shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    drops_uri: str = Field(
        title="Drops",
        description="Where the drops are: a folder or bucket prefix with one folder per date. "
        "Example: `s3://drops`. It must be below a root that the deployment allows.",
        min_length=1,
        json_schema_extra=_group("Drop"),
    )
    readiness: Readiness = Field(
        "marker",
        title="A drop is ready when",
        description="`marker`: the file `_READY` exists (upload it last). `unchanged`: nothing in the drop has changed "
        "for ten minutes.",
        json_schema_extra=_group("Drop"),
    )
    image_key: str = Field(
        "image",
        title="Image key",
        description="The manifest field with the image's path, relative to the drop.",
        min_length=1,
        max_length=200,
        json_schema_extra=_group("Drop"),
    )
    bbox_key: str = Field(
        "bbox",
        title="Boxes key",
        description="The manifest field with the list of boxes.",
        min_length=1,
        max_length=200,
        json_schema_extra=_group("Drop"),
    )
    input_format: str = Field(
        "jsonl",
        title="Manifest format",
        description="All files of this ending at the drop's top level are manifests. `json` is one array of objects; "
        "in `csv` the boxes are JSON text; of `parquet`, only the columns with image, boxes and `id` are read. The "
        "others are formats of other tools: their files may be in folders, and say themselves what boxes are. `auto` "
        "looks at the drop, says what it found, and stops where there are several formats.",
        json_schema_extra=_group("Drop", enum=[AUTO, *READERS]),
    )
    manifest_encoding: str = Field(
        "utf-8",
        title="Manifest encoding",
        description="The encoding of manifests that are text, by its usual name: `cp1252`, `gb18030`, `shift_jis`. "
        "UTF-16 and UTF-32 are noticed whatever stands here. A row that is not in it is rejected.",
        max_length=40,
        json_schema_extra=_group("Drop"),
    )

    read_heic: bool = Field(
        False,
        title="Read HEIC images",
        description="Off, rows with a `.heic` image are rejected: the decoder can hang on a file that was made for "
        "that; it is ended then, but each such file costs its seconds. Switch it on if you trust where the drop's "
        "images come from.",
        json_schema_extra=_group("Drop"),
    )
    max_image_megapixels: int = Field(
        1000,
        title="Megapixels per image file, at most",
        description="A larger image rejects its row, before it is decoded. Of over 100 megapixels only JPEGs are read, "
        "which can be decoded at a half, a quarter or an eighth of their size.",
        ge=1,
        le=MAX_FILE_PIXELS // 1_000_000,
        json_schema_extra=_group("Drop"),
    )

    images_uri: str | None = Field(
        None,
        title="Images",
        description="Where the images are, if not in the drop: a folder or bucket prefix to which the paths in "
        "manifests are relative. Rows may name images by whole URIs (`s3://...`, `file:///...`) too, below it or the "
        "drop. It must be below a root that the deployment allows.",
        min_length=1,
        json_schema_extra=_group("Drop"),
    )
    keep_fields: list[str] = Field(
        default_factory=list,
        title="Fields that are carried along",
        description="Other fields of the rows that go into the records, under `source`: their names, or `*` for all. "
        "Numbers, text and booleans stay as they are, all else becomes JSON text.",
        max_length=200,
        json_schema_extra=_group("Drop", may_be_empty=True, items={"type": "string"}),
    )

    box_format: BoxFormat = Field(
        "xywh",
        title="Box format",
        description="What a box's four numbers are: corner and size, two corners, or centre and size (y first in "
        "`yxyx`); in pixels, as a share of the image's sides (`_norm`), in hundredths (`_percent`) or in thousandths "
        "(`_1000`) of them.",
        json_schema_extra=_group("Boxes"),
    )
    box_frame: BoxFrame = Field(
        "displayed",
        title="Box frame",
        description="Which image the boxes are drawn on: `displayed`, as a viewer shows it; `stored`, the pixels as "
        "they are in the file, which for photos with an EXIF orientation is another image; `row_size`, a copy of the "
        "size that each row gives as its `width` and `height`.",
        json_schema_extra=_group("Boxes"),
    )
    max_boxes: int = Field(
        10,
        title="Regions per image, at most",
        description="Usable boxes beyond this number are left out, and listed in the record's `dropped_boxes`.",
        ge=1,
        le=50,
        json_schema_extra=_group("Boxes"),
    )
    when_no_boxes: str = Field(
        "contours",
        title="Rows without boxes",
        description="`contours`: propose regions from closed shapes in the image. `ask_model`: ask the model where "
        "things are, if the model profile says how it counts (Qwen's do). `reject`: put the row into "
        "`rejected.jsonl`. Installed detectors are named after `contours`.",
        json_schema_extra=_group("Boxes", enum=_ways_without_boxes()),
    )

    mark_style: str = Field(
        "box",
        title="Mark style",
        description="How regions are marked. The tag with the number is part of every style.",
        json_schema_extra=_group("Marks", enum=sorted(STYLES)),
    )
    model_profile: str = Field(
        "generic",
        title="Model profile",
        description="How the model resizes images; marks are drawn at the size it will see. `generic`: for a model of "
        "a family that is not in the list.",
        json_schema_extra=_group("Marks", enum=sorted(PROFILES)),
    )
    max_pixels: int = Field(
        MAX_PIXELS,
        title="Pixels per image, at most",
        description="To this budget images are reduced before they are marked, for models that take any size: more "
        "show smaller things, and cost more tokens. Models that cut an image into tiles, or have one size, have none.",
        ge=2 * 256 * 256,  # Qwen3-VL enlarges what has less than 65,536, to up to twice as many
        le=3584 * 3584,
        json_schema_extra=_group("Marks"),
    )

    prompt: str = Field(
        PROMPTS["en"],
        title="Prompt",
        description="What the model is asked. `{n}` is the number of regions; write other braces as `{{` and `}}`. "
        "Left as it is, it follows the language.",
        min_length=1,
        max_length=4000,
        json_schema_extra=_group("Caption", format="multiline", pattern=PROMPT_PATTERN),
    )
    prompt_language: PromptLanguage = Field(
        "en",
        title="Language",
        description="The language of the prompt and of the captions.",
        json_schema_extra=_group("Caption"),
    )
    system_prompt: str = Field(
        "You are a helpful assistant.",
        title="System prompt",
        description="Opens the system message; what the marks mean and the form of the answer are added to it.",
        max_length=4000,
        json_schema_extra=_group("Caption", format="multiline", may_be_empty=True),
    )
    caption_mode: CaptionMode = Field(
        "joint",
        title="Ask about",
        description="`joint`: all regions of an image in one request. `per_region`: each region in a request of its "
        "own, with a close-up beside the marked image; better for small regions, and as many requests as regions. "
        "`auto`: all in one request, and then by themselves those of whose words the model was unsure, that are small "
        "or covered, got the same caption as another, or are judged doubtful; a sample is judged at least.",
        json_schema_extra=_group("Caption"),
    )
    answer_format: AnswerFormat = Field(
        "structured",
        title="Answer format",
        description="`structured`: the server makes the model answer a JSON object with exactly the marked regions. "
        "`free_text`: the model's own text, one line per region.",
        json_schema_extra=_group("Caption"),
    )
    temperature: float = Field(
        0.7,
        title="Temperature",
        description="0 makes builds reproducible.",
        ge=0,
        le=2,
        json_schema_extra=_group("Caption"),
    )
    top_p: float = Field(
        0.9,
        title="Top p",
        description="Sample from the likeliest tokens that together have this probability.",
        gt=0,
        le=1,
        json_schema_extra=_group("Caption"),
    )
    top_k: int = Field(
        40,
        title="Top k",
        description="Sample from this many of the likeliest tokens; -1 for all.",
        ge=-1,
        le=1000,
        json_schema_extra=_group("Caption"),
    )
    repetition_penalty: float = Field(
        1.0,
        title="Repetition penalty",
        description="Above 1 makes repeated words less likely.",
        gt=0,
        le=2,
        json_schema_extra=_group("Caption"),
    )
    max_tokens: int = Field(
        512,
        title="Tokens per answer, at most",
        description="An answer that is cut off here is asked for again with twice as many.",
        ge=16,
        le=8192,
        json_schema_extra=_group("Caption"),
    )
    max_attempts: int = Field(
        3,
        title="Attempts per answer, at most",
        description="An answer that is cut off, or lacks a region, is asked for again so often, then the row is "
        "rejected.",
        ge=1,
        le=5,
        json_schema_extra=_group("Caption"),
    )
    seed: int = Field(
        42,
        title="Seed",
        description="The sampling seed, sent with every request.",
        ge=0,
        le=2**31 - 1,
        json_schema_extra=_group("Caption"),
    )
    request_extras: dict[str, JsonValue] = Field(
        {},
        title="Extras of requests",
        description="Fields that are sent with every request beside those that have a param here, as a JSON object: "
        "what the server knows of its own. To switch a model's thinking off: "
        '`{"chat_template_kwargs": {"enable_thinking": false}}`. No secrets: everybody who sees the run sees them.',
        json_schema_extra=_group("Caption", may_be_empty=True),
    )
    label_hint: bool = Field(
        False,
        title="Tell the model the labels",
        description="Rows may give a label for each box (`labels`, a list beside the boxes). Off, labels go into the "
        "records only; on, they follow the prompt too: *region 2 is a bicycle*. Right ones help; a model may repeat "
        "wrong ones.",
        json_schema_extra=_group("Caption"),
    )
    max_requests: int | None = Field(
        None,
        title="Requests, at most",
        description="For servers that cost by use: when so many requests were sent for this build, earlier runs "
        "included, its tasks stop. The answers are kept; a run with a higher number goes on from there. Empty: as "
        "many as it takes.",
        ge=1,
        json_schema_extra=_group("Caption"),
    )
    max_tokens_total: int | None = Field(
        None,
        title="Tokens in all, at most",
        description="The same for tokens, those that are read and those that are written, as the server counts them.",
        ge=1,
        json_schema_extra=_group("Caption"),
    )
    max_cost: float | None = Field(
        None,
        title="Cost, at most",
        description="The same for money, by the prices that the deployment has set (`REGIONCAP_PRICES`).",
        gt=0,
        allow_inf_nan=False,
        json_schema_extra=_group("Caption"),
    )

    judge: Judge = Field(
        "sample",
        title="Judge",
        description="Whether captions are judged: the image is marked anew with other numbers, and the model is asked "
        "which of the regions each caption describes. From that, and from captions that are known to be wrong, the "
        "report says how many of a build's captions are wrong. `sample`: about 200 regions a build, in at most a fifth "
        "of the time that captioning takes; nothing where the server gives less than one answer a second. `all`: every "
        "region. Of a quarter of them a caption is asked for once more, to compare. `none`: nothing is judged.",
        json_schema_extra=_group("Judge"),
    )
    judge_again: JudgeAgain = Field(
        "nothing",
        title="Doubtful captions",
        description="What becomes of a judged caption by which the region is not found. `nothing`: the record says so. "
        "`ask_again`: the region is asked about by itself, with a close-up, and the caption that is trusted more is "
        "kept. `reject`: its row is rejected.",
        json_schema_extra=_group("Judge"),
    )
    judge_away: JudgeAway = Field(
        "publish",
        title="If the judge is away",
        description="`publish`: the build is published, and says that it is not judged. `wait`: the task is tried "
        "again, and the run fails if the judge does not come back.",
        json_schema_extra=_group("Judge"),
    )
    judge_by: str = Field(
        WHICH_REGION,
        title="Scorer",
        description="What the judge is asked about a caption. `which_region`: which of the marked regions it "
        "describes, or none. A package of your own can add other scorers.",
        json_schema_extra=_group("Judge", enum=sorted(SCORERS)),
    )

    shard_size: int = Field(
        512,
        title="Rows per shard",
        description="A shard is one task of each kind, and should take the model well under an hour. Larger drops get "
        "larger shards, so that there are never more than 1,000.",
        ge=1,
        le=100_000,
        json_schema_extra=_group("Build"),
    )
    sample_rows: int | None = Field(
        None,
        title="Try it on so many rows",
        description="A preview: so many rows, evenly from all of the drop, are built as all of them would be, and "
        "shown on a page below `_previews` in the warehouse. Nothing is published. Empty: a build.",
        ge=1,
        le=1000,
        json_schema_extra=_group("Build"),
    )
    max_rejected_ratio: float = Field(
        0.2,
        title="Rejected rows, at most",
        description="Nothing is published when a larger share of the rows is rejected.",
        ge=0,
        le=1,
        json_schema_extra=_group("Build"),
    )
    approval: Approval = Field(
        "never",
        title="Ask before publishing",
        description="Whether a person has to agree, under *Required actions*, before the build takes the place of the "
        "one published before. `on_warning`: where it is unlike the builds of the days before, or answers could not be "
        "structured. Everything but the last step is done by then, the report included.",
        json_schema_extra=_group("Build"),
    )
    export_formats: list[str] = Field(
        default_factory=list,
        title="Exports",
        description="Write the records in these formats too, into `exports/`; among them `coco` annotations, "
        "`webdataset` tar files, and `hf`, a folder for Hugging Face's `load_dataset`.",
        json_schema_extra=_group(
            "Build",
            examples=list(EXPORTERS),
            items={"enum": list(EXPORTERS), "type": "string"},
            may_be_empty=True,
        ),
    )
    export_images: ExportImages = Field(
        "none",
        title="Images in exports",
        description="Which images go into exports, in formats that carry images. `none`: the records only name them. "
        "`original`: the unmarked images, which the boxes fit; the build gets as large as the drop. `marked`: the "
        "images that the model saw; not in `coco`, since boxes stay in pixels of the originals.",
        json_schema_extra=_group("Build"),
    )
    file_name_prefix: str = Field(
        "captions",
        title="File name prefix",
        description="How the names of the record files start: letters, digits, `_`, `.` and `-`.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        json_schema_extra=_group("Build"),
    )
    keep_builds: int = Field(
        3,
        title="Builds kept",
        description="So many published builds of a date are kept, the current one included, for rolling back. Older "
        "ones are deleted when another is published, at the earliest a day after they were superseded.",
        ge=1,
        le=100,
        json_schema_extra=_group("Build"),
    )
    force_rebuild: bool = Field(
        False,
        title="Build anew",
        description="Ask the model again for every row and publish a new build, even if nothing has changed.",
        json_schema_extra=_group("Build"),
    )

    warehouse_uri: str = Field(
        title="Warehouse",
        description="Where datasets are published, one folder per date. It must be below a root that the deployment "
        "allows.",
        min_length=1,
        json_schema_extra=_group("Places"),
    )
    work_uri: str | None = Field(
        None,
        title="Work area",
        description="Where shards, marked images and answers are kept while a build is made. Empty: `_work` in the "
        "warehouse.",
        json_schema_extra=_group("Places"),
    )

    @field_validator("system_prompt", "request_extras", "export_formats", "keep_fields", mode="before")
    @classmethod
    def _emptied(cls, value: Any, field: ValidationInfo) -> Any:
        """A field of the form that somebody has emptied comes as null."""
        return (
            {"system_prompt": "", "request_extras": {}, "export_formats": [], "keep_fields": []}[field.field_name or ""]
            if value is None
            else value
        )

    @field_validator("keep_fields", mode="before")
    @classmethod
    def _all_or_none(cls, value: Any) -> Any:
        """`all` and `none`, by which people say it, are no lists."""
        return {"all": [ALL_FIELDS], "none": []}.get(value, value) if isinstance(value, str) else value

    @field_validator("request_extras")
    @classmethod
    def _extras_of_requests(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        check_extras(value)
        return value

    @field_validator("input_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        return _known(value, "input_format", [AUTO, *READERS])

    @field_validator("manifest_encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if not is_text_encoding(value):
            raise ValueError("is not the name of an encoding of text, such as utf-8, cp1252 or gb18030")
        return value

    @field_validator("mark_style")
    @classmethod
    def _known_style(cls, value: str) -> str:
        return _known(value, "mark_style", STYLES)

    @field_validator("model_profile")
    @classmethod
    def _known_profile(cls, value: str) -> str:
        return _known(value, "model_profile", PROFILES)

    @field_validator("judge_by")
    @classmethod
    def _known_scorer(cls, value: str) -> str:
        return _known(value, "judge_by", SCORERS)

    @field_validator("when_no_boxes")
    @classmethod
    def _known_proposals(cls, value: str) -> str:
        return _known(value, "when_no_boxes", _ways_without_boxes())

    @model_validator(mode="after")
    def _grounding_model(self) -> Self:
        if self.when_no_boxes == "ask_model" and PROFILES[self.model_profile].coordinates is None:
            able = ", ".join(name for name, profile in PROFILES.items() if profile.coordinates is not None)
            raise ValueError(
                f"when_no_boxes is ask_model, but how models of the profile {self.model_profile} count is not known; "
                f"if the model's family is one of {able}, or counts like one, choose that as model_profile, else "
                "choose another way to find boxes"
            )
        return self

    @model_validator(mode="after")
    def _images_have_a_place(self) -> Self:
        wanted = self.export_images
        if wanted == "none":
            return self
        carried = {name: carried_by(EXPORTERS[name]) for name in self.export_formats}
        if not any(carried.values()):
            able = sorted(name for name, exporter in EXPORTERS.own.items() if wanted in carried_by(exporter))
            raise ValueError(
                f"export_images is {wanted}, but none of the export_formats carries images; add one of "
                f"{', '.join(able)}, or set export_images to none"
            )
        for name, images in carried.items():
            if images and wanted not in images:
                raise ValueError(
                    f"export_images is {wanted}, but {name} carries {' or '.join(images)} images only; set "
                    f"export_images to {' or '.join((*images, 'none'))}, or leave {name} out of export_formats"
                )
        return self

    @field_validator("prompt")
    @classmethod
    def _usable_prompt(cls, value: str) -> str:
        check_prompt(value)
        return value

    @field_validator("prompt", "system_prompt")
    @classmethod
    def _no_special_tokens(cls, value: str, info: ValidationInfo) -> str:
        token = input_token(value)
        if token is not None:
            raise ValueError(
                f"{info.field_name} has the special token {token} in it, which can crash a model's server: take it out "
                "(the server adds what its model needs)"
            )
        return value

    @field_validator("export_formats")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        return sorted({_known(name, "export_formats", EXPORTERS) for name in value})

    @property
    def profile(self) -> ModelProfile:
        """The model's view of images, within the run's budget of pixels."""
        return self.view.model

    @property
    def view(self) -> View:
        """The same for a process that decodes."""
        return View(self.model_profile, self.max_pixels)

    @property
    def judges(self) -> Judge:
        """Which captions are judged: a sample at least where the listener has a say in what is asked again."""
        return "sample" if self.caption_mode == "auto" and self.judge == "none" else self.judge

    @property
    def asks_again(self) -> bool:
        """Whether other captions are asked for, of regions about which the listener decides."""
        return self.judges != "none" and (self.caption_mode == "auto" or self.judge_again == "ask_again")

    @property
    def max_file_pixels(self) -> int:
        """How many pixels an image file may have."""
        return self.max_image_megapixels * 1_000_000

    @property
    def prompt_template(self) -> str:
        """The prompt in the run's language: the default prompt has a translation, one of the user's own has not."""
        return PROMPTS[self.prompt_language] if self.prompt == PROMPTS["en"] else self.prompt

    @property
    def work_root(self) -> str:
        """The work area, with its default resolved."""
        return self.work_uri or work_root_in(self.warehouse_uri)

    def identity(self) -> str:
        """A hash over every setting that can change what is published."""
        # As it was before there were these settings, so that no drop is built anew for them.
        unused = {
            name
            for name in _LATER
            if getattr(self, name) == BuildSettings.model_fields[name].get_default(call_default_factory=True)
        }
        return hashlib.sha256(canonical(self.model_dump(exclude={*NOT_IDENTITY, *unused}))).hexdigest()

    def check_model(self, model: str) -> None:
        """Raises ModelProfileError where the model, by its name, counts in another way than the run goes by."""
        if self.when_no_boxes != "ask_model":
            return
        named = PROFILES[profile_of(model)]
        used = PROFILES[self.model_profile]
        if named.coordinates not in (None, used.coordinates):
            raise ModelProfileError(
                f"when_no_boxes is ask_model and model_profile is {used.name}, whose models count in "
                f"{used.coordinates}, but the model is {model}, of the profile {named.name}, which counts in "
                f"{named.coordinates}: its boxes would be misplaced; set model_profile to {named.name}"
            )

    def about_model(self, model: str) -> str | None:
        """What is to be known of a model, by its name: that it may see images otherwise than they are marked for it."""
        if not model:
            return None
        try:
            named = profile_of(model)
        except ExtensionError:  # of a package that this run does not use
            return None
        if named == GENERIC == self.model_profile:
            return (
                f"the model {model} is of no family that is known here: images are marked at a size that most models "
                f"do well with, at most {self.max_pixels:,} pixels, which it may resize; if it resizes images as a "
                f"family with a profile does, set model_profile to that"
            )
        if named not in (GENERIC, self.model_profile):
            return (
                f"model_profile is {self.model_profile}, but the model {model} is by its name of the profile {named}: "
                f"it may resize the marked images; set model_profile to {named}"
            )
        return None


# The explicit list of settings that change nothing in a published build; every other one is part of its identity.
NOT_IDENTITY = frozenset(
    {
        "readiness",
        "max_requests",
        "max_tokens_total",
        "max_cost",
        "max_rejected_ratio",
        "judge_away",
        "approval",
        "keep_builds",
        "force_rebuild",
        "warehouse_uri",
        "work_uri",
    }
)
# Settings that came after the first version: at their defaults they change nothing.
_LATER = (
    "read_heic", "box_frame", "max_pixels", "request_extras", "max_image_megapixels", "manifest_encoding", "judge",
    "judge_again", "judge_by", "label_hint", "keep_fields", "images_uri", "sample_rows",
)  # fmt: skip


def work_root_in(warehouse_uri: str) -> str:
    """Where the work area is that no param names another place for."""
    return f"{warehouse_uri.rstrip('/')}/_work"


def settings_of(params: Mapping[str, Any], *, strict: bool = False) -> BuildSettings:
    """The run's settings. Raises ParamsError, which names every param that is wrong.

    With `strict`, a value of another type is wrong even if it can be read as the right one, as it is to the form.
    """
    try:
        return BuildSettings.model_validate(
            {key: value for key, value in params.items() if key != "drop_date"}, strict=strict
        )
    except ValidationError as error:
        faults = ((".".join(map(str, fault["loc"])), fault["msg"] + _meant(fault)) for fault in error.errors())
        wrong = "; ".join(": ".join(filter(None, fault)) for fault in faults)
        raise ParamsError(f"the run's params cannot be used: {wrong}") from None


def _meant(fault: Mapping[str, Any]) -> str:
    """The param whose name is nearly that of one that there is not, as a question; else nothing."""
    if fault["type"] != "extra_forbidden":
        return ""
    near = get_close_matches(str(fault["loc"][-1]), BuildSettings.model_fields, 1, 0.8)
    return f"; did you mean {near[0]}?" if near else ""


def _known(value: str, name: str, choices: Iterable[str]) -> str:
    if value not in choices:
        raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(sorted(choices))}")
    return value
