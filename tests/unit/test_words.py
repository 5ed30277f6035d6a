"""One word for a thing: what the glossary gave up is said nowhere that users read."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from regioncap.airflow.provider import get_provider_info
from regioncap.cli.app import app
from regioncap.config.deployment import Deployment
from regioncap.config.settings import BuildSettings
from tests.builders import ROOT

# What is not said any more, as a whole word, and what docs/glossary.md has for it.
RETIRED = {
    r"questions?": "request, for what is sent; prompt, for what is said",
    r"exchanges?": "attempts",
    r"faults?": "row error, or error",
    r"lineage": "row index",
    r"proposers?": "detector",
    r"repl(y|ies)|responses?": "completion, or answer",
    r"cut-?outs?": "crop, or close-up",
}
# Where the word is meant. Names that are published stand in code marks, which are not looked at.
MEANT = (
    # What regions are asked about together is counted as a question.
    "questions are answered", "questions, images and tokens a second",
    "Questions, requests, tokens", "a question for each image",
    "Questions that an earlier try", "Questions that the build published before",
    '"question" if timings.kept', '"questions" }} had an answer before', "a question to the reader",
    "inject faults",
    # What a listener is asked is a question: which region is meant.
    "Among the questions", "Among its questions", "number of questions", "How many questions the listener answered",
    "From how many questions",
)  # fmt: skip


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each page, code and glossary left out: that one says which words there were."""
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        if path.name != "glossary.md":
            text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
            yield path.name, re.sub(r"`[^`]*`", "", text)
    template = (ROOT / "plugins/regioncap/report/templates/report.html").read_text("utf-8")
    yield "report.html", re.sub(r"<[^>]*>", " ", template)


def helps() -> Iterator[tuple[str, str]]:
    """Name and text of each help: of params, variables, the VLM connection, the DAGs and the command line."""
    for settings in (BuildSettings, Deployment):
        for name, field in settings.model_fields.items():
            yield name, f"{field.title}. {field.description}"
    (connection,) = get_provider_info()["connection-types"]
    for name, field in connection["conn-fields"].items():
        yield name, f"{field['label']}. {field['description']}"
    for path in sorted((ROOT / "dags").glob("*.py")):
        texts = [node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)]
        yield path.name, " ".join(text for text in texts if isinstance(text, str))
    yield from commands(typer.main.get_command(app))


def commands(command: Any) -> Iterator[tuple[str, str]]:
    yield str(command.name), " ".join([command.help or "", *(str(vars(param).get("help")) for param in command.params)])
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner)


@pytest.mark.parametrize("where", ["pages", "helps"])
def test_no_retired_word_is_said(where: str) -> None:
    said = []
    for name, text in {"pages": pages, "helps": helps}[where]():
        for phrase in MEANT:
            text = text.replace(phrase, "")
        for word, instead in RETIRED.items():
            said += [f"{name}: {found[0]} ({instead})" for found in re.finditer(rf"\b({word})\b", text, re.IGNORECASE)]
    assert said == []


def test_what_is_meant_is_said_somewhere() -> None:
    texts = " ".join(text for _, text in [*pages(), *helps()])
    assert [phrase for phrase in MEANT if phrase not in texts] == []
