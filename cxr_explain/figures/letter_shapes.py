"""Lines of text as outlines, laid out once for any size: what Agg fills sooner than letter by letter.

Matplotlib lays out each line anew and renders each letter by itself, which took a third of a figure's time.
This knows the DejaVu Sans that Matplotlib ships: letters that stand one after the other, its kerning, and
its ligatures. Other fonts, and scripts whose letters change with their neighbours, are left to Matplotlib.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font, Kerning, LoadFlags
from matplotlib.path import Path
from numpy.typing import NDArray

_EM = 2048
"""Units of the outlines in the size of the letters: those of DejaVu itself."""

_PLAIN = re.compile(
    "[\u0020-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u1eff\u2010-\u2027\u2030-\u205e\u2070-\u20cf\u2100-\u2bff]*"
)
"""Latin, Greek and Cyrillic letters without combining marks, and signs."""

_LIGATURES = {"ffi": "\ufb03", "ffl": "\ufb04", "ff": "\ufb00", "fi": "\ufb01", "fl": "\ufb02"}


@lru_cache(maxsize=1024)
def line_shape(font: str | None, text: str) -> tuple[Path, float] | None:
    """The outline of a line that begins at (0, 0), y upwards, and its advance, in sizes of the letters.

    Args:
        font: path of the font's file; None for several fonts.
        text: one line of clean text.

    Returns:
        None where the text is to be left to Matplotlib.

    >>> from cxr_explain.figures.lettering import DEJAVU
    >>> font = DEJAVU.font().get_file()
    >>> _, advance = line_shape(font, "Mass")
    >>> round(advance, 2), line_shape(font, "\u05d0") is None
    (2.52, True)
    """
    if font is None or os.path.dirname(font) != _shipped() or not _PLAIN.fullmatch(text):
        return None
    for letters, ligature in _LIGATURES.items():
        text = text.replace(letters, ligature)
    glyphs = [_glyph(font, letter) for letter in text]
    if not all(index for index, *_ in glyphs):
        return None
    kerned = [
        _opened(font).get_kerning(one[0], other[0], Kerning.UNFITTED) / 64 for one, other in pairwise(glyphs)
    ]
    starts = np.cumsum([0.0, *(advance for _, advance, _, _ in glyphs)]) + np.cumsum([0.0, *kerned, 0.0])
    vertices = np.concatenate([np.empty((0, 2)), *(each[2] for each in glyphs)])
    vertices[:, 0] += np.repeat(starts[:-1], [len(each[2]) for each in glyphs])
    codes = np.concatenate([np.empty(0, np.uint8), *(each[3] for each in glyphs)])
    return Path(vertices / _EM, codes), float(starts[-1]) / _EM


@lru_cache(maxsize=1024)
def _glyph(font: str, letter: str) -> tuple[Any, float, NDArray[Any], NDArray[Any]]:
    """Index (0 where the font has it not), advance, and the outline's vertices and codes."""
    opened = _opened(font)
    glyph = opened.load_char(ord(letter), flags=LoadFlags.NO_HINTING)
    vertices, codes = opened.get_path()
    return opened.get_char_index(ord(letter)), glyph.linearHoriAdvance / 65536, vertices, codes


@lru_cache(maxsize=1)
def _shipped() -> str:
    """The folder of the fonts that Matplotlib ships."""
    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf")


@lru_cache(maxsize=8)
def _opened(font: str) -> FT2Font:
    opened = FT2Font(font)
    opened.set_size(_EM, 72)
    return opened
