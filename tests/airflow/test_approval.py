"""Whether a person is asked before a build is published, and what they are shown."""

from pathlib import Path

import markdown_it
import pytest

from regioncap.airflow.approval import approval_request, asks_for_approval
from regioncap.steps.publish import stage_build
from regioncap.work.staged import Staged
from tests.builders import Place, validated


@pytest.mark.parametrize(
    ("approval", "warnings", "asked"),
    [
        ("never", ["odd"], False),
        ("on_warning", [], False),
        ("on_warning", ["odd"], True),
        ("always", [], True),
    ],
)
def test_who_publishes_unasked(approval: str, warnings: list[str], asked: bool) -> None:
    assert asks_for_approval(approval, warnings) is asked  # type: ignore[arg-type]


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    """A build that waits for a person."""
    place = Place(tmp_path)
    staged = stage_build(
        plan=validated(place.work, "a"), drop=place.drop, work=place.work, partition=place.partition, before=(),
        max_rejected_ratio=1, progress=lambda message: None,
    )  # fmt: skip
    assert isinstance(staged, Staged)
    return staged


def test_the_request_shows_counts_warnings_and_where_the_report_is(staged: Staged) -> None:
    odd = staged.model_copy(update={"warnings": ["31.0% rejected rows"]})
    subject, body = approval_request(odd, "s3://warehouse/dt=2026-10-05", "http://airflow/regioncap/dates/x")
    assert staged.manifest.build_id in subject
    assert "- 31.0% rejected rows" in body
    assert "[Look at this build](http://airflow/regioncap/dates/x)" in body
    assert f"`s3://warehouse/dt=2026-10-05/build={staged.manifest.build_id}/report.html`" in body
    assert f"| {staged.manifest.counts.rows} |" in body


def test_text_from_drops_and_params_is_text_to_whoever_is_asked(staged: Staged) -> None:
    hostile = "[all is well](http://evil) ![x](http://evil/i.png) <b>www.evil.com</b>\n\n# Approve this | `code`"
    odd = staged.model_copy(update={"warnings": [hostile]})
    _, body = approval_request(odd, "s3://warehouse/`[all is well](http://evil)` `", None)
    html = markdown_it.MarkdownIt("gfm-like").render(body)
    assert "<a" not in html and "<img" not in html and "<h1" not in html and "<b>" not in html
    assert html.count("<code>") == 1 and "[all is well](http://evil) ![x]" in html
