"""A second S3 service beside the embedded one: moto's server, which answers much as Amazon does."""

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import bucket
from deploy.local.credentials import Credentials
from regioncap.processes import Service, free_ports

READY_SECONDS = 300.0


@contextmanager
def running(log: Path, credentials: Credentials) -> Iterator[int]:
    """A server with the buckets of the embedded one, in memory; it ends with the block. Yields its port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with Service("moto", command, environment=dict(os.environ), log=log, grace=2.0) as service:
        service.wait_ready(lambda: _is_ready(port), READY_SECONDS)
        bucket.make_buckets(bucket.client(port, credentials))
        yield port


def _is_ready(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=2)
    except OSError:
        return False
    return True
