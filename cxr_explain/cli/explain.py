"""The command that explains radiographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxr_explain.cli import console
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import BatchPanel, BoxPanel, ExplainingPanels, LookPanel, OutPath
from cxr_explain.errors import CxrExplainError, OptionError, legible
from cxr_explain.options import FigureFormat

if TYPE_CHECKING:
    from cxr_explain.explaining.files import LabelsFor
    from cxr_explain.explaining.many import Saved
    from cxr_explain.pages.index_page import IndexPage


class FilePanel(BoxPanel):
    """What is read beside the pixels.

    Args:
        labels: reference labels: 'Effusion|Mass=negative' for every image, or a CSV table: NIH's, or one with
            the columns image and labels. Images are found in it by their file names.
        frame: frame to read from a DICOM file that has several, counted from 0.
    """

    labels: str | None = None
    frame: Annotated[int | None, typer.Option(min=0, show_default="the only frame")] = None


class StabilityPanel(Panel, title="Map"):
    """How sure the class maps are.

    Args:
        stability: find how far each class map stays the same under four small shifts and four draws of
            noise, for eight more passes of the model an image; shown in the figure and the JSON file.
        also_weights: other weights, a name or a checkpoint file, whose class maps are compared with these,
            for one more pass an image.
    """

    stability: bool = False
    also_weights: Annotated[list[str] | None, typer.Option(show_default="none")] = None


class FigurePanel(LookPanel, title="Figure"):
    """What is drawn.

    Args:
        figure_format: file format of the figures.
        html: also write ID.html for each radiograph, one file to send to somebody: the map with controls for
            opacity, K, pathologies, window and level.
        page: also write a page that shows all figures, index.html in the folder of results.
    """

    figure_format: Annotated[FigureFormat, typer.Option("--format")] = "png"
    html: bool = False
    page: bool = False


class DrawingPanel(BatchPanel):
    """How the work is done.

    Args:
        workers: processes that draw figures while the next images are explained; 1 draws in turn.
    """

    workers: Annotated[int, typer.Option(min=0, show_default="one a core, for 16 files and more")] = 0


def explain(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT")],
    *,
    files: FilePanel,
    explaining: ExplainingPanels,
    layer: Annotated[
        list[str] | None, typer.Option(show_default="the last feature map", rich_help_panel="Map")
    ] = None,
    sure: StabilityPanel,
    figures: FigurePanel,
    output: OutPath = Path("figures"),
    ids: Annotated[Literal["name", "sha256"], typer.Option(rich_help_panel="Output")] = "name",
    run: DrawingPanel,
) -> None:
    """Explain radiographs: one figure, one JSON and one NPZ file for each.

    Exit code 0: all well; 1: some inputs failed, each named in one line, the others are done; 2: usage.

    Args:
        inputs: image files, folders that are searched for images, or globs.
        files: what is read beside the pixels.
        explaining: how a radiograph is explained.
        layer: layer to explain, by its name from `cxr-explain layers`; the class maps of several layers are
            combined.
        sure: how sure the class maps are.
        figures: what is drawn.
        output: folder for the results.
        ids: whether results are named after the image file (name), or after the file's SHA-256 (sha256).
        run: how the work is done.

    Example:
        cxr-explain explain phantoms/images --weights phantom --top-k 3 --page
    """
    from cxr_explain.explaining.files import explain_files, unlabelled
    from cxr_explain.pages.index_page import check_page

    reading, look = explaining.reading.settings(frame=files.frame), figures.look()
    paths = console.files_of(inputs)
    if figures.page:
        check_page(output)
    pretrained = explaining.pretrained(layers=layer or (), track=console.track)
    explainer = pretrained.load()
    console.name_weights(explainer.classifier)
    also = [pretrained.with_weights(weights).load() for weights in sure.also_weights or ()]
    for other in also:
        console.name_weights(other.classifier)
    labels_for = reference_labels(files.labels or None, files.boxes, paths, explainer.classifier.pathologies)
    results = explain_files(
        explainer,
        paths,
        output,
        asked=explaining.ranking.settings(),
        reading=reading,
        labels_for=labels_for or unlabelled,
        figure_format=figures.figure_format,
        html=figures.html,
        style=look,
        hashed_ids=ids == "sha256",
        batch_size=run.batch_size,
        workers=run.workers,
        stability=sure.stability,
        also=also,
    )
    if _show(results, paths, labelled=labels_for is not None, page_in=output if figures.page else None):
        raise typer.Exit(console.EXIT_SOME_FAILED)


def _show(
    results: Iterator[tuple[Path, Saved | CxrExplainError]],
    files: Sequence[Path],
    *,
    labelled: bool,
    page_in: Path | None,
) -> int:
    """Print a table of results and a line for each failure, write the page; return how many failed."""
    from cxr_explain.cli.result_table import ResultTable
    from cxr_explain.pages.index_page import IndexEntry, IndexPage

    table, index = ResultTable(labelled=labelled), IndexPage()
    numbers = {path: number for number, path in enumerate(files, start=1)}
    with console.progress("explaining", len(files)) as advance:
        for path, result in results:
            if isinstance(result, CxrExplainError):
                index.fail(result, path, numbers[path])
                message = str(result)  # which may name something else than the input, such as an output
                console.failed(message if legible(str(path)) in message else f"{path}: {message}")
            else:
                card = IndexEntry.of(
                    result.explanation,
                    result.radiograph,
                    result.labels,
                    figure=result.figure.name if result.figure else "",
                    saved=result.json.name,
                    html=result.html.name if result.html else None,
                    figure_size=result.figure_size,
                )
                index.add(card)
                table.add(card)
            advance(failed=isinstance(result, CxrExplainError))
    table.print(console.out)
    if index.failed:
        console.err.print(f"{index.failed} of {len(files)} inputs failed")
    if page_in is not None:
        _write_page(index, page_in)
    return index.failed


def _write_page(page: IndexPage, folder: Path) -> None:
    from cxr_explain.pages.index_page import PAGE_NAME

    older = folder / PAGE_NAME
    if older.exists():
        console.note(f"{older} was there: it now shows the images of this run alone")
    console.say(f"Look at {page.write(folder)} in a browser.")


def reference_labels(
    labels: str | None,
    boxes: Path | None,
    files: Sequence[Path],
    pathologies: Sequence[str],
    *,
    note: Callable[[str], None] = console.note,
) -> LabelsFor | None:
    """The reference labels of a file of that path and shape; None where none are given at all.

    Args:
        labels: labels for all files, or a table of them.
        boxes: a table of boxes.
        files: the image files.
        pathologies: names of the model's outputs.
        note: is told how files and tables fit together, in lines that name files.
    """
    from cxr_explain.pathologies import ReferenceLabels

    is_table = labels is not None and (labels.lower().endswith(".csv") or Path(labels).is_file())
    if boxes is None and not is_table:
        one = None if labels is None else ReferenceLabels.from_text(labels, further=pathologies)
        return None if one is None else lambda _path, _shape: one
    from cxr_explain.reference.coverage import coverage_notes
    from cxr_explain.reference.standard import read_references

    standard = read_references(labels=labels if is_table else None, boxes=boxes, pathologies=pathologies)
    if labels is not None and not is_table:
        raise OptionError(
            f"--labels {labels!r} together with --boxes",
            expected="a CSV of labels beside a CSV of boxes",
            remedy="Give the labels of each image in a CSV with the columns image and labels.",
        )
    for each in coverage_notes(standard, files):
        note(each)
    return standard.labels_for
