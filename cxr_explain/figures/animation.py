"""A picture that fades from the radiograph to the fused map and back: an animated GIF, or an animated PNG.

At a share s of the way, which rises and falls as a cosine does, a pixel is::

    out = (1 - s a) g + s a c       g grey, c and a the colour and the opacity of the overlay

An animated PNG has the radiograph once, and c and s a for each step: a viewer lays one over the other, and
the smooth layers are small. A GIF has no opacity and 256 colours a frame: here greys for the radiograph,
the same in each frame, and others for what is coloured, found among those pixels alone.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike, fspath
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.key_strip import KeyStrip, Pixels
from cxr_explain.figures.overlay import (
    MAX_OPACITY,
    grey_or_plain,
    hatch_period,
    mark_unseen,
    shape_within,
    tint_of,
    to_bytes,
)
from cxr_explain.figures.palette import ClassStyle, class_styles
from cxr_explain.figures.style import Style, style_of
from cxr_explain.figures.texts import DISCLAIMER
from cxr_explain.options import StyleName
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Floats
from cxr_explain.support.whole_file import write_output

_SECONDS = (1.0, 20.0)
_LONGEST = (64, 2048)
_FADING = 0.7  # share of a round in which the opacity changes; the rest is for looking
_STEP = 0.17  # seconds that a step takes: 18 frames in 4 s, some 2 MB of a GIF of 512 pixels
_STEPS = (4, 16)

_FAINTEST = 0.02  # opacity below which nobody sees a colour
_COLOUR_STEP = 8
_OPACITY_STEP = 3

_GREYS = 64
_BELOW = 32  # colours of what stands below the picture
_COLOURED = 255 - _GREYS - _BELOW  # the last one of 256 is for what stays as it was
_HUE = 3.0  # weight of a difference in hue against one in brightness, in the picture
_HUE_BELOW = 1.5  # and below it, where letters differ in brightness


def write_animation(
    path: str | PathLike[str],
    explanation: Explanation,
    radiograph: Radiograph | None = None,
    *,
    seconds: float = 4.0,
    longest: int = 512,
    max_opacity: float = MAX_OPACITY,
    key: bool = True,
    notice: bool = True,
    colours: Mapping[str, str] | None = None,
    style: Style | StyleName = "dark",
) -> Path:
    """Write the animation, whole or not at all; see `Explanation.animation`."""
    target = Path(fspath(path))
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        raise OptionError(
            f"an animation named {target.name!r}", expected="the ending .gif, or .png for an animated PNG"
        )
    for name, value, (low, high) in (("seconds", seconds, _SECONDS), ("longest", longest, _LONGEST)):
        if not low <= value <= high:
            raise OptionError(f"{name}={value!r}", expected=f"{low:g} to {high:g}")
    if not 0 < max_opacity <= 1:
        raise OptionError(f"max_opacity={max_opacity!r}", expected="a number in (0, 1]")
    radiograph = radiograph or explanation.radiograph
    styles = class_styles(explanation.ranking.pathologies, colours)
    fading = _fading(explanation, radiograph, styles, longest, max_opacity)
    phantom = explanation.provenance.phantom or (radiograph is not None and radiograph.phantom)
    below = KeyStrip(explanation, styles if key else (), style_of(style), notice=notice, phantom=phantom)
    strip = below.drawn(fading.width)
    return write_output(target, write(fading, strip, _timed(seconds)), "an animation")


@dataclass(frozen=True, eq=False)
class Fading:
    """The two pictures between which an animation fades.

    Args:
        base: (h, w, 3), the radiograph.
        colour: (h, w, 3), colours of the overlay.
        opacity: (h, w), opacities of the overlay in [0, 1].
    """

    base: Pixels
    colour: Pixels
    opacity: Floats

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.base.shape[1])

    def at(self, share: float) -> Pixels:
        """(h, w, 3), the picture at a share of the way."""
        opacity = (np.float32(share) * self.opacity)[..., None]
        mixed = (1 - opacity) * self.base + opacity * self.colour
        return mixed.round().astype(np.uint8)


def _fading(
    explanation: Explanation,
    radiograph: Radiograph | None,
    styles: Sequence[ClassStyle],
    longest: int,
    max_opacity: float,
) -> Fading:
    geometry = explanation.geometry
    shape = shape_within(geometry.radiograph_shape, longest)
    grey = np.repeat(to_bytes(grey_or_plain(radiograph, shape))[..., None], 3, axis=2)
    base = mark_unseen(grey, geometry, hatch_period(shape))
    fields = geometry.maps_to_radiograph(explanation.maps, shape)
    tint = tint_of(
        shape,
        fields,
        [style.rgb for style in styles],
        signs=[style.sign for style in styles],
        period=hatch_period(shape),
        max_opacity=max_opacity,
    )
    opacity = np.where(tint.opacity < _FAINTEST, 0, tint.opacity)
    colour = np.where(opacity > 0, tint.colour / np.maximum(opacity, _FAINTEST), 0)
    return Fading(base, np.moveaxis(_stepped(colour, _COLOUR_STEP), 0, -1), opacity)


def _stepped(values: Floats, step: int) -> Pixels:
    """[0, 1] to bytes that are multiples of a step: what changes slowly then takes few bytes of a PNG."""
    return np.clip(np.round(values * 255 / step) * step, 0, 255).astype(np.uint8)


def _timed(seconds: float) -> list[tuple[float, int]]:
    """Shares of the way, and for how many milliseconds each is shown; a GIF counts them in tens."""
    fade = seconds * _FADING / 2
    steps = min(max(round(fade / _STEP), _STEPS[0]), _STEPS[1])
    step = max(20, round(fade / steps * 100) * 10)
    rest = max(20, round((seconds * 1000 - 2 * steps * step) / 20) * 10)
    rising = [0.5 - 0.5 * math.cos(math.pi * at / (steps + 1)) for at in range(1, steps + 1)]
    there = [(share, step) for share in rising]
    return [(0.0, rest), *there, (1.0, rest), *reversed(there)]


def _gif(fading: Fading, strip: Pixels, timed: Sequence[tuple[float, int]]) -> bytes:
    first, *others = _reduced(fading, strip, [share for share, _ in timed])
    buffer = io.BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=others,
        duration=[time for _, time in timed],
        loop=0,
        disposal=1,
        optimize=True,
        comment=f"cxr-explain. {DISCLAIMER}.".encode(),
    )
    return buffer.getvalue()


def _reduced(fading: Fading, strip: Pixels, shares: Sequence[float]) -> Iterator[Image.Image]:
    """Each frame in 255 colours; a pixel that no map colours is the same in all of them."""
    greys = np.repeat(np.linspace(0, 255, _GREYS).round().astype(np.uint8)[:, None], 3, axis=1)
    below, below_at = _quantised(strip.reshape(-1, 3), _BELOW, _HUE_BELOW)
    base_at = np.round(fading.base[..., 0] / 255 * (_GREYS - 1)).astype(np.uint8)
    coloured = fading.opacity > 0
    for share in shares:
        picture = base_at.copy()
        fixed = np.concatenate([greys, below])
        found, found_at = _quantised(fading.at(share)[coloured] if share else strip[:0, 0], _COLOURED, _HUE)
        if len(found):
            picture[coloured] = found_at + len(fixed)
        indices = np.concatenate([picture, (below_at + _GREYS).reshape(strip.shape[:2])])
        image = Image.fromarray(indices.astype(np.uint8), "P")
        image.putpalette(np.concatenate([fixed, found]).tobytes())
        yield image


def _quantised(pixels: Pixels, most: int, hue: float) -> tuple[Pixels, NDArray[np.intp]]:
    """(n, 3) colours that stand for pixels (m, 3), and for each pixel which of them.

    Median cut spends its colours on what differs most, grey from grey, and faint evidence turns grey.
    So it is shown brightness, and hue at more than its own scale.
    """
    if not len(pixels):
        return np.zeros((0, 3), np.uint8), np.zeros(0, np.intp)
    red, green, blue = pixels.astype(np.float32).T
    bright, warm, cold = (red + green + blue) / 3, hue * (red - green), hue * (blue - (red + green) / 2)
    shown = np.stack([bright, 128 + warm, 128 + cold], axis=1).clip(0, 255).astype(np.uint8)
    clusters = Image.fromarray(shown[None]).quantize(most, dither=Image.Dither.NONE)
    _, at = np.unique(np.asarray(clusters)[0], return_inverse=True)
    count = np.bincount(at)
    means = [np.bincount(at, channel) / count for channel in (red, green, blue)]
    return np.stack(means, axis=1).round().astype(np.uint8), at


def _png(fading: Fading, strip: Pixels, timed: Sequence[tuple[float, int]]) -> bytes:
    """The PNG specification, third edition, 11.3.6: acTL, and fcTL with fdAT for each frame."""
    about = PngInfo()
    about.add_text("Software", "cxr-explain")
    about.add_text("Disclaimer", DISCLAIMER)
    base = np.concatenate([fading.base, strip])
    opaque = np.concatenate([base, np.full((*base.shape[:2], 1), 255, np.uint8)], axis=2)
    still = io.BytesIO()
    Image.fromarray(opaque).save(still, "PNG", pnginfo=about)
    chunks = [*_chunks(still.getvalue())]
    pixels = [chunk for chunk in chunks if chunk[0] == b"IDAT"]
    written = [*chunks[: chunks.index(pixels[0])], (b"acTL", struct.pack(">II", len(timed), 0))]
    height, width = fading.opacity.shape
    number = 0

    @cache  # it comes twice, on the way there and on the way back
    def layer(share: float) -> list[bytes]:
        alpha = _stepped(np.float32(share) * fading.opacity, _OPACITY_STEP)[..., None]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate([fading.colour, alpha], axis=2)).save(buffer, "PNG")
        return [data for kind, data in _chunks(buffer.getvalue()) if kind == b"IDAT"]

    for at, (share, time) in enumerate(timed):
        size = (width, height) if at else opaque.shape[1::-1]
        # After a layer comes the radiograph again, below the next one.
        ways = (2, 1) if at else (0, 0)  # APNG_DISPOSE_OP_PREVIOUS and APNG_BLEND_OP_OVER
        frame = struct.pack(">IIIIHHBB", *size, 0, 0, time, 1000, *ways)
        pieces = [(b"fdAT", data) for data in layer(share)] if at else pixels
        for kind, data in ((b"fcTL", frame), *pieces):
            numbered = kind != b"IDAT"
            written.append((kind, struct.pack(">I", number) + data if numbered else data))
            number += numbered
    written.append((b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in written
    )


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


_WRITERS: dict[str, Callable[[Fading, Pixels, Sequence[tuple[float, int]]], bytes]] = {
    ".gif": _gif,
    ".png": _png,
}
