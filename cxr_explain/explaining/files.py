"""Many files through one explainer: results as they come, failures as values, memory that stays flat."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cxr_explain.errors import CxrExplainError, OptionError
from cxr_explain.explaining.drawing import Drawers, processes_for
from cxr_explain.explaining.explainer import Explained, Explainer
from cxr_explain.explaining.many import (
    Outcome,
    Saved,
    attempt,
    explain_in_batches,
    make_output_folder,
    save_outputs,
)
from cxr_explain.explaining.output_names import OutputNames
from cxr_explain.explaining.preprocessing import ModelInput
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.formats import ENDINGS
from cxr_explain.loaders.search import FIGURES, INDEX, FolderSearch, kind_of
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.options import FigureFormat, StyleName
from cxr_explain.pathologies import ReferenceLabels

if TYPE_CHECKING:
    from cxr_explain.display import Style

_PASSED_OVER = {"DICOMDIR": INDEX, "figure": FIGURES}
_GLOB_SIGNS = frozenset("*?[")

LabelsFor = Callable[[Path, tuple[int, int]], ReferenceLabels | None]
"""The reference labels of a file, whose image has that height and width in pixels."""


def unlabelled(_path: Path, _shape: tuple[int, int]) -> None:
    """No reference labels, whatever the file."""


def expand_inputs(inputs: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Turn files, folders and globs into files, each once, and notes on what was passed over.

    A folder is searched for files that are images by content or by extension; the extension counts so that a
    broken image becomes a failure with a name rather than a silent gap. What is passed over has its name in a
    note: what is no image, hidden files, links that lead nowhere, linked folders, the index of a disc,
    figures that this package drew, and a file that is there under another name.

    Raises:
        OptionError: a glob that matches nothing, or no file at all that is there.
    """
    files: dict[Path, None] = {}
    notes: list[str] = []
    for text in inputs:
        for path in _matches(text):
            if os.path.isdir(path):
                images, passed_over = _images_in(path)
                files.update(dict.fromkeys(images))
                notes += passed_over or ([] if images else [f"{path}: there is nothing in it"])
            else:
                files[path] = None
    if not any(map(_may_be_there, files)):  # said before weights are fetched in vain
        raise OptionError(
            f"no image in {', '.join(inputs)}",
            expected="files, folders with images, or globs",
            remedy=f"{'; '.join(notes)}." if notes else None,
        )
    unique: dict[str, Path] = {}
    for path in files:
        same = unique.setdefault(os.path.realpath(path), path)
        if same is not path:
            notes.append(f"{path}: passed over, the same file as {same}")
    return list(unique.values()), notes


def explain_files(
    explainer: Explainer,
    files: Sequence[Path],
    output: Path,
    *,
    asked: RankingSettings | None = None,
    reading: ReadSettings | None = None,
    labels_for: LabelsFor = unlabelled,
    figure_format: FigureFormat = "png",
    html: bool = False,
    style: Style | StyleName = "light",
    hashed_ids: bool = False,
    batch_size: int = 8,
    workers: int = 1,
    stability: bool = False,
    also: Sequence[Explainer] = (),
) -> Iterator[tuple[Path, Saved | CxrExplainError]]:
    """Read, explain, draw and save file by file.

    Args:
        explainer: the model, with its preprocessing and its rule.
        files: image files, in the order in which they are explained.
        output: folder for `<id>.png`, `<id>.json` and `<id>.npz`; made if missing. What is there of the same
            radiograph is replaced, what is of another is not: see `OutputNames`.
        asked: which pathologies to explain.
        reading: how to read the files; by default as the explainer prepares them.
        labels_for: gives the reference labels of a file.
        figure_format: "png", "pdf" or "svg".
        html: also write `<id>.html`; see `Explanation.to_html`.
        style: how the figures look.
        hashed_ids: name outputs after the SHA-256 of the file rather than after its name.
        batch_size: images in one forward pass.
        workers: processes that draw; 0 takes one a core for 16 files and more, and none for fewer. With 1
            this process draws. A script that asks for others guards its own work by `__name__ == "__main__"`,
            since they import it.
        stability: find how far each class map stays under small shifts and noise; see
            `Explainer.with_stability`.
        also: explainers with other weights, whose class maps are compared.

    Raises:
        OutputError: an output folder that cannot be made; every other error is the value of one file.
        OptionError: an option that fits no file, figures that would replace the radiographs, or a script
            that does not guard its work.
    """
    if not hashed_ids:
        _check_apart(files, output, figure_format)
    reading = reading or ReadSettings(xrv_compatible=explainer.settings.xrv_compatible)
    explainer.settings.check_read_alike(reading.xrv_compatible)
    if explainer.fitted is not None:
        explainer.fitted.check_read_alike(reading)
    make_output_folder(output)
    names = OutputNames(output, hashed=hashed_ids, figure_format=figure_format, html=html)

    def prepared(path: Path) -> ModelInput:
        return explainer.prepare(names.give(reading.read(path), os.path.realpath(path)))

    def begun(path: Path, image: ModelInput, explained: Explained) -> Callable[[], Saved]:
        """Have the figure drawn; what is left to do once it is there needs no pixels, but for a page."""
        radiograph = explained.radiograph
        explanation = explainer.with_stability(explained.explanation, image, stability=stability, also=also)
        labels = labels_for(path, radiograph.shape)
        drawing = drawers.begin(explanation, radiograph, labels, figure_format, style)
        explained = replace(explained, explanation=explanation)
        if not html:
            explained = Explained(radiograph.without_pixels(), replace(explanation, radiograph=None))
        saving = partial(save_outputs, explained, output, drawing=drawing)
        return partial(saving, labels=labels, figure_format=figure_format, html=html)

    images = ((path, attempt(partial(prepared, path))) for path in files)
    waiting: deque[tuple[Path, Callable[[], Saved] | CxrExplainError]] = deque()
    with Drawers(processes_for(len(files), workers)) as drawers:
        for outcomes in explain_in_batches(explainer, images, asked or RankingSettings(), batch_size):
            while outcomes:  # emptied as it goes, for the memory that pixels take
                waiting.append(_begun(outcomes.pop(0), begun))
                while len(waiting) > drawers.ahead:
                    yield _finished(drawers, *waiting.popleft())
        while waiting:
            yield _finished(drawers, *waiting.popleft())


