"""The command that makes DICOM objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxr_explain.cli import console
from cxr_explain.cli.audits import RunImages
from cxr_explain.cli.explain import FilePanel, reference_labels
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import BatchPanel, ExplainingPanels, LookPanel, OutPath
from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.errors import CxrExplainError, OptionError, legible
from cxr_explain.options import StyleName
from cxr_explain.support.prose import counted

if TYPE_CHECKING:
    from cxr_explain.cli.object_table import ObjectTable
    from cxr_explain.dicom.deidentification import Deidentifier
    from cxr_explain.dicom.files import SavedObjects
    from cxr_explain.dicom.settings import ObjectOptions
    from cxr_explain.figures.style import Style

_KINDS = "; ".join(f"{name}: {kind.title}" for name, kind in OBJECT_KINDS.items())


class ObjectLookPanel(LookPanel, title="Figure"):
    """How the figures in DICOM objects look."""

    style: Annotated[
        StyleName | None, typer.Option(show_default="dark, and light in the PDF; dark in another language")
    ] = None

    def chosen(self) -> Style | None:
        """The style of all figures; None for that of each kind of object."""
        is_default = self.style is None and self.language == "en"
        return None if is_default else self.look("dark")


class ObjectPanel(Panel, title="Objects"):
    """Which objects are made.

    Args:
        threshold: share of a pathology's own peak that its region reaches at least, between 0 and 1.
    """

    objects: Annotated[
        str | None,
        typer.Option(
            help=f"Kinds of objects to make, separated by commas. {_KINDS}.", show_default="all of them"
        ),
    ] = None
    threshold: float = 0.5

    def options(self, look: ObjectLookPanel) -> ObjectOptions:
        """The same for what makes objects.

        Args:
            look: how their figures look.

        >>> ObjectPanel(objects="report, pdf").options(ObjectLookPanel())["kinds"]
        ('report', 'pdf')
        """
        from cxr_explain.dicom.settings import ObjectSettings

        options: ObjectOptions = {"threshold": self.threshold, "style": look.chosen()}
        if self.objects is not None:
            options["kinds"] = tuple(map(str.strip, self.objects.split(",")))
        ObjectSettings.of(**options)
        return options


class IdentityPanel(Panel, title="Objects"):
    """What becomes of a patient's identity.

    Args:
        deidentify: take the patient's identity out of the headers first (PS3.15, basic profile), and write
            the de-identified radiograph beside its objects. What is burnt into pixels stays there.
        deidentify_key: file with a secret key, made where there is none, by which identifiers and dates are
            the same in another run.
        retain: what is kept of the patient all the same: sex, age, size, weight.
    """

    deidentify: bool = False
    deidentify_key: Annotated[
        Path | None, typer.Option(show_default="a new key that nobody keeps, for a new folder")
    ] = None
    retain: Annotated[Literal["patient-characteristics"] | None, typer.Option(show_default="nothing")] = None

    def deidentifier(self, output: Path) -> Deidentifier | None:
        """What de-identifies; None where nothing is to be.

        Args:
            output: folder for the results, which must be a new one where no key is kept.

        Raises:
            OptionError: options for it without it, or a folder that is not empty.
        """
        if not self.deidentify:
            if self.deidentify_key is not None or self.retain is not None:
                raise OptionError(
                    "--deidentify-key or --retain without --deidentify", expected="them beside --deidentify"
                )
            return None
        from cxr_explain.dicom.deidentification import Deidentifier
        from cxr_explain.dicom.folders import check_new_or_empty

        if self.deidentify_key is None:
            check_new_or_empty(output)
        return Deidentifier.of(self.deidentify_key, () if self.retain is None else (self.retain,))


def dicom(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT")],
    *,
    ids: Annotated[list[str] | None, typer.Option(show_default="all that were explained")] = None,
    images: RunImages = None,
    files: FilePanel,
    explaining: ExplainingPanels,
    layer: Annotated[
        list[str] | None, typer.Option(show_default="the last feature map", rich_help_panel="Map")
    ] = None,
    look: ObjectLookPanel,
    wanted: ObjectPanel,
    identity: IdentityPanel,
    output: OutPath = Path("objects"),
    run: BatchPanel,
) -> None:
    """Make DICOM objects of radiographs' explanations, for a PACS: captures, a report, a segmentation.

    Of DICOM files, which are explained, or of images of an audit, from the maps that are stored. Objects join
    the study of their radiograph, and have the same identifiers whenever the same is made again.

    May be stopped at any moment; the same command finishes them.

    Exit code 0: all well; 1: some inputs failed, or some objects cannot be made, each named in a line, the
    others are done; 2: usage.

    Args:
        inputs: DICOM files, folders that are searched for them, or globs; or folder or URL of one audit.
        ids: identifiers of images in the audit, separated by commas.
        images: folder of the audit's images, or its URL.
        files: what is read beside the pixels.
        explaining: how a radiograph is explained.
        layer: layer to explain, by its name from `cxr-explain layers`; the class maps of several layers are
            combined.
        look: how figures look.
        wanted: which objects are made.
        identity: what becomes of a patient's identity.
        output: folder for the results, with a folder for each radiograph.
        run: how the work is done.

    Example:
        cxr-explain dicom phantoms/dicom --weights phantom --out objects
    """
    options = wanted.options(look)
    results: Iterable[tuple[str | Path, SavedObjects | CxrExplainError]]
    if ids is not None or images is not None or any(map(is_audit, inputs)):
        _check_audit_alone(inputs, [files, *vars(explaining).values(), run], layer)
        deidentifier = identity.deidentifier(output)
        results, total = _of_audit(inputs[0], ids, images, output, deidentifier, options)
    else:
        deidentifier = identity.deidentifier(output)
        results, total = _of_files(inputs, files, explaining, layer, run, output, deidentifier, options)
    if not _show(results, total, output, named=deidentifier is None):
        raise typer.Exit(console.EXIT_SOME_FAILED)


def _of_files(
    inputs: Sequence[str],
    files: FilePanel,
    explaining: ExplainingPanels,
    layer: list[str] | None,
    run: BatchPanel,
    output: Path,
    deidentifier: Deidentifier | None,
    options: ObjectOptions,
) -> tuple[Iterable[tuple[Path, SavedObjects | CxrExplainError]], int]:
    from cxr_explain.dicom.files import explain_to_objects
    from cxr_explain.explaining.files import expand_inputs, unlabelled

    reading = explaining.reading.settings(frame=files.frame)
    unsaid: list[str] = []
    note = console.note if deidentifier is None else unsaid.append
    paths, passed_over = expand_inputs(inputs)
    for each in passed_over:
        note(each)
    explainer = explaining.pretrained(layers=layer or (), track=console.track).load()
    console.name_weights(explainer.classifier)
    outputs = explainer.classifier.pathologies
    labels_for = reference_labels(files.labels or None, files.boxes, paths, outputs, note=note)
    if unsaid:
        console.note(f"{counted(len(unsaid), 'note')} not shown, as they name files, with --deidentify")
    results = explain_to_objects(
        explainer,
        paths,
        output,
        asked=explaining.ranking.settings(),
        reading=reading,
        labels_for=labels_for or unlabelled,
        deidentifier=deidentifier,
        batch_size=run.batch_size,
        **options,
    )
    return results, len(paths)


def _of_audit(
    where: str,
    ids: Sequence[str] | None,
    images: str | None,
    output: Path,
    deidentifier: Deidentifier | None,
    options: ObjectOptions,
) -> tuple[Iterable[tuple[str, SavedObjects | CxrExplainError]], int]:
    from cxr_explain.audit.objects import save_objects
    from cxr_explain.audit.store import AuditRun

    opened = AuditRun.open(where, images=images)
    known = opened.position
    asked = [
        each.strip()
        for text in ids or ()
        for each in ([text] if text in known else text.split(","))
        if each.strip()
    ]
    chosen = list(dict.fromkeys(asked)) if ids else list(known)
    return save_objects(opened, chosen, output, deidentifier=deidentifier, **options), len(chosen)


def is_audit(text: str) -> bool:
    """Whether an input is an audit: only one of them is named by a URL."""
    from cxr_explain.audit.store import RECORD

    return "://" in text or (Path(text) / RECORD).is_file()


def _check_audit_alone(inputs: Sequence[str], panels: Iterable[Panel], layer: Sequence[str] | None) -> None:
    """Refuse what an audit knows already, or what is no audit."""
    if len(inputs) > 1:
        raise OptionError("an audit beside other inputs", expected="one audit, or DICOM files")
    if layer or any(each != type(each)() for each in panels):
        raise OptionError(
            "options that say how a radiograph is explained, for an audit, which knows that",
            expected="them for DICOM files only",
        )


def _show(
    results: Iterable[tuple[str | Path, SavedObjects | CxrExplainError]],
    total: int,
    output: Path,
    *,
    named: bool,
) -> bool:
    """Print a table of results and a line for each failure; return whether nothing failed."""
    from cxr_explain.cli.object_table import ObjectTable

    table, failed = ObjectTable(), 0
    with console.progress("making objects", total) as advance:
        for number, (source, result) in enumerate(results, start=1):
            if isinstance(result, CxrExplainError):
                failed += 1
                _tell_failure(str(source) if named else f"input {number} of {total}", result)
            else:
                _add(table, result)
            advance(failed=isinstance(result, CxrExplainError))
    table.print(console.out)
    table.notes.tell(console.note)
    table.not_made.tell(console.failed)
    if failed:
        console.err.print(f"{failed} of {total} inputs failed")
    if table.sources:
        made = f"{counted(table.objects, 'object')} of {counted(table.sources, 'radiograph')}"
        console.say(f"{made} in {output}")
    return not failed and not table.not_made


def _add(table: ObjectTable, saved: SavedObjects) -> None:
    folder = str(saved.folder) if saved.written else "none"
    table.add(saved.folder.name, saved.written, saved.not_made, saved.notes, folder)


def _tell_failure(source: str, error: CxrExplainError) -> None:
    message = str(error)  # which may name something else than the input, such as an output
    console.failed(message if legible(source) in message else f"{source}: {message}")
