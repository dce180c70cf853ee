"""Fonts in a PDF: embedded as the standard has them, and text that can be selected."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import unicodedata
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import fontTools.ttLib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from matplotlib.backends import _backend_pdf_ps
from matplotlib.font_manager import findfont
from PIL import Image
from test_lettering import NAMES, name_in

from cxr_explain.figures.page import Page
from cxr_explain.figures.pdf_fonts import truetype_outlines
from cxr_explain.figures.style import Style

TRUETYPE, CUBIC = b"\x00\x01\x00\x00", b"OTTO"
EM = 1000


@pytest.fixture(scope="module")
def cubic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A font whose letter A is a disc of cubic curves, 0.8 of the size wide, on the baseline."""
    pen = T2CharStringPen(EM, {})
    r, k, x, y = 400, 0.5523 * 400, 500, 400
    pen.moveTo((x + r, y))
    pen.curveTo((x + r, y + k), (x + k, y + r), (x, y + r))
    pen.curveTo((x - k, y + r), (x - r, y + k), (x - r, y))
    pen.curveTo((x - r, y - k), (x - k, y - r), (x, y - r))
    pen.curveTo((x + k, y - r), (x + r, y - k), (x + r, y))
    pen.closePath()
    empty = T2CharStringPen(EM, {})
    builder = FontBuilder(EM, isTTF=False)
    builder.setupGlyphOrder([".notdef", "A"])
    builder.setupCharacterMap({ord("A"): "A"})
    outlines = {".notdef": empty.getCharString(), "A": pen.getCharString()}
    builder.setupCFF("Discs", {"FullName": "Discs"}, outlines, {})
    builder.setupHorizontalMetrics({".notdef": (EM, 0), "A": (EM, 100)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Discs", "styleName": "Regular", "psName": "Discs"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path_factory.mktemp("fonts") / "discs.otf"
    builder.save(path)
    assert path.read_bytes().startswith(CUBIC)
    return path


def pdf_of(lines: Sequence[str], style: Style | None = None) -> bytes:
    page = Page(6, 0.4 * len(lines) + 0.3, 100, style or Style())
    for at, line in enumerate(lines):
        page.text(0.2, 0.4 * (at + 1), line, size=12)
    return page.figure.to_bytes("pdf")


def embedded(pdf: bytes) -> list[bytes]:
    """The font files in a PDF."""
    numbers = re.findall(rb"/FontFile\d? (\d+) 0 R", pdf)
    streams = [re.search(rb"\n%s 0 obj.*?stream\r?\n(.*?)\nendstream" % n, pdf, re.DOTALL) for n in numbers]
    return [zlib.decompress(stream[1]) for stream in streams if stream]


def tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed (Debian's poppler-utils)")
    return found


def test_every_font_is_embedded_with_quadratic_outlines(cubic: Path) -> None:
    names = [name for script in NAMES if (name := NAMES[script]) and script != "Persian"]
    files = embedded(pdf_of([*names, "AAA"], Style(fonts=(str(cubic),))))
    assert len(files) >= 2
    assert all(file.startswith(TRUETYPE) for file in files)


def test_the_outlines_are_those_of_the_font(cubic: Path, tmp_path: Path) -> None:
    path = tmp_path / "disc.pdf"
    page = Page(1, 1, 100, Style(fonts=(str(cubic),)))
    page.text(0, 0.75, "A", size=36)
    page.figure.save(path)
    subprocess.run([tool("pdftoppm"), "-r", "720", "-png", path, tmp_path / "disc"], check=True)
    (picture,) = tmp_path.glob("disc*.png")
    ink = 1 - np.asarray(Image.open(picture).convert("L"), float) / 255
    y, x = np.mgrid[: ink.shape[0], : ink.shape[1]] + 0.5
    middle, radius = (0.5 * 360, 540 - 0.4 * 360), 0.4 * 360
    disc = np.hypot(x - middle[0], y - middle[1]) < radius
    assert np.abs(ink / ink.max() - disc).mean() < 0.002


def test_matplotlibs_writer_is_left_as_it_was(cubic: Path) -> None:
    before = _backend_pdf_ps.get_glyphs_subset
    pdf_of(["A"], Style(fonts=(str(cubic),)))
    assert _backend_pdf_ps.get_glyphs_subset is before
    with suppress(ZeroDivisionError), truetype_outlines():
        assert _backend_pdf_ps.get_glyphs_subset is not before
        _ = 1 / 0
    assert _backend_pdf_ps.get_glyphs_subset is before


@pytest.mark.parametrize(
    "script", ["German", "Vietnamese", "Cyrillic", "Arabic", "Hebrew", "Japanese", "Chinese", "Korean"]
)
def test_text_can_be_selected_and_its_font_is_embedded(script: str, tmp_path: Path) -> None:
    name = name_in(script)
    path = tmp_path / "page.pdf"
    path.write_bytes(pdf_of([name], Style(fonts=("DejaVu Serif",))))
    fonts = subprocess.run([tool("pdffonts"), path], capture_output=True, text=True, check=True)
    assert fonts.stderr == ""
    rows = fonts.stdout.splitlines()[2:]
    assert rows
    assert all(row.split()[-5:-2] == ["yes", "yes", "yes"] for row in rows)
    text = subprocess.run([tool("pdftotext"), path, "-"], capture_output=True, text=True, check=True).stdout
    marks = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    assert marks.split() == name.split()


def test_no_font_has_tables_of_how_letters_join() -> None:
    font = fontTools.ttLib.TTFont(io.BytesIO(embedded(pdf_of(["Mass of 5 mm"]))[0]))
    assert "glyf" in font
    assert "GSUB" in fontTools.ttLib.TTFont(findfont("DejaVu Sans"))
    assert {"GSUB", "GPOS", "GDEF", "kern"}.isdisjoint(font.keys())
