"""Why a row or a box is not used: one code each, the same wherever it appears.

Codes are part of the published format (`rejected.jsonl`, `dropped_boxes`): add, never rename. Gates that are installed
beside RegionCap bring codes of their own.
"""

from enum import StrEnum


class Code(StrEnum):
    """A reason code. Its `meaning`, the text beside it, says when it is given."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> "Code":
        """A code and what it means."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    # the line itself (plan)
    NOT_UTF8 = "not_utf8", "the line is not UTF-8 text"
    NOT_JSON = "not_json", "the line is not JSON"
    NOT_AN_OBJECT = "not_an_object", "the line is JSON, but not an object"
    NOT_CSV = "not_csv", "the line has not the columns of the header, or a quote in it does not close"
    NOT_XML = "not_xml", "the file is not XML, or not of its format"
    LINE_TOO_LONG = "line_too_long", "the line is longer than a manifest line may be"
    TOO_DEEP = "too_deep", "lists and objects in the row are nested deeper than a row may be"
    ID_INVALID = "id_invalid", "`id` is neither a non-empty string nor an integer"
    DUPLICATE_ID = "duplicate_id", "an earlier row of the drop has the same `id`"

    # the image's path (plan)
    IMAGE_MISSING = "image_missing", "the row has no image path"
    IMAGE_NOT_A_PATH = "image_not_a_path", "the image is not a string, or no usable path"
    IMAGE_IS_URL = "image_is_url", "the image is a URL: RegionCap fetches nothing"
    IMAGE_OUTSIDE_DROP = "image_outside_drop", "the path is absolute or leaves the drop"

    # the image itself (render)
    IMAGE_NOT_FOUND = "image_not_found", "no such file in the drop"
    IMAGE_IS_LINK = "image_is_link", "the path leads through a symbolic link"
    IMAGE_FORBIDDEN = "image_forbidden", "the store does not let this file be read"
    IMAGE_ARCHIVED = "image_archived", "the file is in an archive: it has to be restored before it can be read"
    IMAGE_EMPTY = "image_empty", "the file has no bytes"
    IMAGE_UNREADABLE = "image_unreadable", "not an image of a supported format"
    IMAGE_TRUNCATED = "image_truncated", "an image that cannot be decoded to its last row"
    IMAGE_TOO_LARGE = (
        "image_too_large",
        "more pixels or bytes than the limit, or more memory than an image of its size takes",
    )
    IMAGE_TOO_SLOW = "image_too_slow", "decoding it takes far longer than an image of its size takes"
    IMAGE_CRASHED = "image_crashed", "its decoder crashed, or was killed, twice"
    IMAGE_TOO_THIN = "image_too_thin", "the longer side is more than 200 times the shorter one"

    # boxes (plan and render)
    BBOX_NOT_A_LIST = "bbox_not_a_list", "the boxes are not a list of boxes"
    NOT_A_BOX = "not_a_box", "a box is not a list"
    WRONG_LENGTH = "wrong_length", "a box has not exactly four numbers"
    NOT_A_NUMBER = "not_a_number", "a coordinate is no number but a string, a boolean or null"
    NOT_FINITE = "not_finite", "a coordinate is NaN or infinite"
    NO_AREA = "no_area", "width or height is zero or negative"
    OUTSIDE = "outside", "the box lies wholly outside the image"
    TOO_SMALL = "too_small", "a side is under 4 px at the size the model sees"
    OVER_MAX_BOXES = "over_max_boxes", "a usable box beyond `max_boxes`"
    NO_BOXES = "no_boxes", "none given, none found"
    DUPLICATE_BOX = "duplicate_box", "a warning: two regions of the row are exactly the same"
    ONE_COLOUR = "one_colour", "a warning: the image is of one colour all over"
    REGION_COVERED = "region_covered", "a warning: tags hide half or more of a region in the marked image"

    # the answer (caption and validate)
    REQUEST_REFUSED = "request_refused", "the VLM refused the request as malformed"
    CUT_OFF = "cut_off", "the answer hit `max_tokens`, or was stopped before it was whole"
    CONTENT_FILTER = "content_filter", "a content filter of the server withheld the answer, or a part of it"
    EMPTY = "empty", "the answer, or a region's caption, is empty, or a placeholder"
    REPETITION = "repetition", "a caption repeats itself over and over"
    TOO_LONG = "too_long", "a caption is longer than a description of a region can be"
    CONTROL_CHARACTERS = "control_characters", "control characters, broken encoding, invisible characters"
    SPECIAL_TOKENS = "special_tokens", "tokens of the model's input format, as `<|im_end|>`"
    REFUSAL = "refusal", "the model refuses, apologises or chats"
    PROMPT_LEAK = "prompt_leak", "a part of the prompt or of the system message"
    UNPARSEABLE = "unparseable", "the answer cannot be taken apart into regions"
    MISSING_REGION = "missing_region", "a marked region is not described"
    INVENTED_REGION = "invented_region", "a region is described that was not asked about"
    REPEATED_REGION = "repeated_region", "a region is described twice"
    WRONG_LANGUAGE = "wrong_language", "a caption is not in `prompt_language`"
    MARK_TALK = "mark_talk", "a caption talks about the frame, the tag or its number"
    WHOLE_IMAGE = "whole_image", "a warning: a caption describes the whole image"
    SAME_TEXT = "same_text", "a warning: two regions have nearly the same caption"
    DOUBTED = "doubted", "by a caption, the listener does not find its region (`judge_again`: `reject`)"
    GATE_ERROR = "gate_error", "a warning: an installed gate raised an error instead of looking"

    # a person (validate)
    REJECTED_BY_PERSON = "rejected_by_person", "a person left it out"

    # a person (plan and render)
    FORGOTTEN = "forgotten", "the image was to be forgotten (`regioncap forget`), and its row with it"

    # any step
    INTERNAL_ERROR = "internal_error", "an error that nobody foresaw, at this row: please report it"
