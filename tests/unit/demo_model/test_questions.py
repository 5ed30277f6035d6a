"""What the demo model is asked in training beside captions, and the marks that only its training has."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageDraw

from demo_model.data import attributes, contours
from demo_model.evaluate import attributes_of
from demo_model.questions import CHOICES, caption_of, changed_caption, fitting, foreign_caption, hint, listen, nearest
from demo_model.world import MAX_REGIONS, SHAPES, generator, make_scene
from regioncap.captions.prompts import NO_REGION
from regioncap.marks.palette import colour_of, contrast
from regioncap.marks.pieces import tags
from regioncap.marks.styles import MarkStyle, draw_marks
from regioncap.regions.names import region_label
from tests.builders import ROOT

TRUTH = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 7, 5]])


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_a_caption_reads_as_captions_of_the_world_do() -> None:
    scene = make_scene(generator("evaluate", 1, 1), 5)
    assert [caption_of(attributes(thing)) for thing in scene.things] == [thing.caption for thing in scene.things]


def test_of_things_that_are_alike_every_number_is_right() -> None:
    draw = rng()
    said: dict[str, set[str]] = {}
    for _ in range(400):
        caption, answer = listen(TRUTH, draw)
        said.setdefault(caption, set()).add(answer)
    assert said[caption_of([0, 0, 0, 0])] == {"1", "3"}
    assert said[caption_of([1, 0, 7, 5])] == {"4"}


def test_a_caption_that_fits_no_region_is_answered_with_none() -> None:
    draw = rng()
    answers: Counter[bool] = Counter()
    for _ in range(1000):
        caption, answer = listen(TRUTH, draw)
        kinds = [words.index(word) for words, word in zip(CHOICES, attributes_of(caption) or (), strict=True)]
        assert (answer == NO_REGION) == (fitting(TRUTH, kinds) == [])
        answers[answer == NO_REGION] += 1
    assert 0.45 < answers[True] / 1000 < 0.55


def test_a_changed_caption_is_one_attribute_away_from_a_region_and_a_foreign_one_is_no_regions() -> None:
    draw = rng()
    for _ in range(200):
        changed, foreign = changed_caption(TRUTH, draw), foreign_caption(TRUTH, draw)
        assert min((np.array(changed) != TRUTH).sum(axis=1)) == 1
        assert fitting(TRUTH, foreign) == []


def test_where_every_change_fits_another_region_the_caption_is_foreign() -> None:
    # Every shape, size and so on of one texture and colour: what is changed in shape or size fits another.
    crowd = np.array([[a, b, c, d] for a in range(2) for b in range(3) for c in range(8) for d in range(6)][:-1])
    assert changed_caption(crowd, rng()) == [1, 2, 7, 5]


def test_labels_name_shapes_and_one_in_five_is_wrong() -> None:
    draw = rng()
    told, wrong = 0, 0
    for _ in range(500):
        regions, sentence = hint(TRUTH, draw)
        labels = re.findall(r"region (\d+) is a (\w+)", sentence)
        assert labels and [int(region) for region, _ in labels] == regions == sorted(set(regions))
        told += len(labels)
        wrong += sum(SHAPES.index(label) != TRUTH[int(region) - 1, 3] for region, label in labels)
    assert 0.17 < wrong / told < 0.23


@pytest.mark.parametrize("index", range(5))
def test_contours_run_around_the_thing_and_leave_it_as_it_is(index: int) -> None:
    scene = make_scene(generator("train", 9, index), 1)
    (x, y, w, h), outline = scene.boxes[0], scene.outlines[0]
    style = MarkStyle(pieces=(contours({1: (outline - (x, y)) / (w, h)}),))
    marked = scene.image.copy()
    draw_marks(marked, {1: (x, y, x + w, y + h)}, style)
    thing = Image.new("1", marked.size)
    ImageDraw.Draw(thing).polygon([tuple(point) for point in outline], fill=1)
    changed = (np.asarray(marked) != np.asarray(scene.image)).any(axis=2)
    inside = np.asarray(thing)
    assert (changed & inside).sum() < 0.1 * inside.sum()
    drawn = {tuple(int(value) for value in pixel) for pixel in np.asarray(marked)[changed]}
    assert drawn == {colour_of(1), contrast(colour_of(1))}
    rows, columns = np.nonzero(changed)
    # Nothing of a frame: at the corners of a shape that leaves them free the picture is as it was.
    assert changed.sum() < 0.75 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert abs(rows.min() - outline[:, 1].min()) < 12 and abs(columns.max() - outline[:, 0].max()) < 12


def test_a_contour_has_the_tag_that_its_box_would_have() -> None:
    image = Image.new("RGB", (200, 200), (127, 127, 127))
    framed, contoured = image.copy(), image.copy()
    box = {1: (60.0, 60.0, 120.0, 120.0)}
    draw_marks(framed, box, MarkStyle())
    draw_marks(contoured, box, MarkStyle(pieces=(contours({1: np.array([(0.5, 0), (1, 1), (0, 1)])}), tags)))
    tag = (60, 38, 76, 58)
    assert framed.crop(tag).tobytes() == contoured.crop(tag).tobytes()


def test_a_listener_looks_at_the_regions_that_a_caption_fits_best() -> None:
    assert nearest(TRUTH, caption_of([0, 0, 0, 0])) == [1, 3]
    assert nearest(TRUTH, caption_of([1, 0, 7, 4])) == [4]
    assert nearest(TRUTH, caption_of([0, 1, 3, 4])) == [1, 2, 3]


def test_each_answer_of_a_listener_is_one_token_of_the_shipped_model() -> None:
    tokenizer = json.loads((ROOT / "include" / "demo_model" / "tokenizer.json").read_text())
    tokens = {*tokenizer["model"]["vocab"], *(token["content"] for token in tokenizer["added_tokens"])}
    assert {NO_REGION, *(region_label(region) for region in range(1, MAX_REGIONS + 1))} <= tokens
