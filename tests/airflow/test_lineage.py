"""What OpenLineage is told of a build."""

from pathlib import Path
from types import SimpleNamespace

from airflow.providers.openlineage.extractors.base import DefaultExtractor
from airflow.sdk import Asset

from regioncap.airflow.openlineage import dataset_name
from regioncap.airflow.publish import PublishOperator
from regioncap.warehouse.manifest import Manifest
from tests.builders import DATE, Place, publish_each


def test_the_drop_goes_in_and_the_published_build_comes_out(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (build,) = publish_each(place, "a")
    manifest = Manifest.model_validate_json(place.partition.read("_manifest.json"))
    handle = {"date": DATE, "plan_id": "a", "drops_uri": str(tmp_path / "drops")}
    handle |= {"warehouse_uri": str(tmp_path / "warehouse"), "work_uri": str(tmp_path / "warehouse" / "_work")}
    publish = PublishOperator(task_id="publish", plan=handle, asset=Asset("x"))
    told = DefaultExtractor(publish).extract_on_complete(SimpleNamespace(state="success"))
    assert told is not None
    (drop,), (partition,) = told.inputs, told.outputs
    assert (drop.namespace, drop.name) == ("file", f"{tmp_path}/drops/{DATE}")
    assert (partition.namespace, partition.name) == ("file", f"{tmp_path}/warehouse/dt={DATE}")
    assert partition.facets["version"].datasetVersion == build
    assert [field.name for field in partition.facets["schema"].fields][:2] == ["image", "type"]
    statistics = partition.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.fileCount) == (manifest.counts.captioned, len(manifest.captions))


def test_a_bucket_is_a_namespace_and_a_key_a_name() -> None:
    assert dataset_name("s3://warehouse/region_captions/dt=2026-10-05") == (
        "s3://warehouse", "region_captions/dt=2026-10-05",
    )  # fmt: skip
