"""The commands of an audit: manifest, audit, stats, report, figure."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from cxr_explain.cli.console import EXIT_INTERRUPTED, EXIT_SOME_FAILED, err, errors_as_lines, out
from cxr_explain.cli.parameters import (
    AboveOperatingPoint,
    ActivatedBy,
    AllowPhantomWeights,
    Arithmetic,
    Device,
    FitBy,
    Fused,
    Images,
    MaxPixels,
    NormalisedBy,
    Offline,
    Pathologies,
    RankedBy,
    Rule,
    RunFolder,
    TopK,
    UncertainAs,
    Voi,
    Weights,
    WeightsDir,
    XrvCompatible,
    split_names,
    voi_of,
)
from cxr_explain.errors import OptionError

if TYPE_CHECKING:
    from cxr_explain.audit.run import Progress
    from cxr_explain.audit.store import AuditRun

MOST_FAILURES_SHOWN = 20


def add_audit_commands(app: typer.Typer) -> None:
    """Give the command line its audit commands."""
    app.command()(manifest)
    app.command()(audit)
    app.command()(stats)
    app.command()(report)
    app.command()(figure)


def manifest(
    data_set: Annotated[
        str,
        typer.Argument(
            help="nih, chexpert, chexlocalize, rsna, vindr, mimic, csv, or dicom (a folder of files).",
            metavar="DATA_SET",
        ),
    ],
    source: Annotated[Path, typer.Option(help="The data set's folder; for csv, the table.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="The manifest to write.")],
    split: Annotated[
        str | None, typer.Option(help="Such as train, valid or test.", show_default="all images")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="The image folder, which paths are to be relative to.",
            show_default="where the data set has it",
        ),
    ] = None,
    present_in: Annotated[
        Path | None,
        typer.Option(help="Keep only the images that are in this folder.", show_default="all images"),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="chexpert: full or small.", show_default="what is there")
    ] = None,
    labeler: Annotated[
        str | None, typer.Option(help="mimic: chexpert or negbio.", show_default="chexpert")
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(help="chexlocalize: segmentation or annotation.", show_default="segmentation"),
    ] = None,
) -> None:
    """Write the manifest of a data set: one row an image, with its reference labels, from its own tables."""
    with errors_as_lines():
        from cxr_explain.reference import make_manifest, present, write_manifest

        table = make_manifest(
            data_set, source, split=split, images=images, size=size, labeler=labeler, masks=masks
        )
        if present_in is not None:
            table = present(table, present_in)
        write_manifest(table, output)
        patients = len({patient for patient in table.patients if patient is not None})
        boxes = f", {len(table.rows_with_boxes)} with boxes" if table.rows_with_boxes else ""
        out.print(
            f"{len(table)} images of {patients} patients{boxes} in {escape(str(output))}", soft_wrap=True
        )


def audit(
    manifest: Annotated[Path, typer.Argument(help="A manifest, as `cxr-explain manifest` writes it.")],
    images: Annotated[
        str, typer.Option(help="The folder that the manifest's paths are relative to, or its URL.")
    ],
    output: Annotated[
        str, typer.Option("--out", "-o", help="The run's folder, or a URL such as s3://bucket/run.")
    ],
    weights: Weights = "densenet121-res224-all",
    weights_dir: WeightsDir = None,
    offline: Offline = False,
    allow_phantom_weights: AllowPhantomWeights = False,
    top_k: TopK = 5,
    pathologies: Pathologies = None,
    rank_by: RankedBy = "probability",
    above_operating_point: AboveOperatingPoint = False,
    uncertain: UncertainAs = "ignore",
    method: Rule = "grad-cam",
    fused: Fused = True,
    normalisation: NormalisedBy = "joint",
    activation: ActivatedBy = "relu",
    fit: FitBy = "crop",
    voi: Voi = "auto",
    xrv_compatible: XrvCompatible = False,
    max_pixels: MaxPixels = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 16,
    workers: Annotated[
        int, typer.Option(min=0, help="Threads that read ahead.", show_default="up to 4, one a core")
    ] = 0,
    device: Device = None,
    dtype: Arithmetic = "float32",
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Links in the image folder may lead out of it.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Explain again what failed before.")
    ] = False,
    distributed: Annotated[
        Literal["none", "ray"], typer.Option(help="Spread the work over the machines of a Ray cluster.")
    ] = "none",
    ray_workers: Annotated[
        int, typer.Option(min=1, help="With --distributed ray: models that are loaded at a time.")
    ] = 2,
) -> None:
    """Explain every image of a manifest: scores and class maps of each, and a table of failures.

    May be stopped at any moment; the same command goes on from there. Ctrl-C finishes the batch first.
    Exit code 0: all explained; 1: some images failed, each in the table of failures; 2: usage; 130: stopped.
    """
    with errors_as_lines():
        from cxr_explain.audit.place import is_url
        from cxr_explain.audit.run import Crew, RunSettings, run_audit
        from cxr_explain.explaining.explainer import Explainer, Pretrained
        from cxr_explain.loaders.settings import ReadSettings
        from cxr_explain.reference import check_manifest, read_manifest

        reading = ReadSettings(
            voi_of(voi), xrv_compatible, **({"max_pixels": max_pixels} if max_pixels else {})
        )
        table = read_manifest(manifest)
        options: dict[str, Any] = {
            "weights_dir": weights_dir,
            "fetch": not offline,
            "device": device,
            "method": method,
            "fused": fused,
            "normalisation": normalisation,
            "activation": activation,
            "fit": fit,
            "xrv_compatible": xrv_compatible,
            "dtype": dtype,
            "allow_phantom_weights": allow_phantom_weights,
        }
        explainer = Explainer.from_pretrained(weights, **options)
        classifier = explainer.classifier
        err.print(f"weights {escape(classifier.name)}, SHA-256 {(classifier.weights_sha256 or '')[:12]}")
        if not is_url(images):
            for line in check_manifest(table, Path(images), classifier.pathologies).lines():
                err.print(f"[dim]note:[/] {escape(line)}")
        crew: Crew | None = None
        if distributed == "ray":
            from cxr_explain.audit.ray_run import RayCrew

            crew = RayCrew(Pretrained(weights, options), ray_workers)
        with _asked_to_stop() as asked, _progress(len(table)) as advance:
            run = run_audit(
                explainer,
                table,
                images,
                output,
                reading=reading,
                uncertain=uncertain,
                running=RunSettings(batch_size, workers, follow_links, retry_failed),
                crew=crew,
                advance=advance,
                stop=asked,
                top_k=top_k,
                rank_by=rank_by,
                pathologies=split_names(pathologies),
                above_operating_point=above_operating_point,
            )
        _summarise(run, output)
        if not run.joined:
            raise typer.Exit(EXIT_INTERRUPTED)
        failed = len(run.failures)
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def stats(
    run: RunFolder,
    uncertain: Annotated[
        Literal["as-run", "ignore", "zeros", "ones"],
        typer.Option(help="What an uncertain reference label counts as."),
    ] = "as-run",
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap, clustered by patient.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of its draws.")] = 0,
) -> None:
    """Print the statistics of an audit, with confidence intervals, and write RUN/statistics.json."""
    with errors_as_lines():
        from cxr_explain.audit.results import write_statistics
        from cxr_explain.audit.store import AuditRun

        found = write_statistics(
            AuditRun.open(run),
            policy=None if uncertain == "as-run" else uncertain,
            resamples=resamples,
            seed=seed,
            progress=_teller(),
        )
        out.print(found.to_text(), markup=False, soft_wrap=True)


def report(
    run: RunFolder,
    images: Images = None,
    cases: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Cases with their radiograph, the most questionable first; 0: all.",
            show_default="300; 30 in a PDF",
        ),
    ] = None,
    report_format: Annotated[
        Literal["html", "pdf"], typer.Option("--format", help="A folder to browse, or one document.")
    ] = "html",
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to.", show_default="RUN/report")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap, clustered by patient.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of its draws.")] = 0,
) -> None:
    """Make the report of an audit: statistics, and the cases that deserve a look, in one folder to browse."""
    with errors_as_lines():
        from cxr_explain.audit.results import write_statistics
        from cxr_explain.audit.store import AuditRun
        from cxr_explain.pages.audit_report import build_report

        opened = AuditRun.open(run, images=images)
        target = output or _beside(run, "report" if report_format == "html" else "report.pdf")
        found = write_statistics(opened, resamples=resamples, seed=seed, progress=_teller())
        options: dict[str, Any] = {"statistics": found.document}
        if cases is not None:
            options["cases"] = cases or None
        if report_format == "pdf":
            from cxr_explain.pages.audit_report.pdf import write_pdf

            page = write_pdf(opened, target, **options)
        else:
            page = build_report(opened, target, **options)
        out.print(f"Look at {escape(str(page))}.", soft_wrap=True)


def figure(
    run: RunFolder,
    image_id: Annotated[str, typer.Argument(help="The image's id in the manifest.", metavar="ID")],
    images: Images = None,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file.", show_default="ID.png, made safe")
    ] = None,
) -> None:
    """Draw the figure of one image of an audit from the maps that are stored."""
    with errors_as_lines():
        from cxr_explain.audit.results import figure_of, safe_name
        from cxr_explain.audit.store import AuditRun

        path = output or safe_name(image_id, ".png")
        figure_of(AuditRun.open(run, images=images), image_id).save(path)
        out.print(f"Look at {escape(str(path))}.", soft_wrap=True)


def _beside(run: str, name: str) -> Path:
    if "://" in run:
        raise OptionError("no --out for a run in an object store", expected="a folder of this machine")
    return Path(run) / name


def _teller() -> Callable[[str], None]:
    return lambda text: err.print(f"[dim]{escape(text)}[/]")


def _summarise(run: AuditRun, output: str) -> None:
    explained, failed = len(run.columns(["row"])), len(run.failures)
    for row in run.failures.slice(0, MOST_FAILURES_SHOWN).to_pylist():
        err.print(f"[red]failed:[/] {escape(row['image_id'])}: {escape(row['message'])}")
    if failed > MOST_FAILURES_SHOWN:
        err.print(f"... and {failed - MOST_FAILURES_SHOWN} more in {escape(output)}/failures.csv")
    if run.joined:
        out.print(f"{explained} explained, {failed} failed, in {escape(output)}", soft_wrap=True)
        out.print(f"Go on with: cxr-explain report {escape(output)}", soft_wrap=True)
    else:
        rest = run.record.rows - explained - failed
        out.print(f"stopped: {rest} of {run.record.rows} are left; the same command goes on from here.")


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks to stop after the batch, the second stops at once."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        err.print("stopping after this batch; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Progress], None]]:
    """Images per second and time left, where somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("auditing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    with Progress(
        *columns, console=err, transient=True, disable=not err.is_terminal, speed_estimate_period=60
    ) as bar:
        task = bar.add_task("auditing", total=total, speed="", failed="")
        failures = 0

        def advance(done: Any) -> None:
            nonlocal failures
            failures += len(done.failed)
            bar.advance(task, done.explained + len(done.failed))
            speed = bar.tasks[0].speed
            bar.update(
                task,
                speed=f"{speed:.1f} images/s" if speed else "",
                failed=f"{failures} failed" if failures else "",
            )

        yield advance
