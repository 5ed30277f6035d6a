"""The embedded default: bucket, vLLM on the CPU and Airflow on one machine, without root, GPU or Docker."""
