"""Opening images of unknown origin: every format we accept becomes the RGB picture a person would see."""

import io
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile

from regioncap.drop.coding import by_numbers
from regioncap.drop.colours import AS_STORED, Colours, deep_to_rgb, to_rgb, told_by_profile
from regioncap.drop.heif import Said, read_heif
from regioncap.drop.jpeg import DamagedError, Layout, feed, read_layout
from regioncap.drop.png import SIGNATURE, read_png
from regioncap.drop.tiff import check_not_dark, check_readable, check_sums, deep_grey, tags_of
from regioncap.drop.unread import not_read
from regioncap.drop.webp import has_hole
from regioncap.errors import RowError
from regioncap.marks.profiles import MAX_ASPECT
from regioncap.regions.codes import Code

# Only these decoders are ever tried: Pillow's full list has some that start other programs (EPS) or are rarely tested.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# What is decoded, and what a JPEG may have that is decoded at a half, a quarter or an eighth for that: any one can be.
MAX_PIXELS = 100_000_000
MAX_FILE_PIXELS = 65_535 * 65_535
MAX_BYTES = 100 * 1024 * 1024

# The brands of HEIC, at the start of such a file (ISO/IEC 23008-12); `mif1` and `msf1` may be AVIF.
_HEIC = re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)
# What AVIF and HEIC say of their size, in the property `ispe`: width, height.
_SAID_SIZE = re.compile(rb"ispe\0{4}(.{4})(.{4})", re.DOTALL)

# What has to be done to a stored image to show it, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = {5, 6, 7, 8}
# What can be decoded at a part of its size.
SCALABLE = ("JPEG", "MPO")


@dataclass(frozen=True)
class Picture:
    """An image file whose header has been read. `width` and `height` are those of the image as displayed, in pixels.

    `portable` says whether any reader opens the file and shows it upright: nothing has to be turned or forgiven.
    """

    width: int
    height: int
    portable: bool
    _stored: Image.Image = field(repr=False)
    orientation: int
    _colours: Colours = field(repr=False)
    # The file, for what Pillow does not read of it.
    _data: bytes = field(repr=False)
    _deep_colours: bool
    _said: Said
    _layout: Layout | None

    @property
    def form(self) -> str:
        """The file's format by Pillow's name, one of `FORMATS`, HEIF, or MPO: a JPEG with more pictures behind it."""
        return self._stored.format or ""

    @property
    def progressive(self) -> bool:
        """Whether it is a JPEG whose pixels are known only when all of the file is read."""
        return bool(self._stored.info.get("progressive"))

    def decode(self, at_least: tuple[int, int] | None = None, *, colour_managed: bool = True) -> Image.Image:
        """The picture a person sees: RGB, upright, sRGB, transparency over white. Only once for each Picture.

        With `at_least` (width, height), a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is not smaller, and
        so is one of more than `MAX_PIXELS` in any case.
        Without `colour_managed`, what the file says of its colours is ignored, as OpenCV ignores it. More than 8 bits
        are seen as `deep_to_rgb` says.
        Raises RowError (image_truncated, image_unreadable), and MemoryError.
        """
        try:
            values = self._loaded(at_least)
        except Exception as error:  # decoders raise nearly anything on hostile bytes
            _raise_if_not_about_the_data(error)
            raise RowError(Code.IMAGE_TRUNCATED, f"the image cannot be decoded to its last row: {error}") from error
        try:
            rgb = self._rgb(values, self._colours if colour_managed else AS_STORED)
            rgb = rgb.crop(self._said.crop) if self._said.crop else rgb
            return rgb.transpose(_TURNS[self.orientation]) if self.orientation in _TURNS else rgb
        except RowError:
            raise
        except Exception as error:
            _raise_if_not_about_the_data(error)
            raise RowError(Code.IMAGE_UNREADABLE, f"its colours cannot be converted: {error}") from error

    def _loaded(self, at_least: tuple[int, int] | None) -> npt.NDArray[Any] | None:
        """Decode the stored image; returns its pixels, if OpenCV reads more of them than Pillow keeps in `_stored`."""
        image = self._stored
        assert isinstance(image, ImageFile.ImageFile)
        if image.format == "AVIF":
            # libaom refuses damaged data, Pillow's dav1d takes them; and no more than 8 bits of a pixel are kept here.
            return _read_by_opencv(self._data, image.size)
        if image.format in SCALABLE:
            least = at_least or (self.width, self.height)
            _reduce(image, least[::-1] if self.orientation in _QUARTER_TURNS else least)
        if self._layout is not None:
            feed(image, self._data, self._layout)
        check_sums(image, self._data)
        if image.format == "WEBP" and has_hole(self._data):
            raise ValueError("a part of its data has never been written")
        image.load()
        # Pillow has told whether that is whole.
        return _read_by_opencv(self._data, image.size) if self._deep_colours else None

    def _rgb(self, values: npt.NDArray[Any] | None, colours: Colours) -> Image.Image:
        image = self._stored
        if values is not None and values.dtype == np.uint8:
            return to_rgb(Image.fromarray(values), colours)
        if values is not None:
            white = (1 << self._said.bits) - 1 if image.format == "AVIF" else None
            return deep_to_rgb(values, colours, white=white)
        check_not_dark(image)
        if (deep := deep_grey(image)) is None:
            return to_rgb(image, colours)
        transparent = image.info.get("transparency")
        return deep_to_rgb(
            deep,
            colours,
            white_is_zero=tags_of(image).get(ExifTags.Base.PhotometricInterpretation) == 0,
            transparent=transparent if isinstance(transparent, int) else None,
        )


