"""RegionCap: image drops in, published region-caption datasets out.

`regioncap.read(warehouse_uri, date)` opens a published build; `regioncap.Build` is what it returns.

Rooms, each of which imports only those below it:

`cli`                                `regioncap` on the command line
`airflow`                            operators, sensor, form, connections
`steps`, `pages`                     a file for each of the DAG's tasks; what is published, to look at
`report`                             what is said of a build
`ask`                                requests, attempts, asking
`work`                               what is kept while a build is made
`config`                             settings of a run, variables of the deployment
`exports`                            the records in other formats
`warehouse`, `vlm`, `gates`          what is published; how a VLM is talked to; checks of answers
`trust`                              what a listener is asked, and what is told from its answers
`captions`                           prompts, and taking answers apart
`drop`                               manifests, rows, image files
`marks`                              styles, views, model profiles
`storage`, `regions`                 stores; boxes, records, codes
`extend`, `parallel`, `processes`    what users can add; work on many items at once; services that are always
                                     ended, and what a process may use
`errors`                             one tree: the type says who has to act
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
