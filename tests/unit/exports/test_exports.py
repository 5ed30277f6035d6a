"""Exports, opened by the readers that people use, and compared record by record with the JSONL."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import datasets
import pandas as pd
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat
from pycocotools.coco import COCO
from pydantic import ValidationError

from regioncap.config.settings import BuildSettings
from regioncap.errors import ExtensionError
from regioncap.exports import EXPORTERS, export, parts, write_exports
from regioncap.marks.view import content_name
from regioncap.regions.jsonl import clean, line
from regioncap.regions.records import Record, RegionCaption
from regioncap.storage.local import LocalStore
from regioncap.warehouse.layout import image_path
from regioncap.warehouse.manifest import FileEntry
from regioncap.work import layout
from regioncap.work.receipts import sha256
from regioncap.work.shard import Shard, ValidatedShard
from tests.builders import ROOT, Place, encoded, picture, planned

HOSTILE = [
    "=1+1", "+SUM(A1)", "@x", "-2", "007", "1e5", "NA", "null", "None", "nan", "true", " spaces ", "a,b;c\td",
    'say "so"', "it's", "two\nlines", "two\r\nlines", "\rreturn", "end\n", "ünïcödé", "图像中的红色圆", "{}", "[1, 2]",
    "😀 \u202eright to left", "a\u2028b\u0085c", "\ufffd", "<script>alert(1)</script>", "a/b.c/../d", "..", "x.json",
    "a\\nb", "%s{x}",
]  # fmt: skip


def record(number: int = 0, **changes: Any) -> Record:
    """A record with two regions."""
    return Record(
        **{
            "image": f"{number}.jpg", "type": "with_bbox",
            "bbox": [[10, 10, 40, 30], [900, 0, 5, 5], [60, 20.5, 50, 50]],
            "normalized_bbox": [[0.083, 0.125, 0.417, 0.5], [0.5, 0.256, 0.917, 0.881], [0.0, 0.0, 0.0, 0.0]],
            "result_file": ".",
            "image_with_bbox": image_path(content_name(marked_jpeg(f"id-{number}"))), "valid_bboxes_num": 2,
            "prompt": "What?",
            "answer": "<region1>: a\n<region2>: b", "id": f"id-{number}", "image_uri": f"s3://drops/{number}.jpg",
            "image_sha256": "0" * 64, "width": 120, "height": 80,
            "regions": [
                {"region": 1, "box_index": 0, "bbox": [10, 10, 40, 30], "caption": f"a red circle {number}"},
                {"region": 2, "box_index": 2, "bbox": [60, 20.5, 50, 50], "caption": f"a blue square {number}"},
            ],
            "dropped_boxes": [{"box_index": 1, "code": "outside"}], "attempts": 1, "checks": ["duplicate_box"],
            **changes,
        }
    )  # fmt: skip


def saying(text: str, number: int) -> Record:
    """A record with `text` wherever text from elsewhere can be."""
    regions = [{"region": 1, "box_index": 0, "bbox": [1, 2, 3, 4], "caption": text or "-"}]
    return record(
        number, id=f"{text}{number}", image=text or "-", answer=text, prompt=text, image_uri=f"s3://drops/{text}",
        bbox=[[1, 2, 3, 4], text, {text: [None]}], checks=[text], regions=regions,
    )  # fmt: skip


def hostile_records() -> list[Record]:
    """Text of all kinds, boxes of any shape, one image in two rows, one file name in two folders."""
    odd = [[[1, 2], None, "x", True, {"a": [1.5]}], [["NaN", "Infinity", 1e300, -0.0]], [[2**53, 1, 2, 3]], [[]]]
    names = ["a/x.jpg", "b/x.jpg", "a/x.jpg", "a b/ü.jpg"]
    return [
        *(saying(text, number) for number, text in enumerate(HOSTILE)),
        *(record(100 + number, bbox=bbox) for number, bbox in enumerate(odd)),
        *(record(200 + number, image=name) for number, name in enumerate(names)),
        record(300, type="without_bbox", dropped_boxes=[], checks=[], normalized_bbox=[]),
    ]  # fmt: skip


@dataclass
class Exported:
    """A build's exports, and the records that they are of, as the JSONL has them."""

    folder: Path
    entries: list[FileEntry]
    records: list[dict[str, Any]]
    messages: list[str]

    def files(self, name: str, ending: str) -> list[Path]:
        """The export's data files, in order."""
        return sorted((self.folder / "exports" / name).glob(f"*.{ending}"))


