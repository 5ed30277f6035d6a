"""Whether a build in a real bucket is whole: by what the service itself says of its files, without reading them."""

import io
import uuid
from typing import IO, TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from deploy.local.credentials import Credentials
from regioncap.cli.app import app
from regioncap.errors import BuildIncompleteError, RollBackError, StepMissingError
from regioncap.steps.publish import Published, commit_build, publish_build, stage_build
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.history import collect, roll_back
from regioncap.warehouse.inventory import read_inventory
from regioncap.warehouse.manifest import Manifest, current
from regioncap.warehouse.whole import problems
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged
from tests.builders import DATE, read_whole, validated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def prefix() -> str:
    return f"tests/{uuid.uuid4().hex}"


@pytest.fixture
def work(s3: "S3Client", prefix: str) -> S3Store:
    return S3Store(s3, "warehouse", f"{prefix}/work")


@pytest.fixture
def partition(s3: "S3Client", prefix: str) -> S3Store:
    return S3Store(s3, "warehouse", f"{prefix}/dt={DATE}")


def publish(work: S3Store, partition: S3Store, plan: Plan) -> Published:
    return publish_build(plan=plan, drop=work, work=work, partition=partition, progress=lambda message: None)


def image_of(partition: S3Store, manifest: Manifest) -> str:
    return next(entry.path for entry in partition.list(f"{manifest.build}/images/"))


def flip(store: S3Store, path: str) -> None:
    """One bit, at the same size."""
    data = bytearray(store.read(path))
    data[len(data) // 2] ^= 1
    store.write(path, bytes(data))


class Unread(S3Store):
    """Nothing may be read of it but what says what is there."""

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        assert path.endswith((".json", "_files.jsonl")), f"{path} is read"
        return super().open(path, version)

    def sub(self, path: str) -> "Unread":
        return Unread(self._client, self._bucket, self._prefix + path)


def test_one_listing_tells_that_a_build_is_whole_and_what_was_altered(
    s3: "S3Client", prefix: str, work: S3Store, partition: S3Store
) -> None:
    manifest = publish(work, partition, validated(work, "a")).manifest
    unread = Unread(s3, "warehouse", f"{prefix}/dt={DATE}")
    assert list(problems(unread, manifest)) == []
    assert manifest.files is not None
    with read_inventory(partition.sub(f"{manifest.build}/"), manifest.files) as files:
        assert files is not None
        assert all(file.checksum for file in files)
    # The same bytes, put there once more.
    path = image_of(partition, manifest)
    partition.write(path, partition.read(path))
    assert list(problems(unread, manifest)) == []
    flip(partition, path)
    report = f"{manifest.build}/report.html"
    flip(partition, report)
    assert {problem.path for problem in problems(partition, manifest)} == {
        path.partition("/")[2], report.partition("/")[2],
    }  # fmt: skip


def test_the_same_bytes_sent_in_parts_are_whole_though_their_checksum_is_another(
    s3: "S3Client", prefix: str, work: S3Store, partition: S3Store
) -> None:
    manifest = publish(work, partition, validated(work, "a")).manifest
    path = image_of(partition, manifest)
    before = partition.stat(path)
    key = f"{prefix}/dt={DATE}/{path}"
    upload = s3.create_multipart_upload(Bucket="warehouse", Key=key)["UploadId"]
    body = io.BytesIO(partition.read(path))
    part = s3.upload_part(Bucket="warehouse", Key=key, UploadId=upload, PartNumber=1, Body=body)
    s3.complete_multipart_upload(
        Bucket="warehouse", Key=key, UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )  # fmt: skip
    assert partition.stat(path).checksum != before.checksum
    assert list(problems(partition, manifest)) == []


def test_an_approved_build_of_which_a_byte_was_altered_is_not_published(work: S3Store, partition: S3Store) -> None:
    plan = validated(work, "a")
    staged = stage_build(
        plan=plan, drop=work, work=work, partition=partition, before=(), max_rejected_ratio=1,
        progress=lambda message: None,
    )  # fmt: skip
    assert isinstance(staged, Staged)
    flip(partition, image_of(partition, staged.manifest))
    with pytest.raises(BuildIncompleteError, match=r"images/\S+ is not what was published"):
        commit_build(staged, plan=plan, work=work, partition=partition, progress=lambda message: None)
    assert current(partition) == (None, None)
    published = publish(work, partition, plan).manifest
    assert read_whole(partition) == published.build_id


def test_a_marked_image_that_was_altered_in_the_work_area_is_not_published(work: S3Store, partition: S3Store) -> None:
    plan = validated(work, "a", shards=1)
    flip(work, next(entry.path for entry in work.list("shards/a-0/images/")))
    with pytest.raises(StepMissingError, match="clear the shard's render task"):
        publish(work, partition, plan)
    assert current(partition) == (None, None)


def test_a_build_that_waits_is_kept_though_the_manifest_was_put_there_again(work: S3Store, partition: S3Store) -> None:
    publish(work, partition, validated(work, "a"))
    plan = validated(work, "b")
    staged = stage_build(
        plan=plan, drop=work, work=work, partition=partition, before=(), max_rejected_ratio=1,
        progress=lambda message: None,
    )  # fmt: skip
    assert isinstance(staged, Staged)
    partition.write("_manifest.json", partition.read("_manifest.json"))
    assert collect(partition) == []
    commit_build(staged, plan=plan, work=work, partition=partition, progress=lambda message: None)
    assert read_whole(partition) == staged.manifest.build_id


def test_a_bucket_is_verified_and_gone_back_in_by_command(
    work: S3Store, partition: S3Store, s3_port: int, credentials: Credentials, prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in {
        "ENDPOINT_URL": f"http://127.0.0.1:{s3_port}", "DEFAULT_REGION": "us-east-1",
        "ACCESS_KEY_ID": credentials.access_key, "SECRET_ACCESS_KEY": credentials.secret_key,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("REGIONCAP_WAREHOUSE_URI", f"s3://warehouse/{prefix}")
    monkeypatch.setattr("regioncap.cli.places.has_airflow", lambda environment: False)
    first = publish(work, partition, validated(work, "a")).manifest
    publish(work, partition, validated(work, "b"))
    assert CliRunner().invoke(app, ["verify", DATE]).exit_code == 0
    flip(partition, image_of(partition, first))
    done = CliRunner().invoke(app, ["verify", "--all"])
    assert done.exit_code == 1
    assert [("not whole" in text) for text in done.stdout.splitlines()] == [False, True]
    with pytest.raises(RollBackError, match="is not whole any more"):
        roll_back(partition, None)
