"""`whole_image`: the image, or a picture in it."""

import pytest

from tests.judging import judge


@pytest.mark.parametrize(
    "caption",
    [
        "A wide view of the valley behind the hikers.",
        "A photo of a beach on a postcard rack.",
        "The photo she is holding shows two children.",
        "The picture that the boy is drawing shows a house.",
        "An aerial view of a roundabout with a fountain in the middle.",
        "A view of the whole street through the window.",
        "A picture of a cat on a mug.",
        "画面感很强的壁画。",
        "照片墙上的合影。",
    ],
)
def test_pictures_in_the_picture_pass(caption: str) -> None:
    assert "whole_image" not in judge(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "There are 3 regions in the image.",
        "It is a street view with many cars.",
        "A screenshot of a website with several images.",
        "We see a living room with several people.",
        "The scene is set in a modern office.",
        "A black and white photograph of a street.",
        "图中共有两个区域。",
        "照片拍摄于夜晚。",
        "我们可以看到一条街道。",
        "图片的左边是一棵树。",
    ],
)
def test_what_is_said_of_the_image_is_warned_of(caption: str) -> None:
    assert judge(caption)["whole_image"] == "warn"


@pytest.mark.parametrize(
    "caption",
    [
        "overall it's a tidy workshop",
        "Overall, a lively street market.",
        "its a pic of a train station w/ people waiting",
        "pic taken from a roof, you see the whole town",
        "A screenshot of an app, with tabs on top and a list in the middle",
        "We are looking at a street with shops.",
        "In the foreground a fountain, in the middle of the square a band, and in the background a church.",
        "A photo of a living room with a sofa and a TV.",
        "整个图就是一张课程表",
        "这图是网页截屏",
        "总的来说这是一个车站的场景",
        "图上一共有三张小图",
        "这幅画描绘了一座村庄",
    ],
)
def test_views_of_everything_in_other_words_are_warned_of(caption: str) -> None:
    assert judge(caption).get("whole_image") == "warn"


@pytest.mark.parametrize(
    "caption",
    [
        "A phone in a hand; the picture shows a sunrise.",
        "A postcard on a rack. The picture is of Rome.",
        "A man in the foreground with a beard, in front of a blurred background.",
        "The whole pizza, with olives and ham.",
        "一张照片贴在冰箱上。",
        "一幅相片夹在绳子上，相片里是一家人。",
        "这幅画的画框是金色的。",
        "图书馆的书架。",
    ],
)
def test_the_picture_on_a_thing_passes(caption: str) -> None:
    assert "whole_image" not in judge(caption)
