"""The commands of an audit: manifest, audit, stats, report."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxr_explain.cli import console
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import BatchPanel, ExplainingPanels, OutPath, Positive
from cxr_explain.errors import CxrExplainError, OptionError
from cxr_explain.options import RULES, Blanks, LabelPolicy, LabelsAs, NoFinding, Uncertain
from cxr_explain.reference.data_sets.registry import DATA_SETS
from cxr_explain.support.prose import counted
from cxr_explain.support.shell import shell_word

if TYPE_CHECKING:
    from cxr_explain.audit.run import BatchProgress, Crew
    from cxr_explain.audit.store import AuditRun
    from cxr_explain.audit.verdicts import Marked

MOST_FAILURES_SHOWN = 20

_AS_AUDITED = "that of the audit; strict for a new one"
_AS_CONVENTION = "as the convention, or else the audit, has it"
OF_COMMAND_LINE = tuple(name for name, each in DATA_SETS.items() if each.given_as != "object")

Run = Annotated[str, typer.Argument(metavar="RUN")]
RunImages = Annotated[
    str | None, typer.Option(show_default="where the audit read them, if that is on this machine")
]


class DataSetPanel(Panel):
    """What is read of a data set.

    Args:
        source: folder with the data set's tables; for csv, the table itself; for dicomweb, the server's
            address, such as https://pacs.example/dicom-web.
        query: for dicomweb, what the studies must have, such as StudyDate=20240101-20240331.
        split: part of the data set, such as train, valid or test.
        images: for nih, rsna, vindr, padchest and csv, folder that the images are looked for in, or below;
            the paths in the manifest are then relative to it.
        present_in: folder of images that the paths in the manifest are relative to, where only the images in
            it shall stand in the manifest.
        size: size of CheXpert's images: full or small.
        labeler: program that made MIMIC's labels: chexpert or negbio.
        masks: kind of CheXlocalize's outlines: segmentation or annotation.
        further_pathologies: for csv, names of pathologies beside the known ones, separated by commas.
        join: CSV file with further columns, such as insurance or scanner, by a column image_id or patient.
    """

    source: Annotated[str, typer.Option(metavar="PATH")]
    query: Annotated[list[str] | None, typer.Option(metavar="KEYWORD=VALUE", show_default="none")] = None
    split: Annotated[str | None, typer.Option(show_default="all images")] = None
    images: Annotated[
        Path | None,
        typer.Option(show_default="where the data set has its images; paths of a csv as they are"),
    ] = None
    present_in: Annotated[Path | None, typer.Option(show_default="all images")] = None
    size: Annotated[str | None, typer.Option(show_default="what is there")] = None
    labeler: Annotated[str | None, typer.Option(show_default="chexpert")] = None
    masks: Annotated[str | None, typer.Option(show_default="segmentation")] = None
    further_pathologies: Annotated[str | None, typer.Option(show_default="none")] = None
    join: Annotated[Path | None, typer.Option(metavar="PATH", show_default="none")] = None


class RunPanel(BatchPanel):
    """How an audit is run.

    Args:
        workers: threads that read images ahead of the model.
        retry_failed: also explain the images that failed before.
        distributed: where the work is done: on this machine (none), or on those of a Ray cluster (ray).
        ray_workers: number of models that are loaded at a time on a Ray cluster.
    """

    batch_size: Positive = 16
    workers: Annotated[int, typer.Option(min=0, show_default="up to 4, one a core")] = 0
    retry_failed: bool = False
    distributed: Literal["none", "ray"] = "none"
    ray_workers: Positive = 2


class GroupsPanel(Panel, title="Statistics"):
    """What groups of images are compared.

    Args:
        join: CSV file with further columns, such as insurance or scanner, by a column image_id or patient.
        reference: value that other values of the column are compared with, such as sex=M, besides the rest.
    """

    join: Annotated[Path | None, typer.Option(metavar="PATH", show_default="none")] = None
    reference: Annotated[list[str] | None, typer.Option(metavar="COLUMN=VALUE", show_default="none")] = None

    def references(self) -> dict[str, str]:
        """The reference of each column.

        Raises:
            OptionError: no column, or one of them twice.
        """
        found: dict[str, str] = {}
        for text in self.reference or []:
            column, sign, value = text.partition("=")
            if not (column and sign and value) or column in found:
                raise OptionError(
                    f"--reference {text!r}", expected="COLUMN=VALUE, each column once, such as sex=M"
                )
            found[column] = value
        return found


class LabelsPanel(Panel, title="Statistics"):
    """What reference labels count as in the statistics.

    Args:
        labels_as: convention by which reference labels count. strict counts positive and negative labels
            alone; chexpert also counts a label that is not mentioned as negative; xrv also counts every
            pathology as negative where "No Finding" is positive.
        uncertain: what an uncertain reference label counts as, whatever the convention.
        blanks: what a reference label that is not mentioned counts as, whatever the convention.
        no_finding: what a positive "No Finding" makes of the other pathologies, whatever the convention.
    """

    labels_as: Annotated[LabelsAs | None, typer.Option(show_default=_AS_AUDITED)] = None
    uncertain: Annotated[Uncertain | None, typer.Option(show_default=_AS_CONVENTION)] = None
    blanks: Annotated[Blanks | None, typer.Option(show_default=_AS_CONVENTION)] = None
    no_finding: Annotated[NoFinding | None, typer.Option(show_default=_AS_CONVENTION)] = None

    def policy(self, otherwise: LabelPolicy) -> LabelPolicy:
        """The same for statistics.

        Args:
            otherwise: the policy where no convention was asked for.

        >>> LabelsPanel(labels_as="chexpert", uncertain="ones").policy(LabelPolicy()).name
        'chexpert, uncertain ones'
        """
        convention = LabelPolicy.of(self.labels_as) if self.labels_as else otherwise
        return convention.but(self.uncertain, self.blanks, self.no_finding)


class ReportPanel(Panel, title="Output"):
    """What a report holds.

    Args:
        report_format: a folder to browse (html), or one document (pdf).
        cases: number of cases that are shown with their radiograph, the most questionable first; 0 shows all.
        ids: list of cases that the report is to be of, without statistics: ids one a line, or a CSV with a
            column image_id, as "Save this list" of a report writes it.
        verdicts: file of verdicts that a reader saved from a report; the new report is of the cases in it.
            Given for several readers, it also says how far they agree.
        verdict: with --verdicts, keep only cases that a reader gave this verdict.
        output: folder or PDF file to write.
    """

    report_format: Annotated[Literal["html", "pdf"], typer.Option("--format")] = "html"
    cases: Annotated[
        int | None, typer.Option(min=0, show_default="300, or 30 in a PDF; all marked cases")
    ] = None
    ids: Annotated[Path | None, typer.Option(show_default="the audit's cases")] = None
    verdicts: Annotated[list[Path] | None, typer.Option(show_default="the audit's cases")] = None
    verdict: Annotated[list[str] | None, typer.Option(show_default="all verdicts")] = None
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", show_default="RUN/report or RUN/marked, with .pdf for a PDF"),
    ] = None


def manifest(
    data_set: Annotated[str, typer.Argument(metavar="DATA_SET"), Literal[OF_COMMAND_LINE]],
    tables: DataSetPanel,
    output: OutPath,
) -> None:
    """Write the manifest of a data set: one row an image, with its reference labels, from its own tables.

    Args:
        data_set: kind of data set; csv is a table of your own, dicom a folder of DICOM files, dicomweb a
            PACS.
        tables: what is read.
        output: CSV file to write.

    Example:
        cxr-explain manifest nih --source phantoms --out phantoms.csv
    """
    from cxr_explain.reference import join_columns, make_manifest, present, write_manifest

    options = {name: value for name, value in vars(tables).items() if value != []}
    source, present_in, join = (options.pop(name) for name in ("source", "present_in", "join"))
    is_server = data_set in DATA_SETS and DATA_SETS[data_set].given_as == "url"
    if is_server and present_in is not None:
        raise OptionError(f"--present-in for {data_set}", expected="a data set on this machine")
    table = make_manifest(data_set, source, **options)
    if present_in is not None:
        table = present(table, present_in)
    joined = None if join is None else join_columns(table, join)
    for each in (*table.notes, *(joined.notes if joined else ())):
        console.note(each)
    table = joined.manifest if joined else table
    write_manifest(table, output)
    patients = len({patient for patient in table.patients if patient is not None})
    boxes = f", {len(table.rows_with_boxes)} with boxes" if table.rows_with_boxes else ""
    console.say(f"{counted(len(table), 'image')} of {counted(patients, 'patient')}{boxes} in {output}")
    if is_server:
        from cxr_explain.dicomweb.places import place_of, server_at

        words = f"{shell_word(output)} --images {shell_word(place_of(server_at(source)))}"
        console.say(f"Go on with: cxr-explain audit {words} --weights NAME --out RUN")


def audit(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST")],
    *,
    images: str,
    follow_links: bool = False,
    explaining: ExplainingPanels,
    labels: LabelsPanel,
    regions: Annotated[str, typer.Option(rich_help_panel="Statistics")] = RULES,
    allow_tuning_images: Annotated[
        bool, typer.Option("--allow-tuning-images", rich_help_panel="Statistics")
    ] = False,
    output: Annotated[str, typer.Option("--out", "-o", metavar="PATH", rich_help_panel="Output")],
    run: RunPanel,
) -> None:
    """Explain every image of a manifest: scores and class maps of each, and a table of failures.

    May be stopped at any moment; the same command goes on from there. Ctrl-C finishes the batch first.

    Exit code 0: all explained; 1: some images failed, each in the table of failures; 2: usage; 130: stopped.

    Args:
        manifest: CSV file that `cxr-explain manifest` wrote.
        images: folder that the paths in the manifest are relative to, or its URL; for a manifest of a PACS,
            dicomweb+ and the server's address, such as dicomweb+https://pacs.example/dicom-web.
        follow_links: also read links that lead out of the image folder.
        explaining: how a radiograph is explained.
        labels: what reference labels count as in the statistics.
        regions: what finds lungs and thorax, for the shares of saliency within them: fixed rules (rules), a
            segmentation network of torchxrayvision (chestx-det or chestx-anatomy), or a file of
            such weights.
        allow_tuning_images: do not refuse images that the operating points were fitted on; it is then said
            on every page.
        output: folder for the audit, or a URL such as s3://bucket/run.
        run: how the audit is run.

    Example:
        cxr-explain audit phantoms.csv --images phantoms/images --weights phantom --out run
    """
    from cxr_explain.audit.address import folder_of
    from cxr_explain.audit.run import RunSettings, run_audit
    from cxr_explain.reference import check_manifest, read_manifest

    reading, ranking = explaining.reading.settings(), explaining.ranking.settings()
    table = read_manifest(manifest)
    pretrained = explaining.pretrained()
    explainer = pretrained.load()
    console.name_weights(explainer.classifier)
    segmentation = None if regions == RULES else explaining.model.segmentation(regions)
    segmenter = None if segmentation is None else segmentation.load()
    folder = folder_of(images)
    if folder is not None:
        check = check_manifest(table, folder, explainer.classifier.pathologies)
        for line in check.lines():
            console.note(line)
        check.raise_if_useless()
    crew: Crew | None = None
    if run.distributed == "ray":
        from cxr_explain.integrations.ray_crew import RayCrew

        crew = RayCrew(pretrained, run.ray_workers, regions=segmentation)
    with _asked_to_stop() as asked, console.progress("auditing", len(table)) as advance:

        def done(batch: BatchProgress) -> None:
            advance(batch.explained + len(batch.failed), failed=len(batch.failed))

        audited = run_audit(
            explainer,
            table,
            images,
            output,
            reading=reading,
            policy=labels.policy(LabelPolicy()),
            running=RunSettings(run.batch_size, run.workers, follow_links, run.retry_failed),
            segmenter=segmenter,
            allow_tuning_images=allow_tuning_images,
            crew=crew,
            advance=done,
            stop=asked,
            **vars(ranking),
        )
    _summarise(audited)
    failed = console.EXIT_SOME_FAILED if len(audited.failures) else 0
    raise typer.Exit(failed if audited.joined else console.EXIT_INTERRUPTED)


def stats(
    run: Run,
    *,
    images: RunImages = None,
    labels: LabelsPanel,
    allow_tuning_images: Annotated[
        bool, typer.Option("--allow-tuning-images", rich_help_panel="Statistics")
    ] = False,
    groups: GroupsPanel,
    tables: Annotated[bool, typer.Option("--tables", rich_help_panel="Output")] = False,
) -> None:
    """Make the statistics of an audit, RUN/statistics.json, and print what they say first.

    Args:
        run: folder of the audit, or its URL, as `cxr-explain audit` wrote it.
        images: folder of the audit's images, for reference masks in it.
        labels: what reference labels count as.
        allow_tuning_images: do not refuse images that the operating points were fitted on; it is then said
            on every page.
        groups: what groups of images are compared.
        tables: also print every table.

    Example:
        cxr-explain stats run --uncertain zeros
    """
    from cxr_explain.audit.address import without_secrets
    from cxr_explain.audit.results import write_statistics
    from cxr_explain.audit.store import AuditRun

    opened = AuditRun.open(run, images=images, join=groups.join)
    found = write_statistics(
        opened,
        policy=labels.policy(opened.record.policy),
        references=groups.references(),
        allow_tuning_images=allow_tuning_images,
        progress=console.tell,
    )
    if tables:
        console.say(found.to_text(), lines=True)
        return
    console.say(found.brief(), lines=True)
    there = "" if images is None else f" --images {shell_word(without_secrets(images))}"
    console.say("Every table: the same command with --tables.")
    console.say(f"Go on with: cxr-explain report {shell_word(opened.place.name)}{there}")


def report(
    run: Run,
    *,
    images: RunImages = None,
    labels: LabelsPanel,
    allow_tuning_images: Annotated[
        bool, typer.Option("--allow-tuning-images", rich_help_panel="Statistics")
    ] = False,
    groups: GroupsPanel,
    what: ReportPanel,
) -> None:
    """Make the report of an audit: statistics, and the cases that deserve a look, in one folder to browse.

    Args:
        run: folder of the audit, or its URL, as `cxr-explain audit` wrote it.
        images: folder of the audit's images, or its URL, as `cxr-explain audit` took it.
        labels: what reference labels count as.
        allow_tuning_images: do not refuse images that the operating points were fitted on; it is then said
            on every page.
        groups: what groups of images are compared.
        what: what the report holds.

    Example:
        cxr-explain report run --cases 20
    """
    from cxr_explain.audit.operating_points.split import check_split_rule
    from cxr_explain.audit.results import write_statistics
    from cxr_explain.audit.store import AuditRun

    opened = AuditRun.open(run, images=images, join=groups.join)
    marked = _marked(opened, what)
    name, ending = "report" if marked is None else "marked", "" if what.report_format == "html" else ".pdf"
    target = what.output or _beside(opened, name + ending)
    _note_missing_images(opened)
    options: dict[str, Any] = {} if what.cases is None else {"cases": what.cases or None}
    if marked is None:
        options["statistics"] = write_statistics(
            opened,
            policy=labels.policy(opened.record.policy),
            references=groups.references(),
            allow_tuning_images=allow_tuning_images,
            progress=console.tell,
        ).document
    else:
        check_split_rule(opened, allow_tuning_images=allow_tuning_images)
        options = {"cases": None, **options, "statistics": {}, "marked": marked}
        console.note(marked.told)
        for section in marked.sections:
            console.say("\n".join(table.to_text() for table in section.plain()), lines=True)
    if what.report_format == "pdf":
        from cxr_explain.pages.audit_report.pdf import write_pdf as write
    else:
        from cxr_explain.pages.audit_report import build_report as write
    console.say(f"Look at {write(opened, target, **options)}.")


def _marked(run: AuditRun, what: ReportPanel) -> Marked | None:
    """The cases that the report is to be of; None for all."""
    from cxr_explain.audit.verdicts import marked_by_ids, marked_by_verdicts

    if what.ids and what.verdicts:
        raise OptionError("--ids beside --verdicts", expected="one of the two")
    if what.verdict and not what.verdicts:
        raise OptionError("--verdict without --verdicts", expected="the readers' files of verdicts")
    if what.verdicts:
        return marked_by_verdicts(run, what.verdicts, what.verdict or ())
    return None if what.ids is None else marked_by_ids(run, what.ids)


def _beside(run: AuditRun, name: str) -> Path:
    """A place in the run's folder; what is there may have come with it, and leads nowhere else."""
    from cxr_explain.audit.place import LocalPlace

    if not isinstance(run.place, LocalPlace):
        raise OptionError("no --out for a run in an object store", expected="a folder of this machine")
    run.place.path(f"{name}/index.html")  # is read, to see that a report is there
    return run.place.path(name)


