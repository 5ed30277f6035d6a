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
