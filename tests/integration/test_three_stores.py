"""The same drop in a folder and in two S3 services: the same records and the same codes, byte for byte."""

import gzip
import io
import random
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from deploy.local import bucket
from deploy.local.credentials import Credentials
from regioncap.drop.drop import read_image
from regioncap.drop.elsewhere import Images
from regioncap.errors import RowError
from regioncap.regions.codes import Code
from regioncap.steps.stage import stage_shard
from regioncap.storage import s3
from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import S3Store
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import current
from regioncap.warehouse.whole import problems
from regioncap.work.plan import Plan
from tests.builders import Place, describe, encoded, picture
from tests.fault_proxy import Say, fault_proxy
from tests.steps import publish
from tests.unit.drop.readers.inside import BOXES, images, member, parquet_of, samples, tar_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Files of the drop that the rows below may mean.
FILES = [
    "a.jpg", "street/20.jpg", "sp ace+%#?é.jpg", "e\u0301.jpg", "\u00e9.jpg", "%2e%2e/x.jpg", "quote'\"<&>.jpg",
    "図/一.jpg", "\U0001f600.jpg", ".hidden.jpg", "a:b.jpg", "tail .jpg", "deep/" * 40 + "x.jpg", "n" * 251 + ".jpg",
    "upper.JPG", "a;b=c,d.jpg", "[1]{2}*.jpg", "~.jpg", "-.jpg", "\u2028.jpg", "\u00a0.jpg", "plus+plus.jpg", "%25.jpg",
    "a&amp;b.jpg",
]  # fmt: skip
# Paths as manifests have them: the files', odd ways to them, and what no store can have.
PATHS = [
    *FILES, "./street/20.jpg", "street//20.jpg", "street/./20.jpg", "street\\20.jpg", ".\\street\\\\20.jpg",
    "././a.jpg", "a.jpg/", "a.jpg/.", "street", "street/", "none.jpg", "./none.jpg", "street//none.jpg",
    "none\\none.jpg", "A.jpg", "図" * 400 + ".jpg", "y" * 256, "z" * 1010, "z/" * 600, "a.jpg\t", "a\n.jpg", " a.jpg",
    "a.jpg ", ".", "..", "./", "/a.jpg", "../a.jpg", "street/../a.jpg", "C:\\a.jpg", "s3://drops/a.jpg",
    "\ud800.jpg", "\x7f.jpg", "", None, 7, "manifest.jsonl", "_READY", "empty.jpg", "half.jpg", "a.jpg?versionId=1",
    "a.jpg#1", "%61.jpg", "\u202ea.jpg", "a\u200b.jpg",
]  # fmt: skip


def drop_files() -> dict[str, bytes]:
    files = {name: encoded(picture(colour=(number * 9, 120, 90))) for number, name in enumerate(FILES)}
    return {**files, "empty.jpg": b"", "half.jpg": files["a.jpg"][:300], "_READY": b""}


