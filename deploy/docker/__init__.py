"""The distributed deployment: what docker-compose.yaml builds and runs."""
