"""OpenLineage: what a build was made of, and what came of it. Used only where the OpenLineage provider is installed."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from regioncap.regions.records import Record
from regioncap.warehouse.manifest import Manifest

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def lineage(drop_uri: str, partition_uri: str, manifest: Manifest) -> "OperatorLineage[Any, Any]":
    """The drop as input, and the partition as output with its schema, its size and the build as its version."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset, schema_dataset

    fields = [
        schema_dataset.SchemaDatasetFacetFields(name=name, type=str(field.annotation), description=field.description)
        for name, field in Record.model_fields.items()
    ]
    return OperatorLineage(
        inputs=[InputDataset(*dataset_name(drop_uri))],
        outputs=[
            OutputDataset(
                *dataset_name(partition_uri),
                facets={
                    "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
                    "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=manifest.build_id),
                },
                outputFacets={
                    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                        rowCount=manifest.counts.captioned,
                        size=sum(entry.bytes for entry in manifest.captions),
                        fileCount=len(manifest.captions),
                    )
                },
            )
        ],
    )


def dataset_name(uri: str) -> tuple[str, str]:
    """A place's namespace and name, by OpenLineage's naming of object stores and file systems."""
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        return f"s3://{parts.netloc}", parts.path.strip("/")
    return "file", parts.path
