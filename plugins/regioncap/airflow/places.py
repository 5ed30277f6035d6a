"""Opens the places that a run names, with the credentials of Airflow's connections."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from regioncap.config.deployment import Deployment
from regioncap.config.settings import BuildSettings
from regioncap.drop.elsewhere import Images, image_roots
from regioncap.storage import patience
from regioncap.storage.s3 import BRIEF_CONFIG, CLIENT_CONFIG
from regioncap.storage.store import Store
from regioncap.storage.uri import check_allowed, open_store
from regioncap.warehouse.layout import partition_path

DROPS_CONNECTION = "regioncap_drops"
WAREHOUSE_CONNECTION = "regioncap_warehouse"


@contextmanager
def briefly() -> Iterator[None]:
    """What is opened within the block is asked once, with short time limits: something else waits for the answer."""
    with patience.brief(0.0):
        yield


def check_places(settings: BuildSettings) -> None:
    """Raise StorageError if a place is none, or lies outside what the deployment allows."""
    deployment = Deployment.from_environment()
    for uri in (settings.drops_uri, settings.warehouse_uri, settings.work_root):
        check_allowed(uri, deployment.allowed_roots)
    if settings.images_uri is not None:
        check_allowed(settings.images_uri, (*deployment.allowed_roots, *deployment.image_roots))


def open_drop(drops_uri: str, date: str, conn_id: str = DROPS_CONNECTION) -> Store:
    """One date's drop."""
    return _open(drops_uri, date, conn_id)


def open_images(settings: BuildSettings, date: str, conn_id: str = DROPS_CONNECTION) -> Images:
    """Where the images of one date's drop are. Raises StorageError where that is no place that may be read."""
    if settings.images_uri is not None:
        check_places(settings)
    return images_of(open_drop(settings.drops_uri, date, conn_id), settings.images_uri, conn_id)


def images_of(drop: Store, images_uri: str | None, conn_id: str = DROPS_CONNECTION) -> Images:
    """Where the images of a drop are, `images_uri` being the run's. Raises StorageError as above."""
    deployment = Deployment.from_environment()
    roots = image_roots(deployment.image_roots)
    if images_uri is None:
        return Images(drop, roots, lambda root: _open(root, "", conn_id))
    check_allowed(images_uri, (*deployment.allowed_roots, *roots))
    base = _open(images_uri, "", conn_id)
    return Images(base, (*roots, drop.uri), lambda root: drop if root == drop.uri else _open(root, "", conn_id))


def open_work(work_root: str, date: str, conn_id: str = WAREHOUSE_CONNECTION) -> Store:
    """One date's work area."""
    return _open(work_root, partition_path(date), conn_id)


def open_partition(warehouse_uri: str, date: str, conn_id: str = WAREHOUSE_CONNECTION) -> Store:
    """One date's published partition."""
    return _open(warehouse_uri, partition_path(date), conn_id)


def open_warehouse(warehouse_uri: str, conn_id: str = WAREHOUSE_CONNECTION) -> Store:
    """All published partitions."""
    return _open(warehouse_uri, "", conn_id)


def _open(root: str, folder: str, conn_id: str) -> Store:
    def client():  # type: ignore[no-untyped-def]
        hook = S3Hook(aws_conn_id=conn_id)
        # What the connection's `config_kwargs` says goes before.
        config = CLIENT_CONFIG.merge(hook.config)
        return hook.get_client_type(config=config.merge(BRIEF_CONFIG) if patience.is_brief() else config)

    deployment = Deployment.from_environment()
    patience.be_patient_for(deployment.storage_patience_seconds)
    return open_store(root, client, deployment.trusted_places).sub(folder)
