"""Commands for the people who run RegionCap, in Airflow's environment."""
