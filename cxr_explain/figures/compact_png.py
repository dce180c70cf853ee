"""PNGs for stored notebooks: a palette of 256 colours in which no small region loses its own."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_COMMON = _RARE = 64
_WHITE = 250
_SEEN = 10
"""A difference in one channel, of 255, from which a pixel asks for a colour of its own."""

_WRONG = 80
"""A difference that no pixel may have, on the soft edge of a letter either: then all colours are kept."""


def compact_png(image: Image.Image) -> bytes:
    """Write an image as a PNG of 256 colours, or of all where these do not do.

    Pillow's median cut spends its palette on what is frequent: on a grey radiograph a small region of
    evidence would turn grey. Here three quarters of the palette are for pixels that the others got wrong.

    >>> image = Image.effect_noise((64, 64), 80).convert("RGB")
    >>> image.putpixel((3, 4), (204, 121, 167))
    >>> with Image.open(io.BytesIO(compact_png(image))) as again:
    ...     again.mode, again.convert("RGB").getpixel((3, 4))
    ('P', (204, 121, 167))
    """
    if image.mode not in ("L", "P", "1"):
        image = _reduced(image.convert("RGB"))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _reduced(image: Image.Image) -> Image.Image:
    colours = _palette(image.quantize(_COMMON, dither=Image.Dither.NONE))
    reduced = _with_palette(image, colours)
    while len(colours) + _RARE <= 256:
        wrong = np.asarray(image)[_difference(image, reduced) > _SEEN]
        if not len(wrong):
            return reduced
        rare = Image.fromarray(wrong[None]).quantize(_RARE, dither=Image.Dither.NONE)
        colours = np.concatenate([colours, _palette(rare)])
        reduced = _with_palette(image, colours)
    difference = _difference(image, reduced)
    too_poor = difference.max() > _WRONG or np.quantile(difference, 0.99) > 2 * _SEEN
    return image if too_poor else reduced


def _palette(image: Image.Image) -> NDArray[np.uint8]:
    """(n, 3), the colours that occur."""
    used = np.unique(np.asarray(image))
    colours: NDArray[np.uint8] = np.array(image.getpalette(), np.uint8).reshape(-1, 3)[used]
    colours[(colours >= _WHITE).all(axis=1)] = 255  # a plot's paper is as white as the page around it
    return colours


def _with_palette(image: Image.Image, colours: NDArray[np.uint8]) -> Image.Image:
    holder = Image.new("P", (1, 1))
    holder.putpalette(colours.tobytes())
    return image.quantize(palette=holder, dither=Image.Dither.NONE)


def _difference(image: Image.Image, reduced: Image.Image) -> NDArray[np.int16]:
    """(h, w), the largest over the channels."""
    before, after = (np.asarray(each.convert("RGB"), np.int16) for each in (image, reduced))
    return np.asarray(np.abs(before - after).max(axis=2))
