"""The notebooks run as they stand, print what they store, and store nothing that should not be there."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "notebooks"))

import execute  # noqa: E402 - a script beside the notebooks

NOTEBOOKS = [path.name for path in execute.notebooks()]
NAMES = pytest.mark.parametrize("name", NOTEBOOKS)


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / name, as_version=4)


def test_there_are_eight() -> None:
    assert [int(name[:2]) for name in NOTEBOOKS] == list(range(1, 9))


@pytest.mark.notebooks
@NAMES
def test_a_notebook_prints_what_it_stores(name: str) -> None:
    found = execute.differences(stored(name), execute.execute(ROOT / "notebooks" / name))
    remedy = f"store it anew: python notebooks/execute.py --store notebooks/{name}"
    assert not found, "\n".join([*found, remedy])


@NAMES
def test_a_stored_notebook_is_small_and_names_no_machine(name: str) -> None:
    notebook = stored(name)
    nbformat.validate(notebook)
    assert execute.flaws(notebook) == []
    text = nbformat.writes(notebook)
    for trace in ("home", "root", "tmp", "work", "Users"):
        assert f"/{trace}/" not in text
    assert "widget-view" not in text


@NAMES
def test_a_stored_notebook_ends_in_a_picture_and_says_how_to_use_it(name: str) -> None:
    notebook = stored(name)
    words = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "Your own data and weights" in words
    pictures = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {}) or "<img" in output.get("data", {}).get("text/html", "")
    ]
    assert len(pictures) >= 3


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ("AUROC 0.812 of 40", "AUROC 0.815 of 40", True),
        ("AUROC 0.812", "AUROC 0.712", False),
        ("largest difference 1.2e-08", "largest difference 4.4e-07", True),
        ("largest difference 1.2e-08", "largest difference 0.3", False),
        ("largest difference 1e-09", "largest difference 0e+00", True),
        ("largest difference 1e-09", "largest difference 1e+00", False),
        ("1.25e+03", "1.30e+03", True),
        ("1.25e+03", "2.30e+03", False),
        ("0.00", "0.01", True),
        ("38 of 40", "36 of 40", True),
        ("38 of 40", "31 of 40", False),
        ("id cf4ce66d525e", "id 00ab66d525ef", True),
        ("id cf4ce66d525e", "id decade", False),
        ("Mass 0.9", "Edema 0.9", False),
        ("1 2", "1 2 3", False),
        ("a   b", "a b", True),
    ],
)
def test_text_is_compared_up_to_rounding(before: str, now: str, same: bool) -> None:
    def cell(text: str) -> nbformat.NotebookNode:
        code = nbformat.v4.new_code_cell("x")
        code.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        return nbformat.v4.new_notebook(cells=[code])

    assert (execute.differences(cell(before), cell(now)) == []) is same


def test_outputs_are_stripped(tmp_path: Path) -> None:
    """A real kernel prints its folder, an object's address, a widget and a picture."""
    source = (
        "import os, sys, ipywidgets\nprint(os.getcwd() + '/figure.png', object())\n"
        "display(ipywidgets.IntSlider())\n",
        "from PIL import Image\nImage.effect_noise((64, 64), 90).convert('RGB')",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in source])
    path = tmp_path / "a.ipynb"
    nbformat.write(notebook, path)
    clean = execute.execute(path)
    assert clean.cells[0].outputs[0].text == "figure.png <object object>\n"
    assert set(clean.cells[0].outputs[1].data) == {"text/plain"}
    import base64
    import io

    picture = Image.open(io.BytesIO(base64.b64decode(clean.cells[1].outputs[0].data["image/png"])))
    assert picture.mode == "P"
    assert execute.flaws(clean) == []


def test_a_warning_and_a_failing_cell_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    warn = nbformat.v4.new_code_cell("import warnings; warnings.warn('careful')")
    nbformat.write(nbformat.v4.new_notebook(cells=[warn]), path)
    assert any("prints a warning" in flaw for flaw in execute.flaws(execute.execute(path)))
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    with pytest.raises(execute.CellExecutionError, match="ZeroDivisionError"):
        execute.execute(path)
