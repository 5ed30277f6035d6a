"""The export `webdataset`: tar files of samples."""

import io
import tarfile

from regioncap.exports.export import Export, by_shard


@by_shard()
def webdataset(export: Export) -> None:
    """A sample is `<key>.json`, the record, and `<key>.jpg`, `.png` or `.webp` where images are carried."""
    for path, rows in export.files("tar"):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows:
                # Not the id: that may have dots and slashes in it, which mean something in these names.
                if row.image is not None:
                    _add(tar, f"{row.key}.{row.image.ending}", row.image.data)
                _add(tar, f"{row.key}.json", row.line)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no time and no owner: the same records give the same bytes
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
