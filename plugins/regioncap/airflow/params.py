"""The run form: Airflow params made from `BuildSettings`, and back."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context, Param
from airflow.sdk.exceptions import ParamValidationError

from regioncap.config.deployment import Deployment, variable
from regioncap.config.locks import locked, told
from regioncap.config.settings import BuildSettings, settings_of
from regioncap.drop.dates import resolve_drop_date
from regioncap.errors import ParamsError

# JSON schema keywords that Airflow's form understands as they are.
_KEYWORDS = (
    "type", "enum", "items", "examples", "pattern", "format",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
)  # fmt: skip


def form(deployment: Deployment) -> dict[str, Param]:
    """One param per setting, in the order and with the groups of `BuildSettings`, and the drop date in front.

    Raises ValueError where the deployment has a default or a lock for something that is no setting, and ParamsError
    where a lock does not allow the default.
    """
    params = {
        "drop_date": Param(
            None,
            type=["string", "null"],
            format="date",
            title="Drop date",
            description_md="Which drop to build. Empty: the run's partition key, else its logical date. Leave it empty "
            "in a backfill, which takes its dates from the range, and the other params only where *Override parameters "
            "on existing runs* is ticked.",
            # In no group of ours: Airflow opens the group of its own by itself, and most runs need nothing else.
        )
    }
    defaults = deployment.default_params
    locks = deployment.locked_params
    for field, named in (("params", deployment.params), ("locked_params", locks)):
        if unknown := named.keys() - BuildSettings.model_fields:
            raise ValueError(f"{variable(field)} has names that are no params: {', '.join(sorted(unknown))}")
    roots = deployment.allowed_roots
    notes = {"model_profile": deployment.about_model}
    for name, schema in BuildSettings.model_json_schema()["properties"].items():
        keywords = {key: schema[key] for key in _KEYWORDS if key in schema}
        if "anyOf" in schema:
            keywords["type"] = [option["type"] for option in schema["anyOf"]]
        elif schema.get("may_be_empty"):
            # What is emptied in the form is sent as null.
            keywords["type"] = [schema["type"], "null"]
        if schema["section"] == "Places" or name == "drops_uri":
            keywords |= {"pattern": _below(roots), "examples": list(roots)}
        if name in locks:
            keywords = locked(keywords, locks[name])
        told_of = (schema["description"], notes.get(name, ""), f"**{told(locks[name])}**" if name in locks else "")
        params[name] = Param(
            defaults.get(name, schema.get("default", [] if schema.get("type") == "array" else None)),
            title=schema["title"],
            description_md=" ".join(filter(None, (*map(_help, told_of), _bounds(keywords)))),
            section=schema["section"],
            **keywords,
        )
    for name in locks:
        _check_lock(name, params[name], params[name].value, "default")
    return params


def run_settings(context: Context) -> BuildSettings:
    """The run's settings. Raises ParamsError, also where the deployment has locked a param since the run was started.

    Airflow checks what the form sends against the form; what a run was given before, by a copy of the DAG, or by a
    backfill, it does not.
    """
    settings, deployment = settings_of(context["params"]), Deployment.from_environment()
    if deployment.locked_params:
        values, fields = settings.model_dump(mode="json"), form(deployment)
        for name in deployment.locked_params:
            _check_lock(name, fields[name], values[name], "run's value")
    return settings


def _check_lock(name: str, param: Param, value: Any, whose: str) -> None:
    try:
        param.resolve(value)
    except ParamValidationError as error:
        raise ParamsError(
            f"{variable('locked_params')} does not allow the {whose} of {name}, {value!r}: "
            f"{str(error).splitlines()[0]}; start another run, or change the variable"
        ) from None


def _help(description: str) -> str:
    """The description with its code in bold: Airflow's form puts code on a ground that hides the line above."""
    return re.sub("`([^`]+)`", lambda code: "**" + re.sub(r"[_*]", r"\\\g<0>", code[1]) + "**", description)


def _bounds(schema: Mapping[str, Any]) -> str:
    """A number's bounds in words: Airflow's form enforces them, but does not show them."""
    least = f"At least {schema['minimum']:,}" if "minimum" in schema else ""
    above = f"Above {schema['exclusiveMinimum']:,}" if "exclusiveMinimum" in schema else ""
    most = f"at most {schema['maximum']:,}" if "maximum" in schema else ""
    words = ", ".join(filter(None, (least or above, most)))
    return f"{words}." if words else ""


def _below(roots: Sequence[str]) -> str:
    """A pattern for places at or below one of `roots`; the run checks it once more, and more strictly."""
    plain = "|".join(re.escape(root.removeprefix("file://").rstrip("/")) for root in roots)
    return f"^(file://)?({plain})(/|$)"


def nightly_settings() -> BuildSettings:
    """The settings of a run that nobody gave any: a nightly one."""
    return settings_of({name: param.value for name, param in form(Deployment.from_environment()).items()})


def drop_date_of(context: Context) -> str:
    """The run's drop date. Raises DropDateError."""
    run = context["dag_run"]
    return resolve_drop_date(context["params"].get("drop_date"), run.partition_key, run.logical_date)
