"""The heart of RegionCap: boxes, marks, prompts, answers, gates and records. Pure functions, no Airflow, no I/O."""
