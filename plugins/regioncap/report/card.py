"""The dataset card: a build's `README.md`, Markdown with the metadata block that dataset hubs read.

Names, paths and prompts in it may come from anybody. Whatever text the template prints stands in a code span or a code
block that it cannot end, so it makes no headings, links, HTML or metadata, wherever the card is shown.
"""

import json
import re
from typing import Any

import jinja2
from markupsafe import Markup

from regioncap.regions.records import Record
from regioncap.report import judged
from regioncap.report.features import features
from regioncap.report.figures import Report
from regioncap.report.licences import licence_of
from regioncap.report.shown import legible

# How many records a hub calls how.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_BACKTICKS = re.compile("`+")


def code_span(text: str) -> str:
    """Text as a code span of one line, in a fence that is longer than any run of backticks in it."""
    line = " ".join(legible(text).split()) or " "
    fence = _fence(line, 1)
    # Beside a backtick of the text the fence would not be one; elsewhere no blank is needed.
    blank = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{blank}{line}{blank}{fence}"


def code_block(text: str) -> Markup:
    """Text as a code block, in a fence that is longer than any run of backticks in it."""
    fence = _fence(text, 3)
    return Markup(f"{fence}text\n{legible(text)}\n{fence}")


def _fence(text: str, least: int) -> str:
    return "`" * max(least, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))


def _quoted(value: Any) -> Any:
    """What the template prints: numbers, and Markdown of our own, as they are; all other text as a code span."""
    return code_span(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("regioncap.report", "templates"),
    finalize=_quoted,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render_card(report: Report) -> str:
    """The whole card."""
    return _TEMPLATES.get_template("card.md").render(
        report=report,
        metadata=Markup(_metadata(report)),
        prefix=Markup(report.settings["file_name_prefix"]),
        fields={name: Markup(field.description) for name, field in Record.model_fields.items()},
        licence_name=Markup(licence_of(report.model).name),
        licence_note=Markup(licence_of(report.model).note),
        extras=json.dumps(extras) if (extras := report.settings.get("request_extras")) else "",
        code_block=code_block,
        words=judged,
        Markup=Markup,
    )


def _metadata(report: Report) -> str:
    """The lines of the metadata block: each value is JSON, and so YAML. None of it is text from a drop or a model."""
    records = report.counts.captioned
    metadata = {
        "pretty_name": f"Region captions, {report.partition}",
        "language": [report.settings["prompt_language"]],
        "license": "other",
        "license_name": "that-of-the-images-and-of-the-model",
        "task_categories": ["image-to-text"],
        "annotations_creators": ["machine-generated"],
        "size_categories": [next((name for below, name in _SIZES if records < below), "n>1M")],
        "tags": ["region-captions", "dense-captioning", "synthetic-captions", "regioncap"],
        # Without this a hub takes every file of the folder for data.
        "configs": [{"config_name": "default", "data_files": f"{report.settings['file_name_prefix']}-*.jsonl"}],
        "dataset_info": {"config_name": "default", "features": features()},
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in metadata.items())