@dataclass
class Writer:
    """Exports records, whose originals are in `drop` and whose marked images are in their shards."""

    folder: Path

    @property
    def drop(self) -> Path:
        return self.folder / "drop"

    def __call__(self, records: Sequence[Record], *names: str, shard_size: int = 3, **changes: Any) -> Exported:
        work = LocalStore(self.folder / "work")
        shards = []
        starts = range(0, len(records), shard_size)
        plan = planned().model_copy(update={"shards": [f"shard-{start}" for start in starts]})
        for start in starts:
            shard, held = Shard(work, plan, f"shard-{start}"), records[start : start + shard_size]
            data = b"".join(map(line, held))
            shard.own.write(layout.RECORDS, data)
            shards.append(ValidatedShard(shard, len(held), sha256(data), before=start))
            for item in held:
                shard.shared.write(item.image_with_bbox, marked_jpeg(item.id))
        messages: list[str] = []
        entries = write_exports(
            plan=planned(export_formats=list(names), **changes),
            drop=LocalStore(self.drop),
            shards=shards,
            records=len(records),
            build=LocalStore(self.folder / "build"),
            progress=messages.append,
            written=lambda path, size, checksum: None,
        )
        lines = [json.loads(line(item)) for item in records]
        return Exported(self.folder / "build", entries, lines, messages)

    def original(self, number: int, data: bytes, name: str) -> Record:
        """Put an image into the drop; returns its record."""
        path = self.drop / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return record(number, image=name, image_sha256=hashlib.sha256(data).hexdigest())


