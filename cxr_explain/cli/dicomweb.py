"""The command that explains studies of a PACS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_explain.cli import console
from cxr_explain.cli.dicom import IdentityPanel, ObjectLookPanel, ObjectPanel
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import BatchPanel, ExplainingPanels
from cxr_explain.errors import CxrExplainError, OptionError
from cxr_explain.support.prose import counted

if TYPE_CHECKING:
    from cxr_explain.cli.object_table import ObjectTable, Told
    from cxr_explain.dicom.study import StudyImage, StudyResult
    from cxr_explain.dicomweb.server import DicomWebServer

FAILURES = "failures.csv"
_HEAD = ("number", "study", "radiograph", "code", "message")


class ServerPanel(Panel):
    """Which server, and which studies on it.

    Args:
        url: address of the DICOMweb service. Who asks is told by the environment
            (CXR_EXPLAIN_DICOMWEB_USER and CXR_EXPLAIN_DICOMWEB_PASSWORD, or CXR_EXPLAIN_DICOMWEB_TOKEN) or by
            ~/.netrc, never here.
        study: Study Instance UID of a study to explain.
        query: what studies to explain must have, such as StudyDate=20240101-20240331 or ModalitiesInStudy=DX.
        limit: number of studies that are taken of those that the query finds.
        ca: PEM file of the authorities that are trusted instead of the usual ones.
        allow_http: also take plain http to another machine, without credentials.
    """

    url: str
    study: Annotated[list[str] | None, typer.Option(metavar="UID", show_default="those of the query")] = None
    query: Annotated[list[str] | None, typer.Option(metavar="KEYWORD=VALUE", show_default="none")] = None
    limit: Annotated[int | None, typer.Option(min=1, show_default="all of them")] = None
    ca: Annotated[Path | None, typer.Option(show_default="the usual authorities")] = None
    allow_http: bool = False

    def server(self) -> DicomWebServer:
        """The server; nothing is asked yet."""
        from cxr_explain.dicomweb.server import DicomWebServer

        return DicomWebServer(self.url, ca=self.ca, allow_http=self.allow_http)

    def studies(self, server: DicomWebServer) -> list[str]:
        """The Study Instance UIDs, each once.

        Raises:
            DicomWebError: no answer to the query.
            OptionError: neither a study nor a query.
        """
        from cxr_explain.dicomweb.query import query_of

        if not self.study and not self.query:
            raise OptionError("no studies", expected="--study UID or --query KEYWORD=VALUE")
        if self.limit is not None and not self.query:
            raise OptionError("--limit without --query", expected="it beside a query")
        query = query_of(self.query or ())
        found = (each.uid for each in server.find_studies(query, self.limit)) if query else iter(())
        return list(dict.fromkeys([*(self.study or ()), *found]))


def dicomweb(
    *,
    asked: ServerPanel,
    explaining: ExplainingPanels,
    layer: Annotated[
        list[str] | None, typer.Option(show_default="the last feature map", rich_help_panel="Map")
    ] = None,
    look: ObjectLookPanel,
    wanted: ObjectPanel,
    identity: IdentityPanel,
    store: Annotated[bool, typer.Option("--store", rich_help_panel="Output")] = False,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", show_default="none", rich_help_panel="Output")
    ] = None,
    run: BatchPanel,
) -> None:
    """Explain the frontal chest radiographs of a PACS's studies, and store DICOM objects in the same studies.

    Without --store and --out nothing is explained: the studies are listed, and what would be done.

    May be stopped at any moment; the same command goes on, and nothing is stored twice: objects have the same
    identifiers whenever the same is made again, and what the server has is not sent again. With --out, what
    was made before is not explained again either.

    Exit code 0: all well; 1: some radiographs failed, or some objects cannot be made, each named in a line,
    the others are done; 2: usage.

    Args:
        asked: which server, and which studies on it.
        explaining: how a radiograph is explained.
        layer: layer to explain, by its name from `cxr-explain layers`; the class maps of several layers are
            combined.
        look: how figures look.
        wanted: which objects are made.
        identity: what becomes of a patient's identity.
        store: store the objects on the server.
        output: folder for what was done and what failed, and for the objects unless they are stored.
        run: how the work is done.

    Example:
        cxr-explain dicomweb --url http://127.0.0.1:8042/dicom-web --query ModalitiesInStudy=DX --store
    """
    options = wanted.options(look)
    reading, ranking = explaining.reading.settings(), explaining.ranking.settings()
    if store and identity.deidentify:
        raise OptionError("--deidentify with --store", expected="it with --out, for files")
    if output is None and identity != IdentityPanel():
        raise OptionError("--deidentify, --deidentify-key or --retain without --out", expected="a folder")
    server = asked.server()
    if not store and output is None:
        _list(server, asked.studies(server))
        return
    deidentifier = None if output is None else identity.deidentifier(output)
    studies = asked.studies(server)
    explainer = explaining.pretrained(layers=layer or (), track=console.track).load()
    console.name_weights(explainer.classifier)
    from cxr_explain.dicom.studies import explain_studies

    results = explain_studies(
        explainer,
        server,
        studies,
        store=store,
        output=output,
        asked=ranking,
        reading=reading,
        deidentifier=deidentifier,
        batch_size=run.batch_size,
        **options,
    )
    shown = _Shown(named=deidentifier is None, stored=store)
    with console.progress("explaining studies", len(studies)) as advance, shown.written(output):
        for study in results:
            advance(failed=shown.add(study))
    if not shown.is_all_well:
        raise typer.Exit(console.EXIT_SOME_FAILED)


def _list(server: DicomWebServer, studies: Sequence[str]) -> None:
    """List studies, and what would be done."""
    from cxr_explain.cli.object_table import Told
    from cxr_explain.dicom.studies import study_of
    from cxr_explain.dicomweb.contact import Contact

    passed_over, failed, radiographs, contact = Told(), 0, 0, Contact()
    for uid in studies:
        found = study_of(server, uid, contact)
        if contact.gone is not None:
            raise contact.gone
        if found.error is not None:
            console.failed(f"{uid}: {found.error}")
            failed += 1
            continue
        radiographs += len(found.radiographs)
        _tell_passed_over(found, uid, passed_over)
        console.say(f"{uid}: {counted(len(found.radiographs), 'frontal chest radiograph')}")
    passed_over.tell(console.note)
    console.say(
        f"{counted(radiographs, 'radiograph')} of {counted(len(studies), 'study', 'studies')} would be "
        "explained: add --store to store the objects on the server, or --out FOLDER to write them to files."
    )
    if failed:
        raise typer.Exit(console.EXIT_SOME_FAILED)


def _tell_passed_over(study: StudyResult, name: str, told: Told) -> None:
    for why in study.passed_over:
        told.add(f"passed over: {why}", name)


class _Shown:
    """What is printed of a run, and written of what failed.

    Args:
        named: whether studies are called by their identifiers, or by their number in the run.
        stored: whether objects are stored on the server, or written.
    """

    def __init__(self, *, named: bool, stored: bool) -> None:
        from cxr_explain.cli.object_table import ObjectTable, Told

        self.named, self.stored = named, stored
        self.table: ObjectTable = ObjectTable("study", "on the server" if stored else "folder")
        self.passed_over: Told = Told()
        self.failures: list[tuple[object, ...]] = []
        self.studies = self.new = self.failed = 0
        self.is_cut_short = False

    @property
    def is_all_well(self) -> bool:
        """Whether nothing failed, and every object was made that was asked for."""
        return not self.failed and not self.table.not_made

    def add(self, study: StudyResult) -> int:
        """One more study that is done; returns whether something in it failed."""
        self.studies += 1
        name = study.uid if self.named else f"study {self.studies}"
        before = self.failed
        if study.error is not None:
            self._fail(study, name, "", study.error)
        _tell_passed_over(study, name, self.passed_over)
        for image in study.images:
            self._add(study, name, image)
        return min(1, self.failed - before)

    @contextmanager
    def written(self, output: Path | None) -> Iterator[None]:
        """Print what was done at the end, whatever the end, and write what failed."""
        try:
            yield
        except BaseException:
            self.is_cut_short = True
            raise
        finally:
            if output is not None and output.is_dir():
                self._write_failures(output)
            self._print()

    def _add(self, study: StudyResult, name: str, image: StudyImage) -> None:
        if image.error is not None:
            self._fail(study, name, image.address.instance, image.error)
            return
        self.new += image.new
        result = f"{image.new} new" if self.stored else str(image.folder or "none")
        self.table.add(name, image.kinds, image.not_made, image.notes, result)
        for kind, error in image.not_made.items():
            self._keep(study, image.address.instance, error, f"no {kind}: {error}")

    def _fail(self, study: StudyResult, name: str, instance: str, error: CxrExplainError) -> None:
        self.failed += 1
        self._keep(study, instance, error, str(error))
        console.failed(f"{name}: {error}")

    def _keep(self, study: StudyResult, instance: str, error: CxrExplainError, message: str) -> None:
        names = (study.uid, instance) if self.named else ("", "")
        self.failures.append((self.studies, *names, error.code, message))

    def _write_failures(self, output: Path) -> None:
        from cxr_explain.support.spreadsheet import safe_csv
        from cxr_explain.support.whole_file import write_output

        text = safe_csv([_HEAD, *self.failures])
        write_output(output / FAILURES, text.encode(errors="backslashreplace"), "a table of failures")

    def _print(self) -> None:
        self.table.print(console.out)
        self.table.notes.tell(console.note)
        self.passed_over.tell(console.note)
        self.table.not_made.tell(console.failed)
        objects, radiographs = (
            counted(self.table.objects, "object"),
            counted(self.table.sources, "radiograph"),
        )
        done = f"{self.new} {'stored' if self.stored else 'written'} now, {self.failed} failed"
        console.say(f"{objects} of {radiographs} in {counted(self.studies, 'study', 'studies')}: {done}")
        if self.is_cut_short:
            console.say(
                "stopped: objects of a study that was under way are there beside these, as far as they came; "
                "the same command goes on from here."
            )
