"""Airflow's pages as RegionCap's user walks through them, for the tests and for the pictures of the docs."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect

from deploy.local import airflow
from deploy.local.drops import upload_drop
from deploy.local.stack import DAG, Stack, run_stack

# The group in which Airflow's form puts a param that names none.
FIRST_GROUP = "Run Parameters"
# Who may look at everything, and change nothing.
VIEWER = "viewer"
# The api-server shares two cores with vLLM, and with whatever else the machine has to do.
_PAGE_SECONDS, _BUILD_SECONDS = 120, 600


@contextmanager
def stack_with(drops: Mapping[str, Path], state: Path) -> Iterator[Stack]:
    """The stack of `make serve` over the folder `state`, with these drops (by date) in its bucket."""
    users = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{airflow.USER}:admin,{VIEWER}:viewer"}
    with run_stack(print, state, settings=users) as stack:
        for date, folder in drops.items():
            upload_drop(folder, stack.s3, "drops", date)
        stack.api.unpause(DAG)
        yield stack


@contextmanager
def logged_in(browser: Browser, stack: Stack, user: str = airflow.USER, **view: Any) -> Iterator["AirflowPages"]:
    """Airflow of the stack of `make serve`; `view` is what Playwright calls a context's options."""
    password = json.loads(stack.password_file.read_text())[user]
    with signed_in(browser, stack.api.url, user, password, **view) as pages:
        yield pages


@contextmanager
def signed_in(browser: Browser, url: str, user: str, password: str, **view: Any) -> Iterator["AirflowPages"]:
    """Airflow in a window of its own, after the form of whichever login it has."""
    context = browser.new_context(locale="en-US", timezone_id="UTC", **{"color_scheme": "light", **view})
    page = context.new_page()
    page.set_default_timeout(_PAGE_SECONDS * 1000)
    expect.set_options(timeout=_PAGE_SECONDS * 1000)
    pages = AirflowPages(page, url)
    page.on("request", lambda request: pages.asked.append(request.url))
    page.goto(url)
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    # A page that is opened before would give way to the home page.
    expect(page.get_by_role("link", name="Dags", exact=True)).to_be_visible()
    yield pages
    context.close()


class AirflowPages:
    """What a user does with the DAG."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        # The address of everything that the browser has asked for, the login included.
        self.asked: list[str] = []

    def open_dag(self) -> None:
        """From the list of DAGs to the DAG's own page."""
        self.page.goto(f"{self.url}/dags")
        self.page.get_by_role("link", name=DAG, exact=True).click()
        expect(self.page.get_by_role("heading", name=DAG, exact=True)).to_be_visible()

    def docs(self, button: str = "Dag Docs") -> Locator:
        """The dialog with the documentation of the DAG or task that is open."""
        self.page.get_by_role("button", name=button).click()
        return self.page.get_by_role("dialog")

    def open_form(self) -> "TriggerForm":
        """The form behind *Trigger*."""
        self.open_dag()
        self.page.get_by_role("button", name="Trigger Dag").click()
        return TriggerForm(self.page)

    def add_connection(self) -> "ConnectionForm":
        """The form behind *Admin*, *Connections*, *Add Connection*."""
        self.page.goto(f"{self.url}/connections")
        self.page.get_by_role("button", name="Add Connection").click()
        return ConnectionForm(self.page)

    def edit_connection(self, conn_id: str) -> "ConnectionForm":
        """The form of a connection that there is."""
        self.page.goto(f"{self.url}/connections")
        row = self.page.get_by_role("row", name=re.compile(f"^{re.escape(conn_id)} "))
        row.get_by_role("button", name="Edit Connection").click()
        return ConnectionForm(self.page)

    def open_captions(self, date: str) -> FrameLocator:
        """From the navigation to the page of a date's current build."""
        self.page.get_by_role("link", name="Captions", exact=True).click()
        pages = self.page.frame_locator("iframe")
        pages.get_by_role("link", name=date, exact=True).click()
        expect(pages.get_by_role("heading", name=f"Region captions, {date}")).to_be_visible()
        return pages

    def open_captions_of_run(self) -> FrameLocator:
        """From the page of a run to that of the build that it has published."""
        self.page.get_by_role("link", name="Dataset", exact=True).click()
        return self.page.frame_locator("iframe")

    def run(self, name: str) -> Locator:
        """The row in the list of runs of the run whose id has `name` in it: a date for a backfill's, *manual*."""
        return self.page.get_by_role("row").filter(has_text=f"{name}__")

    def open_runs(self) -> None:
        """The list of the DAG's runs."""
        self.page.goto(f"{self.url}/dags/{DAG}/runs")

    def open_run(self, name: str) -> None:
        """From the list of runs to the page of one."""
        self.open_runs()
        self.run(name).get_by_role("link").first.click()
        self.shows("Run Type")

    def shows(self, heading: str) -> None:
        """Wait until the page has this heading."""
        expect(self.page.get_by_role("heading", name=heading, exact=True)).to_be_visible()

    def task(self, task_id: str) -> Locator:
        """A task's row on the page of a run."""
        link = self.page.get_by_role("link", name=task_id, exact=True)
        return self.page.get_by_role("table").get_by_role("row").filter(has=link)

    def open_task(self, task_id: str) -> None:
        """From the page of a run to a task's page, where its log is."""
        self.task(task_id).get_by_role("link", name=task_id, exact=True).click()

    def open_details(self) -> None:
        """From the log of a task to its details, where the buttons of its operator are."""
        self.page.get_by_role("link", name="Details", exact=True).click()


