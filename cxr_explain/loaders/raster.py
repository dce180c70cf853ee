"""PNG, JPEG, TIFF, WEBP and BMP through Pillow, with every reinterpretation of the values recorded.

OpenCV and imagecodecs give the same pixels in 0.85 to 0.9 of the time, as `python -m benchmarks.reading_cost`
says: a millisecond of a PNG of 1024 x 1024, which is not worth another decoder beside Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from cxr_explain.errors import CorruptImageError, CxrExplainError, OptionError, UnsupportedImageError
from cxr_explain.loaders.decode_settings import DecodeSettings, size_warnings
from cxr_explain.loaders.equalisation import equalise, to_eight_bits
from cxr_explain.loaders.jpeg import check_jpeg
from cxr_explain.loaders.levels import count_levels, look_up
from cxr_explain.loaders.limits import Limits
from cxr_explain.loaders.png import check_png
from cxr_explain.loaders.tiff import check_exif, check_tiff
from cxr_explain.loaders.webp import check_webp
from cxr_explain.loaders.xrv import xrv_raster_pixels
from cxr_explain.radiograph import AS_PIXELS, PHANTOM_MAKER, VALUE_RANGE, Radiograph, to_display

_SIXTEEN_BIT: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_GREY_OR_COLOUR: Final = frozenset({"L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"})
_REFUSED: Final = {
    "1": "a 1-bit image",
    "CMYK": "a CMYK image",
    "YCbCr": "an image in YCbCr",
    "LAB": "an image in CIELAB",
    "HSV": "an image in HSV",
    "F": "floating-point pixels",
    "I": "signed or 32-bit integer pixels",
}
_EXIF_ORIENTATION, _RAW_EXIF = 0x0112, "Raw profile type exif"
_BMP_RUNS, _SLOWER = (1, 2), 4
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_WHITE_IS_ZERO = 258, 262, 0
_TIFF_SAMPLES, _TIFF_SIGNED = 339, 2
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG_COLOUR_NOISE = 8
_BAND = 2**20
_WHITE, _DARK = 255, 32
_UNEVEN = 0.01
_DEPTHS: Final = (8, 10, 12, 14, 15)


@dataclass
class _Notes:
    steps: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_raster(plugin: type[ImageFile], data: bytes, settings: DecodeSettings) -> Radiograph:
    """Turn the bytes of a raster file into a Radiograph.

    Colour becomes luminance with the weights of ITU-R BT.601, in Pillow's fixed-point form: they sum to
    exactly 1, so a grey image stored as RGB gives the very same pixels as the same image stored in grey.

    Args:
        plugin: Pillow's class of the format. `Image.open` would apply a global size limit, which belongs to
            the caller's process, and would take other formats.
        data: the file's bytes.
        settings: how the file is to be decoded.

    Raises:
        RadiographError: a file that gives no radiograph; `read_radiograph` lists the kinds.
    """
    kind = settings.format
    if settings.frame not in (None, 0):
        raise OptionError(f"frame={settings.frame} for a {kind} file", expected="no frame")
    notes = _Notes()
    png_depth = check_png(data, settings.limits) if kind == "PNG" else None
    loaded, orientation, bits, inverted_tiff, info = _decoded(plugin, data, settings, notes)
    mode = loaded.mode
    # Pillow turns TIFF itself while loading.
    upright = loaded if kind == "TIFF" else _turn(loaded, orientation)
    original = (
        (_turn_back(loaded, orientation) if kind == "TIFF" else loaded) if settings.xrv_compatible else None
    )
    del loaded
    _describe_decoding(kind, mode, bits, png_depth, notes)
    grey, largest = _to_grey(upright, mode, info, bits, inverted_tiff, notes)
    del upright
    darkest, brightest = min(int(grey.min()), largest), min(int(grey.max()), largest)
    if largest == _WHITE:
        _note_darkness(brightest, png_depth or bits or 8, notes)
    pixels, display = _scaled(grey, largest), AS_PIXELS
    _note_ignored(info, settings, notes)
    if settings.rendering == "equalised":
        display = to_display(pixels)
        pixels = _equalised(grey, largest, notes)
    notes.steps.append(f"scaled to [-1024, 1024] by {largest if display is AS_PIXELS else _WHITE}")
    if darkest == brightest:
        notes.warnings.append("all pixels have one value")
    steps = notes.steps
    if original is not None:
        shown = pixels
        pixels, xrv_steps = xrv_raster_pixels(_xrv_samples(original, kind, mode, info))
        display = to_display(shown if shown.shape == pixels.shape else pixels)
        steps = [notes.steps[0], *xrv_steps]
    return Radiograph(
        pixels=np.ascontiguousarray(pixels),
        display=display,
        sha256=settings.sha256,
        id=settings.safe_id,
        format=kind,
        steps=tuple(steps),
        warnings=(*notes.warnings, *size_warnings(*pixels.shape)),
        xrv_compatible=settings.xrv_compatible,
        phantom=kind == "PNG" and info.get("Software") == " ".join(PHANTOM_MAKER),
    )


read_png = partial(read_raster, PngImagePlugin.PngImageFile)
read_jpeg = partial(read_raster, JpegImagePlugin.JpegImageFile)
read_tiff = partial(read_raster, TiffImagePlugin.TiffImageFile)
read_webp = partial(read_raster, WebPImagePlugin.WebPImageFile)
read_bmp = partial(read_raster, BmpImagePlugin.BmpImageFile)


class _Loaded(NamedTuple):
    """A decoded picture, and what its file says about it; the file's own image is gone."""

    image: Image.Image
    orientation: int
    tiff_bits: int | None
    inverted_tiff: bool
    info: dict[Any, Any]


