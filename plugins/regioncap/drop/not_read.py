"""Formats of other tools that are not read: what lies there, and what can be done, where a drop has nothing else."""

import re

_EXPORT = "export it from there as COCO, Pascal VOC or YOLO"

# By how files end, in small letters.
_BY_NAME = (
    (re.compile(r"\.(?:zip|rar|7z)$"), "an archive: unpack it"),
    (
        re.compile(r"\.arrow$"),
        "of Hugging Face's save_to_disk: write the data set with to_parquet, which image_parquet reads",
    ),
    (
        re.compile(r"(?:^|/)metadata\.(?:csv|parquet)$"),
        "of an image folder: write its rows into metadata.jsonl, which image_folder reads",
    ),
    (re.compile(r"\.(?:pkl|pickle|pth?|npy|npz|mat|h5|hdf5|tfrecords?|record|lmdb|mdb)$"), f"binary data: {_EXPORT}"),
)
# By how files begin, with what their names end in.
_BY_BEGINNING = (
    (".json", re.compile(rb'"coordinates"\s*:\s*\{\s*"(?:x|y|width|height)"'), f"of CreateML: {_EXPORT}"),
    (
        ".json",
        re.compile(rb'"dm_format_version"|"media_type"\s*:\s*\d.*"items"\s*:', re.DOTALL),
        f"of Datumaro: {_EXPORT}",
    ),
    (".json", re.compile(rb'"_via_img_metadata"|"shape_attributes"\s*:\s*\{'), "of VIA: export COCO from there"),
    (".csv", re.compile(rb"[^\n]*\bregion_shape_attributes\b"), "of VIA: export COCO from there"),
    (".csv", re.compile(rb'"(?:rectangle|polygon|ellipse)labels"'), "of Label Studio: export JSON from there"),
    (".json", re.compile(rb'"data_list"\s*:\s*\[|"ann"\s*:\s*\{\s*"bboxes"'), f"of MMDetection: {_EXPORT}"),
    (".json", re.compile(rb'"geometryType"\s*:'), f"of Supervisely: {_EXPORT}"),
    (".json", re.compile(rb'"bounding_box"\s*:\s*\{\s*"[hwxy]"'), f"of V7 Darwin: {_EXPORT}"),
    (".json", re.compile(rb'"box2d"\s*:\s*\{'), f"of BDD100K or Scalabel: {_EXPORT}"),
    (".ndjson", re.compile(rb'"data_row"\s*:'), f"of Labelbox: {_EXPORT}"),
    (".ndjson", re.compile(rb'"class_names"\s*:'), "of Ultralytics: write labels of YOLO, a text file for each image"),
    (".manifest", re.compile(rb'"source-ref"\s*:'), "of SageMaker: write a JSON line for each image"),
)
# What is said of lists where nothing else can be said.
_PLAINLY = (
    (
        re.compile(r"/[^/]*\.(?:csv|tsv)$"),
        "a table in a folder: only those at the drop's top are read, but Open Images'",
    ),
    (re.compile(r"\.(?:txt|csv|tsv)$"), "text, and does not begin as the labels of a format that is read do"),
    (re.compile(r"\.json$"), "JSON, and does not begin as the files of a format that is read do"),
    (re.compile(r"\.xml$"), "XML, and does not begin as the files of a format that is read do"),
    (re.compile(r"\.ndjson$"), "JSON lines: call them .jsonl, if an image and its boxes are in each"),
)
_ENDINGS = tuple({suffix for suffix, _, _ in _BY_BEGINNING})


def named_as_not_read(path: str) -> str | None:
    """What a file is by its name, where no format that is read has such, and what can be done."""
    return next((what for pattern, what in _BY_NAME if pattern.search(path.lower())), None)


def plainly_not_read(path: str) -> str | None:
    """The same of what begins as nothing that is known."""
    return next((what for pattern, what in _PLAINLY if pattern.search(path.lower())), None)


def begins_as_not_read(path: str, start: bytes) -> str | None:
    """The same by how it begins."""
    ending = path.lower()
    return next(
        (what for suffix, pattern, what in _BY_BEGINNING if ending.endswith(suffix) and pattern.search(start)), None
    )


def is_looked_into(path: str) -> bool:
    """Whether how a file begins may say what it is."""
    return path.lower().endswith(_ENDINGS)
