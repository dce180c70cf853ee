"""Execute the notebooks: check that what they store is what they print, or store it anew.

    python notebooks/execute.py                  # execute all; fail on an error, or on output that drifted
    python notebooks/execute.py --store FILE ... # execute, and write the outputs into the notebooks

Stored outputs carry no times, no paths of this machine and no widget state; pictures have 256 colours.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from cxr_explain.figures.compact_png import compact_png

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TIMEOUT_S = 300
MOST_BYTES = 700_000
"""Of a stored notebook: a clone stays small."""

RELATIVE, COUNT = 0.05, 2
"""How far a number, and a whole one, may be from the stored one: another processor rounds a forward pass
otherwise, and a peak between two equal cells flips."""

TINY = 1e-4
"""Below it, numbers with an exponent are differences that rounding makes."""

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
_DIGEST = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{8,64}\b")  # of a file of rounded pixels
_KEPT = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/svg+xml")
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks() -> list[Path]:
    """All of them, in reading order."""
    return sorted(HERE.glob("[0-9][0-9]_*.ipynb"))


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom in an empty folder, and give it back with clean outputs.

    Raises:
        CellExecutionError: a cell that failed.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT_S,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
        client.execute(env=_environment())
        places = {folder: "", os.path.realpath(folder): ""}
    _clean(notebook, places)
    return notebook


def differences(stored: nbformat.NotebookNode, fresh: nbformat.NotebookNode) -> list[str]:
    """Where printed text differs by more than rounding, and where an output is missing on one side."""
    found = []
    for number, (before, now) in enumerate(zip(stored.cells, fresh.cells, strict=True), start=1):
        if now.cell_type == "code" and not _alike(_texts(before), _texts(now)):
            found.append(f"cell {number}:\n  stored: {_texts(before)}\n  now:    {_texts(now)}")
        elif now.cell_type == "code" and _kinds(before) != _kinds(now):
            found.append(f"cell {number}: stored {_kinds(before)}, now {_kinds(now)}")
    return found


def flaws(notebook: nbformat.NotebookNode) -> list[str]:
    """What a stored notebook must not have."""
    text = nbformat.writes(notebook)
    found = [f"it names {place}" for place in _machine_places() if place in text]
    if len(text) > MOST_BYTES:
        found.append(f"{len(text)} bytes; at most {MOST_BYTES} are stored")
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        if any(output.get("name") == "stderr" for output in cell.outputs):
            found.append(f"cell {number} prints a warning: {_texts(cell)}")
        if cell.execution_count is None and cell.source.strip():
            found.append(f"cell {number} was not executed")
    return found


def _environment() -> dict[str, str]:
    """The kernel's: the interpreter's own tools first, and one thread, so that numbers repeat."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"}


def _machine_places() -> list[str]:
    homes = [str(ROOT), str(Path.home()), tempfile.gettempdir()]
    return [f"{place}{os.sep}" for place in homes if len(place) > 1]


def _clean(notebook: nbformat.NotebookNode, places: dict[str, str]) -> None:
    notebook.metadata = nbformat.from_dict(_METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        if cell.cell_type == "code":
            cell.outputs = list(_joined(cell.outputs))
            for output in cell.outputs:
                _clean_output(output, places)


def _joined(outputs: list[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """One stream's output is cut by chance; put together what follows one another."""
    last = None
    for output in outputs:
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
            continue
        last = output
        yield output


def _clean_output(output: nbformat.NotebookNode, places: dict[str, str]) -> None:
    if output.output_type == "stream":
        output.text = _without(output.text, places)
    if "data" in output:
        data = {kind: value for kind, value in output.data.items() if kind in _KEPT}
        for kind, value in data.items():
            data[kind] = _smaller(value) if kind == "image/png" else _without(value, places)
        output.data = nbformat.from_dict(data)
        output.metadata = nbformat.from_dict({})


def _without(text: str, places: dict[str, str]) -> str:
    for place, instead in places.items():
        text = text.replace(f"{place}{os.sep}", instead).replace(place, instead or ".")
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _smaller(png: str) -> str:
    """A picture in 256 colours of its own: a third of the bytes."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        return base64.b64encode(compact_png(image)).decode()


def _texts(cell: nbformat.NotebookNode) -> str:
    parts: list[Any] = []
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        text = data.get("text/plain", "") if not {"text/html", "image/png"} & set(data) else ""
        parts.append(output.get("text", text))
    return "".join(parts).strip()


def _kinds(cell: nbformat.NotebookNode) -> list[list[str]]:
    return [sorted(output.get("data", {"stream": ""})) for output in cell.get("outputs", ())]


def _alike(stored: str, fresh: str) -> bool:
    """The same words, and numbers that differ by rounding at most."""
    stored, fresh = (_DIGEST.sub("(digest)", text) for text in (stored, fresh))
    if " ".join(_NUMBER.sub("#", stored).split()) != " ".join(_NUMBER.sub("#", fresh).split()):
        return False
    pairs = zip(_NUMBER.findall(stored), _NUMBER.findall(fresh), strict=True)
    return all(_close(before, now) for before, now in pairs)


def _close(before: str, now: str) -> bool:
    stored, fresh = abs(float(before)), abs(float(now))
    if "e" in before.lower():
        rounding = max(stored, fresh) < TINY
        return rounding or abs(float(before) - float(now)) <= RELATIVE * stored
    last_digit = 1.5 * 10.0 ** -len(before.partition(".")[2]) if "." in before else COUNT
    return abs(float(before) - float(now)) <= max(RELATIVE * stored, last_digit)


def main() -> int:
    """Execute the notebooks that are named, or all; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="notebooks; all by default")
    parser.add_argument("--store", action="store_true", help="write the outputs into the notebooks")
    arguments = parser.parse_args()
    failed = False
    for path in arguments.files or notebooks():
        started = time.monotonic()
        try:
            fresh = execute(path)
        except CellExecutionError as error:
            print(f"{path.name}: {error}")
            failed = True
            continue
        found = flaws(fresh) if arguments.store else differences(nbformat.read(path, as_version=4), fresh)
        if arguments.store and not found:
            nbformat.write(fresh, path)
        failed = failed or bool(found)
        print(f"{path.name}: {time.monotonic() - started:.1f} s", *found, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