def _decoded(plugin: type[ImageFile], data: bytes, settings: DecodeSettings, notes: _Notes) -> _Loaded:
    kind, limits = settings.format, settings.limits
    scans = _check_before_opening(data, kind, limits)
    with _open(plugin, data, kind) as image:
        limits.check_pixels(image.height, image.width)
        limits.check_passes(scans, image.height, image.width)
        _check_mode(image)
        _check_runs(image, limits)
        orientation = _orientation(image, limits, notes)
        bits, inverted = _tiff_bits(image), _is_inverted_tiff(image)
        info = dict(image.info)
        return _Loaded(_load(image, kind), orientation, bits, inverted, info)


def _scaled(grey: NDArray[np.unsignedinteger], largest: int) -> NDArray[np.float32]:
    """Pixels by one table of all values of the type."""
    low, high = VALUE_RANGE
    levels = np.minimum(np.arange(2 ** (8 * grey.itemsize)), largest) / largest
    return look_up(grey, (low + (high - low) * levels).astype(np.float32))


def _equalised(grey: NDArray[np.unsignedinteger], largest: int, notes: _Notes) -> NDArray[np.float32]:
    """Pixels after equalisation; what is transparent counts as black."""
    levels = count_levels(np.minimum(grey, grey.dtype.type(largest)), 0, largest)
    notes.steps.append("smallest to largest value scaled to 8 bits")
    values = equalise(levels, to_eight_bits(levels), notes.steps, notes.warnings)
    low, high = VALUE_RANGE
    return look_up(grey, (low + (high - low) * values).astype(np.float32))


def _check_before_opening(data: bytes, kind: str, limits: Limits) -> int:
    """Refuse what Pillow would keep or make room for when it opens the file; count the passes over pixels."""
    if kind == "JPEG":
        return check_jpeg(data, limits)
    if kind == "TIFF":
        check_tiff(data, limits)
    if kind == "WEBP":
        check_webp(data, limits)
    return 1


def _open(plugin: type[ImageFile], data: bytes, kind: str) -> ImageFile:
    try:
        return plugin(BytesIO(data))
    except MemoryError:
        raise
    except Exception as error:
        if "unknown pixel mode" in str(error):  # Pillow's words for an intact TIFF
            raise UnsupportedImageError(
                f"a {kind} whose layout of pixels Pillow does not know",
                expected="8 or 16-bit grey, palette or RGB",
                remedy="Save it as an 8 or 16-bit grey PNG.",
            ) from None
        raise _undecodable(kind, type(error).__name__) from None


def _load(image: ImageFile, kind: str) -> Image.Image:
    try:
        image.load()
        return image.copy()
    except MemoryError:
        raise
    except Exception as error:
        raise _undecodable(kind, str(error) if isinstance(error, OSError) else type(error).__name__) from None


def _check_mode(image: ImageFile) -> None:
    try:
        frames = getattr(image, "n_frames", 1)
    except Exception:
        raise _undecodable(image.format or "image", "its list of images is damaged") from None
    if frames > 1:
        raise UnsupportedImageError(
            f"{frames} images in one file (animated or multi-page)",
            expected="one image",
            remedy="Save the one to be read as a file of its own.",
        )
    if _is_signed(image) or image.mode not in _GREY_OR_COLOUR | _SIXTEEN_BIT:
        found = _REFUSED["I"] if _is_signed(image) else _REFUSED.get(image.mode)
        raise UnsupportedImageError(
            found or f"pixels of Pillow's mode {image.mode}",
            expected="8 or 16-bit grey, palette or RGB",
            remedy="Save it as an 8 or 16-bit grey PNG.",
        )


