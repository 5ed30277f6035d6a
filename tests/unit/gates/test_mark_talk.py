"""`mark_talk`: the mark, or the thing."""

import pytest

from regioncap.gates import run_gates
from tests.judging import an_answer, judge, judged


@pytest.mark.parametrize(
    "caption",
    [
        "A parking spot numbered 1.",
        "A boy with the number 1 on a red square patch on his sleeve.",
        "A hockey player with the number 1 on the back of her jersey.",
        "An evidence marker with the number 1 next to a shell casing.",
        "A cattle ear tag with the number 1.",
        "Slice 1 of an axial CT scan of the abdomen.",
        "A bottle labelled 1 in a row of test bottles.",
        "Gate 1 of the terminal, with a yellow sign above it.",
        "The tumour region, outlined in blue ink by the pathologist, has irregular margins.",
        "The highlighted section of a printed contract.",
        "A heart outlined in red lipstick on a mirror.",
        "A red circle drawn around the date 1 May in a calendar.",
        "A form field with a red border, marked as required.",
        "A red box of tea on a kitchen counter.",
        "A child inside a red box, peeking out.",
        "A dog in a green frame bed.",
        "A screenshot of an annotation tool with bounding boxes around cars.",
        "一个装在红框里的奖状。",
        "编号为1的灭火器箱。",
        "一名身穿1号球衣的守门员。",
        "病理切片中用蓝线标出的肿瘤。",
        "地面上的黄色方框，里面写着“消防通道”。",
    ],
)
def test_numbers_and_frames_of_things_reject_nothing(caption: str) -> None:
    assert judge(caption).get("mark_talk") != "reject"


@pytest.mark.parametrize(
    ("caption", "region"),
    [
        ("There is a green line around the car.", 1),
        ("A purple line surrounds the dog.", 1),
        ("A dog with a blue frame around it.", 2),
        ("A vehicle with an identification box drawn over it.", 1),
        ("The number 1 label is placed over a window.", 1),
        ("A boy holding a kite, with the number 3 above his head.", 3),
        ('A woman, labelled "1".', 1),
        ('A wall; the label "1" covers part of it.', 1),
        ("Within box number one there is a laptop.", 1),
        ("The subject of the first box is a cyclist.", 1),
        ("Object 1 is a chair.", 1),
        ("The item inside of the green markings is a backpack.", 3),
        ("Region 1 shows a parked bicycle.", 1),
        ("The red-framed area contains a bicycle.", 1),
        ("区域1显示的是一辆停着的自行车。", 1),
        ("一个穿西装的男人，周围有红色的框。", 1),
        ("左上角标着1的一扇窗户。", 1),
        ("第一个框中的人在跑步。", 1),
        ("一个人，头上有数字1。", 1),
    ],
)
def test_talk_about_the_mark_is_found(caption: str, region: int) -> None:
    assert "mark_talk" in judge(caption, region=region)


@pytest.mark.parametrize("caption", ["a dog in the bounding box", "the object labelled 1", "编号为1的物体是一把椅子。"])
def test_what_nothing_else_is_called_rejects(caption: str) -> None:
    assert judge(caption)["mark_talk"] == "reject"


def test_what_may_be_a_thing_only_warns() -> None:
    assert judge("A woman, labelled 1.") == {"mark_talk": "warn"}


def test_two_regions_named_by_their_own_numbers_are_named_by_their_marks() -> None:
    answer = an_answer({1: "The window labelled 1.", 2: "A cat.", 3: "A woman, labelled 3."})
    (finding,) = run_gates(answer)
    assert finding.sure
    assert finding.failure.regions == (1, 3)
    gate = {1: "Gate 1 of a terminal.", 2: "A woman, labelled 2."}
    (finding,) = run_gates(an_answer(gate))
    assert finding.failure.regions == (2,), "the gate may have that number"
    in_a_row = {1: "A vase, labelled 1.", 2: "A vase, labelled 2."}
    assert judged(an_answer(in_a_row)).get("mark_talk") == "warn"
    team = {1: "Number 1 of the white team is heading the ball.", 2: "Number 2 of the white team watches."}
    assert judged(an_answer(team)) == {}