def open_image(data: bytes, *, heic: bool = False, max_pixels: int = MAX_FILE_PIXELS) -> Picture:
    """Read the header of an image file; of several frames, the first counts. With `heic`, HEIC is read too.

    `max_pixels` is how many a file may have; of more than `MAX_PIXELS`, only a JPEG is taken.

    Raises RowError (image_empty, image_unreadable, image_truncated, image_too_large, image_too_thin), and MemoryError.
    """
    if not data:
        raise RowError(Code.IMAGE_EMPTY, "the image file has no bytes")
    png = read_png(data) if data.startswith(SIGNATURE) else None
    image = _opened(png.data if png else data, heic)
    width, height = image.size
    most = max_pixels if image.format in SCALABLE else min(max_pixels, MAX_PIXELS)
    if width * height > most:
        raise _too_large(width, height, most)
    said = read_heif(data) if image.format == "AVIF" else Said()
    if said.crop:
        width, height = said.crop[2] - said.crop[0], said.crop[3] - said.crop[1]
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise RowError(
            Code.IMAGE_TOO_THIN,
            f"{width} x {height} pixels: the longer side is more than {MAX_ASPECT} times the shorter one",
        )
    check_readable(image)
    layout = _layout(image, data)
    orientation = _orientation(image)
    if orientation in _QUARTER_TURNS:
        width, height = height, width
    return Picture(
        width,
        height,
        portable=orientation == 1 and (png is None or png.sound) and (layout is None or layout.has_end),
        _stored=image,
        orientation=orientation,
        _colours=png.colours if png else _colours(image, said),
        _data=png.data if png else data,
        _deep_colours=png is not None and png.deep_colours,
        _said=said,
        _layout=layout,
    )


@contextmanager
def set_up_for_pictures() -> Iterator[None]:
    """While this lasts, Pillow and OpenCV are set up for work on many pictures, in two threads a core.

    The settings are those of the whole process, in which others may work with Pillow too: they are put back.
    """
    limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    blocks, own_threads = Image.core.get_blocks_max(), cv2.getNumThreads()  # type: ignore[attr-defined]
    # Ours is checked before a pixel is decoded, by `open_image`; Pillow's own would warn below it.
    Image.MAX_IMAGE_PIXELS = None
    # A file cut short is a fault of the row, not something to paper over with grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    # Pillow keeps so many blocks of memory (of 16 MB at most) for the next image. Given back to the system after each
    # one, as is its default, they have to be mapped anew page by page: a quarter of the time of small images.
    Image.core.set_blocks_max(4 * (os.cpu_count() or 1))  # type: ignore[attr-defined]
    # Images are worked on in parallel already; OpenCV's own threads would only get in each other's way.
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated
        Image.core.set_blocks_max(blocks)  # type: ignore[attr-defined]
        cv2.setNumThreads(own_threads)


