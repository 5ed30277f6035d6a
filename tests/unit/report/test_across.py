"""What is seen only when all rows of a build lie side by side."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo_model.world import generator, make_scene
from regioncap.regions.records import Record
from regioncap.report.across import Across, AcrossBuild, PartAcross, unusual, with_examples
from tests.builders import Place, describe, encoded
from tests.pages import record


def seen(records: list[Record]) -> AcrossBuild:
    return with_examples(noted(records).found(), records.__getitem__)


def noted(records: list[Record]) -> Across:
    across = Across()
    for each in records:
        across.add(each)
    return across


def of(number: int, *captions: str, **changes: Any) -> Record:
    """A record of an image of its own, that looks like no other."""
    looks = f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95 % (1 << 256):064x}"
    return record(number, *captions, **{"image": f"{number}.jpg", "perceptual_hash": looks, **changes})


def warnings(records: list[Record]) -> list[str]:
    found = noted(records).found()
    return unusual(found, with_examples(found, records.__getitem__))


def test_a_caption_that_many_records_share_is_counted_and_listed() -> None:
    records = [of(number, f"thing {number}", *(["A red car."] if number % 5 == 0 else [])) for number in range(100)]
    across = seen(records)
    assert (across.shared_by, across.shared_captions, across.sharing_records) == (10, 1, 20)
    assert [(item.caption, item.records) for item in across.most_shared] == [("A red car.", 20)]


def test_a_caption_is_the_same_in_other_capitals_with_another_article_or_with_a_full_stop() -> None:
    said = ["A red car", "a red car.", "The red car", "red car"]
    across = seen([of(number, said[number % 4]) for number in range(40)])
    assert (across.shared_captions, across.sharing_records, across.most_shared[0].records) == (1, 40, 40)


def test_a_caption_that_stands_twice_in_a_record_is_one_records() -> None:
    across = seen([of(number, "a cat", "a cat", "a dog" if number else "a mouse") for number in range(12)])
    assert {item.caption: item.records for item in across.most_shared} == {"a cat": 12, "a dog": 11}
    assert (across.sharing_records, across.alike_captions) == (12, 24)


def test_what_few_records_share_is_nothing_to_talk_about() -> None:
    across = seen([of(number, f"thing {number % 4}") for number in range(36)])
    assert (across.shared_captions, across.most_shared) == (0, [])


def test_in_a_large_build_many_is_a_share_of_all_records() -> None:
    records = [of(number, f"thing {number % 200}") for number in range(3000)]
    assert (seen(records).shared_by, seen(records).shared_captions) == (30, 0)


def test_captions_that_do_not_tell_their_regions_apart_are_counted_and_listed() -> None:
    across = seen([of(0, "a cat", "a dog", "The cat"), of(1, "a cat", "a mouse")])
    assert across.alike_captions == 2
    assert [item.model_dump() for item in across.alike] == [{"image": "0.jpg", "caption": "a cat", "regions": [1, 3]}]


def test_images_that_look_alike_are_counted_and_listed() -> None:
    records = [of(number) for number in range(20)]
    copy = records[3].perceptual_hash
    records.append(of(20, perceptual_hash=copy))
    across = seen(records)
    assert (across.images, across.look_alikes) == (21, 1)
    assert [item.model_dump() for item in across.looking_alike] == [{"image": "20.jpg", "other": "3.jpg"}]


def test_rows_of_the_same_image_are_one_image() -> None:
    records = [of(1), record(2, image="1.jpg", perceptual_hash=of(1).perceptual_hash)]
    across = seen(records)
    assert (across.images, across.look_alikes) == (1, 0)


def test_an_image_of_which_nothing_is_known_looks_like_none() -> None:
    across = seen([of(number, perceptual_hash=None) for number in range(3)])
    assert (across.images, across.look_alikes) == (3, 0)


def test_a_build_of_nothing_has_counts_too() -> None:
    across = seen([])
    assert (across.images, across.look_alikes, across.shared_captions, across.alike_captions) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([of(number, perceptual_hash=of(number % 54).perceptual_hash) for number in range(60)],
         "10.0% of 60 images look like an earlier one"),
        ([of(number, "a person" if number % 4 == 0 else f"thing {number}") for number in range(100)],
         "25.0% of the records have one and the same caption, 'a person'"),
        ([of(number, f"thing {number}", f"thing {number}" if number % 2 else "a dog") for number in range(60)],
         "50.0% of the captions are another region's of the same image too"),
    ],
)  # fmt: skip
def test_what_is_unusual_whatever_other_builds_were_like_is_told(records: list[Record], said: str) -> None:
    assert [text for text in warnings(records) if text.startswith(said)]


def test_of_a_small_build_nothing_is_unusual() -> None:
    assert warnings([of(number, "a cat", "a cat", perceptual_hash=of(1).perceptual_hash) for number in range(20)]) == []


def test_a_varied_build_is_nothing_to_talk_about() -> None:
    assert warnings([of(number, f"a thing {number}", f"another {number}") for number in range(200)]) == []


def test_a_build_of_several_shards_names_its_look_alikes(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.good_rows(5)
    photo = make_scene(generator("sample", 5, 1), 4).image
    place.put("photo.png", encoded(photo, "PNG"))
    place.put("small.jpg", encoded(photo.resize((photo.width // 2, photo.height // 2))))
    images = ["photo.png", "0.jpg", "small.jpg"]
    place.put_rows(*({"image": image, "bbox": [[10, 10, 40, 30]]} for image in images))
    place.build(describe, shard_size=1)
    across = json.loads(place.published("report.json"))["across"]
    assert across["looking_alike"] == [{"image": "small.jpg", "other": "photo.png"}]


@pytest.mark.parametrize("cuts", [[0], [1], [40], [3, 3, 39], [10, 20, 30]], ids=str)
def test_parts_that_are_joined_say_the_same_as_one_that_has_seen_all_records(cuts: list[int]) -> None:
    records = [of(number, "a cat", "a dog" if number % 3 else "The cat.", f"thing {number}") for number in range(38)]
    records += [of(38, perceptual_hash=records[7].perceptual_hash), of(3), of(39, perceptual_hash=None)]
    joined = Across()
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        written = noted(records[start:end]).part().model_dump_json()
        joined.join(PartAcross.model_validate_json(written))
    assert joined.found() == noted(records).found()
    assert joined.found().counts.look_alikes == 1 and joined.found().shared


def test_what_is_noted_of_a_record_is_the_same_in_another_process() -> None:
    told = "from tests.unit.report.test_across import *; print(noted([of(1, 'a cat')]).part().model_dump_json())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", told], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
