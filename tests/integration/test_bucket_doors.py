"""Nothing of the bucket is to be had without its credentials, over none of the ports that its server opens."""

import http.client
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest

from deploy.local import bucket
from deploy.local.credentials import Credentials
from deploy.local.paths import AIRFLOW_BIN
from tests import processes

OBJECT, CONTENT = "secret-name.txt", b"what nobody else may see"
# What the parts of SeaweedFS answer to, and a path that none of them knows.
PATHS = (
    "/", "/buckets/", "/buckets/warehouse/", f"/buckets/warehouse/{OBJECT}", "/buckets/warehouse/?recursive=true",
    f"/warehouse/{OBJECT}", "/warehouse?list-type=2", "/dir/assign", "/dir/status", "/dir/lookup?volumeId=1",
    "/col/delete?collection=warehouse", "/vol/status", "/1,01637037d6", "/topics/", "/etc/iam/identity.json",
    "/metrics", "/api/files", "/v1/namespace/list", "/nothing",
)  # fmt: skip


@pytest.fixture(scope="module")
def s3_port(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[int]:
    """A server of our own with one object: where a door is open, others' data must not suffer."""
    with bucket.running(tmp_path_factory.mktemp("doors"), credentials) as port:
        bucket.client(port, credentials).put_object(Bucket="warehouse", Key=OBJECT, Body=CONTENT)
        yield port


@pytest.fixture(scope="module")
def weed(s3_port: int) -> psutil.Process:
    (found,) = (
        process
        for process in processes.below()
        if f"-s3.port={s3_port}" in processes.command(process) and process.name() == "weed"
    )
    return found


def ports(weed: psutil.Process) -> list[int]:
    return sorted(at.laddr.port for at in weed.net_connections("inet") if at.status == psutil.CONN_LISTEN)


def option(weed: psutil.Process, name: str) -> str:
    return next(word.split("=")[1] for word in weed.cmdline() if word.startswith(f"-{name}="))


def ask(port: int, method: str, path: str, *, tls: bool) -> tuple[int, bytes] | None:
    """Status and body of an answer; None where there is none."""
    context = ssl._create_unverified_context()
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    )
    try:
        connection.request(method, path, body=b"overwritten" if method in ("PUT", "POST") else None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("tls", [False, True])
def test_http_gets_nothing_over_any_port(
    weed: psutil.Process, s3_port: int, credentials: Credentials, method: str, tls: bool
) -> None:
    listening = ports(weed)
    assert s3_port in listening
    answers = {(port, path): ask(port, method, path, tls=tls) for port in listening for path in PATHS}
    answered = {place: answer for place, answer in answers.items() if answer and not 400 <= answer[0] < 500}
    assert answered == {}
    told = [(path, answer[1]) for (_, path), answer in answers.items() if answer]
    assert not any(CONTENT in body for _, body in told)
    # Whoever names the object hears its name again.
    assert not any(OBJECT.encode() in body for path, body in told if OBJECT not in path)
    kept(s3_port, credentials)


def test_no_port_talks_grpc_with_strangers(weed: psutil.Process, s3_port: int) -> None:
    for port in set(ports(weed)) - {s3_port}:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(channel).result(timeout=1)


def test_the_servers_own_shell_gets_nothing_as_another_user(
    weed: psutil.Process, s3_port: int, credentials: Credentials
) -> None:
    def address(part: str) -> str:
        return f"-{part}=127.0.0.1:{option(weed, f'{part}.port')}.{option(weed, f'{part}.port.grpc')}"

    folder = "/buckets/warehouse"
    commands = ("lock", f"fs.ls {folder}", f"fs.cat {folder}/{OBJECT}", f"fs.rm -rf {folder}", "unlock", "exit")
    said = b""
    # It goes on trying.
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [*as_nobody(), str(AIRFLOW_BIN / "weed"), "shell", address("master"), address("filer")],
            input="\n".join(commands).encode(),
            capture_output=True,
            cwd="/",
            env={"HOME": "/nonexistent"},
            timeout=15,
        )
        said = done.stdout + done.stderr
    assert OBJECT.encode() not in said and CONTENT not in said
    kept(s3_port, credentials)


def test_what_it_writes_is_its_owners_alone(weed: psutil.Process) -> None:
    folder = Path(option(weed, "dir"))
    assert folder.stat().st_mode & 0o077 == 0
    # To connect is to write.
    for path in (folder, *(Path(at.laddr) for at in weed.net_connections("unix") if at.laddr)):
        assert path.stat().st_mode & 0o022 == 0
        if os.geteuid() == 0:
            assert subprocess.run([*as_nobody(), "test", "-w", str(path)]).returncode == 1, path


def as_nobody() -> list[str]:
    """To run as another user, where that is possible; a port is the same for all."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []


def kept(s3_port: int, credentials: Credentials) -> None:
    """The bucket holds its object, as it was, and no other."""
    s3 = bucket.client(s3_port, credentials)
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="warehouse")["Contents"]] == [OBJECT]
    assert s3.get_object(Bucket="warehouse", Key=OBJECT)["Body"].read() == CONTENT
