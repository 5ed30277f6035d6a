"""How RegionCap is deployed."""
