"""RegionCap: image drops in, published region-caption datasets out.

`regioncap.read(warehouse_uri, date)` opens a published build; `regioncap.Build` is what it returns.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regioncap.warehouse.reader import Build as Build
    from regioncap.warehouse.reader import read as read

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # When it is asked for: small helper processes import this package too, and need no S3 client.
    if name in ("Build", "read"):
        from regioncap.warehouse import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
