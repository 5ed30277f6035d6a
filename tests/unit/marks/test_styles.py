"""Marks: labels that can be read, and drawing that is the same each time."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from regioncap.drop.detectors import contours
from regioncap.drop.images import open_image
from regioncap.errors import ExtensionError
from regioncap.marks.labels import Rect, gap, place_tags
from regioncap.marks.palette import BLACK, PALETTE, WHITE, colour_of, contrast
from regioncap.marks.pieces import tag_places
from regioncap.marks.profiles import PROFILES, ModelProfile, profile_of
from regioncap.marks.styles import STYLES, MarkStyle, draw_marks, hidden_by_tags, layout
from regioncap.marks.view import encode, mark
from regioncap.regions.boxes import Box
from regioncap.regions.names import region_name
from tests.builders import picture

DATA = Path(__file__).parent / "data" / "contours"


def overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[int, int], list[Rect]]:
    width, height = draw(st.integers(100, 800)), draw(st.integers(100, 800))
    rects = []
    for _ in range(draw(st.integers(1, 50))):
        x0, y0 = draw(st.integers(0, width - 4)), draw(st.integers(0, height - 4))
        rects.append((x0, y0, draw(st.integers(x0 + 4, width)), draw(st.integers(y0 + 4, height))))
    return (width, height), rects


# Where the only places that are free are far away, and most others are hidden just a little.
CROWDED = [
    *[(0, 0, 4, 61), *[(0, 0, 4, 4)] * 3, (0, 0, 4, 27), (0, 0, 4, 4), (0, 0, 144, 132), (0, 0, 4, 4)],
    *[(0, 0, 161, 38), (0, 0, 4, 4), (0, 0, 179, 71), *[(0, 0, 4, 4)] * 7, (0, 84, 127, 129)],
    *[(0, 0, 4, 4), (0, 0, 4, 4), (126, 61, 163, 83)],
]


@settings(max_examples=30)
@given(layouts())
@example(((198, 135), CROWDED))
def test_labels_lie_inside_the_frame_and_off_each_other(case: tuple[tuple[int, int], list[Rect]]) -> None:
    frame, rects = case
    size = (18, 12)
    labels = place_tags(rects, [[size]] * len(rects), frame)
    assert labels == place_tags(rects, [[size]] * len(rects), frame)
    for number, label in enumerate(labels):
        assert label[0] >= 0 and label[1] >= 0 and label[2] <= frame[0] and label[3] <= frame[1]
        assert (label[2] - label[0], label[3] - label[1]) == size
        if any(overlap(label, other) for other in labels[:number]):
            # Only where no place at all is free, looked at pixel by pixel.
            assert not _has_free_place(size, frame, labels[:number])


def _has_free_place(size: tuple[int, int], frame: tuple[int, int], labels: list[Rect]) -> bool:
    for y in range(frame[1] - size[1] + 1):
        x = 0
        while x <= frame[0] - size[0]:
            place = (x, y, x + size[0], y + size[1])
            blocking = [label[2] for label in labels if overlap(place, label)]
            if not blocking:
                return True
            x = max(blocking)
    return False


@settings(max_examples=30)
@given(layouts(), st.sampled_from(sorted(PROFILES)), st.sampled_from(sorted(STYLES)))
def test_every_label_is_in_the_frame_is_high_enough_and_says_what_the_prompt_says(
    case: tuple[tuple[int, int], list[Rect]], profile: str, style: str
) -> None:
    displayed, rects = case
    frame = PROFILES[profile].size(*displayed)
    scale_x, scale_y = frame[0] / displayed[0], frame[1] / displayed[1]
    boxes = {
        region: (x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y)
        for region, (x0, y0, x1, y1) in enumerate(rects, start=1)
    }
    marks, scale = layout(frame, boxes, STYLES[style])
    for mark_, place in zip(marks, tag_places(marks, scale, frame), strict=True):
        assert region_name(mark_.region) == f"<region{mark_.label}>"
        assert 0 <= place[0] < place[2] <= frame[0] and 0 <= place[1] < place[3] <= frame[1]
        assert place[3] - place[1] >= min(12, frame[1])


def test_a_label_covers_no_other_region_where_it_need_not() -> None:
    # Room on the left of the first box only.
    rects = [(100, 100, 160, 160), (160, 60, 260, 200), (60, 160, 160, 260), (80, 40, 160, 100)]
    (label, *_) = place_tags(rects, [[(18, 12)]] * 4, (300, 300))
    assert not any(overlap(label, rect) for rect in rects)


def test_labels_of_boxes_that_share_a_corner_do_not_overprint() -> None:
    boxes = dict.fromkeys(range(1, 7), (50.0, 50.0, 120.0, 120.0))
    image = Image.new("RGB", (256, 256))
    marks, scale = layout(image.size, boxes, STYLES["box"])
    places = tag_places(marks, scale, image.size)
    assert not any(overlap(a, b) for number, a in enumerate(places) for b in places[:number])


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_tag_is_high_enough_to_read_at_the_size_the_model_sees(profile: ModelProfile) -> None:
    _, scale = layout(profile.size(4000, 3000), {1: (0, 0, 50, 50)}, STYLES["box"])
    assert scale.tags[0] >= 22


def test_region_k_has_colour_k_and_its_label_says_k() -> None:
    image = Image.new("RGB", (400, 400), (127, 127, 127))
    boxes = {k: (120.0 * k - 80, 100.0, 120.0 * k - 10, 200.0) for k in (1, 2, 3)}
    marks, _ = layout(image.size, boxes, STYLES["box"])
    assert [(mark.label, mark.colour) for mark in marks] == [("1", PALETTE[0]), ("2", PALETTE[1]), ("3", PALETTE[2])]
    draw_marks(image, boxes, STYLES["box"])
    seen = {colour for _, colour in image.getcolors(10_000) or []}
    assert {colour_of(1), colour_of(2), colour_of(3)} <= seen


def test_the_inside_of_a_region_is_left_as_it_is() -> None:
    image = picture(300, 300)
    before = image.crop((100, 100, 200, 200)).tobytes()
    draw_marks(image, {1: (100, 100, 200, 200)}, STYLES["box"])
    assert image.crop((100, 100, 200, 200)).tobytes() == before


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
@pytest.mark.parametrize(
    "boxes",
    [
        [(0, 0, 256, 256)],
        [(0, 0, 4, 4), (252, 252, 256, 256), (0, 252, 4, 256), (252, 0, 256, 4)],
        [(10.5, 10.5, 14.6, 250.2)],
        [(20, 20, 200, 200), (40, 40, 160, 160), (60, 60, 120, 120)],
        [(k, k, k + 30, k + 30) for k in range(50)],
    ],
)
def test_every_style_draws_hard_layouts_the_same_each_time(style: MarkStyle, boxes: list[Box]) -> None:
    def jpeg() -> bytes:
        numbered = dict(enumerate(boxes, start=1))
        return encode(mark(picture(256, 256), (256, 256), numbered, PROFILES["demo"], style))

    assert jpeg() == jpeg()


def test_ink_stands_out_against_every_colour() -> None:
    assert contrast(WHITE) == BLACK and contrast(BLACK) == WHITE
    assert {contrast(colour) for colour in PALETTE} == {BLACK, WHITE}


def test_the_demo_profile_pads_to_a_square() -> None:
    image = mark(picture(512, 256), (512, 256), {1: (20, 20, 200, 200)}, PROFILES["demo"], STYLES["box"])
    assert image.size == (256, 256)
    assert image.getpixel((128, 250)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("name", "size", "seen"),
    [
        # By hand from Qwen's rule: round to the patch, then scale into the limits.
        ("qwen2.5-vl", (500, 500), (504, 504)),
        ("qwen2.5-vl", (10, 10), (56, 56)),
        ("qwen2.5-vl", (4000, 3000), (1148, 840)),
        ("qwen2.5-vl", (20_000, 100), (11_200, 56)),
        ("qwen3-vl", (200, 200), (256, 256)),
        ("qwen3-vl", (200, 150), (320, 224)),
        ("qwen3-vl", (4000, 3000), (1152, 864)),
        ("generic", (4000, 3000), (1148, 840)),
        # Whole tiles: of 512, 384 and 364 pixels, the longer side four of them.
        ("smolvlm", (1000, 500), (2048, 1024)),
        ("smolvlm", (2048, 1364), (2048, 1536)),
        ("smolvlm-2.2b", (2048, 1364), (1536, 1152)),
        ("idefics3", (300, 1000), (728, 1456)),
        # The grid of tiles of 448 whose shape is nearest.
        ("internvl", (4032, 3024), (1792, 1344)),
        ("internvl", (300, 310), (448, 448)),
        ("gemma-3", (1920, 1080), (896, 896)),
        ("gemma-3n", (1920, 1080), (768, 768)),
        # 280 patches of 48 are 645,120 pixels.
        ("gemma-4", (1000, 1000), (768, 768)),
        ("pixtral", (500, 300), (512, 304)),
        ("pixtral", (4000, 3000), (1024, 768)),
        ("mistral-small", (500, 300), (504, 308)),
        ("mistral-small", (4000, 3000), (1148, 840)),
        # The best grid of tiles of 384 is 1152 x 768: it is filled as far as the shape lets it.
        ("llava-onevision", (1000, 700), (1098, 768)),
        ("glm-4v", (4000, 3000), (1148, 840)),
        ("llama-4", (1000, 700), (1000, 700)),
        ("llama-4", (100, 50), (336, 168)),
        ("llama-4", (4000, 3000), (1344, 1008)),
        # 4,096 patches of 14 are 802,816 pixels.
        ("kimi-vl", (4000, 3000), (1008, 756)),
        ("demo", (300, 600), (128, 256)),
    ],
)
def test_an_image_gets_the_size_its_model_will_see(name: str, size: tuple[int, int], seen: tuple[int, int]) -> None:
    assert PROFILES[name].size(*size) == seen


@pytest.mark.parametrize(
    "model, profile",
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2.5-vl"),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct-FP8", "qwen3-vl"),
        ("Qwen/Qwen3.5-9B", "qwen3-vl"),
        ("Qwen/Qwen3.5-397B-A17B-FP8", "qwen3-vl"),
        ("qwen3.5-vl", "qwen3-vl"),
        ("qwen3-5-vl", "qwen3-vl"),
        ("Qwen/Qwen3.6-35B-A3B", "qwen3-vl"),
        ("Qwen/Qwen3-Omni-30B-A3B-Instruct", "qwen3-vl"),
        ("Qwen/Qwen2-VL-7B-Instruct", "qwen2-vl"),
        ("Qwen/Qwen2.5-Omni-7B", "qwen2.5-omni"),
        ("HuggingFaceTB/SmolVLM-Instruct", "smolvlm-2.2b"),
        ("HuggingFaceTB/SmolVLM-256M-Instruct", "smolvlm"),
        ("HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "smolvlm"),
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "smolvlm-2.2b"),
        ("HuggingFaceM4/Idefics3-8B-Llama3", "idefics3"),
        ("OpenGVLab/InternVL3-8B-hf", "internvl"),
        ("OpenGVLab/InternVL3_5-8B", "internvl"),
        ("OpenGVLab/InternVL2_5-4B-MPO", "internvl"),
        ("google/gemma-3-27b-it", "gemma-3"),
        ("google/gemma-3n-E4B-it", "gemma-3n"),
        ("google/gemma-4-E4B-it", "gemma-4"),
        ("google/medgemma-4b-it", "gemma-3"),
        ("mistralai/Pixtral-12B-2409", "pixtral"),
        ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", "mistral-small"),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "mistral-small"),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava-onevision"),
        ("zai-org/GLM-4.1V-9B-Thinking", "glm-4v"),
        ("zai-org/GLM-4.5V-FP8", "glm-4v"),
        ("zai-org/GLM-4.6V-Flash", "glm-4v"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama-4"),
        ("meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "llama-4"),
        ("moonshotai/Kimi-VL-A3B-Thinking-2506", "kimi-vl"),
        ("moonshotai/Kimi-K2.5", "kimi-vl"),
        ("regioncap-demo", "demo"),
        # However it is written, and wherever it lies.
        ("qwen3_vl_8b", "qwen3-vl"),
        ("Qwen3VL-8B", "qwen3-vl"),
        ("qwen3-vl:8b-instruct", "qwen3-vl"),
        ("qwen2.5vl:7b", "qwen2.5-vl"),
        ("Qwen2_5-VL", "qwen2.5-vl"),
        ("Qwen/Qwen3-VL-4B-Instruct@main", "qwen3-vl"),
        ("/models/Qwen2.5-VL-7B-Instruct/", "qwen2.5-vl"),
        ("/models/demos/Qwen3-VL-8B-Instruct", "qwen3-vl"),
        ("/models/demo/Qwen3-VL-8B", "qwen3-vl"),
        ("/models/regioncap-demo/Qwen3-VL-8B-Q4_K_M.gguf", "qwen3-vl"),
        ("/root/.cache/huggingface/hub/models--Qwen--Qwen3-VL-8B-Instruct/snapshots/0c351dd01ed87e9c", "qwen3-vl"),
        ("C:\\models\\Qwen3-VL-8B", "qwen3-vl"),
        # What tells nothing of a family known here, though it may look like it.
        ("", "generic"),
        ("/", "generic"),
        ("someone/a-finetune", "generic"),
        ("acme/democracy-vl-7b", "generic"),
        ("acme/demo-vl-7b", "generic"),
        ("/models/qwen3-vl/llava-7b", "generic"),
        ("acme/llava@qwen3-vl", "generic"),
        ("/hub/models--acme--llava/snapshots/qwen3-vl", "generic"),
        ("Qwen/Qwen4-VL-8B", "generic"),
        ("Qwen/Qwen3-8B", "generic"),
        ("Qwen/Qwen2-Audio-7B-Instruct", "generic"),
        ("google/paligemma-3b-mix-448", "generic"),
        ("lmms-lab/LLaVA-OneVision-1.5-8B-Instruct", "generic"),
        ("llava-hf/llava-1.5-7b-hf", "generic"),
        ("mistralai/Mistral-Small-24B-Instruct-2501", "generic"),
        ("OpenGVLab/InternVL-Chat-V1-2", "generic"),
        ("acme/TinyLlama-4B-Scout", "generic"),
        ("THUDM/glm-4v-9b", "generic"),
        ("Qwen/Qwen12.5-VL", "generic"),
        ("acme/myqwen3-vl", "generic"),
        ("acme/Qwen3-VLM", "generic"),
    ],
)
def test_the_profile_follows_from_the_models_name(model: str, profile: str) -> None:
    assert profile_of(model) == profile


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("qwen2.5-vl", (2296, 1708)),
        ("qwen3-vl", (2304, 1728)),
        ("generic", (2296, 1708)),
        ("glm-4v", (2296, 1708)),
        # No more than its own most: a side of 1,540 pixels, 4,096 patches of 14.
        ("mistral-small", (1540, 1176)),
        ("kimi-vl", (1008, 756)),
        # No budget at all.
        ("smolvlm", (2048, 1536)),
        ("gemma-3", (896, 896)),
        ("demo", (256, 192)),
    ],
)
def test_a_run_may_give_a_model_another_budget_of_pixels(name: str, seen: tuple[int, int]) -> None:
    assert PROFILES[name].within(4_000_000).size(4000, 3000) == seen


@settings(max_examples=500)
@example(1, 2, 131_072)
@example(4095, 65, 131_072)
@given(st.integers(1, 30_000), st.integers(1, 30_000), st.integers(2 * 256 * 256, 3584 * 3584))
def test_no_image_is_over_its_budget_of_pixels_nor_seen_otherwise(width: int, height: int, most: int) -> None:
    assume(max(width, height) <= 200 * min(width, height))
    for name in ("generic", "qwen2.5-vl", "qwen3-vl", "glm-4v", "pixtral", "mistral-small", "kimi-vl"):
        profile = PROFILES[name].within(most)
        seen = profile.size(width, height)
        assert seen[0] * seen[1] <= most and profile.size(*seen) == seen, name


def test_of_a_model_that_nobody_knows_it_is_not_said_how_it_counts() -> None:
    assert PROFILES[profile_of("someone/a-finetune")].coordinates is None


@given(st.integers(1, 1_000_000), st.integers(1, 1_000_000))
def test_qwen_sizes_are_whole_patches_within_the_limits_of_its_processor(width: int, height: int) -> None:
    for name, patch in (("generic", 28), ("qwen2.5-vl", 28), ("qwen3-vl", 32)):
        seen = PROFILES[name].size(width, height)
        assert seen[0] % patch == 0 and seen[1] % patch == 0
        assert seen[0] * seen[1] <= 1280 * 28 * 28 and max(seen) <= 200 * min(seen)


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.png")))
def test_contour_proposals_are_the_originals(name: str) -> None:
    expected = json.loads((DATA / "boxes.json").read_text())[name]
    pixels = open_image((DATA / name).read_bytes()).decode(colour_managed=False)
    assert [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in contours(pixels)] == expected


@pytest.mark.parametrize(
    ("group", "code", "message"),
    [
        ("regioncap.styles", "it = 'mine'", "is no MarkStyle"),
        ("regioncap.styles", "it = S()", "has the name 'box' and the entry point 'mine'"),
        ("regioncap.styles", "it = S('mine', words={'en': 'Each region is circled.'})", "has no words in zh"),
        ("regioncap.profiles", "it = 'mine'", "is no ModelProfile"),
        ("regioncap.profiles", "it = P('mine', None, max, coordinates='inches')", "one of pixels, thousandths"),
        ("regioncap.profiles", "it = P('mine', None, max, grounding='Where?')", "a grounding that is no Grounding"),
        ("regioncap.profiles", "it = P('mine', None, max, grounding=G('{m}', 'box'))", "other fields than {n} and"),
        ("regioncap.profiles", "it = P('mine', 'mine', max, others='x')", "others that are no tuple"),
        ("regioncap.profiles", "it = P('other', None, max)", "has the name 'other' and the entry point 'mine'"),
    ],
)
def test_a_style_or_profile_that_cannot_be_used_is_named(
    extend: Callable[..., None], group: str, code: str, message: str
) -> None:
    imports = (
        "from regioncap.marks.styles import MarkStyle as S\n"
        "from regioncap.marks.profiles import Grounding as G, ModelProfile as P\n"
    )
    extend(group, "mine", imports + code)
    with pytest.raises(ExtensionError, match=message):
        {"regioncap.styles": STYLES, "regioncap.profiles": PROFILES}[group]["mine"]


def test_a_model_of_an_installed_profiles_family_is_told_by_its_name(extend: Callable[..., None]) -> None:
    code = "from regioncap.marks.profiles import ModelProfile\nit = ModelProfile('{}', '{}', max)"
    extend("regioncap.profiles", "llava", code.format("llava", "llava")[:-1] + ", others=('bakllava',))")
    assert profile_of("acme/LLaVA-7b") == profile_of("acme/BakLLaVA-1") == "llava"
    assert profile_of("acme/Qwen3-VL-8B") == "qwen3-vl"


def test_of_boxes_that_are_the_same_both_frames_show() -> None:
    image = Image.new("RGB", (300, 300), (127, 127, 127))
    draw_marks(
        image, {1: (0, 0, 300, 300), 2: (0, 0, 300, 300), 3: (60, 60, 200, 200), 4: (60, 60, 200, 200)}, STYLES["box"]
    )
    middle = [image.getpixel((x, 150)) for x in range(300)]
    assert {colour_of(region) for region in (1, 2, 3, 4)} <= set(middle)


def test_a_tag_that_cannot_touch_its_region_has_a_line_to_it() -> None:
    # So many tags that most are away from the region.
    boxes = dict.fromkeys(range(1, 30), (140.0, 140.0, 150.0, 150.0))
    image = Image.new("RGB", (300, 300), (127, 127, 127))
    marks, scale = layout(image.size, boxes, STYLES["box"])
    places = tag_places(marks, scale, image.size)
    far = max(zip(places, marks, strict=True), key=lambda pair: gap(pair[0], pair[1].rect))
    draw_marks(image, boxes, STYLES["box"])
    # All the way from the tag to the nearest place of the region.
    x, y = (far[0][0] + far[0][2]) / 2, (far[0][1] + far[0][3]) / 2
    across, down = min(max(x, 140), 149) - x, min(max(y, 140), 149) - y
    way = [image.getpixel((round(x + step / 100 * across), round(y + step / 100 * down))) for step in range(100)]
    assert gap(far[0], far[1].rect) > 20
    assert (127, 127, 127) not in way


def test_regions_under_tags_are_named() -> None:
    tiny = {
        1: (0.0, 0.0, 300.0, 300.0),
        2: (0.0, 0.0, 300.0, 10.0),
        3: (0.0, 0.0, 10.0, 300.0),
        4: (2.0, 2.0, 7.0, 7.0),
    }
    assert hidden_by_tags((300, 300), tiny, STYLES["box"]) == []
    crowd = {region: (5.0 * region, 0.0, 5.0 * region + 4, 4.0) for region in range(1, 51)}
    assert hidden_by_tags((256, 30), crowd, STYLES["box"]) != []


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("times", [2, 3])
def test_of_regions_that_are_the_same_each_shows_its_mark(name: str, times: int) -> None:
    image = Image.new("RGB", (400, 300), (127, 127, 127))
    boxes: dict[int, Box] = dict.fromkeys(range(1, times + 1), (120.0, 80.0, 260.0, 200.0))
    draw_marks(image, boxes, STYLES[name])
    marks, scale = layout(image.size, boxes, STYLES[name])
    # Their tags show their colours anyway.
    for x0, y0, x1, y1 in tag_places(marks, scale, image.size):
        image.paste((127, 127, 127), (x0 - 1, y0 - 1, x1 + 1, y1 + 1))
    seen = {colour for _, colour in image.getcolors(1 << 16)}
    assert {colour_of(region) for region in boxes} <= seen