def marked_jpeg(identity: str) -> bytes:
    return b"\xff\xd8 marked " + identity.encode()


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and batches of a few records, so that there are several."""
    monkeypatch.setattr(export, "_RECORDS_PER_FILE", 15)
    monkeypatch.setattr(export, "_CHUNK_RECORDS", 4)


# ---- each format, by its readers


def from_parquet(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {key: json.loads(row[key]) if row[key] else None for key in ("bbox", "source")} for row in rows]


def from_csv(path: Path) -> list[dict[str, Any]]:
    rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    plain = {"image", "type", "result_file", "image_with_bbox", "prompt", "answer", "id", "image_uri", "image_sha256"}
    return [{key: cell if key in plain else json.loads(cell or "null") for key, cell in row.items()} for row in rows]


def samples(paths: list[Path]) -> list[dict[str, Any]]:
    return list(webdataset.WebDataset(list(map(str, paths)), shardshuffle=False, empty_check=False).decode())


def raw_samples(done: Exported) -> list[dict[str, Any]]:
    """Samples whose files are bytes."""
    return list(webdataset.WebDataset(list(map(str, done.files("webdataset", "tar"))), shardshuffle=False))


def opened(folder: Path, cache: Path) -> datasets.Dataset:
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))


@pytest.mark.usefixtures("small_files")
def test_parquet_is_read_back_by_pyarrow_and_pandas(write: Writer) -> None:
    done = write(hostile_records(), "parquet")
    assert [path.name for path in done.files("parquet", "parquet")] == [
        f"captions-{k:05d}-of-00003.parquet" for k in range(3)
    ]
    folder = done.folder / "exports/parquet"
    assert from_parquet(pq.read_table(folder).to_pylist()) == done.records
    frame = pd.read_parquet(folder)
    assert frame["answer"].tolist() == [row["answer"] for row in done.records]
    captions = [[region["caption"] for region in regions] for regions in frame["regions"]]
    assert captions == [[region["caption"] for region in row["regions"]] for row in done.records]


@pytest.mark.usefixtures("small_files")
def test_csv_is_read_back_by_pandas(write: Writer) -> None:
    done = write(hostile_records(), "csv")
    assert [row for path in done.files("csv", "csv") for row in from_csv(path)] == done.records
    assert len(done.files("csv", "csv")) == 3


@pytest.mark.usefixtures("small_files")
def test_json_is_an_array_of_records(write: Writer) -> None:
    done = write(hostile_records(), "json")
    assert [row for path in done.files("json", "json") for row in json.loads(path.read_text("utf-8"))] == done.records
    assert len(done.files("json", "json")) == 3


@pytest.mark.usefixtures("small_files")
def test_webdataset_has_a_sample_for_every_record(write: Writer) -> None:
    done = write(hostile_records(), "webdataset")
    read = samples(done.files("webdataset", "tar"))
    assert [sample["json"] for sample in read] == done.records
    assert [sample["__key__"] for sample in read] == [f"{number:09d}" for number in range(len(done.records))]


@pytest.mark.usefixtures("small_files")
def test_datasets_opens_the_hf_folder_as_it_is(write: Writer, tmp_path: Path) -> None:
    done = write(hostile_records(), "hf", file_name_prefix="test.run-1")
    read = opened(done.folder / "exports/hf", tmp_path)
    assert from_parquet(read.to_list()) == done.records
    assert len(done.files("hf", "parquet")) == 3


def by_record(coco: COCO) -> dict[str, list[dict[str, Any]]]:
    regions = defaultdict(list)
    for annotation in coco.loadAnns(coco.getAnnIds()):
        described = {key: annotation[key] for key in RegionCaption.model_fields}
        regions[annotation["record_id"]].append(described)
    return regions


@pytest.mark.usefixtures("small_files")
def test_pycocotools_finds_every_region_with_its_caption(write: Writer) -> None:
    done = write(hostile_records(), "coco")
    (path,) = done.files("coco", "json")
    coco = COCO(str(path))
    assert by_record(coco) == {row["id"]: row["regions"] for row in done.records}
    assert {image["file_name"] for image in coco.imgs.values()} == {row["image"] for row in done.records}
    for annotation in coco.anns.values():
        _, _, width, height = annotation["bbox"]
        assert annotation["area"] == width * height
        assert (annotation["category_id"], annotation["iscrowd"]) == (coco.getCatIds()[0], 0)
    assert {"info", "licenses", "categories", "images", "annotations"} == set(coco.dataset)


def test_coco_knows_an_image_of_two_records_once(write: Writer) -> None:
    done = write([record(1, image="a/x.jpg"), record(2, image="b/x.jpg"), record(3, image="a/x.jpg")], "coco")
    coco = COCO(str(done.files("coco", "json")[0]))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["a/x.jpg", "b/x.jpg"]
    records = [annotation["record_id"] for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[1]))]
    assert records == ["id-1", "id-1", "id-3", "id-3"]


# All characters, and those that mean something to a reader more often.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\r\n\0\x1a\"',;\t\\=\ufeff\ud800"), max_size=20).map(clean)


@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=4))
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_as_it_was(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    write = Writer(tmp_path_factory.mktemp("any"))
    done = write(
        [saying(text, number) for number, text in enumerate(texts)], "parquet", "csv", "json", "webdataset", "coco"
    )
    assert from_parquet(pq.read_table(done.folder / "exports/parquet").to_pylist()) == done.records
    assert from_csv(done.files("csv", "csv")[0]) == done.records
    assert json.loads(done.files("json", "json")[0].read_bytes()) == done.records
    assert [sample["json"] for sample in samples(done.files("webdataset", "tar"))] == done.records
    assert by_record(COCO(str(done.files("coco", "json")[0]))) == {row["id"]: row["regions"] for row in done.records}


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_build_without_records_has_empty_exports(name: str, write: Writer) -> None:
    done = write([], name)
    folder = done.folder / "exports" / name
    match name:
        case "parquet":
            assert pq.read_table(folder).num_rows == 0
        case "csv":
            assert from_csv(done.files("csv", "csv")[0]) == []
        case "json":
            assert json.loads(done.files("json", "json")[0].read_bytes()) == []
        case "coco":
            assert COCO(str(done.files("coco", "json")[0])).anns == {}
        case "webdataset":
            assert samples(done.files("webdataset", "tar")) == []
        case "llava" | "llava_pixels":
            assert conversations(done, name) == []
        case "label_studio":
            assert json.loads(done.files("label_studio", "json")[0].read_bytes()) == []
        case "cvat":
            assert not ElementTree.parse(done.files("cvat", "xml")[0]).findall("image")
        case "hf":  # `datasets` itself does not open a dataset without rows
            assert pq.read_table(done.files("hf", "parquet")[0]).num_rows == 0


def conversations(done: Exported, name: str) -> list[dict[str, Any]]:
    return [each for path in done.files(name, "json") for each in json.loads(path.read_text("utf-8"))]


@pytest.mark.usefixtures("small_files")
def test_a_conversation_asks_about_each_box_in_turn(write: Writer) -> None:
    done = write([record(7), *hostile_records()], "llava", "llava_pixels")
    shares, pixels = (conversations(done, name) for name in ("llava", "llava_pixels"))
    assert shares[0] == {
        "id": "id-7",
        "image": "7.jpg",
        "conversations": [
            {
                "from": "human",
                "value": "<image>\nPlease provide a short description for this region: [0.083, 0.125, 0.417, 0.500].",
            },
            {"from": "gpt", "value": "a red circle 7"},
            {
                "from": "human",
                "value": "Please provide a short description for this region: [0.500, 0.256, 0.917, 0.881].",
            },
            {"from": "gpt", "value": "a blue square 7"},
        ],
    }
    assert [turn["value"].rpartition(": ")[2] for turn in pixels[0]["conversations"][::2]] == [
        "[10, 10, 50, 40].", "[60, 20, 110, 70].",
    ]  # fmt: skip
    assert [each["id"] for each in shares] == [each["id"] for each in pixels] == [row["id"] for row in done.records]
    for each, row in zip(shares, done.records, strict=True):
        assert [turn["value"] for turn in each["conversations"][1::2]] == [box["caption"] for box in row["regions"]]


def test_a_conversation_has_the_word_for_its_image_once(write: Writer) -> None:
    done = write([saying("an <image> of <image>", 1)], "llava")
    (each,) = conversations(done, "llava")
    assert sum(turn["value"].count("<image>") for turn in each["conversations"]) == 1


@pytest.mark.parametrize("word", ["video", "audio"])
def test_a_conversation_has_no_word_that_stands_for_another_file(write: Writer, word: str) -> None:
    (each,) = conversations(write([saying(f"a sign <{word}> on <{word}>", 1)], "llava"), "llava")
    assert each["conversations"][1]["value"] == f"a sign < {word} > on < {word} >"


def test_conversations_are_read_in_whatever_encoding_the_machine_has(write: Writer) -> None:
    done = write([saying("ein Türknauf, 图像中的红色圆", 1)], "llava")
    (path,) = done.files("llava", "json")
    # As LLaVA's own code opens it.
    with path.open(encoding="ascii") as stream:
        (each,) = json.load(stream)
    assert each["conversations"][1]["value"] == "ein Türknauf, 图像中的红色圆"


def test_conversations_come_with_their_originals(write: Writer) -> None:
    done = write(originals(write), "llava", export_images="original")
    for each in conversations(done, "llava"):
        Image.open(done.folder / "exports/llava" / each["image"]).verify()


def test_labels_and_other_fields_are_in_every_export(write: Writer) -> None:
    region = {"region": 1, "box_index": 0, "bbox": [10, 10, 40, 30], "caption": "a", "label": "bicycle"}
    done = write(
        [record(0, regions=[region], source={"camera": "ü", "n": 1, "x": '[1, "a"]'}), record(1)],
        "parquet", "csv", "json", "coco", "webdataset", "hf",
    )  # fmt: skip
    assert from_parquet(pq.read_table(done.folder / "exports/parquet").to_pylist()) == done.records
    assert from_parquet(pq.read_table(done.files("hf", "parquet")[0]).to_pylist()) == done.records
    assert from_csv(done.files("csv", "csv")[0]) == done.records
    assert [sample["json"] for sample in samples(done.files("webdataset", "tar"))] == done.records
    coco = COCO(str(done.files("coco", "json")[0]))
    names = {category["id"]: category["name"] for category in coco.cats.values()}
    assert [names[annotation["category_id"]] for annotation in coco.anns.values()] == ["bicycle", "region", "region"]


def test_the_mask_of_an_annotation_is_its_box(write: Writer) -> None:
    coco = COCO(str(write([record()], "coco").files("coco", "json")[0]))
    mask = coco.annToMask(coco.anns[1])
    assert mask.shape == (80, 120) and mask.sum() == 40 * 30 and mask[10:40, 10:50].all()


# ---- images


def originals(write: Writer) -> list[Record]:
    """Originals that are stored as they are displayed, in formats that every reader opens."""
    return [
        write.original(0, encoded(picture()), "a/x.jpg"),
        write.original(1, encoded(picture(colour=(1, 2, 3))), "b/x.jpg"),
        write.original(2, encoded(picture(), "PNG"), "a b/ü.png"),
        write.original(3, encoded(picture()), "a/x.jpg"),
        write.original(4, encoded(picture(), "WEBP"), "c.webp"),
    ]


def carried(sample: dict[str, Any]) -> bytes | None:
    """The image of an undecoded WebDataset sample."""
    return next((sample[ending] for ending in ("jpg", "png", "webp") if ending in sample), None)


def test_webdataset_carries_the_originals_as_they_are(write: Writer) -> None:
    records = originals(write)
    done = write(records, "webdataset", export_images="original")
    files = [(write.drop / item.image).read_bytes() for item in records]
    assert [carried(sample) for sample in raw_samples(done)] == files
    paths = list(map(str, done.files("webdataset", "tar")))
    for sample in webdataset.WebDataset(paths, shardshuffle=False).decode("pil").rename(image="jpg;png;webp"):
        assert sample["image"].size == (120, 80)


def test_hf_carries_the_originals_as_pictures(write: Writer, tmp_path: Path) -> None:
    records = originals(write)
    done = write(records, "hf", export_images="original")
    read = opened(done.folder / "exports/hf", tmp_path)
    assert [image.size for image in read["image"]] == [(120, 80)] * 5
    raw = read.cast_column("image", datasets.Image(decode=False))["image"]
    assert [image["bytes"] for image in raw] == [(write.drop / item.image).read_bytes() for item in records]
    rows = from_parquet(read.remove_columns("image").rename_column("image_path", "image").to_list())
    assert rows == done.records


def test_coco_carries_every_original_once(write: Writer) -> None:
    records = originals(write)
    done = write(records, "coco", export_images="original")
    (path,) = done.files("coco", "json")
    coco = COCO(str(path))
    files = [image["file_name"] for image in coco.loadImgs(coco.getImgIds())]
    assert [(path.parent / name).read_bytes() for name in files] == [
        (write.drop / records[number].image).read_bytes() for number in (0, 1, 2, 4)
    ]
    assert len(list((path.parent / "images").iterdir())) == 4
    assert by_record(coco) == {row["id"]: row["regions"] for row in done.records}


def test_an_original_that_readers_would_show_differently_is_written_upright(write: Writer) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    stored = picture(80, 120).rotate(90, expand=True)  # displayed, it is turned back
    heic = (ROOT / "tests/data/two_colours.heic").read_bytes()
    whole = encoded(picture(80, 120), "PNG")
    # A damaged text, for which Pillow refuses the whole file.
    odd = whole[:33] + b"\0\0\0\x04tEXta\0bcdddd" + whole[33:]
    records = [
        write.original(0, encoded(stored, quality=95, exif=turned), "turned.jpg"),
        write.original(1, encoded(stored, "PNG", exif=turned), "turned.png"),
        write.original(2, encoded(picture(80, 120), "TIFF"), "scan.tiff"),
        write.original(3, heic, "phone.heic"),
        write.original(4, odd, "odd.png"),
    ]
    done = write(records, "webdataset", export_images="original")
    paths = list(map(str, done.files("webdataset", "tar")))
    read = list(webdataset.WebDataset(paths, shardshuffle=False).decode("pil"))
    assert [next(key for key in sample if key in ("jpg", "png")) for sample in read] == [
        *("jpg", "png", "png", "jpg", "png")
    ]
    for sample in (*read[:3], read[4]):
        image = sample.get("jpg") or sample["png"]
        assert image.size == (80, 120)
        assert image.getexif().get(0x0112, 1) == 1
        difference = ImageStat.Stat(ImageChops.difference(image.convert("RGB"), picture(80, 120)))
        assert max(difference.mean) <= (5 if "jpg" in sample else 0)


def test_an_original_that_is_gone_or_changed_is_listed_and_its_record_stays(write: Writer, tmp_path: Path) -> None:
    records = [write.original(number, encoded(picture(colour=(number, 9, 9))), f"{number}.jpg") for number in range(5)]
    (write.drop / "1.jpg").unlink()
    (write.drop / "2.jpg").write_bytes(encoded(picture(colour=(250, 0, 0))))
    (write.drop / "3.jpg").unlink()
    (write.drop / "3.jpg").symlink_to(write.drop / "0.jpg")
    done = write(records, "webdataset", "hf", "coco", export_images="original")

    raw = raw_samples(done)
    assert [json.loads(sample["json"]) for sample in raw] == done.records
    assert [carried(sample) is not None for sample in raw] == [True, False, False, False, True]
    read = opened(done.folder / "exports/hf", tmp_path)
    assert [image is not None for image in read["image"]] == [True, False, False, False, True]
    coco = COCO(str(done.files("coco", "json")[0]))
    names = [image["file_name"] for image in coco.imgs.values()]
    assert [(done.folder / "exports/coco" / name).exists() for name in names] == [True, False, False, False, True]
    assert names[1:4] == ["1.jpg", "2.jpg", "3.jpg"]
    for name in ("webdataset", "hf", "coco"):
        listed = (done.folder / f"exports/{name}/missing_images.jsonl").read_bytes().splitlines()
        assert [json.loads(text)["id"] for text in listed] == ["id-1", "id-2", "id-3"]
        assert all(json.loads(text)["reason"] for text in listed)
        assert any(f"export {name}: 3 records come without their image" in message for message in done.messages)


def test_marked_images_are_those_that_the_model_saw(write: Writer, tmp_path: Path) -> None:
    records = [record(number) for number in range(4)]
    done = write(records, "webdataset", "hf", "parquet", export_images="marked")
    expected = [marked_jpeg(item.id) for item in records]
    assert [sample["jpg"] for sample in raw_samples(done)] == expected
    read = opened(done.folder / "exports/hf", tmp_path).cast_column("image", datasets.Image(decode=False))
    assert [image["bytes"] for image in read["image"]] == expected
    assert pq.read_table(done.folder / "exports/parquet").column_names == list(Record.model_fields)


def test_there_are_files_with_images_for_each_shard_and_their_names_say_how_many(write: Writer, tmp_path: Path) -> None:
    records = [write.original(number, encoded(picture(4, 4)), f"{number}.jpg") for number in range(25)]
    done = write(records, "webdataset", "hf", "csv", export_images="original", shard_size=10)
    files = done.files("webdataset", "tar")
    assert [path.name for path in files] == [f"captions-{number:05d}-of-00003.tar" for number in range(3)]
    assert [len(samples([path])) for path in files] == [10, 10, 5]
    rows = {entry.path.rpartition("/")[2]: entry.rows for entry in done.entries}
    assert [rows[f"captions-{number:05d}-of-00003.parquet"] for number in range(3)] == [10, 10, 5]
    assert [sample["__key__"] for sample in samples(files)] == [f"{number:09d}" for number in range(25)]
    assert len(opened(done.folder / "exports/hf", tmp_path)) == 25
    assert len(done.files("csv", "csv")) == 1


@pytest.mark.parametrize("limit", ["MOST_BYTES", "MOST_IMAGES"])
def test_a_shard_has_more_than_one_file_where_its_images_are_many_or_large(
    write: Writer, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    records = [write.original(number, encoded(picture(4, 4)), f"{number}.jpg") for number in range(5)]
    monkeypatch.setattr(parts, limit, 2 if limit == "MOST_IMAGES" else len(encoded(picture(4, 4))) + 1000)
    done = write(records, "webdataset", "hf", export_images="original", shard_size=3)
    files = done.files("webdataset", "tar")
    assert [path.name for path in files] == [f"captions-{number:05d}-of-00003.tar" for number in range(3)]
    assert [len(samples([path])) for path in files] == [2, 1, 2]
    assert [sample["json"] for sample in samples(files)] == done.records
    assert [pq.read_table(path).num_rows for path in done.files("hf", "parquet")] == [2, 1, 2]


# ---- files


def test_every_file_is_listed_with_its_size_and_hash(write: Writer) -> None:
    done = write([record(number) for number in range(5)], *EXPORTERS)
    files = {path.relative_to(done.folder).as_posix(): path for path in done.folder.rglob("*") if path.is_file()}
    assert {entry.path for entry in done.entries} == set(files)
    for entry in done.entries:
        data = files[entry.path].read_bytes()
        assert (entry.bytes, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert {entry.rows for entry in done.entries if not entry.path.endswith("README.md")} == {5}


@pytest.mark.parametrize("images", ["none", "original"])
def test_the_same_records_give_the_same_bytes(images: str, tmp_path: Path) -> None:
    def hashes(folder: Path) -> list[str]:
        write = Writer(folder)
        formats = EXPORTERS
        return [entry.sha256 for entry in write(originals(write), *formats, export_images=images).entries]

    assert hashes(tmp_path / "once") == hashes(tmp_path / "twice")


def test_the_form_offers_every_format_in_its_order() -> None:
    offered = BuildSettings.model_json_schema()["properties"]["export_formats"]
    assert list(EXPORTERS) == offered["items"]["enum"]
    assert list(EXPORTERS)[:6] == ["parquet", "csv", "json", "coco", "webdataset", "hf"]


LINES = """
def it(export):
    for path, rows in export.files("txt"):
        with path.open("w") as stream:
            for row in rows:
                stream.write(f"{row.record['id']} {row.image is not None}\\n")
