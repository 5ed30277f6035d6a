"""What others wrote, on a terminal."""

import pytest

from regioncap.cli.terminal import following, shown

CLEAR_SCREEN = "\x1b[2J\x1b]0;title\x07"


def test_what_others_wrote_commands_neither_the_terminal_nor_its_markup() -> None:
    assert shown(f"[red]{CLEAR_SCREEN}") == r"\[red]\x1b[2J\x1b]0;title\x07"
    assert shown("a\u202eb\x9bc\r") == r"a\u202eb\x9bc\r"
    assert shown("一只猫\tsits\nhere 👩\u200d🔬") == "一只猫\tsits\nhere 👩\u200d🔬"


def test_how_far_it_has_come_is_shown_to_people_only(capsys: pytest.CaptureFixture[str]) -> None:
    with following("rows") as progress:
        progress(1, None)
        progress(2, 3)
    assert capsys.readouterr() == ("", "")
