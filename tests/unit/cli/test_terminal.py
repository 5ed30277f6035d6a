"""What others wrote, on a terminal."""

from regioncap.cli.terminal import shown

CLEAR_SCREEN = "\x1b[2J\x1b]0;title\x07"


def test_what_others_wrote_commands_neither_the_terminal_nor_its_markup() -> None:
    assert shown(f"[red]{CLEAR_SCREEN}") == r"\[red]\x1b[2J\x1b]0;title\x07"
    assert shown("a\u202eb\x9bc\r") == r"a\u202eb\x9bc\r"
    assert shown("一只猫\tsits\nhere 👩\u200d🔬") == "一只猫\tsits\nhere 👩\u200d🔬"
