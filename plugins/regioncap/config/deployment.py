"""What the deployment decides and a run may not: read from the environment of Airflow's processes.

REGIONCAP_DROPS_URI       default of the param drops_uri (s3://drops)
REGIONCAP_WAREHOUSE_URI   default of the param warehouse_uri (s3://warehouse/region_captions)
REGIONCAP_ALLOWED_ROOTS   comma-separated URIs: drops, warehouse and work area must lie at or below one of them;
                          by default just the two above
REGIONCAP_MODEL_PROFILE   default of the param model_profile; without it, that of the family of REGIONCAP_VLM_MODEL, or
                          generic where its name tells nothing
REGIONCAP_VLM_MODEL       the model that vLLM serves, where the deployment has just one
REGIONCAP_CAPTION_MODE    default of the param caption_mode (joint)
REGIONCAP_PARAMS          defaults of any other params, as a JSON object: what nightly runs go by
REGIONCAP_SCHEDULE        when nightly runs start, as a cron expression in UTC (0 0 * * *); each builds the day before
REGIONCAP_WAIT_HOURS      so long after it was due, a nightly run whose drop is not there fails (12); at most 24: then
                          the next night looks for it
REGIONCAP_CATCH_UP_DAYS   so many days back, drops that came late are looked for every night (7); 0: they are not
REGIONCAP_NOTIFIER        who is told how runs end (nobody), as JSON: `class` is the path of one of Airflow's notifiers,
                          `on` a list of events (failure, overdue), of failure, overdue and success; all else are the
                          notifier's arguments, templates in which `{{ message }}` is what there is to say
REGIONCAP_OVERDUE_HOURS   a nightly run's date that is not published so long after the run was due is overdue (never)

A variable that is set to nothing is one that is not set.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from regioncap.marks.profiles import profile_of

EVENTS = frozenset({"failure", "overdue", "success"})


@dataclass(frozen=True)
class NotifierConfig:
    """Which notifier is called with which arguments, and on which of `EVENTS`."""

    path: str
    arguments: dict[str, Any]
    events: frozenset[str]


@dataclass(frozen=True)
class Deployment:
    """Defaults and limits for every run of this Airflow."""

    drops_uri: str
    warehouse_uri: str
    allowed_roots: tuple[str, ...]
    model_profile: str
    caption_mode: str
    params: dict[str, Any]
    schedule: str
    wait: timedelta
    catch_up_days: int
    notifier: NotifierConfig | None
    overdue: timedelta | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Deployment":
        """Read the variables above. Raises ValueError where one makes no sense."""
        environment = {name: value.strip() for name, value in environment.items() if value.strip()}
        drops_uri = environment.get("REGIONCAP_DROPS_URI", "s3://drops")
        warehouse_uri = environment.get("REGIONCAP_WAREHOUSE_URI", "s3://warehouse/region_captions")
        overdue = _number(environment, "REGIONCAP_OVERDUE_HOURS", 0, most=24 * 7)
        roots = environment.get("REGIONCAP_ALLOWED_ROOTS", f"{drops_uri},{warehouse_uri}")
        return cls(
            drops_uri=drops_uri,
            warehouse_uri=warehouse_uri,
            allowed_roots=tuple(root.strip() for root in roots.split(",") if root.strip()),
            model_profile=environment.get("REGIONCAP_MODEL_PROFILE")
            or profile_of(environment.get("REGIONCAP_VLM_MODEL", "")),
            caption_mode=environment.get("REGIONCAP_CAPTION_MODE", "joint"),
            params=_params(environment.get("REGIONCAP_PARAMS", "").strip() or "{}"),
            schedule=environment.get("REGIONCAP_SCHEDULE", "0 0 * * *"),
            wait=timedelta(hours=_number(environment, "REGIONCAP_WAIT_HOURS", 12, most=24)),
            catch_up_days=int(_number(environment, "REGIONCAP_CATCH_UP_DAYS", 7, most=366)),
            notifier=_notifier(environment.get("REGIONCAP_NOTIFIER", "").strip()),
            overdue=timedelta(hours=overdue) if overdue else None,
        )


def _number(environment: Mapping[str, str], name: str, default: float, *, most: float) -> float:
    """A number from 0 to `most`. Raises ValueError, which says what is wrong."""
    text = environment.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise ValueError(f"{name} is {text!r}: it has to be a number from 0 to {most:g}")
    return value


def _params(text: str) -> dict[str, Any]:
    try:
        params = json.loads(text)
    except ValueError:
        params = None
    if not isinstance(params, dict):
        raise ValueError(f'REGIONCAP_PARAMS is {text!r}: it has to be a JSON object such as {{"shard_size": 256}}')
    return params


def _notifier(text: str) -> NotifierConfig | None:
    if not text:
        return None
    try:
        config = json.loads(text)
        path, events = config.pop("class"), frozenset(config.pop("on", ["failure", "overdue"]))
        if not isinstance(path, str) or not events <= EVENTS:
            raise ValueError(f"`class` has to be a path, and `on` a list of {', '.join(sorted(EVENTS))}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            'REGIONCAP_NOTIFIER has to be JSON such as {"class": '
            '"airflow.providers.smtp.notifications.smtp.SmtpNotifier", "to": "team@example.com", '
            f'"subject": "{{{{ message }}}}"}}: {error!r}'
        ) from None
    return NotifierConfig(path, config, events)
