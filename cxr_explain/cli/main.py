"""The command line: parse, call, print; errors of this package become one line each.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from cxr_explain._version import __version__
from cxr_explain.cli.audits import add_audit_commands
from cxr_explain.cli.bundles import add_bundle_command
from cxr_explain.cli.console import EXIT_SOME_FAILED, err, errors_as_lines, out
from cxr_explain.cli.parameters import (
    AboveOperatingPoint,
    ActivatedBy,
    AllowPhantomWeights,
    Arithmetic,
    Device,
    FitBy,
    Fused,
    MaxPixels,
    NormalisedBy,
    Offline,
    Pathologies,
    RankedBy,
    Rule,
    TopK,
    Voi,
    Weights,
    WeightsDir,
    XrvCompatible,
    split_names,
    voi_of,
)
from cxr_explain.errors import CxrExplainError, OptionError
from cxr_explain.options import Activation, FigureFormat, Fit, Normalisation

app = typer.Typer(
    name="cxr-explain",
    help="Show where a chest radiograph classifier sees each of its top K pathologies (FM-G-CAM).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(help="List, find, fetch and verify weights.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")


def _version(value: bool) -> None:
    if value:
        out.print(f"cxr-explain {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Show where a chest radiograph classifier sees each of its top K pathologies (FM-G-CAM)."""