def becomes_green(shown: Locator) -> None:
    """Wait until this says *Success*; raises AssertionError where it does not in some minutes."""
    expect(shown.get_by_text("Success", exact=True).first).to_be_visible(timeout=_BUILD_SECONDS * 1000)


class TriggerForm:
    """The dialog behind *Trigger*: a single run, or a backfill."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialog = page.get_by_role("dialog").filter(has=page.get_by_role("radio", name="Backfill"))
        self.open_group(FIRST_GROUP)

    def open_group(self, name: str) -> None:
        """Open a group of params, if it is not; the others close."""
        button = self.dialog.get_by_role("button", name=name, exact=True)
        expect(button).to_be_visible()
        if button.get_attribute("aria-expanded") == "false":
            button.click()
        expect(button).to_have_attribute("aria-expanded", "true")
        # The one before is still closing.
        expect(self.dialog.get_by_role("region")).to_have_count(1)

    def field(self, title: str) -> Locator:
        """A param with its title, input and help, in the group that is open."""
        titled = re.compile(rf"^\s*{re.escape(title)}")
        return self.dialog.get_by_role("region").get_by_role("group").filter(has_text=titled)

    def fill(self, title: str, value: str) -> Locator:
        """Fill in a field and leave it; returns its input."""
        field = self.field(title)
        box = field.get_by_role("textbox").or_(field.get_by_role("spinbutton")).or_(field.get_by_role("combobox"))
        box.fill(value)
        box.blur()
        return box

    def write_json(self, params: Mapping[str, object]) -> None:
        """Write the run's params as JSON, in the last group."""
        self.open_group("Advanced Options")
        _write_json(self.page, self.dialog.get_by_role("code"), params)
        # Read when the editor is left.
        self.dialog.get_by_label("Run ID").click()

    @property
    def trigger(self) -> Locator:
        """The button that starts the run."""
        return self.dialog.get_by_role("contentinfo").get_by_role("button", name="Trigger")

    def choose_backfill(self, first: str, last: str) -> None:
        """Turn the form into one for a backfill, over the dates `first` to `last`, both included."""
        self.dialog.get_by_role("radio", name="Backfill").check(force=True)
        self._choose("From", first, "00:00")
        self._choose("To", last, "23:59")

    def _choose(self, side: str, date: str, time: str) -> None:
        self.dialog.get_by_role("group").filter(has_text=re.compile(f"^{side}")).get_by_text("Select date").click()
        day = self.page.get_by_role("textbox", name=side, exact=True)
        day.fill(date.replace("-", "/"))
        self.page.get_by_role("textbox", name="HH:mm").fill(time)
        self.page.keyboard.press("Escape")
        expect(day).to_be_hidden()

    @property
    def run_backfill(self) -> Locator:
        """The button that starts the backfill."""
        return self.dialog.get_by_role("button", name="Run Backfill")


class ConnectionForm:
    """The dialog of a connection: its type, then the fields of that type in groups."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialog = page.get_by_role("dialog")
        expect(self.dialog.get_by_role("combobox", name="Connection Type")).to_be_visible()

    def choose_type(self, name: str) -> None:
        """Look a type of connections up by its name, and choose it."""
        types = self.dialog.get_by_role("combobox", name="Connection Type")
        types.click()
        types.fill(name)
        self.page.get_by_role("option", name=name, exact=True).click()

    def open_group(self, name: str) -> None:
        """Open *Standard Fields* or *Extra Fields*, if it is not; the other closes."""
        button = self.dialog.get_by_role("button", name=name, exact=True)
        expect(button).to_be_visible()
        if button.get_attribute("aria-expanded") != "true":
            button.click()
        expect(button).to_have_attribute("aria-expanded", "true")
        expect(self.dialog.get_by_role("region")).to_have_count(1)

    def field(self, title: str) -> Locator:
        """A field with its title, input and help, in the group that is open."""
        return self.dialog.get_by_role("region").get_by_role("group").filter(has_text=re.compile(rf"^\s*{title}"))

    def input(self, title: str) -> Locator:
        """What a field is typed into."""
        field = self.field(title)
        return field.get_by_role("textbox").or_(field.get_by_role("spinbutton"))

    def fill(self, **fields: str) -> None:
        """Fill in fields of the group that is open, by their titles with `_` for blanks."""
        for name, value in fields.items():
            box = self.input(name.replace("_", " "))
            box.fill(value)
            box.blur()

    def write_json(self, title: str, value: Mapping[str, object]) -> None:
        """Fill in a field that takes JSON."""
        _write_json(self.page, self.field(title).get_by_role("code"), value)

    def save(self) -> None:
        """Save, and wait until the form is gone."""
        self.dialog.get_by_role("button", name="Save").click()
        expect(self.dialog).to_be_hidden()


def _write_json(page: Page, editor: Locator, value: Mapping[str, object]) -> None:
    editor.click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.press("Delete")
    # The editor closes what is opened.
    page.keyboard.insert_text(json.dumps(value).removesuffix("}"))