"""


def test_an_exporter_of_ones_own_gets_the_records_and_the_images_that_the_run_asks_for(
    write: Writer, extend: Callable[..., None]
) -> None:
    extend("regioncap.exporters", "lines", LINES)
    done = write(originals(write), "lines", "csv", export_images="original")
    (file,) = done.files("lines", "txt")
    assert file.read_text().splitlines() == [f"{row['id']} True" for row in done.records]
    assert {entry.path for entry in done.entries if entry.path.startswith("exports/lines/")} == {
        f"exports/lines/{file.name}"
    }


def test_an_exporter_says_which_images_it_can_carry(write: Writer, extend: Callable[..., None]) -> None:
    carries = "from regioncap.exports.export import carries\n@carries()"
    extend("regioncap.exporters", "lines", LINES.replace("\ndef", f"\n{carries}\ndef"))
    with pytest.raises(ValidationError, match="none of the export_formats carries images"):
        write([record()], "lines", export_images="original")
    (file,) = write(originals(write), "lines", "webdataset", export_images="original").files("lines", "txt")
    assert {row.split()[-1] for row in file.read_text().splitlines()} == {"False"}


BY_SHARD = "from regioncap.exports.export import by_shard\n"


def test_an_exporter_of_ones_own_can_be_called_shard_by_shard(write: Writer, extend: Callable[..., None]) -> None:
    then = """def then(export):
    with export.file("index.txt", 0) as path:
        path.write_text(str(len(export.entries)))