@pytest.fixture(scope="module")
def in_folder(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The drop in a folder."""
    place = Place(tmp_path_factory.mktemp("folder"))
    for name, data in drop_files().items():
        place.put(name, data)
    rows = [{"id": f"r{number}", "image": path, "bbox": [[10, 10, 40, 30]]} for number, path in enumerate(PATHS)]
    place.put_rows(*rows)
    return place


def published(place: Place, drop: Store, **changes: Any) -> dict[str, bytes]:
    """The records and the rejected rows of a build from `drop`, without the drop's own address."""
    place.drop = drop  # type: ignore[assignment]
    place.build(describe, **changes)
    manifest, _ = current(place.partition)
    assert manifest is not None
    found = {entry.path.rpartition("/")[2]: place.partition.read(entry.path) for entry in manifest.captions}
    found["rejected"] = place.partition.read(manifest.rejected.path)
    return {name: data.replace(drop.uri.encode(), b"DROP") for name, data in found.items()}


@pytest.fixture(scope="module")
def expected(in_folder: Place) -> dict[str, bytes]:
    return published(in_folder, LocalStore(in_folder.drop_folder))


def test_the_same_drop_gives_the_same_bytes_in_a_folder_and_in_each_service(
    service: "S3Client", in_folder: Place, expected: dict[str, bytes], tmp_path: Path
) -> None:
    drop = S3Store(service, "drops", f"three-stores/{uuid.uuid4().hex}")
    folder = LocalStore(in_folder.drop_folder)
    for entry in folder.list():
        drop.copy(folder, entry.path, entry.path)
    assert [(entry.path, entry.size) for entry in drop.list()] == [(entry.path, entry.size) for entry in folder.list()]
    found = published(Place(tmp_path), drop)
    assert found.keys() == expected.keys()
    for name, data in expected.items():
        assert without_limits(found[name]) == without_limits(data), name


@pytest.mark.parametrize("input_format", ["webdataset", "image_parquet"])
def test_images_inside_files_are_the_same_in_a_folder_and_in_each_service(
    service: "S3Client", tmp_path: Path, input_format: str
) -> None:
    folder = Place(tmp_path / "folder")
    broken = [member("broken.jpg", b"no picture")]
    if input_format == "webdataset":
        folder.put("x/a.tar", tar_of(*samples(range(6)), *broken))
        folder.put("x/b.tar.gz", gzip.compress(tar_of(*samples(range(6, 9)))))
    else:
        folder.put("x/a.parquet", parquet_of({"image": images(range(9)), "bbox": [BOXES] * 9}, row_group_size=4))
    drop = S3Store(service, "drops", f"three-stores/{uuid.uuid4().hex}")
    for entry in folder.drop.list():
        drop.copy(folder.drop, entry.path, entry.path)
    how = {"input_format": input_format, "shard_size": 2, "export_formats": ["hf"], "export_images": "original"}
    expected = published(folder, LocalStore(folder.drop_folder), **how)
    found = published(Place(tmp_path / "bucket"), drop, **how)
    assert found == expected
    assert sum(data.count(b"\n") for name, data in found.items() if name != "rejected") == 9


def exports(place: Place, plan: Plan) -> dict[str, bytes]:
    """What the shards of a plan have exported, when it is published without the drop's images."""
    for shard_id in plan.shards:
        stage_shard(
            work=place.work, shard_id=shard_id, plan=plan, drop=Images(place.drop), partition=place.partition,
            progress=lambda done, images: None,
        )  # fmt: skip
    for entry in place.drop.list("images/"):
        place.drop.delete(entry.path)
    done = publish(place, plan).manifest
    assert list(problems(place.partition, done, read=True)) == []
    assert not any(entry.path.endswith("missing_images.jsonl") for entry in done.exports)
    assert not any("/exports/" in entry.path for entry in place.work.list("plans/"))
    build = place.partition.sub(f"{done.build}/")
    found: dict[str, bytes] = {}
    for path, data in ((entry.path, build.read(entry.path)) for entry in build.list("exports/")):
        if path.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                members = [(member.name, tar.extractfile(member)) for member in tar]
                found |= {f"{path}!/{name}": stream.read() for name, stream in members if stream is not None}
        else:
            found[path] = data
    return {path: data.replace(place.drop.uri.encode(), b"DROP") for path, data in found.items()}


def test_exports_that_shards_have_made_are_the_same_in_a_folder_and_in_each_service(
    service: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # moto gives the copy of what went up in parts the checksum of these, with which nobody can read it.
    if request.node.callspec.params["service"] == "seaweedfs":
        monkeypatch.setattr(s3, "_PART_BYTES", 5 << 20)
        monkeypatch.setattr(s3, "_AT_ONCE_BYTES", 5 << 20)
    noise = Image.frombytes("RGB", (1400, 1400), random.Random(1).randbytes(1400 * 1400 * 3))
    rows = [{"image": f"images/{number}.png", "bbox": BOXES} for number in range(3)]
    how: dict[str, Any] = {"shard_size": 2, "export_formats": ["coco", "webdataset"], "export_images": "original"}
    folder, place = Place(tmp_path / "folder"), Place(tmp_path / "bucket")
    room = f"three-stores/{uuid.uuid4().hex}"
    place.drop = S3Store(service, "drops", room)  # type: ignore[assignment]
    place.work = S3Store(service, "warehouse", f"{room}/_work")  # type: ignore[assignment]
    place.partition = S3Store(service, "warehouse", f"{room}/published")  # type: ignore[assignment]
    for number, image in enumerate((noise, picture(), noise.transpose(Image.Transpose.ROTATE_90))):
        folder.put(f"images/{number}.png", encoded(image, "PNG", compress_level=1))
    folder.put_rows(*rows)
    for entry in folder.drop.list():
        place.drop.copy(folder.drop, entry.path, entry.path)
    expected = exports(folder, folder.ready(describe, **how))
    found = exports(place, place.ready(describe, **how))
    assert found.keys() == expected.keys()
    assert [path for path, data in expected.items() if found[path] != data] == []
    assert sum(path.endswith(".png") for path in found) == 6


def without_limits(data: bytes) -> bytes:
    """How long a path may be depends on where the drop lies."""
    return b"\n".join(line.split(b"a path has at most")[0] for line in data.split(b"\n"))


def test_odd_ways_to_a_file_lead_to_it(expected: dict[str, bytes]) -> None:
    records = b"".join(data for name, data in expected.items() if name != "rejected")
    ways = [
        *(name for name in FILES if name != "~.jpg"),  # taken for somebody's home, wherever the drop lies
        "./street/20.jpg",
        "street//20.jpg",
        "street/./20.jpg",
        "street\\20.jpg",
        ".\\street\\\\20.jpg",
        "././a.jpg",
    ]
    missing = [way for way in ways if b'"id":"r%d"' % PATHS.index(way) not in records]
    assert missing == []


@pytest.mark.parametrize(
    "path",
    [
        "./a.jpg", "a//b.jpg", "a/./b.jpg", "図" * 342, "x" * 1025, "../a.jpg", "a\\b.jpg", "a\x01.jpg", "\ud800", "",
        ".", "/", "a/",
    ],
)  # fmt: skip
def test_a_name_that_a_store_cannot_have_is_a_missing_image_in_each(
    service: "S3Client", tmp_path: Path, path: str
) -> None:
    bucket_store = S3Store(service, "drops", f"odd/{uuid.uuid4().hex}")
    for store in (LocalStore(tmp_path), bucket_store):
        with pytest.raises(RowError) as caught:
            read_image(store, path)
        assert caught.value.code == Code.IMAGE_NOT_FOUND


def test_a_service_that_wants_an_md5_to_delete_many_objects_deletes_them_one_by_one(
    service: "S3Client", credentials: Credentials
) -> None:
    port = int(service.meta.endpoint_url.rpartition(":")[2])
    name = f"tests/{uuid.uuid4().hex}"
    with fault_proxy(port) as proxy:
        store = S3Store(bucket.client(proxy.port, credentials), "warehouse", name)
        for number in range(5):
            store.write(f"build=1/{number}", b"x")
        proxy.fault = lambda request, body: (
            Say(400, "MissingContentMD5") if request.method == "POST" and "delete" in request.target else None
        )
        store.sub("build=1/").delete_folder()
        assert proxy.faults == 1
        assert list(store.list()) == []
