"""A line that fails at any request, before two S3 services: all bytes arrive, and no row is the worse for it."""

import dataclasses
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config

from bench.faulty_reads import measure
from deploy.local import bucket
from deploy.local.credentials import Credentials
from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import CLIENT_CONFIG, S3Store
from tests.fault_proxy import Cut, Fault, FaultProxy, Longer, Request, Reset, Say, fault_proxy, seeded
from tests.hurry import hurried

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.mark.parametrize(
    "reads",
    [300, pytest.param(2000, marks=[pytest.mark.prove, pytest.mark.timeout(1800)])],
    ids=lambda reads: f"{reads}",
)
def test_no_read_is_short_and_no_row_is_rejected_for_a_fault_of_the_line(reads: int) -> None:
    found = measure(reads, seed=1)
    print(found)
    assert found["reads"] == reads
    assert found["faults"] > reads * 0.2
    assert (found["short_reads"], found["wrong_rejections"], found["given_up"]) == (0, 0, 0)


@pytest.fixture
def line(service: "S3Client", credentials: Credentials) -> Iterator[tuple[FaultProxy, S3Store, S3Store]]:
    """A proxy, a store behind it, and the same store beside it."""
    port = int(service.meta.endpoint_url.rpartition(":")[2])
    name = f"tests/{uuid.uuid4().hex}"
    with fault_proxy(port) as proxy, hurried():
        client = bucket.client(proxy.port, credentials, CLIENT_CONFIG.merge(Config(read_timeout=20)))
        yield proxy, S3Store(client, "warehouse", name), S3Store(service, "warehouse", name)


Line = tuple[FaultProxy, S3Store, S3Store]


def test_what_is_written_copied_and_deleted_over_a_faulty_line_is_so(line: Line, tmp_path: Path) -> None:
    proxy, store, there = line
    proxy.fault = seeded(1, 0.4, [Cut, Reset, Say, Longer])
    local = LocalStore(tmp_path)
    for number in range(15):
        data = b"%d" % number * 1000
        store.write(f"in/{number}", data)
        store.write_stream(BytesIO(data), f"in/s{number}")
        store.copy(store, f"in/{number}", f"out/{number}")
        local.copy(store, f"in/{number}", f"{number}")
        assert there.read(f"in/{number}") == there.read(f"in/s{number}") == there.read(f"out/{number}") == data
        assert local.read(f"{number}") == data
        store.delete(f"in/s{number}")
    assert [entry.path for entry in store.list()] == [entry.path for entry in there.list()]
    assert store.folders() == ["in", "out"]
    store.sub("out/").delete_folder()
    assert list(there.list("out/")) == []
    assert proxy.faults > 20


def test_of_conditional_writes_over_a_faulty_line_each_that_counts_is_known_to_have_counted(line: Line) -> None:
    proxy, store, there = line
    proxy.fault = seeded(2, 0.5, [Cut, Reset, Say])
    version = None
    for number in range(30):
        # Nobody else writes, so none may be lost to somebody else.
        version = store.replace("claim.json", b'{"number": %d}' % number, version)
        assert there.read("claim.json", version) == b'{"number": %d}' % number
    assert proxy.faults > 5


def test_a_file_in_parts_goes_up_whole_over_a_faulty_line(line: Line) -> None:
    proxy, store, there = line
    data = b"".join(b"%07d" % number for number in range(40 << 17))
    said = Say(500, "InternalError", unheard=False)
    faults = {
        "create": iter([Reset(None), Cut(0)]),
        "part": iter([Reset(None), said, dataclasses.replace(said, status=503, code="SlowDown")]),
        "complete": iter([said, Cut(0)]),
    }

    def fault(request: Request, body: bytes | None) -> Fault | None:
        if body is None:
            return None
        if request.method == "POST":
            return next(faults["create" if "uploads" in request.target else "complete"], None)
        return next(faults["part"], None) if request.method == "PUT" else None

    proxy.fault = fault
    store.write_stream(BytesIO(data), "large.bin")
    assert there.read("large.bin") == data
    assert proxy.faults == 7
    # Those whose number was lost with the answer; nothing of what was sent.
    left = there._client.list_multipart_uploads(Bucket="warehouse", Prefix="tests/").get("Uploads", [])
    assert len(left) <= 2