"""
    code = LINES.replace("\ndef", f"\n{BY_SHARD}{then}@by_shard(then=then)\ndef").replace('"txt"', '"of.txt"')
    extend("regioncap.exporters", "lines", code)
    done = write(originals(write), "lines", export_images="original")
    assert [path.name for path in done.files("lines", "of.txt")] == [
        f"captions-{number:05d}-of-00002.of.txt" for number in range(2)
    ]
    texts = [path.read_text().splitlines() for path in done.files("lines", "txt") if path.name != "index.txt"]
    assert texts == [[f"id-{number} True" for number in group] for group in ((0, 1, 2), (3, 4))]
    assert (done.folder / "exports/lines/index.txt").read_text() == "2"
    # Without images there is nothing to be made shard by shard.
    done = write(originals(write), "lines")
    assert (done.folder / "exports/lines/captions-00000-of-00001.of.txt").read_text().count("False") == 5


def test_an_exporter_that_writes_a_file_of_all_for_each_shard_is_told_where_to_do_it(
    write: Writer, extend: Callable[..., None]
) -> None:
    code = f"{BY_SHARD}@by_shard()\ndef it(export):\n    with export.file('index.txt', 0) as path:\n        pass\n"
    extend("regioncap.exporters", "lines", code)
    with pytest.raises(ExtensionError, match=r"the exporter lines writes index\.txt for each shard .* `then`"):
        write(originals(write), "lines", export_images="original")


def test_an_exporter_whose_images_lie_beside_its_files_gets_their_names(
    write: Writer, extend: Callable[..., None]
) -> None:
    carries = "from regioncap.exports.export import carries\n@carries('original', 'marked', beside=True)"
    extend(
        "regioncap.exporters",
        "lines",
        LINES.replace("row.image is not None", "row.file").replace("\ndef", f"\n{carries}\ndef"),
    )
    done = write(originals(write), "lines", export_images="original")
    (file,) = done.files("lines", "txt")
    for row, text in zip(originals(write), file.read_text().splitlines(), strict=True):
        name = text.removeprefix(f"{row.id} ")
        assert (file.parent / "images" / name).read_bytes() == (write.drop / row.image).read_bytes()


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [("lines", "it = 1", "is no function"), ("Two-Lines", "it = print", "is named by more than small letters")],
)
def test_an_exporter_that_cannot_be_used_stops_the_run_in_plan(
    tmp_path: Path, extend: Callable[..., None], name: str, code: str, message: str
) -> None:
    place = Place(tmp_path)
    place.good_rows(1)
    extend("regioncap.exporters", name, code)
    with pytest.raises(ExtensionError, match=f"the exporter {name} at .* {message}"):
        place.plan(export_formats=[name])


def examples() -> dict[str, str]:
    """What reads a format, by the heading above it."""
    page = (ROOT / "docs/exports.md").read_text("utf-8")
    sections = [section.partition("\n") for section in re.split("^## ", page, flags=re.MULTILINE)]
    found = [(name, re.search(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)) for name, _, text in sections]
    return {name: example[1] for name, example in found if example}


def test_the_examples_of_the_documentation_run(write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    done = write(originals(write), *EXPORTERS, export_images="original")
    assert set(examples()) == set(EXPORTERS), "each format has a section in docs/exports.md, with an example"
    for name, text in examples().items():
        seen: dict[str, Any] = {"build": str(done.folder)}
        exec(text, seen)
        assert seen["rows"] == 5, name