def _opened(data: bytes, heic: bool) -> Image.Image:
    """The image with its header read, by the first decoder that takes it."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise RowError(Code.IMAGE_TOO_LARGE, f"the limit is {MAX_PIXELS:,} pixels: {error}") from error
    except Exception as error:
        _raise_if_not_about_the_data(error)
        unreadable = error
    # libavif gives no reason for what is too large for it.
    for width, height in (struct.unpack(">II", b"".join(said)) for said in _SAID_SIZE.findall(data, 0, 1 << 16)):
        if width * height > MAX_PIXELS:
            raise _too_large(width, height, MAX_PIXELS)
    if _HEIC.match(data):
        if not heic:
            raise RowError(
                Code.IMAGE_UNREADABLE,
                "HEIC is not read: its decoder can hang on a file that was made for that. Convert the drop's HEIC "
                "images to JPEG, or set the param read_heic if you trust where they come from",
            )
        # Not registered with Pillow, whose formats are those of the whole process.
        from pi_heif import HeifImageFile

        try:
            opened: Image.Image = HeifImageFile(io.BytesIO(data))
        except Exception as error:
            _raise_if_not_about_the_data(error)
            raise RowError(Code.IMAGE_UNREADABLE, f"a HEIC file that cannot be opened: {error}") from error
        return opened
    raise not_read(data, FORMATS) from unreadable


def _too_large(width: int, height: int, limit: int) -> RowError:
    return RowError(Code.IMAGE_TOO_LARGE, f"{width} x {height} pixels; the limit is {limit:,} in all")


def _reduce(image: Image.Image, at_least: tuple[int, int]) -> None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 of its size where that is not smaller, or all of it would be too large."""
    width, height = image.size
    halvings = 0
    while width * height >> 2 * halvings > MAX_PIXELS:
        halvings += 1
    image.draft(image.mode, (min(at_least[0], width >> halvings), min(at_least[1], height >> halvings)))


def _raise_if_not_about_the_data(error: Exception) -> None:
    """Raise an error again that another try may not meet: it says nothing about the image."""
    if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
        raise error
    if isinstance(error, MemoryError | ImportError) or (isinstance(error, OSError) and error.errno is not None):
        raise error


def _orientation(image: Image.Image) -> int:
    """What EXIF says, 1 to 8; where it says nothing, the image is shown as it is stored, whatever its XMP says."""
    if image.format == "TIFF":
        # Pillow turns a TIFF itself, and has told the displayed size. By XMP, too, unless it is not there.
        image.info.pop("xmp", None)
        return 1
    try:
        exif = Image.Exif()
        # Not by `getexif`, which decodes a PNG, and loses the errors.
        exif.load(image.info["exif"])
        value = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken EXIF block, or none, says nothing about orientation
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _colours(image: Image.Image, said: Said) -> Colours:
    """What any file but a PNG says of its colours."""
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return Colours(coding=coding) if (coding := told_by_profile(profile)) else Colours(profile)
    nclx = image.info.get("nclx_profile") or {}
    numbers = said.numbers or (nclx.get("color_primaries", 2), nclx.get("transfer_characteristics", 2))
    return Colours(coding=by_numbers(*numbers))


def _layout(image: Image.Image, data: bytes) -> Layout | None:
    """Where the data of a JPEG are. Raises RowError where they cannot be a picture's."""
    if image.format not in ("JPEG", "MPO"):
        return None
    try:
        return read_layout(data)
    except DamagedError as error:
        raise RowError(Code.IMAGE_TRUNCATED, f"the file is damaged: {error}") from error


def _read_by_opencv(data: bytes, size: tuple[int, int]) -> npt.NDArray[Any]:
    """The stored pixels, of 8 or 16 bits: red, green and blue, and an alpha if there is one."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.shape[1::-1] != size:
        raise ValueError("its pixels cannot be read")
    return np.asarray(values if values.ndim == 2 else values[:, :, [2, 1, 0, 3][: values.shape[2]]])
