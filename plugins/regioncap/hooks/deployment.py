"""What the deployment decides and a run may not: read from the environment of Airflow's processes.

REGIONCAP_DROPS_URI       default of the param drops_uri (s3://drops)
REGIONCAP_WAREHOUSE_URI   default of the param warehouse_uri (s3://warehouse/region_captions)
REGIONCAP_ALLOWED_ROOTS   comma-separated URIs: drops, warehouse and work area must lie at or below one of them;
                          by default just the two above
REGIONCAP_MODEL_PROFILE   default of the param model_profile; without it, that of the family of REGIONCAP_VLM_MODEL
REGIONCAP_VLM_MODEL       the model that vLLM serves, where the deployment has just one
REGIONCAP_CAPTION_MODE    default of the param caption_mode (joint)
REGIONCAP_SCHEDULE        when nightly runs start, as a cron expression in UTC (0 0 * * *); each builds the day before
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from regioncap.regions.profiles import profile_of


@dataclass(frozen=True)
class Deployment:
    """Defaults and limits for every run of this Airflow."""

    drops_uri: str
    warehouse_uri: str
    allowed_roots: tuple[str, ...]
    model_profile: str
    caption_mode: str
    schedule: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Deployment":
        """Read the variables above."""
        drops_uri = environment.get("REGIONCAP_DROPS_URI", "s3://drops")
        warehouse_uri = environment.get("REGIONCAP_WAREHOUSE_URI", "s3://warehouse/region_captions")
        roots = environment.get("REGIONCAP_ALLOWED_ROOTS", f"{drops_uri},{warehouse_uri}")
        return cls(
            drops_uri=drops_uri,
            warehouse_uri=warehouse_uri,
            allowed_roots=tuple(root.strip() for root in roots.split(",") if root.strip()),
            model_profile=environment.get("REGIONCAP_MODEL_PROFILE")
            or profile_of(environment.get("REGIONCAP_VLM_MODEL", "")),
            caption_mode=environment.get("REGIONCAP_CAPTION_MODE", "joint"),
            schedule=environment.get("REGIONCAP_SCHEDULE", "0 0 * * *"),
        )
