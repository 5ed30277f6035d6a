"""RegionCap: image drops in, published region-caption datasets out."""

__version__ = "0.1.0"
