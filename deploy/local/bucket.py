"""The bucket: a real S3 server (SeaweedFS) on 127.0.0.1."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from deploy.docker import certificate
from deploy.local.credentials import Credentials
from deploy.local.paths import AIRFLOW_BIN, make_private
from regioncap.processes import Service, free_ports
from regioncap.storage.s3 import CLIENT_CONFIG

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKETS = ("drops", "warehouse")
READY_SECONDS = 300.0

_INNER_PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
    "admin.port", "s3.port.grpc",
)  # fmt: skip


def start(folder: Path, port: int, credentials: Credentials, log: Path) -> Service:
    """Start the server over `folder`; it is ready when `is_ready(port)` says so."""
    make_private(folder)
    security = folder / "security"
    certificate.write(security, "127.0.0.1")
    # Its parts talk to each other over ports of their own; any will do, but not those of another stack.
    ports = dict(zip(_INNER_PORTS, free_ports(len(_INNER_PORTS)), strict=True))
    # Where its own worker looks for it, whatever it is told.
    ports["admin.port.grpc"] = ports["admin.port"] + 10_000
    command = [
        *(str(AIRFLOW_BIN / "weed"), f"-config_dir={security}", "mini"),
        *(f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        "-master.telemetry=false",
        *(f"-{name}={inner}" for name, inner in ports.items()),
    ]
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
    }
    # It waits for open connections when it is told to end; what it has acknowledged is on disk by then.
    return Service("the bucket", command, environment=environment, log=log, grace=5.0)


@contextmanager
def running(folder: Path, credentials: Credentials) -> Iterator[int]:
    """A server by itself, with its buckets and its log in `folder`; it ends with the block. Yields its port."""
    (port,) = free_ports(1)
    with start(folder / "data", port, credentials, folder / "bucket.log") as service:
        service.wait_ready(lambda: is_ready(port), READY_SECONDS)
        make_buckets(client(port, credentials))
        yield port


def is_ready(port: int) -> bool:
    """Whether the server answers: a request without a signature is refused as soon as it does."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)
    except urllib.error.HTTPError as error:
        return error.code == 403
    except OSError:
        return False
    return False


def client(port: int, credentials: Credentials, config: Config = CLIENT_CONFIG) -> "S3Client":
    """A boto3 client for the server."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        region_name="us-east-1",
        config=config,
    )


def make_buckets(s3: "S3Client") -> None:
    """Create the buckets that are not there yet."""
    there = {bucket["Name"] for bucket in s3.list_buckets().get("Buckets", [])}
    for name in BUCKETS:
        if name not in there:
            s3.create_bucket(Bucket=name)
