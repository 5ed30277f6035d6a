"""What is written down for each row: the published `Record` and `Rejected`, and the rows on their way there."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from regioncap.regions.codes import Code

# A hash, as the examples of fields show one.
EXAMPLE_SHA256 = "d24fae3f0c9ad5b7e6f6f1d0a3c1f2b8a2f0f7f6f7f2cbb2c1f2f5b0c1de88aa"

RowType = Literal["with_bbox", "without_bbox"]

# A code of RegionCap's own, or the name of an installed gate.
AnyCode = Annotated[Code | Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Field(union_mode="left_to_right")]


class _Row(BaseModel):
    # What is written has these fields only; of what is read, others are ignored.
    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})


class Source(_Row):
    """Where in the drop a row stands."""

    manifest: str = Field(description="The manifest's file name.", examples=["manifest.jsonl"])
    line: int = Field(ge=1, description="The line, or the row of a manifest without lines; 1-based.", examples=[13])


class PlannedRow(Source):
    """A row whose text is in order. `bbox` is None where the row gives no boxes.

    `image` is the path by which the drop's store knows the image, and `stated` the (width, height) in pixels that the
    row gives. `labels` has a label, or None, for each of the boxes, and `source` what is carried along of the row.
    """

    id: str
    image: str
    type: RowType
    bbox: list[Any] | None
    # Not known to work areas from before it was noted.
    stated: tuple[int, int] | None = None
    # Left out where there are none, so that such a row is written as it was before there were any.
    labels: list[str | None] | None = Field(None, exclude_if=lambda value: value is None)
    source: dict[str, Any] | None = Field(None, exclude_if=lambda value: value is None)
    # Where in a file the image's bytes are; known while the row is planned, and then part of the image's version.
    place: tuple[int, int] | None = Field(None, exclude=True)


class RegionBox(_Row):
    """A marked region."""

    region: int = Field(ge=1, description="The region's number, as the mark shows it.", examples=[1])
    box_index: int = Field(ge=0, description="Which of the given boxes it is, 0-based.", examples=[0])
    bbox: list[int | float] = Field(
        min_length=4,
        max_length=4,
        description="[x, y, w, h], clipped, in pixels of the image as displayed.",
        examples=[[12, 41, 104, 107]],
    )


class DroppedBoxNote(_Row):
    """A given box that is not a region."""

    box_index: int = Field(ge=0, description="Which of the given boxes it is, 0-based.", examples=[0])
    code: Code = Field(description="Why it is not used.", examples=["outside"])


class RenderedRow(PlannedRow):
    """A row whose image is marked. `bbox` holds the boxes as given or as proposed.

    `marked` names the marked image, `crops` the regions' crops where each region may be asked about by itself, and
    `unmarked` the image as the model sees it but without marks, where regions are drawn to be judged.
    """

    bbox: list[Any]
    normalized_bbox: list[list[float]]
    regions: list[RegionBox]
    dropped_boxes: list[DroppedBoxNote]
    warnings: list[Code]
    image_sha256: str
    # Not known to work areas from before it was noted.
    perceptual_hash: str | None = None
    width: int
    height: int
    marked: str
    # Called `close_ups` in what 0.1.0 left in its work areas.
    crops: list[str] = Field(validation_alias=AliasChoices("crops", "close_ups"))
    # Not known to work areas from before there was a listener.
    unmarked: str = ""


class RegionCaption(RegionBox):
    """A described region."""

    caption: str = Field(
        min_length=1,
        description="What the model says of it, or a person who has corrected that.",
        examples=["a large dotted purple triangle"],
    )
    corrected: bool = Field(default=False, description="Whether a person wrote the caption.", examples=[False])
    trust: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How likely a listener finds the region by its caption, 0..1; null where it was not judged.",
        examples=[0.98],
    )
    confused_with: int | None = Field(
        default=None,
        ge=0,
        description="Where the caption is doubted, the region that the listener took it for, or 0 for none of them; "
        "else null.",
        examples=[None],
    )
    label: str | None = Field(
        None,
        description="The label that the row gives for its box, at most 100 characters; null where it gives none.",
        examples=["triangle"],
    )


class Record(_Row):
    """A line of `captions-*.jsonl`: the original pipeline's nine fields in its order, then RegionCap's own."""

    image: str = Field(
        description="The image's path in the drop: as given in the manifest, but for `./`, `//` and backslashes.",
        examples=["street/20.jpg"],
    )
    type: RowType = Field(
        description="`with_bbox` if the row has the boxes' key, else `without_bbox`.",
        examples=["with_bbox"],
    )
    bbox: list[Any] = Field(
        description="The boxes as given, untouched, or as proposed where none were given.",
        examples=[[[12, 41, 104, 107]]],
    )
    normalized_bbox: list[list[float]] = Field(
        description="The regions' boxes, clipped, as [x0, y0, x1, y1] in 0..1, 3 decimals, zero-padded to max_boxes.",
        examples=[[[0.023, 0.115, 0.225, 0.417], [0.0, 0.0, 0.0, 0.0]]],
    )
    result_file: str = Field(description="The build folder, relative to itself: `.`", examples=["."])
    image_with_bbox: str = Field(
        description="The marked image, relative to the build folder.",
        examples=["images/c3fea574f07a574e6f58ade44bc46e7c.jpg"],
    )
    valid_bboxes_num: int = Field(ge=1, description="How many regions are marked.", examples=[1])
    prompt: str = Field(
        description="The user's part of the request.",
        examples=[
            "Describe the content of each marked region in the image. There are 1 regions: <region1> to <region1>."
        ],
    )
    answer: str = Field(
        description="The description of all regions, one string.",
        examples=["<region1>: a large dotted purple triangle"],
    )
    id: str = Field(description="The row's stable id.", examples=["6e53a7886c8236d6"])
    image_uri: str = Field(description="The unmarked original.", examples=["s3://drops/2026-10-05/street/20.jpg"])
    image_sha256: str = Field(description="SHA-256 of the original's bytes, in hex.", examples=[EXAMPLE_SHA256])
    perceptual_hash: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="How the image looks, as 256 bits in hex: of the same picture, saved in another way, few bits "
        "differ, 15 or less. Null where there is next to nothing to be seen, and in builds from before it was noted.",
        examples=["9d9d62e2c6325d6d338dc69a1cb2e36539cdc99233c64d3266cc9b6539cc9933"],
    )
    width: int = Field(ge=1, description="The original's width as displayed, in pixels.", examples=[516])
    height: int = Field(ge=1, description="The original's height as displayed, in pixels.", examples=[355])
    regions: list[RegionCaption] = Field(
        description="One entry per marked region, but for those that a person left out, in the order of their numbers."
    )
    dropped_boxes: list[DroppedBoxNote] = Field(description="Given boxes that are not regions, and why.")
    attempts: int = Field(
        ge=1,
        description="How often the model was asked for the sake of the answer's quality.",
        examples=[1],
    )
    checks: list[str] = Field(
        description="Names of the gates that warned, `duplicate_box` where two regions are the same, and `one_colour` "
        "where the image is of one colour all over.",
        examples=[["duplicate_box"]],
    )
    corrected: bool = Field(
        default=False,
        description="Whether a person has corrected it: a caption, or which of the marked regions it has.",
        examples=[False],
    )
    source: dict[str, Any] | None = Field(
        None,
        description="The row's other fields, as far as `keep_fields` asks for them: numbers, text and booleans as "
        "given, all else as JSON text; null where none are asked for.",
        examples=[{"camera": "front", "speed": 12.5}],
    )


class Rejected(Source):
    """A line of `rejected.jsonl`: an input row that did not become a record."""

    id: str | None = Field(description="The row's id, as far as it has one.", examples=["6e53a7886c8236d6"])
    code: AnyCode = Field(
        description="Why, as a code; installed gates have codes of their own.", examples=["image_not_found"]
    )
    reason: str = Field(description="Why, as a sentence.", examples=["there is no such file in the drop"])
    row: Any = Field(
        description="The row as far as it could be read: an object, or the line's text. Of what is very long, the "
        "beginning, as text; of a Parquet manifest, the columns with the image, the boxes and the id.",
        examples=[{"image": "none.jpg", "bbox": [[12, 41, 104, 107]]}],
    )
