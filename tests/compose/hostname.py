"""What a process calls its host: a container would have a name of its own."""

import os


def hostname() -> str:
    """Airflow's `hostname_callable` on the cluster of processes."""
    return os.environ["HOSTNAME"]
