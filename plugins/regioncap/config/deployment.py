"""What the deployment decides and a run may not: the `REGIONCAP_*` variables of Airflow's processes.

`Deployment` declares each: its name (the field's, with `REGIONCAP_` before it), default, bounds and meaning. A variable
that is set to nothing is one that is not set.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from regioncap.captions.prompts import CaptionMode
from regioncap.config.locks import is_fixed
from regioncap.config.prices import Prices
from regioncap.marks.profiles import GENERIC, PROFILES, profile_of

Event = Literal["failure", "overdue", "success"]


class NotifierConfig(BaseModel):
    """Which notifier is called with which arguments (all that is not named here), and on which events."""

    model_config = ConfigDict(extra="allow", frozen=True)

    path: str = Field(alias="class")
    events: frozenset[Event] = Field(frozenset({"failure", "overdue"}), alias="on")

    @property
    def arguments(self) -> dict[str, Any]:
        """The notifier's own, by name."""
        return self.model_extra or {}


class Deployment(BaseSettings):
    """Defaults and limits for every run of this Airflow."""

    model_config = SettingsConfigDict(
        env_prefix="REGIONCAP_", enable_decoding=False, frozen=True, validate_default=False
    )

    drops_uri: str = Field("s3://drops", description="Default of the param drops_uri.")
    warehouse_uri: str = Field("s3://warehouse/region_captions", description="Default of the param warehouse_uri.")
    allowed_roots: tuple[str, ...] = Field(
        default_factory=lambda given: (given["drops_uri"], given["warehouse_uri"]),
        description="URIs with commas between them: drops, warehouse and work area must lie at or below one of them. "
        "By default just the two above.",
    )
    image_roots: tuple[str, ...] = Field(
        (),
        description="URIs with commas between them: rows of a drop may name images at or below these by whole URIs. "
        "By default none: whoever may write a drop does not get to read all that RegionCap can.",
    )
    vlm_model: str = Field("", description="The model that vLLM serves, where the deployment has just one.")
    model_profile: str = Field(
        default_factory=lambda given: profile_of(given["vlm_model"]),
        description="Default of the param model_profile. Without it, that of the family of the model above, or generic "
        "where its name tells nothing.",
        json_schema_extra={"enum": [*sorted(PROFILES)]},
    )
    caption_mode: CaptionMode = Field("joint", description="Default of the param caption_mode.")
    params: Json[dict[str, Any]] = Field(
        {}, description="Defaults of any other params: what nightly runs go by.", examples=['{"shard_size": 256}']
    )
    locked_params: Json[dict[str, Any]] = Field(
        {},
        description="Params that no run may change: a value is then the only one, and an object with `minimum`, "
        "`maximum` or `enum` bounds it.",
        examples=['{"approval": "always", "max_rejected_ratio": {"maximum": 0.1}}'],
    )
    approval_by_another: bool = Field(
        False, description="Whether a build may not be approved by whoever has started its run."
    )
    prices: Json[Prices] | None = Field(
        None,
        description="What asking costs, to be told for each build: of a million tokens that are read "
        "(`prompt_million`) and written (`completion_million`), of an hour of a server (`server_hour`), in `currency`. "
        "What is left out costs nothing.",
        examples=['{"currency": "USD", "server_hour": 2.5}'],
    )
    schedule: str = Field(
        "0 0 * * *",
        description="When nightly runs start, as a cron expression in UTC; each builds the day before.",
    )
    wait_hours: float = Field(
        12,
        ge=0,
        le=24,  # then the next night looks for it
        description="So long after it was due, a nightly run whose drop is not there fails.",
    )
    catch_up_days: int = Field(
        7, ge=0, le=366, description="So many days back, drops that came late are looked for every night. 0: never."
    )
    keep_work_days: int = Field(
        30,
        ge=1,
        le=3660,
        description="So many days, what no build needs any more stays in the work area (`regioncap upkeep`, and the "
        "DAG `region_captions_upkeep`).",
    )
    storage_patience_seconds: float = Field(
        300,
        ge=0,
        le=7200,  # which is how long a task may take
        description="So long a file is tried for while its bucket is away, throttles, or fails. Then the task fails, "
        "and is tried again, three times.",
    )
    notifier: Json[NotifierConfig] | None = Field(
        None,
        description="Who is told how runs end: `class` is the path of one of Airflow's notifiers, `on` a list of "
        "events; all else are the notifier's arguments, templates in which `{{ message }}` is what there is to say.",
        examples=[
            '{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "to": "team@example.com", '
            '"subject": "{{ message }}"}'
        ],
    )
    overdue_hours: float = Field(
        0,
        ge=0,
        le=24 * 7,
        description="A nightly run's date that is not published so long after the run was due is overdue. 0: never.",
    )

    @property
    def default_params(self) -> dict[str, Any]:
        """The params of a run that the deployment decides where nobody sets them."""
        return {
            "drops_uri": self.drops_uri,
            "warehouse_uri": self.warehouse_uri,
            "model_profile": self.model_profile,
            "caption_mode": self.caption_mode,
            **self.params,
            **{name: lock for name, lock in self.locked_params.items() if is_fixed(lock)},
        }

    @property
    def about_model(self) -> str:
        """Of which family the deployment's model is; nothing where it has not just one."""
        if not self.vlm_model:
            return ""
        named = profile_of(self.vlm_model)
        family = "of no family that is known here" if named == GENERIC else f"by its name of `{named}`"
        return f"This deployment's model, {self.vlm_model}, is {family}."

    @property
    def wait(self) -> timedelta:
        """How long a nightly run waits for its drop."""
        return timedelta(hours=self.wait_hours)

    @property
    def overdue(self) -> timedelta | None:
        """How long after it was due a nightly run's date is overdue; None: never."""
        return timedelta(hours=self.overdue_hours) if self.overdue_hours else None

    @field_validator("allowed_roots", "image_roots", mode="before")
    @classmethod
    def _split(cls, text: str) -> list[str]:
        return [root.strip() for root in text.split(",") if root.strip()]

    @field_validator("model_profile")
    @classmethod
    def _known_profile(cls, name: str) -> str:
        if name not in PROFILES:
            raise ValueError("no such profile")
        return name

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read but what `from_environment` reads: no file, and no secrets' folder."""
        return (init_settings,)

    @property
    def trusted_places(self) -> tuple[str, ...]:
        """The places that may lead through symbolic links; what lies below them, where others can write, may not."""
        return (*self.allowed_roots, *self.image_roots, self.drops_uri, self.warehouse_uri)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Deployment":
        """Read the variables. Raises ValueError, which names every one that makes no sense, and says what would do."""
        variables = EnvSettingsSource(cls)
        given = {name.lower(): value.strip() for name, value in environment.items() if value.strip()}
        variables.env_vars = given
        try:
            return cls(**variables())
        except ValidationError as error:
            faults = [(fault["loc"], fault["msg"]) for fault in error.errors()]
        raise ValueError("; ".join(_fault(given, *map(str, loc), message=message) for loc, message in faults))


def variable(field: str) -> str:
    """The name of the variable that a field of `Deployment` is read from."""
    return f"REGIONCAP_{field.upper()}"


def _fault(given: Mapping[str, str], field: str, *inside: str, message: str) -> str:
    """What is wrong with a variable, and what would do. What is JSON is not repeated: it may be long, or hold a key."""
    schema = Deployment.model_json_schema()["properties"][field]
    if "examples" in schema:
        return f"{variable(field)} has to be JSON such as {schema['examples'][0]}: {': '.join((*inside, message))}"
    if "enum" in schema:
        wanted = f"one of {', '.join(schema['enum'])}"
    elif schema["type"] == "boolean":
        wanted = "true or false"
    else:
        number = "a whole number" if schema["type"] == "integer" else "a number"
        wanted = f"{number} from {schema['minimum']:g} to {schema['maximum']:g}"
    return f"{variable(field)} is {given[variable(field).lower()]!r}: it has to be {wanted}"
