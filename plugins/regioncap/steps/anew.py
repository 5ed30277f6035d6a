"""Why a build is made and published anew, though neither its drop nor anything that shapes it has changed."""

from collections.abc import Callable

from regioncap.errors import BuildGoneError
from regioncap.exports.export import back_again
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import Manifest
from regioncap.warehouse.whole import problems, told


def why_anew(partition: Store, published: Manifest, is_there: Callable[[str], bool]) -> str | None:
    """What is to be mended about the current build, as a part of a sentence; None where nothing is.

    `is_there` tells whether the drop has an image, by its path. All that was asked is kept, so nothing is asked again.
    """
    if wrong := told(problems(partition, published)):
        return f"it is not whole any more ({wrong})"
    try:
        images = back_again(partition, published, is_there)
    except BuildGoneError as error:
        return f"it is not whole any more ({error})"
    if images:
        return f"its exports come without images that are in the drop again ({len(images):,}, the first is {images[0]})"
    return None