@app.command()
def explain(
    inputs: Annotated[list[str], typer.Argument(help="Files, folders (searched for images) or globs.")],
    weights: Weights = "densenet121-res224-all",
    weights_dir: WeightsDir = None,
    offline: Offline = False,
    allow_phantom_weights: AllowPhantomWeights = False,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("figures"),
    top_k: TopK = 5,
    pathologies: Pathologies = None,
    rank_by: RankedBy = "probability",
    above_operating_point: AboveOperatingPoint = False,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Reference labels: 'Effusion|Mass=negative', or a CSV (NIH's, or image,labels).",
            show_default=False,
        ),
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="Reference boxes: NIH's BBox_List_2017.csv.", show_default=False)
    ] = None,
    method: Rule = "grad-cam",
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer to explain, by its name in the model; several are combined.",
            show_default="the last feature map",
        ),
    ] = None,
    fused: Fused = True,
    normalisation: NormalisedBy = "joint",
    activation: ActivatedBy = "relu",
    fit: FitBy = "crop",
    voi: Voi = "auto",
    frame: Annotated[
        int | None, typer.Option(min=0, help="DICOM: frame of a multi-frame object.", show_default=False)
    ] = None,
    xrv_compatible: XrvCompatible = False,
    max_pixels: MaxPixels = None,
    figure_format: Annotated[FigureFormat, typer.Option("--format", help="Figure format.")] = "png",
    ids: Annotated[
        Literal["name", "sha256"],
        typer.Option(help="Name outputs after the input file, or after its SHA-256."),
    ] = "name",
    batch_size: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 8,
    device: Device = None,
    dtype: Arithmetic = "float32",
    page: Annotated[
        bool, typer.Option("--page", help="Write a page that shows the figures: OUT/index.html.")
    ] = False,
) -> None:
    """Explain radiographs: one figure, one JSON and one NPZ file for each.

    Exit code 0: all well; 1: some inputs failed, each named in one line, the others are done; 2: usage.
    """
    with errors_as_lines():
        from cxr_explain.explaining.explainer import Explainer
        from cxr_explain.explaining.files import expand_inputs, explain_files, unlabelled
        from cxr_explain.explaining.settings import RankingSettings
        from cxr_explain.loaders.settings import ReadSettings

        reading = ReadSettings(
            voi_of(voi), xrv_compatible, frame, **({"max_pixels": max_pixels} if max_pixels else {})
        )
        asked = RankingSettings(top_k, rank_by, split_names(pathologies), above_operating_point)
        labels_for = _labels_for(labels or None, boxes)
        files, notes = expand_inputs(inputs)
        for note in notes:
            err.print(f"[dim]note:[/] {escape(note)}")
        explainer = Explainer.from_pretrained(
            weights,
            weights_dir=weights_dir,
            fetch=not offline,
            device=device,
            method=method,
            target_layers=layer or (),
            fused=fused,
            track=_track,
            normalisation=normalisation,
            activation=activation,
            fit=fit,
            xrv_compatible=xrv_compatible,
            dtype=dtype,
            allow_phantom_weights=allow_phantom_weights,
        )
        classifier = explainer.classifier
        err.print(f"weights {escape(classifier.name)}, SHA-256 {(classifier.weights_sha256 or '')[:12]}")
        results = explain_files(
            explainer,
            files,
            output,
            asked=asked,
            reading=reading,
            labels_for=labels_for or unlabelled,
            figure_format=figure_format,
            hashed_ids=ids == "sha256",
            batch_size=batch_size,
        )
        failed = _run(results, files, labelled=labels_for is not None, page=page, to=output)
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _run(results: Iterator[Any], files: Sequence[Path], *, labelled: bool, page: bool, to: Path) -> int:
    """Print a table of results and a line for each failure, write the page; return how many failed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from cxr_explain.cli.result_table import ResultTable
    from cxr_explain.pages.index_page import Card, IndexPage

    table, index = ResultTable(labelled=labelled), IndexPage()
    numbers = {path: number for number, path in enumerate(files, start=1)}
    columns = (TextColumn("explaining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("explaining", total=len(files))
        for path, result in results:
            if isinstance(result, CxrExplainError):
                index.fail(result, path, numbers[path])
                err.print(f"[red]failed:[/] {escape(_naming(path, result))}")
            else:
                card = Card.of(
                    result.explanation,
                    result.radiograph,
                    result.labels,
                    figure=result.figure.name,
                    saved=result.json.name,
                    figure_size=result.figure_size,
                )
                index.add(card)
                table.add(card)
            progress.advance(task)
    table.print(out)
    if index.failed:
        err.print(f"{index.failed} of {len(files)} inputs failed")
    if page:
        out.print(f"Look at {escape(str(index.write(to)))} in a browser.", soft_wrap=True)
    return index.failed


def _track(items: Sequence[Any], doing: str) -> Iterable[Any]:
    """The progress of one method on one batch, where somebody looks."""
    from rich.progress import track

    return track(items, doing, console=err, transient=True, disable=not err.is_terminal)


def _naming(path: Path, error: CxrExplainError) -> str:
    """The error's line, led by the input's path where the error names something else, such as an output."""
    message = str(error)
    return message if str(path) in message else f"{path}: {message}"


def _labels_for(labels: str | None, boxes: Path | None):  # type: ignore[no-untyped-def]
    """The reference labels of a file of that path and shape; None where none are given at all."""
    from cxr_explain.pathologies import ReferenceLabels
    from cxr_explain.reference.standard import read_references

    is_table = labels is not None and (labels.lower().endswith(".csv") or Path(labels).is_file())
    if boxes is None and not is_table:
        one = None if labels is None else ReferenceLabels.from_text(labels)
        return None if one is None else lambda _path, _shape: one
    standard = read_references(labels=labels if is_table else None, boxes=boxes)
    if labels is not None and not is_table:
        raise OptionError(
            f"--labels {labels!r} together with --boxes",
            expected="a CSV of labels beside a CSV of boxes",
            remedy="Give the labels of each image in a CSV with the columns image and labels.",
        )
    return standard.labels_for


@app.command()
def evaluate(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or globs.", show_default="phantoms, rendered for this"),
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="Reference boxes: NIH's BBox_List_2017.csv.", show_default=False)
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of reference masks: IMAGE-pathology.png.", show_default=False),
    ] = None,
    segmentations: Annotated[
        Path | None, typer.Option(help="CheXlocalize's JSON, either kind.", show_default=False)
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Rule to evaluate; repeat it.", show_default="grad-cam; all with --study"),
    ] = None,
    study: Annotated[
        bool,
        typer.Option("--study", help="Compare rules, K, normalisations, activations; randomise weights."),
    ] = False,
    validity: Annotated[
        bool,
        typer.Option(
            "--validity", help="Measure the model and its maps on phantoms with and without each finding."
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer cases and steps: to see that it runs, not to judge by.")
    ] = False,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            min=1,
            help="Cases at most.",
            show_default="160 phantoms, 1000 with --validity; all files",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first phantom; from the default on, none was trained on.")
    ] = 10_000_000,
    weights: Annotated[
        str, typer.Option(help="A name from `cxr-explain weights list`, or a checkpoint file.")
    ] = "phantom",
    weights_dir: WeightsDir = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download weights.")] = False,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("evaluation"),
    top_k: Annotated[int, typer.Option(min=1, help="K of the fusion, without --study.")] = 5,
    normalisation: Annotated[Normalisation, typer.Option(help="Likewise.")] = "joint",
    activation: Annotated[Activation, typer.Option(help="Likewise.")] = "relu",
    fit: Annotated[
        Fit, typer.Option(help="Centre crop as in training, or pad to show the model everything.")
    ] = "crop",
    resamples: Annotated[
        int | None,
        typer.Option(
            min=1, help="Resamples of the bootstrap for intervals.", show_default="1000; 200 with --quick"
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")] = 1,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 ...", show_default="cuda where present")
    ] = None,
) -> None:
    """Measure whether class maps deserve trust: on phantoms, or on images with reference boxes or masks.

    Writes a report, a table of estimates, and all rows behind them. What is there already is not measured
    again. Exit code 0: all well; 1: some inputs failed, the others are done; 2: usage.
    """
    with errors_as_lines():
        from cxr_explain.explaining.explainer import Pretrained
        from cxr_explain.explaining.files import expand_inputs
        from cxr_explain.study.session import Request, Source, checked_methods, evaluate_maps, references_of

        given = {"boxes": boxes, "masks": masks, "segmentations": segmentations}
        source = Source(seed=seed)
        if inputs or any(given.values()):
            files, notes = expand_inputs(inputs or [])
            source = Source(tuple(files), references_of(**given))
            for note in notes:
                err.print(f"[dim]note:[/] {escape(note)}")
        model = Pretrained(
            weights, {"weights_dir": weights_dir, "fetch": not offline, "device": device, "fit": fit}
        )
        request = Request(
            source,
            model,
            methods=checked_methods(method or ()),
            study=study,
            validity=validity,
            quick=quick,
            n=n,
            top_k=top_k,
            normalisation=normalisation,
            activation=activation,
            resamples=resamples,
        )
        failures: list[CxrExplainError] = []

        def failed(error: CxrExplainError) -> None:
            failures.append(error)
            err.print(f"[red]failed:[/] {escape(str(error))}")

        with _bar("evaluating", request.most) as advance:
            findings = evaluate_maps(request, output, jobs=jobs, failed=failed, advance=advance)
        out.print(findings.to_text(), markup=False, soft_wrap=True)
        out.print(f"Read {escape(str(output / 'report.md'))}.", soft_wrap=True)
    if failures:
        raise typer.Exit(EXIT_SOME_FAILED)


@contextmanager
def _bar(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar, where somebody looks."""
    from rich.progress import Progress

    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda done: progress.advance(task, done)


