"""What to do about each code: for whoever looks at rejected rows, dropped boxes and warnings."""

from regioncap.regions.codes import Code

_TEXT = "write the manifest as UTF-8, or set the param `manifest_encoding` to what it is in"
_UPLOAD_AGAIN = "upload the image again"
_AGAIN = "another temperature, prompt or model may do better; run the date again, and only such rows are asked about"
_MODEL = "if many rows have it, look at the answers: the model may not follow the prompt, or not read the marks"

# For the maker of the drop or of the build.
ADVICE: dict[Code, str] = {
    Code.NOT_UTF8: _TEXT,
    Code.NOT_JSON: "correct the line: one JSON object in each; if all lines have it, set the param `input_format`",
    Code.NOT_AN_OBJECT: 'write the line as an object, `{"image": ..., "bbox": ...}`',
    Code.NOT_CSV: "put cells with commas in them, such as boxes, into quotes, one at each end",
    Code.NOT_XML: "export the file anew from the tool that wrote it, or leave it out",
    Code.LINE_TOO_LONG: "give the image's boxes in several rows, or leave out fields that RegionCap does not read",
    Code.TOO_DEEP: "leave out fields that RegionCap does not read",
    Code.ID_INVALID: "give the row an id that is a string or a whole number, or none: it gets one then",
    Code.DUPLICATE_ID: "give each row an id of its own, or none; this is the second row with it",
    Code.IMAGE_MISSING: "give the row the image's path; if all rows have it, set the param `image_key`",
    Code.IMAGE_NOT_A_PATH: "give the image as a path relative to the drop, without characters that cannot be seen",
    Code.IMAGE_IS_URL: "upload the image into the drop, and give its path there",
    Code.IMAGE_OUTSIDE_DROP: "give the path relative to the drop's folder, and upload the image there",
    Code.IMAGE_NOT_FOUND: "upload the image, or correct the path: the reason names files that are called nearly so",
    Code.IMAGE_IS_LINK: "upload the file itself in place of the link",
    Code.IMAGE_FORBIDDEN: "let the user that RegionCap works as read this file",
    Code.IMAGE_ARCHIVED: "restore the file from the archive, then run the date again",
    Code.IMAGE_EMPTY: _UPLOAD_AGAIN,
    Code.IMAGE_UNREADABLE: "save it as one of the formats that RegionCap reads: JPEG, PNG, WebP, TIFF and others",
    Code.IMAGE_TRUNCATED: _UPLOAD_AGAIN + ": the file is damaged, or was cut short",
    Code.IMAGE_TOO_LARGE: "save it smaller: the model sees about a megapixel of it",
    Code.IMAGE_TOO_SLOW: "save the image anew with an ordinary program; one that is slow on purpose is best left out",
    Code.IMAGE_CRASHED: "save the image anew with an ordinary program; the file may have been made to crash decoders",
    Code.IMAGE_TOO_THIN: "cut the image into parts, each with its boxes",
    Code.BBOX_NOT_A_LIST: "write the boxes as a list of lists, `[[x, y, w, h]]`: the reason tells what is there. "
    "Or set the param `input_format` to jsonl_any, which reads other forms too",
    Code.NOT_A_BOX: "write each box as a list of four numbers, or set the param `input_format` to jsonl_any",
    Code.WRONG_LENGTH: "write each box as four numbers; of a polygon, the box around it",
    Code.NOT_A_NUMBER: "write coordinates as numbers, not as text",
    Code.NOT_FINITE: "leave out boxes that have no place",
    Code.NO_AREA: "correct the box; if many have it, the param `box_format` may be another",
    Code.OUTSIDE: "correct the box; if many have it, `box_format` or `box_frame` may be another, or the image",
    Code.TOO_SMALL: "raise the param `max_pixels`, or cut the image into parts: so small a thing the model cannot see",
    Code.OVER_MAX_BOXES: "raise the param `max_boxes`, or put the boxes that matter first",
    Code.NO_BOXES: "give the row boxes, or choose another way to find them, by the param `when_no_boxes`",
    Code.DUPLICATE_BOX: "leave one of the equal boxes out",
    Code.ONE_COLOUR: "look at the file: it may be damaged, or a placeholder",
    Code.REGION_COVERED: "ask about each region by itself (`caption_mode`: `per_region`): a close-up has one tag",
    Code.REQUEST_REFUSED: "the reason has the server's words; the row is asked about once more by each run",
    Code.CUT_OFF: "raise the param `max_tokens`; of a model that thinks, switch thinking off",
    Code.CONTENT_FILTER: "the server's filter decides: look at the image, or serve the model yourself",
    Code.EMPTY: f"{_MODEL}; {_AGAIN}",
    Code.REPETITION: f"raise `repetition_penalty` a little, such as to 1.05; {_AGAIN}",
    Code.TOO_LONG: f"ask for shorter captions in the prompt; {_AGAIN}",
    Code.CONTROL_CHARACTERS: f"{_MODEL}; look whether the server has the model's own tokenizer",
    Code.SPECIAL_TOKENS: "look whether the server has the model's own chat template",
    Code.REFUSAL: f"look at the image; {_AGAIN}",
    Code.PROMPT_LEAK: f"{_MODEL}; {_AGAIN}",
    Code.UNPARSEABLE: "set `answer_format` to `structured`, if the server has structured output",
    Code.MISSING_REGION: f"ask about each region by itself (`caption_mode`: `per_region`); {_AGAIN}",
    Code.INVENTED_REGION: f"ask about each region by itself (`caption_mode`: `per_region`); {_AGAIN}",
    Code.REPEATED_REGION: f"ask about each region by itself (`caption_mode`: `per_region`); {_AGAIN}",
    Code.WRONG_LANGUAGE: "say in the prompt in which language to answer, or set `prompt_language`",
    Code.MARK_TALK: f"try another `mark_style`; {_AGAIN}",
    Code.DOUBTED: "look at some of them: where the listener is right, ask about each region by itself "
    "(`caption_mode`: `auto` or `per_region`), or have doubtful captions asked for again (`judge_again`: `ask_again`)",
    Code.WHOLE_IMAGE: "ask about each region by itself, with a close-up (`caption_mode`: `per_region`)",
    Code.SAME_TEXT: "look at the image: where the things are alike, nothing is wrong",
    Code.GATE_ERROR: "tell whoever wrote the gate; the task's log has the error",
    Code.DOUBTED: "look at the image in the gallery: if the caption is right, restore it there; else correct it",
    Code.REJECTED_BY_PERSON: "if it should be there after all, restore it in the gallery, and run the date again",
    Code.INTERNAL_ERROR: "report it, with the reason and, if you may, the row and its image",
}