def _check_runs(image: ImageFile, limits: Limits) -> None:
    """Refuse a large BMP of runs: Pillow unpacks them one by one, in Python."""
    if isinstance(image, BmpImagePlugin.BmpImageFile) and image.info.get("compression") in _BMP_RUNS:
        Limits(limits.max_pixels // _SLOWER).check_pixels(image.height, image.width)


def _orientation(image: ImageFile, limits: Limits, notes: _Notes) -> int:
    try:
        check_exif(_exif_of(image), limits)
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (MemoryError, CxrExplainError):
        raise
    except Exception:
        notes.warnings.append("EXIF data unreadable: orientation not applied")
        return 1
    if value in _TURNS:
        notes.steps.append(f"EXIF orientation {value} applied")
        return int(value)
    return 1


def _exif_of(image: ImageFile) -> bytes:
    """The EXIF data where Pillow looks for them: a PNG may have them behind its picture, or as digits."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        image.load()
    found = image.info.get("exif")
    if found is None and isinstance(digits := image.info.get(_RAW_EXIF), str):
        found = bytes.fromhex("".join(digits.split("\n")[3:]))
    return found if isinstance(found, bytes) else b""


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _turn_back(image: Image.Image, orientation: int) -> Image.Image:
    return _turn(image, {6: 8, 8: 6}.get(orientation, orientation))


def _tiff_bits(image: ImageFile) -> int | None:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    value = image.tag_v2.get(_TIFF_BITS, (8,))
    return int(value[0] if isinstance(value, tuple) else value)


def _is_signed(image: ImageFile) -> bool:
    """Pillow takes signed 8 bits for unsigned ones."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and _TIFF_SIGNED in np.atleast_1d(
        image.tag_v2.get(_TIFF_SAMPLES, 1)
    )


