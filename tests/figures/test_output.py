from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import matplotlib
import pytest
from figure_bytes import digests, small_figure
from PIL import Image
from synthetic import synthetic_explanation, synthetic_radiograph
from test_lettering import NAMES

from cxr_explain.errors import OptionError, OutputError
from cxr_explain.figures import draw_explanation
from cxr_explain.figures.lettering import Typeface
from cxr_explain.figures.output import FORMATS
from cxr_explain.figures.texts import DISCLAIMER

NAME = "DOE-JANE-19700101"
TESTS = Path(__file__).parents[1]

DRAW = f"""
import sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "figures")!r}]
from figure_bytes import digests
print(*digests(sys.argv[1:]))
print("matplotlib.pyplot" in sys.modules)
"""


@pytest.fixture(scope="module")
def figure():
    return small_figure()


@pytest.mark.parametrize("seed", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_the_same_bytes_in_two_processes_and_no_pyplot(seed):
    names = [name for name in NAMES.values() if not Typeface().unknown_letters([name])]
    run = subprocess.run(
        [sys.executable, "-c", DRAW, *names],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    *found, pyplot = run.stdout.split()
    assert found == digests(names)
    assert len(set(found)) == 7
    assert hashlib.sha256(b"").hexdigest() not in found
    assert pyplot == "False"


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_bytes_twice_and_through_savefig(kind, tmp_path):
    figure = synthetic_explanation(synthetic_radiograph((96, 96))).figure("Mass", dpi=60, parts=("table",))
    figure.savefig(tmp_path / f"a.{kind}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    content = (tmp_path / f"a.{kind}").read_bytes()
    assert content == buffer.getvalue() == figure.to_bytes(kind)
    assert figure.save(tmp_path / "new" / f"b.{kind}").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{kind}", "new"]


def named_figure():
    radiograph = synthetic_radiograph((64, 64), id=NAME)
    return draw_explanation(synthetic_explanation(radiograph, k=1), radiograph, dpi=50)


def test_png_metadata_has_no_name_and_no_date():
    info = Image.open(io.BytesIO(named_figure().to_bytes("png"))).info
    assert {key: value for key, value in info.items() if isinstance(value, str)} == {
        "Software": "cxr-explain",
        "Disclaimer": DISCLAIMER,
    }


def test_pdf_metadata_has_no_name_and_no_date():
    content = named_figure().to_bytes("pdf")
    assert b"CreationDate" not in content
    assert b"ModDate" not in content
    assert b"Matplotlib" not in content
    assert NAME.encode() not in content
    assert b"/Creator (cxr-explain)" in content
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
        assert b"Matplotlib" not in inflate(stream)


def inflate(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_svg_metadata_has_no_name_and_no_date():
    content = named_figure().to_bytes("svg").decode()
    metadata = re.search(r"<metadata>(.*?)</metadata>", content, re.DOTALL).group(1)
    assert NAME not in metadata
    assert "dc:date" not in metadata
    assert "Matplotlib" not in metadata
    assert DISCLAIMER in metadata


@pytest.mark.parametrize("kind", FORMATS)
def test_the_callers_style_changes_nothing_and_stays(figure, kind):
    before = figure.to_bytes(kind)
    radiograph = synthetic_radiograph((96, 96), patient_orientation=("L", "F"))
    with matplotlib.rc_context(
        {
            "savefig.bbox": "tight",
            "text.usetex": True,
            "font.size": 30,
            "figure.facecolor": "red",
            "lines.antialiased": False,
            "svg.hashsalt": None,
        }
    ):
        settings = dict(matplotlib.rcParams)
        again = draw_explanation(
            synthetic_explanation(radiograph), radiograph, reference_labels="Mass", dpi=60
        )
        assert again.to_bytes(kind) == before
        assert dict(matplotlib.rcParams) == settings


def test_other_formats_are_refused(figure, tmp_path):
    with pytest.raises(OptionError, match="png, pdf, svg"):
        figure.savefig(tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(figure, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        figure.savefig(tmp_path / "missing" / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be"):
        figure.save(tmp_path / "file" / "a.png")


def test_a_failed_write_leaves_the_old_file(figure, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxr_explain.explaining.explanation.os.replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        figure.save(path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_path_without_an_ending_becomes_a_png(figure, tmp_path):
    assert figure.save(tmp_path / "figure").name == "figure.png"
    assert Image.open(io.BytesIO(figure._repr_png_())).size[0] <= 1200  # 12 inches at most, at 100 dpi


def test_a_notebook_shows_the_figures_own_picture() -> None:
    """IPython would otherwise draw it with its own settings, in which letters are wider than measured."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.pylabtools import select_figure_formats
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    select_figure_formats(shell, {"png"})  # what the inline backend does
    figure = synthetic_explanation(synthetic_radiograph((96, 96))).figure(dpi=60)
    with capture_output() as captured:
        shell.display_formatter.format(figure)
    (shown,) = captured.outputs
    assert shown.data["image/png"] == figure._repr_png_()
