"""The export `webdataset`: tar files of samples."""

import io
import tarfile

from regioncap.exports.export import Export


def webdataset(export: Export) -> None:
    """A sample is `<number>.json`, the record, and `<number>.jpg`, `.png` or `.webp` where images are carried."""
    for path, rows in export.files("tar"):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows:
                # The place in the build: an id may have dots and slashes in it, which mean something in these names.
                key = f"{row.number:09d}"
                if row.image is not None:
                    _add(tar, f"{key}.{row.image.ending}", row.image.data)
                _add(tar, f"{key}.json", row.line)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no time and no owner: the same records give the same bytes
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
