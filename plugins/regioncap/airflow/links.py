"""Addresses of pages, for messages, requests and buttons."""

from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, BaseOperatorLink
from airflow.sdk.configuration import conf

from regioncap.config.deployment import Deployment
from regioncap.errors import StorageError
from regioncap.storage.uri import parse_uri

# Below this path of Airflow's are RegionCap's own pages: see `pages`.
ROOT = "/regioncap"


def run_page(dag_id: str, run_id: str) -> str:
    """A run's page in Airflow."""
    return f"{_airflow()}/dags/{dag_id}/runs/{quote(run_id)}"


def dataset(deployment: Deployment, name: str = "region_captions") -> Asset:
    """The asset that is published; with it, Airflow shows where its pages are, where it has any."""
    uri = deployment.warehouse_uri
    return Asset(name=name, uri=uri, extra={"pages": f"{_airflow()}{ROOT}/"} if _is_shown(uri) else {})


def date_page(warehouse_uri: str, date: str) -> str | None:
    """The page of a date's current build; None of one in another warehouse than the deployment's, as below."""
    return _page(warehouse_uri, f"/dates/{date}")


def build_page(warehouse_uri: str, date: str, build_id: str) -> str | None:
    """The page of a build; None of one in another warehouse than the deployment's, which has no pages."""
    return _page(warehouse_uri, f"/dates/{date}/builds/{build_id}")


def preview_page(warehouse_uri: str, date: str, plan_id: str) -> str | None:
    """The page of a preview; None of one in another warehouse."""
    return _page(warehouse_uri, f"/previews/{date}/{plan_id}/")


def _page(warehouse_uri: str, path: str) -> str | None:
    return f"{_airflow()}{ROOT}{path}" if _is_shown(warehouse_uri) else None


class BuildLink(BaseOperatorLink):
    """The button at a task: to the page of the build that it has published."""

    name = "Dataset"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Called in the worker when the task has run."""
        return getattr(operator, "page", None) or ""


def _is_shown(warehouse_uri: str) -> bool:
    try:
        return parse_uri(warehouse_uri) == parse_uri(Deployment.from_environment().warehouse_uri)
    except StorageError:
        return False


def _airflow() -> str:
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")
