"""The key and the statement of use, burnt into an overlay: a band across its lower edge, or its upper one.

The band lies over pixels of the radiograph rather than beside them, so that a viewer that goes back and forth
between the two shows each pixel in one place. It lies at the bottom, where a chest radiograph has little to
show, unless it would hide strong evidence there and less at the top, where markers of the side are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_explain.dicom.content import ObjectContent
from cxr_explain.figures.content import Content
from cxr_explain.figures.key_strip import KeyStrip
from cxr_explain.figures.overlay import CONTOUR_LEVEL, evidence_peak, shape_within
from cxr_explain.figures.page import SMALL
from cxr_explain.figures.pieces import message_of
from cxr_explain.figures.style import style_of

LETTERS = 0.022
"""Size of the letters, as a share of the image's longer side: 11 pixels where a viewer shows 512."""

_SMALLEST = 9.0  # pixels that letters need to be read
_HIGHEST = 0.3  # share of the image's height that the band may take, before letters become smaller
_LEAST = 2.0
_SAMPLES = 256


@dataclass(frozen=True, eq=False)
class BurntKey:
    """An overlay with its key.

    Args:
        pixels: (H, W, 3).
        first_row: first row of the band.
        last_row: the row after the last one of the band.
    """

    pixels: NDArray[np.uint8]
    first_row: int
    last_row: int


def with_key(overlay: NDArray[np.uint8], content: ObjectContent) -> BurntKey:
    """Burn the key into an overlay.

    Args:
        overlay: (H, W, 3), the overlay.
        content: what it shows.
    """
    height = overlay.shape[0]
    band = _band(overlay.shape[:2], content)[:height]
    first = 0 if _belongs_on_top(len(band) / height, content) else height - len(band)
    pixels = overlay.copy()
    pixels[first : first + len(band)] = band
    return BurntKey(pixels, first, first + len(band))


def _band(shape: tuple[int, ...], content: ObjectContent) -> NDArray[np.uint8]:
    """(h, W, 3): the largest band that leaves the image room."""
    height, width = shape
    strip = _strip(content)
    letters = max(LETTERS * max(shape), _SMALLEST)
    while letters > _LEAST and strip.height(_inches(width, letters)) > _HIGHEST * _inches(height, letters):
        letters *= 0.9
    return strip.drawn(width, _inches(width, letters))


def _inches(pixels: int, letters: float) -> float:
    """A length on the page, where letters of so many pixels have their size in points."""
    return pixels / letters * SMALL / 72


def _strip(content: ObjectContent) -> KeyStrip:
    explanation, style = content.explanation, style_of(content.settings.style or "dark")
    shown = Content(
        explanation, content.radiograph, content.labels, (), look=style, colours=content.settings.colours
    )
    message = message_of(shown, evidence_peak(explanation.maps, explanation.geometry))
    return KeyStrip(
        explanation,
        shown.styles,
        style,
        phantom=shown.phantom,
        probabilities=True,
        remarks=(message,) if message else (),
    )


def _belongs_on_top(share: float, content: ObjectContent) -> bool:
    """Whether a band of this share of the height would hide strong evidence below, and less on top."""
    geometry, maps = content.explanation.geometry, content.explanation.maps
    if not len(maps):
        return False
    shape = shape_within(geometry.radiograph_shape, _SAMPLES)
    total = geometry.maps_to_radiograph(np.maximum(maps, 0).sum(axis=0), shape)
    rows = (total > CONTOUR_LEVEL * total.max()).sum(axis=1)
    covered = max(1, round(share * len(rows)))
    return bool(rows[:covered].sum() < rows[-covered:].sum())
