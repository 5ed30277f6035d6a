"""Uploading a drop, and fetching what was published of it."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from regioncap.drop.drop import READY_MARKER
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import Manifest, current

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_UPLOADS_AT_ONCE = 8


def upload_drop(folder: Path, s3: "S3Client", bucket: str, date: str) -> int:
    """Make the bucket's drop of `date` an exact copy of `folder`; links are left out, `_READY` comes last.

    Files that are there with the same content stay untouched. Returns the number of files.
    """
    there = {entry["Key"]: entry["ETag"].strip('"') for entry in _objects(s3, bucket, f"{date}/")}
    wanted = {f"{date}/{path.relative_to(folder).as_posix()}": path for path in _files(folder)}
    marker = f"{date}/{READY_MARKER}"
    changed = [key for key, path in wanted.items() if there.get(key) != _md5(path)]
    gone = [key for key in there if key not in wanted and key != marker]
    if changed or gone or marker not in there:
        s3.delete_object(Bucket=bucket, Key=marker)
        for key in gone:
            s3.delete_object(Bucket=bucket, Key=key)

        def put(key: str) -> None:
            with wanted[key].open("rb") as body:
                s3.put_object(Bucket=bucket, Key=key, Body=body)

        with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
            list(pool.map(put, changed))
        s3.put_object(Bucket=bucket, Key=marker, Body=b"")
    return len(wanted)


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not Path(root, name).is_symlink())
        for name in sorted(names):
            path = Path(root, name)
            # A name that is not UTF-8 cannot be a key in a bucket, nor be named in a manifest.
            nameable = not any("\udc80" <= character <= "\udcff" for character in str(path.relative_to(folder)))
            if nameable and not path.is_symlink() and path.is_file() and path != folder / READY_MARKER:
                yield path


def _objects(s3: "S3Client", bucket: str, prefix: str) -> Iterator[dict[str, str]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield {"Key": entry["Key"], "ETag": entry["ETag"]}


def _md5(path: Path) -> str:
    """What S3 gives as the ETag of an object that was put whole."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def fetch_partition(partition: Store, folder: Path) -> Manifest:
    """Copy `_manifest.json` and the build it names into `folder`, the manifest last.

    Raises FileNotFoundError where nothing is published.
    """
    manifest, _ = current(partition)
    if manifest is None:
        raise FileNotFoundError(f"nothing is published at {partition.uri}")
    copy = LocalStore(folder)
    for entry in partition.list(f"{manifest.build}/"):
        copy.copy(partition, entry.path, entry.path)
    copy.copy(partition, "_manifest.json", "_manifest.json")
    return manifest
