"""Fonts in a PDF as its standard has them.

Matplotlib 3.11 embeds fonts with cubic outlines (CFF, as in most fonts for Chinese, Japanese and Korean)
where the standard allows quadratic ones only (ISO 32000-1, 9.9, table 126). Some readers guess what is meant;
Ghostscript leaves letters out. Here such a font gets quadratic outlines before it is embedded.

It also cuts down tables that no PDF needs, such as those of how letters join: there, each glyph is named and
placed. That takes more time than the outlines do. Here these tables are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TOLERANCE = 0.0005  # of the font's size
_NEEDED = {
    "glyf", "head", "hhea", "hmtx", "loca", "maxp", "cvt ", "fpgm", "prep",  # ISO 32000-1, 9.9
    "CFF ", "OS/2", "cmap", "name", "post",
}  # fmt: skip


@contextmanager
def truetype_outlines() -> Iterator[None]:
    """Have Matplotlib embed quadratic outlines in what it writes as PDF, for the time of a block.

    The writer is global to the process: call it under the lock of `own_style`.
    """
    from matplotlib.backends import _backend_pdf_ps

    writer: Any = _backend_pdf_ps
    original = writer.get_glyphs_subset

    @contextmanager
    def converted(path: Any, glyphs: set[int]) -> Iterator[Any]:
        with _subset(path, glyphs) as (font, new_numbers):
            if "CFF " in font:
                _convert(font)
            yield writer.SubsetResults(font, new_numbers)

    writer.get_glyphs_subset = converted
    try:
        yield
    finally:
        writer.get_glyphs_subset = original


@contextmanager
def _subset(path: Any, glyphs: set[int]) -> Iterator[tuple[Any, dict[int, int]]]:
    """The font of some glyphs, and the number that each of them has in it."""
    from fontTools import subset

    options = subset.Options(glyph_names=True, recommended_glyphs=True)
    options.font_number = path.face_index
    subsetter = subset.Subsetter(options)
    subsetter.populate(gids=glyphs)
    with subset.load_font(path, options) as font:
        for table in set(font.keys()) - _NEEDED - {"GlyphOrder"}:  # the last is no table of a file
            del font[table]
        subsetter.subset(font)
        yield font, subsetter.glyph_index_map


def _convert(font: Any) -> None:
    """Replace the table of cubic outlines by one of quadratic ones."""
    from fontTools.pens.cu2quPen import Cu2QuPen
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from fontTools.ttLib import newTable

    names, outlines = font.getGlyphOrder(), font.getGlyphSet()
    glyf = newTable("glyf")
    glyf.glyphOrder, glyf.glyphs = names, {}
    for name in names:
        pen = TTGlyphPen(None)
        outlines[name].draw(Cu2QuPen(pen, _TOLERANCE * font["head"].unitsPerEm, reverse_direction=True))
        glyf.glyphs[name] = pen.glyph()
    font["loca"], font["glyf"] = newTable("loca"), glyf
    for name in names:
        glyf[name].recalcBounds(glyf)
        font["hmtx"][name] = (font["hmtx"][name][0], getattr(glyf[name], "xMin", 0))
    _count(font)
    font["post"].formatType = 3.0
    font.sfntVersion = "\x00\x01\x00\x00"
    for table in {"CFF ", "VORG"} & set(font.keys()):
        del font[table]


def _count(font: Any) -> None:
    """Fill in the table that tells a reader how much memory the outlines need; there are no instructions."""
    maxp = font["maxp"]
    maxp.tableVersion, maxp.maxZones = 0x00010000, 1
    for what in ("TwilightPoints", "Storage", "FunctionDefs", "InstructionDefs", "StackElements"):
        setattr(maxp, f"max{what}", 0)
    maxp.maxSizeOfInstructions = 0
    maxp.recalc(font)
