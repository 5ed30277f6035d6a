"""How a command reaches a place. Airflow is imported only where its connections are needed: that takes seconds."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from regioncap.config.deployment import Deployment
from regioncap.drop.elsewhere import Images, image_roots
from regioncap.drop.plain import is_utf8
from regioncap.errors import ParamsError, StorageError
from regioncap.storage.local import LocalStore
from regioncap.storage.patience import wait_at_most
from regioncap.storage.s3 import CLIENT_CONFIG
from regioncap.storage.store import Store
from regioncap.storage.uri import open_store, parse_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


# Whoever has typed a command wants to know soon.
_PATIENCE_SECONDS = 15.0


def open_warehouse(uri: str) -> Store:
    """All published partitions at `s3://bucket/prefix`, `file:///folder` or `/folder`. Raises StorageError."""
    wait_at_most(_PATIENCE_SECONDS)
    if parse_uri(uri).bucket is not None and has_airflow(os.environ):
        warehouse: Store = _airflow_places().open_warehouse(uri)
        return warehouse
    return open_store(uri, _client_by_environment, Deployment.from_environment().trusted_places)


def open_drop(place: str) -> Store:
    """The drop in a folder, which is named by its path or as `s3://bucket/prefix`.

    Raises StorageError, also where a path leads to no folder.
    """
    if not place:  # of a variable of the shell that is not set; the path would be that of the folder one is in
        raise StorageError("the drop has no name: give the path of one date's folder, or s3://bucket/prefix")
    if "://" not in place and not (folder := Path(place).resolve()).is_dir():
        what = "it is a file" if folder.exists() else "there is no such folder"
        raise StorageError(f"there is no drop at {folder}: {what}; give the path of one date's folder")
    return open_place(place)


def open_place(place: str) -> Store:
    """A place as it is named, whether there is something or not. Raises StorageError."""
    wait_at_most(_PATIENCE_SECONDS)
    if "://" not in place:
        # Whoever names a folder of this machine has chosen the way to it.
        folder = Path(place).resolve()
        if not is_utf8(str(folder)):
            raise StorageError(f"{folder} cannot be written down, since it is not UTF-8: rename the folder")
        return LocalStore(folder)
    if parse_uri(place).bucket is not None and has_airflow(os.environ):
        drop: Store = _airflow_places().open_drop(place, "")
        return drop
    return open_store(place, _client_by_environment, Deployment.from_environment().trusted_places)


def open_images(drop: Store, images_uri: str | None) -> Images:
    """Where the images of a drop are. Whoever types the command may read what they name. Raises StorageError."""
    roots = image_roots(Deployment.from_environment().image_roots)
    if images_uri is None:
        return Images(drop, roots, lambda root: open_place(root))
    parse_uri(images_uri)  # a path that only this command knows would be none to a run
    base = open_place(images_uri)
    return Images(base, (*roots, drop.uri), lambda root: drop if root == drop.uri else open_place(root))


def make_folder(out: Path | None, drop: str) -> None:
    """Make the folder that the page is written to. Raises ParamsError where it lies in the drop, or cannot be made."""
    if out is None:
        return
    folder = Path(drop.removeprefix("file://")).resolve()
    if not drop.startswith("s3://") and folder in (out.resolve(), *out.resolve().parents):
        raise ParamsError("--out lies in the drop, into which nothing is written: choose another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ParamsError(f"--out {out} is a file: choose another folder") from None
    except OSError as error:
        raise ParamsError(f"--out {out} cannot be made ({error.strerror}): choose another folder") from None


def has_airflow(environment: Mapping[str, str]) -> bool:
    """Whether this is the environment of an Airflow: any variable's name begins with AIRFLOW_."""
    return any(name.startswith("AIRFLOW_") for name in environment)


def _airflow_places() -> ModuleType:
    """What opens places with Airflow's connections."""
    # As Airflow's own commands say, so that connections are found in its database too.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    # Airflow logs to where the command prints.
    logging.disable(logging.INFO)
    from regioncap.airflow import places

    return places


def _client_by_environment() -> "S3Client":
    import boto3

    return boto3.client("s3", config=CLIENT_CONFIG)
