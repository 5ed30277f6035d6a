"""A judge step in a process of its own, to be killed by a test: python -m tests.integration.judge_task <JSON>."""

import json
import sys
from pathlib import Path

from regioncap.steps.judge import judge_shard
from regioncap.storage.local import LocalStore
from regioncap.vlm.endpoint import Endpoint
from regioncap.work.plan import Plan


def main() -> None:
    told = json.loads(sys.argv[1])
    work = LocalStore(Path(told["work"]))
    plan = Plan.load(work, told["plan"])
    vlm = Endpoint(base_urls=(told["vlm"],), model=plan.model, max_in_flight=4)
    judge_shard(work=work, shard_id=plan.shards[0], plan=plan, vlm=vlm, judge=vlm, progress=lambda at: None)


if __name__ == "__main__":
    main()
