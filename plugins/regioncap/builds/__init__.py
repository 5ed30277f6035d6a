"""A dataset build: from a drop to a published partition, step by step. Nothing here knows of Airflow.

`plan` -> [`render` -> `caption` -> `validate`] per shard -> `publish`, one module each.
"""
