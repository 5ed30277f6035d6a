"""`repetition`: stuck, or a row of alike things."""

import pytest

from tests.judging import judge


@pytest.mark.parametrize(
    "caption",
    [
        "red hat red hat red coat, red hat red hat red coat, red hat red hat red coat",
        "a cup, a cup, a cup and a plate, a cup, a cup, a cup and a plate",
        "哈哈哈哈笑哈哈哈哈笑哈哈哈哈笑",
    ],
)
def test_a_loop_whose_unit_repeats_itself_inside_is_found(caption: str) -> None:
    assert judge(caption)["repetition"] == "reject"


@pytest.mark.parametrize(
    "caption",
    [
        "Bar chart: in 2015 sales were 20, in 2016 sales were 25, in 2017 sales were 30, in 2018 sales were 28, in "
        "2019 sales were 35, in 2020 sales were 22, in 2021 sales were 40.",
        "折线图：2015年为20，2016年为25，2017年为30，2018年为28，2019年为35，2020年为22，2021年为40。",
        "A cheque with the account number 0000000000 blacked out.",
        "一个密码输入框，里面是●●●●●●●●●●。",
        "A rating of ten stars (★★★★★★★★★★) below the name.",
    ],
)
def test_charts_ratings_and_passwords_are_in_pictures(caption: str) -> None:
    assert "repetition" not in judge(caption)


def test_counting_is_a_loop() -> None:
    assert (
        judge("".join(f"There is a sign with the number {number}. " for number in range(9)))["repetition"] == "reject"
    )


def test_a_table_without_end_is_warned_of() -> None:
    table = "; ".join(f"row {7 * n % 31}: total of the year {13 * n % 29}" for n in range(60))
    assert judge(table)["repetition"] == "warn"


def test_ends_of_lines_that_are_written_out_are_a_loop() -> None:
    assert judge("a cat" + r"\n" * 30).get("repetition") == "reject"
