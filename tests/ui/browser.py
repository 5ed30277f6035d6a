"""The browser of these tests: the Chromium that the system has, for RegionCap downloads none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright

# What looks for faults that keep people from using a page; `make test-ui` fetches it.
AXE = Path(__file__).parents[2] / ".local" / "axe.min.js"

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It is to talk to nobody; a container has neither a GPU nor the rights for a sandbox of its own.
_FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium() -> str:
    """Where Chromium is. Raises FileNotFoundError with what to install."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise FileNotFoundError("no Chromium found: install one, on Debian or Ubuntu with `apt-get install chromium`")
    return found


@contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """A headless browser with a fresh profile."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=[*_FLAGS], chromium_sandbox=os.geteuid() != 0)
    try:
        yield browser
    finally:
        browser.close()


if __name__ == "__main__":
    try:
        chromium()
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
