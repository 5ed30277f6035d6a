"""### An example of what to do with a published partition

Runs whenever `region_captions` has published a date, with that date as its partition key. It reads the build that
`_manifest.json` names, and logs which captions are the most frequent. Put your own step (training, indexing, a copy to
elsewhere) in its place.
"""

import logging
from collections import Counter
from datetime import timedelta

from airflow.sdk import DAG, PartitionedAssetTimetable, get_current_context, task

from regioncap.airflow.build import RETRY_POLICY
from regioncap.airflow.links import dataset
from regioncap.airflow.places import open_partition
from regioncap.config.deployment import Deployment
from regioncap.warehouse.reader import open_build

DEPLOYMENT = Deployment.from_environment()

with DAG(
    dag_id="region_captions_digest",
    description="Example: reads each partition that is published",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=dataset(DEPLOYMENT)),
    tags=["regioncap", "example"],
    default_args={
        "owner": "regioncap",
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=30),
        "weight_rule": "regioncap.airflow.priority.NightlyFirst",
    },
):

    @task(doc_md="Reads the records of the published build and logs the most frequent captions.")
    def digest() -> dict[str, int]:
        """Returns how many captions there are, and how many different ones."""
        date = get_current_context()["dag_run"].partition_key
        build = open_build(open_partition(DEPLOYMENT.warehouse_uri, date))  # type: ignore[arg-type] # it has a key
        captions: Counter[str] = Counter()
        for record in build.records():
            captions.update(region["caption"] for region in record["regions"])
        log = logging.getLogger("airflow.task")
        for caption, times in captions.most_common(10):
            log.info("%s times: %s", times, caption)
        return {"captions": captions.total(), "different": len(captions)}

    digest()