def _note_missing_images(run: AuditRun) -> None:
    """Say at once that a report will be one without radiographs."""
    try:
        _ = run.image_folder
    except CxrExplainError as error:
        console.note(f"the report will hold no radiographs: {error}")


def _summarise(run: AuditRun) -> None:
    from cxr_explain.audit.localisation import boxes_left_out

    for each in boxes_left_out(run).notes:
        console.note(each)
    explained, failures = len(run.columns(["row"])), len(run.failures)
    for row in run.failures.slice(0, MOST_FAILURES_SHOWN).to_pylist():
        console.failed(f"{row['image_id']}: {row['message']}")
    if failures > MOST_FAILURES_SHOWN:
        console.tell(f"... and {failures - MOST_FAILURES_SHOWN} more in {run.place.name}/failures.csv")
    if run.joined:
        console.say(f"{explained} explained, {failures} failed, in {run.place.name}")
        console.say(f"Go on with: cxr-explain report {shell_word(run.place.name)}{_images_again(run)}")
    else:
        rest = run.record.rows - explained - failures
        console.say(f"stopped: {rest} of {run.record.rows} are left; the same command goes on from here.")


def _images_again(run: AuditRun) -> str:
    """The option without which images that are not on this machine are not read again."""
    from cxr_explain.audit.address import folder_of, without_secrets

    return "" if folder_of(run.images) else f" --images {shell_word(without_secrets(run.images))}"


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks to stop after the batch, the second stops at once."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        console.err.print("stopping after this batch; press Ctrl-C again to stop at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