def _is_inverted_tiff(image: ImageFile) -> bool:
    """Pillow inverts white-is-zero for 8 bits, but not for 16."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.mode not in _SIXTEEN_BIT:
        return False
    return image.tag_v2.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO


def _describe_decoding(kind: str, mode: str, bits: int | None, png_depth: int | None, notes: _Notes) -> None:
    depth = png_depth or bits or (16 if mode in _SIXTEEN_BIT else 8)
    colour = {"L": "grey", "LA": "grey with alpha", "P": "palette"}.get(
        mode, "grey" if mode in _SIXTEEN_BIT else mode
    )
    notes.steps.insert(0, f"decoded {kind}, {depth}-bit {colour}")
    if depth == 16 and mode not in _SIXTEEN_BIT:
        notes.warnings.append("16-bit colour read with 8 bits: save as 16-bit grey to keep the depth")
    if depth < 8 and mode == "L":
        notes.warnings.append(f"only {2**depth} grey levels in the file")


def _to_grey(
    image: Image.Image, mode: str, info: dict[Any, Any], bits: int | None, inverted: bool, notes: _Notes
) -> tuple[NDArray[np.unsignedinteger], int]:
    """One grey channel, and the value that is white."""
    if mode in _SIXTEEN_BIT:
        return _sixteen_bit(image, info, bits, inverted, notes)
    if mode == "L" and "transparency" not in info:
        return np.asarray(image), 255
    grey, colour, alpha = np.empty(image.size[::-1], np.uint8), _Tally(), _Tally()
    for rows, rgba in _bands(image):
        channels = np.asarray(rgba)
        spread = channels[:, :, :3].max(axis=2) - channels[:, :, :3].min(axis=2)
        colour.add(spread > 0, spread > _JPEG_COLOUR_NOISE)
        alpha.add(channels[:, :, 3] < _WHITE)
        grey[rows] = _over_black(np.asarray(rgba.convert("RGB").convert("L")), channels[:, :, 3])
    if mode != "LA":
        _note_colour(colour, mode, notes)
    _note_alpha(alpha, mode, notes)
    return grey, _WHITE


@dataclass
class _Tally:
    """How many pixels are of a kind, and how many even more so, of those that were looked at."""

    some: int = 0
    much: int = 0
    pixels: int = 0

    def add(self, some: NDArray[np.bool_], much: NDArray[np.bool_] | None = None) -> None:
        self.some += int(np.count_nonzero(some))
        self.much += 0 if much is None else int(np.count_nonzero(much))
        self.pixels += some.size


def _bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The image in colour with alpha, some rows at a time: all of it would take as much memory again."""
    height = max(1, _BAND // image.width)
    for top in range(0, image.height, height):
        rows = slice(top, min(top + height, image.height))
        yield rows, image.crop((0, rows.start, image.width, rows.stop)).convert("RGBA")


def _sixteen_bit(
    image: Image.Image, info: dict[Any, Any], bits: int | None, inverted: bool, notes: _Notes
) -> tuple[NDArray[np.unsignedinteger], int]:
    values = np.asarray(image).astype(np.uint16)
    peak = int(values.max())
    largest = 2 ** (bits or 16) - 1 if (bits or 16) > 8 else 65535
    if inverted:
        values = (largest - np.minimum(values, largest)).astype(np.uint16)
        notes.steps.append("inverted once (TIFF white-is-zero)")
    transparent = info.get("transparency")
    if isinstance(transparent, int):
        values = np.where(values == transparent, np.uint16(0), values)
        notes.warnings.append("transparent pixels shown black")
    if largest == 65535:
        _note_depth(peak, notes, inverted=inverted)
    return values, largest


def _note_depth(peak: int, notes: _Notes, *, inverted: bool = False) -> None:
    """Name values that use less than the 16 bits they are stored in: nothing in a raster says so."""
    depth = next((bits for bits in _DEPTHS if peak < 2**bits), None)
    if depth is None or peak == 0:
        return
    end, how = ("white", "bright") if inverted else ("black", "dark")
    look = f"nearly {end}" if depth <= 12 else f"{2 ** (16 - depth)} times too {how}"
    notes.warnings.append(
        f"the largest of the 16-bit values is {peak}: this looks like {depth}-bit data and is {look} "
        f"as read; multiply the values by {2 ** (16 - depth)} and save again"
    )


def _note_darkness(peak: int, depth: int, notes: _Notes) -> None:
    """Name 8 bits that are nearly black: a mask, or deeper data of which the upper bits alone are kept."""
    if 0 < peak < _DARK:
        kept = "of the upper 8 of 16 bits" if depth == 16 else "of the 8-bit values"
        notes.warnings.append(
            f"the largest {kept} is {peak} of 255: nearly black as read; is this a mask, or data of "
            "fewer bits? Multiply the values and save again"
        )


def _note_colour(colour: _Tally, mode: str, notes: _Notes) -> None:
    stored = "a palette" if mode in ("P", "PA") else "RGB"
    if not colour.some:
        notes.steps.append(f"grey stored in {stored}: exact")
        return
    notes.steps.append("luminance of ITU-R BT.601")
    coloured = colour.much / colour.pixels
    if coloured > 0.01:
        notes.warnings.append(
            f"a colour image: {100 * coloured:.1f} % of the pixels have a hue; is this a radiograph?"
        )
    elif coloured > 0:
        notes.warnings.append("a few pixels have a hue, as of a coloured annotation")


def _note_alpha(alpha: _Tally, mode: str, notes: _Notes) -> None:
    if not alpha.some:
        if mode in ("LA", "PA", "RGBA"):
            notes.steps.append("alpha channel fully opaque: without effect")
        return
    notes.steps.append("alpha composited over black")
    clear = 100 * alpha.some / alpha.pixels
    notes.warnings.append(f"{clear:.1f} % of the pixels are transparent: shown over black")


def _over_black(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same where the pixel is opaque."""
    product = grey.astype(np.uint16) * alpha
    return ((product + 127) // 255).astype(np.uint8)


def _note_ignored(info: dict[Any, Any], settings: DecodeSettings, notes: _Notes) -> None:
    """Profiles and gamma describe a screen, and the models were trained on the values as stored."""
    if info.get("icc_profile"):
        notes.steps.append("ICC profile ignored")
    gamma = info.get("gamma")
    if isinstance(gamma, float):
        notes.steps.append(f"gamma {gamma:g} ignored")
    if _is_stretched(info):
        notes.warnings.append("pixels are not square: the image is used as stored, not resampled")
    if settings.voi.kind in ("index", "window"):
        notes.warnings.append("voi= has no effect on a raster image")


def _is_stretched(info: dict[Any, Any]) -> bool:
    """Whether rows and columns have other densities, as far as there is a readable pair of them."""
    pairs = (info[key] for key in ("dpi", "aspect", "jfif_density") if isinstance(info.get(key), tuple))
    try:
        across, down = (float(value) for value in next(pairs, (1, 1)))
    except (TypeError, ValueError, ZeroDivisionError):
        return False
    return min(across, down) > 0 and abs(across / down - 1) > _UNEVEN


def _xrv_samples(image: Image.Image, kind: str, mode: str, info: dict[Any, Any]) -> NDArray[np.generic]:
    """The samples that `skimage.io.imread` hands to torchxrayvision: palettes expanded, but in TIFF."""
    if mode in ("P", "PA") and kind != "TIFF":
        return np.asarray(image.convert("RGBA" if "transparency" in info else "RGB"))
    return np.asarray(image)


def _undecodable(kind: str, said: str) -> CorruptImageError:
    return CorruptImageError(
        f"{kind} data that cannot be decoded ({said})", remedy="The file is damaged or truncated."
    )
