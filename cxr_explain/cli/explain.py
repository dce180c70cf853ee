"""The command that explains radiographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxr_explain.cli import console
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import BatchPanel, BoxPanel, ExplainingPanels, OutPath
from cxr_explain.errors import OptionError
from cxr_explain.options import FigureFormat

if TYPE_CHECKING:
    from cxr_explain.explaining.files import FileResult
    from cxr_explain.pathologies import ReferenceLabels
    from cxr_explain.reference.label_tables import ReferenceTable


class FilePanel(BoxPanel):
    """What is read beside the pixels.

    Args:
        labels: reference labels: 'Effusion|Mass=negative' for every image, or a CSV table: NIH's, or one with
            the columns image and labels.
        frame: frame to read from a DICOM file that has several, counted from 0.
    """

    labels: str | None = None
    frame: Annotated[int | None, typer.Option(min=0, show_default="the only frame")] = None


class FigurePanel(Panel, title="Figure"):
    """What is drawn.

    Args:
        figure_format: file format of the figures.
        page: also write a page that shows all figures, index.html in the folder of results.
    """

    figure_format: Annotated[FigureFormat, typer.Option("--format")] = "png"
    page: bool = False


def explain(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT")],
    *,
    files: FilePanel,
    explaining: ExplainingPanels,
    layer: Annotated[
        list[str] | None, typer.Option(show_default="the last feature map", rich_help_panel="Map")
    ] = None,
    figures: FigurePanel,
    output: OutPath = Path("figures"),
    ids: Annotated[Literal["name", "sha256"], typer.Option(rich_help_panel="Output")] = "name",
    run: BatchPanel,
) -> None:
    """Explain radiographs: one figure, one JSON and one NPZ file for each.

    Exit code 0: all well; 1: some inputs failed, each named in one line, the others are done; 2: usage.

    Args:
        inputs: image files, folders that are searched for images, or globs.
        files: what is read beside the pixels.
        explaining: how a radiograph is explained.
        layer: layer to explain, by its name in the model; the class maps of several layers are combined.
        figures: what is drawn.
        output: folder for the results.
        ids: whether results are named after the image file (name), or after the file's SHA-256 (sha256).
        run: how the work is done.

    Example:
        cxr-explain explain phantoms/images --weights phantom --top-k 3 --page
    """
    from cxr_explain.explaining.files import Job, explain_files

    read_options = explaining.reading.options(frame=files.frame)
    paths = console.files_of(inputs)
    job = Job(
        output=output,
        figure_format=figures.figure_format,
        **vars(explaining.ranking.settings()),
        read_options=read_options,
        references=_references(files.labels or None, files.boxes),
        hashed_ids=ids == "sha256",
        batch_size=run.batch_size,
    )
    explainer = explaining.pretrained(layers=layer or (), track=console.track).load()
    console.name_weights(explainer.classifier)
    results = explain_files(explainer, paths, job)
    if _show(results, paths, labelled=job.references is not None, page_in=output if figures.page else None):
        raise typer.Exit(console.EXIT_SOME_FAILED)


def _show(
    results: Iterator[FileResult], files: Sequence[Path], *, labelled: bool, page_in: Path | None
) -> int:
    """Print a table of results and a line for each failure, write the page; return how many failed."""
    from cxr_explain.cli.result_table import ResultTable
    from cxr_explain.pages.index_page import IndexPage

    table, index = ResultTable(labelled=labelled), IndexPage()
    numbers = {path: number for number, path in enumerate(files, start=1)}
    with console.progress("explaining", len(files)) as advance:
        for result in results:
            if result.error is not None:
                index.fail(result.error, result.path, numbers[result.path])
                message = str(result.error)  # which may name something else than the input, such as an output
                console.failed(message if str(result.path) in message else f"{result.path}: {message}")
            elif result.card is not None:
                index.add(result.card)
                table.add(result)
            advance(failed=result.error is not None)
    table.print(console.out)
    if index.failed:
        console.err.print(f"{index.failed} of {len(files)} inputs failed")
    if page_in is not None:
        console.say(f"Look at {index.write(page_in)} in a browser.")
    return index.failed


def _references(labels: str | None, boxes: Path | None) -> ReferenceLabels | ReferenceTable | None:
    from cxr_explain.pathologies import ReferenceLabels
    from cxr_explain.reference.label_tables import read_reference_table

    is_table = labels is not None and (labels.lower().endswith(".csv") or Path(labels).is_file())
    if boxes is None and not is_table:
        return None if labels is None else ReferenceLabels.from_text(labels)
    table = read_reference_table(labels if is_table else None, boxes)
    if labels is not None and not is_table:
        raise OptionError(
            f"--labels {labels!r} together with --boxes",
            expected="a CSV of labels beside a CSV of boxes",
            remedy="Give the labels of each image in a CSV with the columns image and labels.",
        )
    return table