def test_where_another_region_has_another_number_numbers_are_of_things() -> None:
    assert judged(an_answer({1: "A woman, numbered 17.", 2: "A woman, numbered 2."})) == {}


def test_a_frame_of_a_colour_that_no_mark_has_is_a_thing() -> None:
    captions = {1: "A dog with a green line around it.", 2: "A cat."}
    assert judged(an_answer(captions)) == {"mark_talk": "warn"}
    assert judged(an_answer(captions, colours=True)) == {"mark_talk": "warn"}, "of another region's mark"
    captions = {1: "A dog with a brown line around it.", 2: "A cat."}
    assert judged(an_answer(captions, colours=True)) == {}


def test_a_caption_of_nothing_but_its_own_mark_rejects_where_the_colour_is_known() -> None:
    assert judged(an_answer({1: "A cat", 2: "A blue box with the number 2"}))["mark_talk"] == "warn"
    assert judged(an_answer({1: "A cat", 2: "A blue box with the number 2"}, colours=True))["mark_talk"] == "reject"


@pytest.mark.parametrize(
    "caption",
    [
        "The blue border cuts off her feet.",
        "A drummer; the orange frame only shows his arms.",
        "The tag with the number 1 covers the cat's tail.",
        "The number one floats above the dog's head.",
        "A cat, partly hidden by the tag with its number.",
        "Region 2 shows a lamp.",
        "the highlighted area shows some tiles",
        "a number tag (3) on a mop",
        "标签挡住了,只看到半张脸",
        "红色框只框到车头",
        "2号框:一只猫",
        "编号为2的区域是一棵树。",
        "图上标2的是司机",
        "第二个区域展示了一张桌子。",
    ],
)
def test_what_a_mark_does_to_things_is_found(caption: str) -> None:
    assert "mark_talk" in judge(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "A white plate with a blue border around it.",
        "The label covers half of the jar.",
        "The highlighted area of the map shows the flood zone.",
        "boxes that are numbered 2, 3 and 4",
        "一个红框的眼镜遮住了她的脸。",
        "衣服的标签挡住了洗标。",
        "公告栏里红框围起来的通知。",
        "饼图中的蓝色部分，占42.3%，标注为餐饮。",
        "编号为1的货架，摆满了饮料。",
    ],
)
def test_borders_labels_and_numbers_of_things_pass(caption: str) -> None:
    assert "mark_talk" not in judge(caption)


def test_what_is_beside_a_thing_bears_no_number_of_it() -> None:
    assert judge("A nurse, marked with the number 1, carrying a tray.").get("mark_talk") == "warn"
    assert judge("上面有个数字1的标签,下面是桌子").get("mark_talk") == "warn"
    assert "mark_talk" not in judge("A locker marked with the number 1, beside a bench.")


@pytest.mark.parametrize(
    "caption",
    [
        "the corner marks around a brown dog", "a dog between the corner markers", "a dog inside the four red corners",
        "a cat; the rest of the image is darkened", "a man while everything else is dimmed",
        "the undarkened area has a bus", "a bright lamp in an otherwise darkened picture",
        "四角的标记之间有一只狗", "四角之间是一辆红色的汽车", "其余部分变暗，中间有一只猫", "变暗的区域旁边有一个男人",
    ],
)  # fmt: skip
def test_the_marks_of_every_style_are_known_by_their_words(caption: str) -> None:
    assert judge(caption).get("mark_talk") == "warn"


@pytest.mark.parametrize(
    "caption",
    [
        "a dog in the corner of a darkened room", "a street corner at dusk", "a darkened street with a shaded bench",
        "a lamp in the corner", "a table with rounded corners", "a man under a spotlight on a dark stage",
        "a shaded terrace between the corners of the house", "metal corner brackets on a shelf's side",
        "墙角的一只猫", "天色变暗的街道", "灯光昏暗的房间里的一张桌子",
    ],
)  # fmt: skip
def test_corners_and_dark_places_are_things_too(caption: str) -> None:
    assert "mark_talk" not in judge(caption)
