"""The table of image formats: what derives from it, and the texts that name them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cxr_explain import read_radiograph
from cxr_explain.errors import NotAnImageError
from cxr_explain.loaders.formats import ENDINGS, FORMATS, ImageFormat

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_every_format_has_a_reader_and_endings(each: ImageFormat) -> None:
    assert callable(each.load())
    assert each.endings
    assert all(ending.startswith(".") and ending == ending.lower() for ending in each.endings)
    assert set(each.endings) <= ENDINGS


def test_no_two_formats_have_a_name_or_an_ending_in_common() -> None:
    assert len({each.name for each in FORMATS}) == len(FORMATS)
    assert len(ENDINGS) == sum(len(each.endings) for each in FORMATS)


def test_the_error_names_every_format(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(NotAnImageError) as caught:
        read_radiograph(tmp_path / "text.png")
    assert caught.value.expected == "DICOM, PNG, JPEG, TIFF, WEBP, BMP"


@pytest.mark.parametrize("page", ["README.md", "docs/reference/index.md"])
def test_the_documents_name_every_format(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [each.name for each in FORMATS if each.name not in text] == []


def test_the_table_imports_no_reader() -> None:
    script = (
        "import sys, cxr_explain.loaders; from cxr_explain.loaders.formats import FORMATS; "
        "print({'pydicom', 'cxr_explain.loaders.raster'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
