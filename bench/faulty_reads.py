"""Reads over a line that fails: how many give something else than the file, and how many rows are rejected for it.

Manifests, images and answers are read as the product reads them, from SeaweedFS and from moto, each behind a proxy that
cuts, stalls, flips, shortens, resets, refuses and drips by a plan drawn from the seed.
"""

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from botocore.config import Config

from deploy.local import bucket
from deploy.local.credentials import Credentials, load_or_create
from regioncap.drop.drop import local_copy, read_image
from regioncap.errors import RowError, StorageUnavailableError
from regioncap.parallel import in_order
from regioncap.storage import patience
from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import CLIENT_CONFIG, S3Store
from tests import second_bucket
from tests.builders import encoded, picture
from tests.fault_proxy import FaultProxy, fault_proxy, seeded

# This share of the requests fails.
SHARE = 0.3
_READERS = 8
# A stalled line is given up after a second, and pauses are so many times shorter, so that it takes minutes, not hours.
_QUICK = Config(read_timeout=1)
_SHORTER = 20

SERVICES = ("seaweedfs", "moto")


def measure(reads: int, seed: int) -> dict[str, Any]:
    """Read so many files, half of them from each service.

    `short_reads` counts those that gave other bytes than the file's, `wrong_rejections` the rows that would have been
    rejected for a fault of the line, and `given_up` what was not read at all within the time a file is given; `faults`
    are those that the proxy injected.
    """
    counts: Counter[str] = Counter(reads=0, short_reads=0, wrong_rejections=0, given_up=0, faults=0)
    with tempfile.TemporaryDirectory() as name, _quick():
        folder = Path(name)
        credentials = load_or_create(folder / "credentials.json")
        for share, service in enumerate(SERVICES):
            with _running(service, folder, credentials) as port, fault_proxy(port) as proxy:
                counts += _read(reads // 2 + share * (reads % 2), seed + share, port, proxy, credentials, folder)
    # Counter's sum leaves out what is 0.
    return {key: counts[key] for key in ("reads", "short_reads", "wrong_rejections", "given_up", "faults")}


@contextmanager
def _running(service: str, folder: Path, credentials: Credentials) -> Iterator[int]:
    if service == "seaweedfs":
        with bucket.running(folder / "bucket", credentials) as port:
            yield port
    else:
        with second_bucket.running(folder / "moto.log", credentials) as port:
            yield port


@contextmanager
def _quick() -> Iterator[None]:
    with mock.patch.object(patience, "sleep", lambda seconds: time.sleep(seconds / _SHORTER)):
        yield


def _read(reads: int, seed: int, port: int, proxy: FaultProxy, credentials: Credentials, folder: Path) -> Counter[str]:
    direct = S3Store(bucket.client(port, credentials), "drops", "faulty-reads")
    files = _files(random.Random(seed))
    for path, data in files.items():
        direct.write(path, data)
    drop = S3Store(bucket.client(proxy.port, credentials, CLIENT_CONFIG.merge(_QUICK)), "drops", "faulty-reads")
    proxy.fault = seeded(seed, SHARE)
    paths = sorted(files)
    ways = _ways(drop, folder)

    def outcome(number: int) -> Counter[str]:
        path = paths[number % len(paths)]
        way = ways[path.rpartition(".")[2]]
        try:
            got = way[number // len(paths) % len(way)](path)
        except RowError:
            return Counter(reads=1, wrong_rejections=1)
        except StorageUnavailableError:
            return Counter(reads=1, given_up=1)
        return Counter(reads=1, short_reads=int(got != files[path]))

    counts: Counter[str] = Counter()
    for one in in_order(outcome, range(reads), _READERS):
        counts.update(one)
    counts["faults"] = proxy.faults
    return counts


def _files(draw: random.Random) -> dict[str, bytes]:
    """Two manifests, 40 images of some KB to some hundred KB, 20 parts of answers."""
    rows = [json.dumps({"image": f"{number % 40}.jpg", "bbox": [[1, 2, 30, 40]]}) for number in range(4000)]
    files = {f"{name}.jsonl": "\n".join([*rows, name]).encode() for name in ("a", "b")}
    for number in range(40):
        width = draw.choice([60, 200, 600, 1500])
        files[f"{number}.jpg"] = encoded(picture(width, width, (number, 90, 200)), quality=95)
    for number in range(20):
        files[f"answers/{number}.json"] = draw.randbytes(draw.choice([0, 1, 500, 100_000]))
    return files


def _ways(drop: S3Store, folder: Path) -> dict[str, list[Callable[[str], bytes]]]:
    """How files of each kind are read."""

    def manifest(path: str) -> bytes:
        with local_copy(drop, path) as copy:
            return copy.read_bytes()

    def listed(path: str) -> bytes:
        return drop.read(path, drop.stat(path).version)

    def copied(path: str) -> bytes:
        place = LocalStore(folder / "copies" / str(time.monotonic_ns()))
        place.copy(drop, path, path)
        return place.read(path)

    return {"jsonl": [manifest], "jpg": [lambda path: read_image(drop, path), listed], "json": [drop.read, copied]}
