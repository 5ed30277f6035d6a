"""`wrong_language`: the model's own words, or what is written in the picture."""

import pytest

from regioncap.gates.languages import english
from tests.judging import judge


@pytest.mark.parametrize(
    "caption",
    [
        "A shop called Москва.",
        "A Thai restaurant's sign, ร้านอาหารไทย.",
        "A menu in Japanese: 寿司, 天ぷら, うどん and そば, with prices.",
        "A calligraphy scroll with the characters 天道酬勤.",
        "A Greek letter Ω on a resistor.",
        "A sign in Arabic, مطعم, above the door.",
        "La Liga logo",
        "El Capitan",
        "A bottle of Côtes du Rhône.",
        "Pain au chocolat and café au lait on a tray.",
        "red denim jacket",
        "a large striped magenta diamond",
        "wooden label",
    ],
)
def test_english_with_foreign_names_and_signs_passes(caption: str) -> None:
    assert "wrong_language" not in judge(caption, "en")


@pytest.mark.parametrize(
    "caption",
    ["一家日式拉面店的招牌，写着ラーメン。", "韩国餐厅的招牌，上面写着갈비。", "Logo", "iPhone 15 Pro Max", "LED灯"],
)
def test_chinese_with_foreign_names_and_signs_passes(caption: str) -> None:
    assert "wrong_language" not in judge(caption, "zh")


@pytest.mark.parametrize(
    "caption",
    ["coche rojo", "punainen auto", "mobil merah", "Bir köpek çimlerin üzerinde.", "A dog 在草地上", "犬", "Собака."],
)
def test_other_languages_are_found_without_their_little_words(caption: str) -> None:
    assert "wrong_language" in judge(caption, "en")


@pytest.mark.parametrize("caption", ["red car", "赤い車", "Dog.", "강아지"])
def test_in_a_chinese_run_other_languages_are_found(caption: str) -> None:
    assert "wrong_language" in judge(caption, "zh")


def test_the_identifier_of_languages_needs_no_network_and_knows_english() -> None:
    assert english("a dog is lying on the grass") > 0.9
    assert english("der hund liegt auf dem rasen") < 0.1


@pytest.mark.parametrize(
    "caption",
    [
        "Ein Fahrrad lehnt an einer Mauer.",
        "Der Hund liegt auf dem Sofa.",
    ],
)
def test_german_with_words_that_english_has_too_is_german(caption: str) -> None:
    assert judge(caption).get("wrong_language") == "reject"


@pytest.mark.parametrize(
    "caption",
    [
        "a bowl of 米饭 with 一些青菜 on the side",
        'a plaque that says "est. 1887" 牌匾挂在门的上方，字是金色的',
        "The home team leads 主队领先两分，客队请求暂停。",
    ],
)
def test_chinese_within_english_is_found(caption: str) -> None:
    assert "wrong_language" in judge(caption, "en")


@pytest.mark.parametrize("number", ["d4735e3a265e16ee", "19581e27de7ced00", "e7f6c011776e8db7", "le1a la2 un3 una4"])
def test_serial_numbers_are_of_no_language(number: str) -> None:
    assert "wrong_language" not in judge(f"picture {number}", "en")
