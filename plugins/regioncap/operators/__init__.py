"""Thin Airflow skins over the steps in `regioncap.builds`."""
