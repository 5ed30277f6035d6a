"""Keeps the work area from growing for ever."""

import time
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context

from regioncap.airflow.build import is_alive
from regioncap.airflow.params import nightly_settings
from regioncap.airflow.places import WAREHOUSE_CONNECTION, open_warehouse
from regioncap.errors import ManifestError, PartitionBusyError, StepMissingError
from regioncap.warehouse.history import collect as collect_builds
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import current
from regioncap.warehouse.whole import OF_ONE_FILE
from regioncap.work.upkeep import Heap, abandoned, collect, give_up, look, old_previews


class UpkeepOperator(BaseOperator):
    """Deletes what no build has needed for `days` days; with the run's param `dry_run` it only logs what that is.

    A date that is being built, or of which nobody can tell what it needs, is left alone. Returns how many files and
    bytes there were, and how many of them went, or could go.
    """

    def __init__(self, *, days: int, warehouse_conn_id: str = WAREHOUSE_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        dry, settings = bool(context["params"].get("dry_run")), nightly_settings()
        warehouse = open_warehouse(settings.warehouse_uri, self.warehouse_conn_id)
        works = open_warehouse(settings.work_root, self.warehouse_conn_id)
        limit = time.time() - timedelta(days=self.days).total_seconds()
        held, gone = Heap(""), Heap("")
        say = "%s can go: %s files, %s bytes" if dry else "%s is deleted: %s files, %s bytes"

        def went(place: str, heap: Heap) -> None:
            nonlocal gone
            gone = gone.and_of(heap)
            self.log.info(say, f"{place}/{heap.folder}", f"{heap.files:,}", f"{heap.bytes:,}")

        for name in (name for name in works.folders() if name.startswith(partition_path(""))):
            work, partition = works.sub(f"{name}/"), warehouse.sub(f"{name}/")
            try:
                published, _ = current(partition)
                area = look(work, published.plan_id if published else None, limit, lambda run: is_alive(context, run))
                held = held.and_of(area.held)
                if dry:
                    for heap in area.leftovers:
                        went(work.uri, heap)
                else:
                    collect(work, area, lambda heap, uri=work.uri: went(uri, heap))  # type: ignore[misc]
                    for build in collect_builds(partition):
                        self.log.info("%s/%s is deleted: it was never finished, or is not kept", partition.uri, build)
                for heap in abandoned(partition, limit):
                    if not dry:
                        give_up(work, partition, heap)
                    went(partition.uri, heap)
            except (PartitionBusyError, StepMissingError, ManifestError, *OF_ONE_FILE) as error:
                # The other dates have nothing to do with it.
                self.log.warning("%s is left alone: %s", work.uri, error)
        for heap in old_previews(warehouse, limit):
            if not dry:
                warehouse.sub(heap.folder).delete_folder()
            went(warehouse.uri, heap)
        return {"files": held.files, "bytes": held.bytes, "files_gone": gone.files, "bytes_gone": gone.bytes}