@app.command()
def phantom(
    n: Annotated[int, typer.Option("--n", min=1, help="How many phantoms.")] = 20,
    output: Annotated[Path, typer.Option("--out", "-o", help="A new or empty folder.")] = Path("phantoms"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first one; the others follow.")] = 0,
    size: Annotated[int, typer.Option(min=64, max=4096, help="Pixels a side.")] = 512,
    bits: Annotated[int, typer.Option(min=9, max=16, help="Bits stored in the DICOM files.")] = 12,
) -> None:
    """Write computed chest phantoms with known findings: images, labels, boxes, masks, counterfactuals.

    In NIH ChestX-ray14's file layout, with DICOM files beside it. No patient is in them.
    """
    with errors_as_lines():
        from rich.progress import track

        from cxr_explain.phantom.dataset import write_dataset

        phantoms = write_dataset(output, n=n, seed=seed, size=size, bits=bits)
        for _ in track(
            phantoms, "rendering", total=n, console=err, transient=True, disable=not err.is_terminal
        ):
            pass
        out.print(f"{n} phantoms in {escape(str(output))}", soft_wrap=True)


@weights_app.command("list")
def weights_list(weights_dir: WeightsDir = None) -> None:
    """List the weights that have a name, and which of them are there."""
    with errors_as_lines():
        from cxr_explain.weights import list_weights, weights_folder

        table = Table(
            "name",
            "present",
            "pathologies",
            "input",
            "trained on",
            "SHA-256",
            box=None,
            pad_edge=False,
        )
        table.columns[0].no_wrap = True
        for row in list_weights(weights_dir):
            entry = row.entry
            size = "no" if row.size is None else f"{row.size / 2**20:.1f} MiB"
            table.add_row(
                entry.name,
                size,
                str(len(entry.trained_pathologies)),
                f"{entry.input_size} px",
                "phantoms only" if entry.trained_on == "phantoms" else ", ".join(entry.training_sets),
                (row.recorded_sha256 or "")[:12],
            )
        out.print(table)
        out.print(f"[dim]folder: {escape(str(weights_folder(weights_dir)))}[/]")


@weights_app.command("path")
def weights_path(name: str, weights_dir: WeightsDir = None) -> None:
    """Print where the file of these weights lies; exit 1 where it is missing."""
    with errors_as_lines():
        from cxr_explain.weights import resolve

        out.print(str(resolve(name, weights_dir, fetch=False)), markup=False, soft_wrap=True)


@weights_app.command("fetch")
def weights_fetch(name: str, weights_dir: WeightsDir = None) -> None:
    """Download these weights unless they are there; print their SHA-256 and where they lie."""
    with errors_as_lines():
        from cxr_explain.weights import resolve, verify

        resolve(name, weights_dir)
        _print_weights(verify(name, weights_dir))


@weights_app.command("verify")
def weights_verify(
    name: str,
    weights_dir: WeightsDir = None,
    accept: Annotated[bool, typer.Option("--accept", help="Record the file as it is now.")] = False,
) -> None:
    """Check that the file is whole, safe, and the one recorded at its first use."""
    with errors_as_lines():
        from cxr_explain.weights import verify

        _print_weights(verify(name, weights_dir, accept=accept))


def _print_weights(weights) -> None:  # type: ignore[no-untyped-def]
    out.print(f"{weights.sha256}  {weights.path}", markup=False, soft_wrap=True)


add_audit_commands(app)
add_bundle_command(app)


def main() -> None:
    """Entry point of the `cxr-explain` command."""
    # Importing torch makes a million objects that stay: at Python's threshold, looking for garbage among
    # them takes 1 s, a sixth of a short run. In a long run memory stays as flat as before.
    gc.set_threshold(50_000, 10, 10)
    app(prog_name="cxr-explain")


if __name__ == "__main__":
    main()