def _begun(
    outcome: Outcome[Path], begin: Callable[[Path, ModelInput, Explained], Callable[[], Saved]]
) -> tuple[Path, Callable[[], Saved] | CxrExplainError]:
    path, found = outcome.item, outcome.found
    if isinstance(found, CxrExplainError):
        return path, found
    image = cast(ModelInput, outcome.image)  # what was explained was prepared
    return path, attempt(partial(begin, path, image, found))


def _finished(
    drawers: Drawers, path: Path, saving: Callable[[], Saved] | CxrExplainError
) -> tuple[Path, Saved | CxrExplainError]:
    result = saving if isinstance(saving, CxrExplainError) else attempt(saving)
    drawers.check()
    return path, result.at(path) if isinstance(result, CxrExplainError) else result


def _check_apart(files: Sequence[Path], output: Path, figure_format: FigureFormat) -> None:
    """Refuse to draw figures where radiographs of their very names are."""
    folder = os.path.realpath(output)
    for path in files:
        places = (os.path.realpath(path.parent), os.path.dirname(os.path.realpath(path)))
        if path.suffix.lower() == f".{figure_format}" and folder in places:
            raise OptionError(
                f"{path} in the folder for the results, where its figure would replace it",
                expected="another folder for the results",
                remedy="Name one with --out, output=.",
            )


def _matches(text: str) -> list[Path]:
    if not text:  # for Path it is the current folder
        raise OptionError(
            "an input without a name",
            expected="files, folders with images, or globs",
            remedy="Is a variable of the shell empty?",
        )
    path = Path(text)
    if os.path.lexists(path) or not _GLOB_SIGNS & set(text):
        return [path]  # a missing file fails under its own name
    found = sorted(Path(name) for name in glob.glob(text, recursive=True))
    if not found:
        raise OptionError(f"no file that matches {text!r}", expected="a glob that matches something")
    return found


def _may_be_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        pass  # it fails under its own name
    return True


def _images_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The images below a folder, and notes on what was passed over."""
    search = FolderSearch(folder)
    images = []
    for path in search.files():
        reason = _no_image(path, folder)
        if reason is None:
            images.append(path)
        else:
            search.pass_over(path, reason)
    return sorted(images), search.notes()


def _no_image(path: Path, folder: Path) -> str | None:
    if any(part.startswith(".") for part in path.relative_to(folder).parts):
        return "hidden files"
    try:
        kind = kind_of(path)
    except OSError:
        return None  # unreadable: let it fail under its own name
    if kind in _PASSED_OVER:
        return _PASSED_OVER[kind]
    return None if kind or path.suffix.lower() in ENDINGS else "what is no image"
