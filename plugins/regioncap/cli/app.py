"""All commands: each is a file of this room, and a line here."""

import typer

from regioncap.cli import builds, check, compare, corrections, forget, review, trial, upkeep, verify

# Markdown, so that it is as wide as the terminal.
_HELP = """What RegionCap published, and drops before it does, on the command line.

A place is a local folder or `s3://bucket/prefix`. A bucket is reached as Airflow reaches it, with its connections,
where a variable is set whose name begins with `AIRFLOW_`: `AIRFLOW_HOME`, or `AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`, or
`AIRFLOW_CONN_REGIONCAP_WAREHOUSE`. Else boto3's own settings say how: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_ENDPOINT_URL`, `AWS_PROFILE` and the like, `~/.aws`, or the machine's role.

Ends with 0 where all was done, 1 where something was not, 2 where the command makes no sense.
"""

app = typer.Typer(
    help=_HELP,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks are Python's own: those of rich take lines apart that people search for.
    pretty_exceptions_enable=False,
)


@app.callback()
def _regioncap() -> None:
    """Makes each command one of several, also while there is just one."""


app.add_typer(builds.app, name="builds")
app.command("check")(check.check)
app.command("compare")(compare.compare)
app.add_typer(corrections.app, name="corrections")
app.command("forget")(forget.forget_images)
app.command("review")(review.review)
app.command("try")(trial.try_)
app.command("upkeep")(upkeep.upkeep)
app.command("verify")(verify.verify)
