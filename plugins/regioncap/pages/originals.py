"""The unmarked original of a record, as somebody looks at it: found anew in the drop, and encoded anew."""

import hashlib

from pydantic import ValidationError

from regioncap.drop.decoders import Decoders
from regioncap.drop.decoding import shown
from regioncap.drop.drop import read_image
from regioncap.drop.elsewhere import Images
from regioncap.drop.rows import image_path
from regioncap.errors import BuildGoneError, DropChangedError, RowError
from regioncap.pages.builds import SeenBuild
from regioncap.pages.gallery import Place, line_at
from regioncap.regions.records import Record
from regioncap.storage.store import Store

# As large as a screen shows it; in pixels.
LONGEST_SIDE = 2048


def original(build: SeenBuild, place: Place, drop: Store, decoders: Decoders) -> bytes:
    """A JPEG of the record's original, `drop` being the date's.

    Whoever wrote the record is not trusted: its path is checked as a row's is, no link is followed, and the file is
    decoded in a process that can be killed. Raises BuildGoneError where it cannot be had, or is another one by now.
    """
    try:
        record = Record.model_validate_json(line_at(build, place))
        data = read_image(Images(drop), image_path(record.image))
        if hashlib.sha256(data).hexdigest() != record.image_sha256:
            raise BuildGoneError("the drop has another image of this name now: run the date again")
        _, (jpeg,) = decoders.run(data, shown, LONGEST_SIDE)
    except ValidationError as error:
        raise BuildGoneError("there is no such record in this build") from error
    except (RowError, DropChangedError) as error:
        raise BuildGoneError(f"the original cannot be shown: {error}") from error
    return jpeg
