"""From Airflow's connections and the deployment's environment to stores and endpoints."""
