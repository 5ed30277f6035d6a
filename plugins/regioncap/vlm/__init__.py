"""Talking to a vLLM endpoint, and running one. Nothing here knows of Airflow."""
