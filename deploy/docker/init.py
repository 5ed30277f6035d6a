"""The init job of docker-compose.yaml: database, the user `admin`, pools, connections, buckets.

python init.py POOLS_JSON

Everything here may run again and again: what is there is brought up to date, and no data is touched. Connections and
pools are made to be what the environment says; the admin's password stays what it was made with.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PROBE = "_regioncap_probe"


def connections(env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What the DAG and the logs ask for by name."""
    place = {"region_name": env["REGIONCAP_S3_REGION"]}
    if env["REGIONCAP_S3_ENDPOINT"]:
        place["endpoint_url"] = env["REGIONCAP_S3_ENDPOINT"]
    bucket = {
        "conn_type": "aws",
        "login": env["REGIONCAP_S3_ACCESS_KEY"],
        "password": env["REGIONCAP_S3_SECRET_KEY"],
        "extra": json.dumps(place),
    }
    vlm = {
        "conn_type": "regioncap_vlm",
        "host": env["REGIONCAP_VLM_URL"],
        "password": env["REGIONCAP_VLM_API_KEY"],
        "extra": json.dumps({"model": env["REGIONCAP_VLM_MODEL"]}),
    }
    return {"regioncap_drops": bucket, "regioncap_warehouse": bucket, "regioncap_vlm": vlm}


def pools(env: Mapping[str, str], declared: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The declared pools with as many slots as workers have places; so no task waits in a queue of Celery's.

    Airflow's own `default_pool` holds the tasks that need no GPU.
    """
    cpu = int(env["REGIONCAP_CPU_WORKERS"]) * int(env["REGIONCAP_CPU_TASKS"])
    gpu = int(env["REGIONCAP_GPU_WORKERS"]) * int(env["REGIONCAP_GPU_TASKS"])
    default = {"description": "Tasks at once on the CPU workers", "include_deferred": False, "slots": cpu}
    asking = {name: {**declared[name], "slots": gpu} for name in ("regioncap_gpu", "regioncap_judge")}
    return {**declared, "default_pool": default, **asking}


def buckets(env: Mapping[str, str], *places: str) -> list[str]:
    """The buckets that the deployment's places lie in: of drops, warehouse and logs, unless `places` names others."""
    uris = {
        "DROPS": env["REGIONCAP_DROPS_URI"],
        "WAREHOUSE": env["REGIONCAP_WAREHOUSE_URI"],
        "LOGS": env["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"],
    }
    return sorted({urlsplit(uris[place]).netloc for place in places or uris if uris[place].startswith("s3://")})


def make_buckets(s3: "S3Client", names: list[str], *, warehouse: list[str] | None = None) -> None:
    """Create the buckets that are not there, and see that the server keeps conditional writes. Exits if it does not.

    Only those of `warehouse` are written to, by default all: drops may be there to be read only.
    """
    for name in names:
        try:
            s3.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                sys.exit(f"the bucket {name} cannot be used: {error}")
            _create(s3, name)
    for name in names if warehouse is None else warehouse:
        s3.put_object(Bucket=name, Key=_PROBE, Body=b"")
        try:
            s3.put_object(Bucket=name, Key=_PROBE, Body=b"", IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                raise
        else:
            sys.exit(f"the server of the bucket {name} ignores If-None-Match: two runs could publish over each other")
        finally:
            s3.delete_object(Bucket=name, Key=_PROBE)


def _create(s3: "S3Client", name: str) -> None:
    region = s3.meta.region_name
    # AWS's oldest region is the one that may not be named.
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **where)  # type: ignore[arg-type]


def main(pools_file: Path, env: Mapping[str, str] = os.environ) -> None:
    """Set everything up."""
    s3 = boto3.client(
        "s3",
        endpoint_url=env["REGIONCAP_S3_ENDPOINT"] or None,
        region_name=env["REGIONCAP_S3_REGION"],
        aws_access_key_id=env["REGIONCAP_S3_ACCESS_KEY"],
        aws_secret_access_key=env["REGIONCAP_S3_SECRET_KEY"],
    )
    make_buckets(s3, buckets(env), warehouse=buckets(env, "WAREHOUSE"))
    _airflow("db", "migrate")
    names = ("--username", "admin", "--firstname", "Region", "--lastname", "Cap", "--email", "admin@localhost")
    # It asks for the password twice; on its command line everybody could read it.
    _airflow("users", "create", "--role", "Admin", *names, answer=f"{env['REGIONCAP_ADMIN_PASSWORD']}\n" * 2)
    # Airflow's UI shows what plugins add to it to whoever may read plugins: with FAB these are Op and Admin alone.
    _airflow("roles", "add-perms", "Viewer", "User", "-a", "can_read", "-r", "Plugins")
    with tempfile.TemporaryDirectory() as folder:
        _airflow("pools", "import", _written(folder, "pools", pools(env, json.loads(pools_file.read_text()))))
        _airflow("connections", "import", "--overwrite", _written(folder, "connections", connections(env)))


def _written(folder: str, name: str, content: dict[str, Any]) -> str:
    path = Path(folder, f"{name}.json")
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def _airflow(*command: str, answer: str = "") -> None:
    # In a session of its own it has no terminal to ask at, and reads the answer.
    done = subprocess.run(["airflow", *command], input=answer, text=True, start_new_session=True)
    if done.returncode != 0:
        sys.exit(f"airflow {' '.join(command)} failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
