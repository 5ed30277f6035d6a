"""A caption step in a process of its own, to be killed by a test: python -m tests.integration.caption_task <JSON>."""

import json
import sys
from pathlib import Path

from deploy.local import bucket
from deploy.local.credentials import load_or_create
from regioncap.steps.caption import caption_shard
from regioncap.storage.s3 import S3Store
from regioncap.vlm.endpoint import Endpoint
from regioncap.work.plan import Plan


def main() -> None:
    told = json.loads(sys.argv[1])
    s3 = bucket.client(told["port"], load_or_create(Path(told["credentials"])))
    work = S3Store(s3, "warehouse", told["work"])
    caption_shard(
        work=work,
        shard_id=told["shard"],
        plan=Plan.load(work, told["plan"]),
        vlm=Endpoint(base_urls=(told["vlm"],), model=told["model"], max_in_flight=told["in_flight"]),
        progress=lambda at: None,
    )


if __name__ == "__main__":
    main()
