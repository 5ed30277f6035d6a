"""Whether a person is asked before a build is published, and what they are shown."""

from collections.abc import Sequence

from regioncap.config.settings import Approval
from regioncap.report.card import code_span
from regioncap.report.judged import share_told
from regioncap.report.shown import markdown
from regioncap.work.staged import Staged

APPROVE = "Approve"
REJECT = "Reject"


def may_ask(approval: Approval, unchanged: bool) -> bool:
    """Whether it is open, before the build is there, that a person is asked about it."""
    return approval != "never" and not unchanged


def asks_for_approval(approval: Approval, warnings: Sequence[str]) -> bool:
    """Whether a build with these warnings waits for a person."""
    return approval == "always" or (approval == "on_warning" and bool(warnings))


def approval_request(staged: Staged, partition_uri: str, page: str | None) -> tuple[str, str]:
    """What is asked, and what there is to know for the answer, as Markdown; `page` is where to see the build."""
    manifest, counts = staged.manifest, staged.manifest.counts
    warnings = [f"- {markdown(warning)}" for warning in staged.warnings] or ["- nothing unusual"]
    body = [
        "| rows | captioned | rejected | regions |",
        "| --- | --- | --- | --- |",
        f"| {counts.rows:,} | {counts.captioned:,} | {counts.rejected:,} | {counts.regions:,} |",
        "",
        *([f"Wrong captions, by estimate: {share_told(manifest.judged)}", ""] if manifest.judged else []),
        *warnings,
        "",
        *([f"[Look at this build]({page})", ""] if page else []),
        f"Report: {code_span(f'{partition_uri}/{manifest.build}/report.html')}",
        "",
        f"*{APPROVE}* makes it the current build; *{REJECT}* leaves what is published as it is.",
    ]
    return f"Publish {manifest.partition}, build {manifest.build_id}?", "\n".join(body)
