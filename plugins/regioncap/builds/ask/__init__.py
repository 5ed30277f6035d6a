"""What the VLM is asked about a shard, and what becomes of its answers."""
