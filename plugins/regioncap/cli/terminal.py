"""What is printed: results to stdout, errors to stderr, each line whole however narrow the terminal is."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# What makes terminals do something, or show text in another order, or is no character at all; but for new lines, tabs.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# Colours are there for people only: what goes to a file or another program is plain text.
_results = Console(soft_wrap=True, highlight=False, emoji=False)
_errors = Console(soft_wrap=True, highlight=False, emoji=False, stderr=True)


def shown(text: str) -> str:
    """Text as markup of rich's in which nothing is a command, neither to rich nor to the terminal."""
    return escape(_COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text))


def say(markup: str) -> None:
    """Print a line of the result; what others wrote in it has to be `shown`."""
    _results.print(markup)


@contextmanager
def counting(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show how many of `total` files are done, while a person looks on; what it yields counts one more."""
    with _bar() as bar:
        task = bar.add_task(shown(what), total=total)
        yield lambda: bar.advance(task)


@contextmanager
def following(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show how many are done of how many, as what it yields is told, while a person looks on."""
    with _bar() as bar:
        task = bar.add_task(shown(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=_errors, transient=True, disable=not _errors.is_terminal)


def say_error(error: Exception) -> None:
    """Print what went wrong."""
    _errors.print(f"[red]{shown(str(error))}[/red]")
