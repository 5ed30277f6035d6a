"""What a task that asks the VLM tells while it does: a line for its log, and metrics."""

from airflow.sdk.observability.stats import Stats

from regioncap.ask.asking import AskProgress


def told(at: AskProgress) -> str:
    """How far it is, as a line for the log."""
    share = f"{at.done:,} of {at.questions:,} questions answered"
    if not at.rate:
        return f"{share}, {at.in_flight} under way"
    left = f", {at.seconds_left:,.0f} s left" if at.seconds_left else ""
    return (
        f"{share}, {at.in_flight} under way; {at.rate:.1f} questions, {at.image_rate:.1f} images and "
        f"{at.token_rate:,.0f} tokens a second{left}"
    )


def report_progress(at: AskProgress, *, task_id: str, map_index: int | None) -> None:
    """The same as gauges of Airflow's metrics (StatsD or OpenTelemetry, where the deployment has them on)."""
    tags = {"task_id": task_id, "map_index": map_index}
    for name, value in (
        ("questions_per_second", at.rate),
        ("images_per_second", at.image_rate),
        ("tokens_per_second", at.token_rate),
        ("in_flight", at.in_flight),
        ("questions_left", at.questions - at.done),
    ):
        Stats.gauge(f"regioncap.{name}", value, tags=tags)
