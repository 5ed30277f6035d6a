"""Images that lie elsewhere: which URIs are read, and which are not."""

from pathlib import Path

import pytest

from regioncap.drop.elsewhere import Images, image_uri
from regioncap.errors import LinkError, NotFoundError, StorageError
from regioncap.storage.local import LocalStore
from regioncap.storage.uri import open_store


@pytest.fixture
def images(tmp_path: Path) -> Images:
    for name in ("base/a.jpg", "base/b/c.jpg", "root/r.jpg", "root/in/s.jpg", "root-2/t.jpg", "secret/k.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "root/link.jpg").symlink_to(tmp_path / "secret/k.jpg")
    (tmp_path / "root/folder").symlink_to(tmp_path / "secret")
    roots = (f"{tmp_path}/root", f"file://{tmp_path}/root/in", "s3://lake/images")
    return Images(LocalStore(tmp_path / "base"), roots, lambda root: open_store(root, None, roots))  # type: ignore[arg-type]


def test_an_image_below_the_base_is_known_by_its_path_and_one_below_a_root_by_its_uri(
    images: Images, tmp_path: Path
) -> None:
    assert images.path_of(f"file://{tmp_path}/base/b/c.jpg") == "b/c.jpg"
    assert images.path_of(f"FILE://{tmp_path}/root/r.jpg") == f"file://{tmp_path}/root/r.jpg"
    assert images.path_of("S3://lake/images/x/y.jpg") == "s3://lake/images/x/y.jpg"


def test_both_are_read(images: Images, tmp_path: Path) -> None:
    for path, name in [("a.jpg", "base/a.jpg"), (f"file://{tmp_path}/root/in/s.jpg", "root/in/s.jpg")]:
        with images.open(path) as stream:
            assert stream.read() == name.encode()
        assert images.stat(path).size == len(name)


# The folder of the test is put in front where a path follows the scheme.
HOSTILE = [
    "file://{}/secret/k.jpg", "file://{}/root-2/t.jpg", "file://{}/root/../secret/k.jpg", "file://{}/root/./r.jpg",
    "file://{}/root//r.jpg", "file://{}/root/%2e%2e/secret/k.jpg", "file://{}/root/..%2fsecret/k.jpg",
    "file://{}/root/\t../secret/k.jpg", "file://{}/root/r.jpg#x", "file://{}/root/r.jpg?x", "file://{}\\root\\r.jpg",
    "file://{}/root", "file://{}/root/", "file://localhost{}/root/r.jpg", "file:////etc/passwd", "file:///etc/passwd",
    "file://", "s3://lake/images", "s3://lake/images-2/x.jpg", "s3://lake/x.jpg", "s3://other/images/x.jpg",
    "s3://lake/images/../x.jpg", "s3://user:key@lake/images/x.jpg", "s3:///images/x.jpg", "s3://LAKE/images/x.jpg",
    "s3://lake/images/\u202ex.jpg",
]  # fmt: skip


@pytest.mark.parametrize("uri", HOSTILE)
def test_what_leads_out_or_can_be_read_in_two_ways_is_refused_by_the_row_and_by_the_reading(
    images: Images, tmp_path: Path, uri: str
) -> None:
    named = uri.format(tmp_path)
    with pytest.raises(StorageError):
        images.path_of(named)
    with pytest.raises(StorageError):
        images.open(named)


@pytest.mark.parametrize("name", ["link.jpg", "folder/k.jpg"])
def test_no_link_below_a_root_is_followed(images: Images, tmp_path: Path, name: str) -> None:
    with pytest.raises(LinkError):
        images.open(images.path_of(f"file://{tmp_path}/root/{name}"))


def test_without_roots_only_the_base_is_read(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    alone = Images(LocalStore(tmp_path / "base"))
    assert alone.path_of(f"file://{tmp_path}/base/a.jpg") == "a.jpg"
    with pytest.raises(StorageError, match="REGIONCAP_IMAGE_ROOTS"):
        alone.path_of(f"file://{tmp_path}/other/a.jpg")
    with pytest.raises(NotFoundError):
        alone.open("a.jpg")


def test_a_record_names_the_place_of_its_image() -> None:
    assert image_uri("s3://lake/images", "a/b.jpg") == "s3://lake/images/a/b.jpg"
    assert image_uri("s3://drops/2026-10-05", "s3://lake/images/x.jpg") == "s3://lake/images/x.jpg"
