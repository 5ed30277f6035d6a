"""What pixels a row's boxes count: those of the image as displayed, as stored, or of the size that the row gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from regioncap.regions.boxes import Box, BoxFormat, to_pixels

BoxFrame = Literal["displayed", "stored", "row_size"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Canvas:
    """What a row's boxes may be drawn on.

    `displayed` is the image's (width, height) as it is displayed, `orientation` its EXIF orientation (1 to 8), and
    `stated` the (width, height) that the row itself gives.
    """

    displayed: Size
    orientation: int = 1
    stated: Size | None = None

    @property
    def stored(self) -> Size:
        """The image's (width, height) as it is stored."""
        return self.displayed[::-1] if self.orientation >= 5 else self.displayed

    def frames(self) -> Sequence[BoxFrame]:
        """The frames that boxes may be in."""
        turned: list[BoxFrame] = ["stored"] if self.orientation > 1 else []
        sized: list[BoxFrame] = ["row_size"] if self.stated not in (None, self.displayed, self.stored) else []
        return ["displayed", *turned, *sized]

    def states(self, frame: BoxFrame) -> bool:
        """Whether the row's own size says that its boxes are in a frame."""
        return frame == "row_size" or (frame == "stored" and self.stated == self.stored != self.displayed)

    def size(self, frame: BoxFrame) -> Size:
        """The (width, height) of what boxes in a frame are drawn on."""
        if frame == "row_size" and self.stated is not None:
            return self.stated
        return self.stored if frame == "stored" else self.displayed


def as_displayed(raw: Sequence[float], box_format: BoxFormat, frame: BoxFrame, canvas: Canvas) -> Box:
    """Bring a well-formed box into pixels of the image as displayed; nothing is clipped.

    In the frame `row_size`, a row without a size has boxes in pixels of the image as displayed.
    """
    width, height = canvas.size(frame)
    box = to_pixels(raw, box_format, width, height)
    if frame == "stored" or (frame == "row_size" and _lies_on_its_side(canvas)):
        box = _turned(box, canvas.orientation, width, height)
        if canvas.orientation >= 5:
            width, height = height, width
    if (width, height) == canvas.displayed:
        return box
    across, down = canvas.displayed[0] / width, canvas.displayed[1] / height
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def _lies_on_its_side(canvas: Canvas) -> bool:
    """Whether the size that the row gives is that of a copy of the image as stored, which is turned for display."""
    if canvas.orientation < 5 or canvas.stated is None:
        return False
    wide, high = canvas.stated
    return (wide > high) != (canvas.displayed[0] > canvas.displayed[1])


def _turned(box: Box, orientation: int, width: int, height: int) -> Box:
    """A box of a stored image of `width` x `height`, where it is displayed: by the meaning of EXIF's orientations.

    Exif 2.32, section 4.6.4: which side of the picture row 0 and column 0 are.
    """
    x0, y0, x1, y1 = box
    mirrored_x, mirrored_y = (width - x1, width - x0), (height - y1, height - y0)
    across, down = {
        1: ((x0, x1), (y0, y1)),
        2: (mirrored_x, (y0, y1)),
        3: (mirrored_x, mirrored_y),
        4: ((x0, x1), mirrored_y),
        5: ((y0, y1), (x0, x1)),
        6: (mirrored_y, (x0, x1)),
        7: (mirrored_y, mirrored_x),
        8: ((y0, y1), mirrored_x),
    }[orientation]
    return across[0], down[0], across[1], down[1]
