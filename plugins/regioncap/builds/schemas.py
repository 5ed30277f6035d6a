"""The JSON schemas of what a build publishes, made from the models that write it.

python -m regioncap.builds.schemas include/schemas
"""

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from regioncap.builds.manifest import Manifest
from regioncap.builds.report import Report
from regioncap.regions.records import Record, Rejected

SCHEMAS: dict[str, type[BaseModel]] = {
    "record": Record,
    "rejected": Rejected,
    "manifest": Manifest,
    "report": Report,
}


def schema_text(name: str) -> str:
    """The schema of a published thing, as the file `<name>.schema.json` holds it."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | SCHEMAS[name].model_json_schema(mode="serialization"), indent=2) + "\n"


def main() -> None:
    """Write all schemas into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (folder / f"{name}.schema.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
