"""The commands that show several explanations beside each other: panel, compare."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxr_explain.cli import console
from cxr_explain.cli.audits import LabelsPanel, RunImages
from cxr_explain.cli.explain import reference_labels
from cxr_explain.cli.figure import check_apart, is_saved, note_other_reading
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import BoxPanel, LookPanel, OutPath, ReadingPanel, named_path
from cxr_explain.errors import OptionError
from cxr_explain.options import LabelPolicy
from cxr_explain.support.prose import counted

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun, StoredCase
    from cxr_explain.explaining.explanation import Explanation
    from cxr_explain.radiograph import Radiograph


class PageLookPanel(LookPanel, title="Figure"):
    """How a figure of a given width looks.

    Args:
        width_mm: width of the figure in mm.
        dpi: pixels in an inch of the images in it.
        font: font family of all text.
        size: size of ordinary text in points.
        colours: colours of pathologies, such as 'Effusion=#0072B2|Mass=orange'.
        letters: how pictures are named.
        captions: whether small text stands below the pictures.
        scale_bar: whether a scale bar is drawn where the pixel spacing is known.
        key: whether the colour key is drawn.
        provenance: say with which model, weights and method the maps were made.
        disclaimer: whether the figure says that it is for research use only.
    """

    width_mm: Annotated[float, typer.Option(min=20)] = 180
    dpi: Annotated[float, typer.Option(min=150, max=1200)] = 300
    font: Annotated[str | None, typer.Option(show_default="DejaVu Sans")] = None
    size: Annotated[float, typer.Option(min=4, max=16)] = 7
    colours: Annotated[str | None, typer.Option(show_default="the package's own")] = None
    letters: Literal["a", "A", "none"] = "a"
    captions: Annotated[bool, typer.Option("--captions/--no-captions")] = True
    scale_bar: Annotated[bool, typer.Option("--scale-bar/--no-scale-bar")] = True
    key: Annotated[bool, typer.Option("--key/--no-key")] = True
    provenance: bool = False
    disclaimer: Annotated[bool, typer.Option("--disclaimer/--no-disclaimer")] = True

    def options(self) -> dict[str, Any]:
        """The same for `panel` and `compare`.

        >>> found = PageLookPanel(colours="Effusion=#0072B2", letters="none").options()
        >>> found["colours"], found["letters"], found["style"].size
        ({'Effusion': '#0072B2'}, False, 7)
        """
        from dataclasses import replace

        fonts = (self.font,) if self.font else ()
        return {
            "width_mm": self.width_mm,
            "dpi": self.dpi,
            "style": replace(self.look(), fonts=fonts, size=self.size),
            "colours": None if self.colours is None else _pairs(self.colours),
            "letters": False if self.letters == "none" else self.letters,
            "captions": self.captions,
            "scale_bar": self.scale_bar,
            "key": self.key,
            "provenance": self.provenance,
            "disclaimer": self.disclaimer,
        }


class SourcePanel(BoxPanel):
    """What is read beside saved explanations.

    Args:
        radiographs: image file, folder or glob with the radiographs of saved explanations; may be repeated.
        labels: reference labels: 'Effusion|Mass=negative' for every image, or a CSV table: NIH's, or one with
            the columns image and labels. Images are found in it by their file names.
    """

    radiographs: Annotated[list[str] | None, typer.Option(show_default="none")] = None
    labels: str | None = None


class WholeRunsPanel(Panel, title="Statistics"):
    """How two audits are compared as a whole.

    Args:
        counting: what reference labels count as.
        allow_tuning_images: do not refuse images that operating points of an audit were fitted on; it is then
            said.
        cases: number of images in each list of those in which two audits part most.
        tables: also print every table.
    """

    counting: LabelsPanel = LabelsPanel()
    allow_tuning_images: Annotated[bool, typer.Option("--allow-tuning-images")] = False
    cases: Annotated[int, typer.Option(min=0, rich_help_panel="Output")] = 6
    tables: Annotated[bool, typer.Option("--tables", rich_help_panel="Output")] = False


def panel(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT")],
    *,
    columns: Annotated[str, typer.Option(rich_help_panel="Figure")] = "radiograph,fused",
    source: SourcePanel,
    images: RunImages = None,
    reading: ReadingPanel,
    look: PageLookPanel,
    row_names: Annotated[str | None, typer.Option(show_default="none", rich_help_panel="Figure")] = None,
    crop: Annotated[str | None, typer.Option(show_default="all of it", rich_help_panel="Figure")] = None,
    output: OutPath = Path("panel.pdf"),
) -> None:
    """Draw several patients in one figure: a row for each, a column for each kind of picture.

    Args:
        inputs: folder or URL of an audit, and identifiers of images in it; or JSON files that `cxr-explain
            explain` wrote, folders with them, or globs.
        columns: radiograph, fused, winner, boxes, predictions, or a pathology for its class map, separated by
            commas.
        source: what is read beside saved explanations.
        images: folder of the audit's images, or its URL.
        reading: how image files are read.
        look: how the figure looks.
        row_names: names of the rows, separated by |.
        crop: part of each radiograph that is shown, LEFT,TOP,RIGHT,BOTTOM in pixels, or the pathology whose
            reference boxes shall be in it.
        output: file to write; its ending says the format: png, pdf or svg.

    Example:
        cxr-explain panel run phantom-000001 phantom-000002 --columns radiograph,fused --out panel.pdf
    """
    from cxr_explain.audit.results import panel_of
    from cxr_explain.figures.patient_panel import panel as panel_figure

    options = look.options() | {
        "row_names": None if row_names is None else [name.strip() for name in row_names.split("|")],
        "crop": None if crop is None else _crop(crop),
    }
    asked = [name.strip() for name in columns.split(",") if name.strip()]
    inputs = _expanded(inputs)
    if not all(map(is_saved, inputs)):
        run, *ids = inputs
        if not ids:
            raise OptionError(
                f"{run} alone",
                expected="JSON files of explanations, or an audit and identifiers of its images",
            )
        figure = panel_of(_opened(run, images), ids, asked, **options)
    else:
        explanations = _loaded(inputs)
        known = _radiographs(source.radiographs or [], explanations, reading)
        check_apart(output, _read(inputs, source, known))
        figure = panel_figure(
            explanations,
            asked,
            radiographs=[radiograph for _, radiograph in known.values()],
            reference_labels=_labels(source, explanations, known),
            **options,
        )
    figure.save(output)
    console.say(f"Look at {output}.")


def compare(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT")],
    *,
    image_id: Annotated[str | None, typer.Option("--id", show_default="none")] = None,
    names: Annotated[str | None, typer.Option(show_default="names of the files or folders")] = None,
    class_maps: Annotated[str, typer.Option(rich_help_panel="Figure")] = "3",
    source: SourcePanel,
    images: RunImages = None,
    reading: ReadingPanel,
    look: PageLookPanel,
    crop: Annotated[str | None, typer.Option(show_default="all of it", rich_help_panel="Figure")] = None,
    whole: WholeRunsPanel,
    numbers: Annotated[Path | None, typer.Option(show_default="none", rich_help_panel="Output")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=named_path,
            metavar="PATH",
            show_default="comparison for two audits, compare.pdf for a figure",
            rich_help_panel="Output",
        ),
    ] = None,
) -> None:
    """Compare two audits of the same images; or draw models or methods beside each other on one radiograph.

    Two audits: what differs between their models, weights, engines or preprocessings, in a page and in
    numbers; only the options in Statistics and Output are of use. One radiograph: a figure, from saved
    explanations or, with --id, from audits.

    Args:
        inputs: two audits, RUN_A RUN_B; or two or more of one radiograph: JSON files that `cxr-explain
            explain` wrote, folders with them or globs, or audits, with --id.
        image_id: identifier of the image in audits.
        names: names of the models or methods, separated by commas.
        class_maps: number of pathologies whose class maps are drawn, or their names, separated by commas.
        source: what is read beside saved explanations.
        images: folder of the audit's images, or its URL.
        reading: how image files are read.
        look: how the figure looks.
        crop: part of each radiograph that is shown, LEFT,TOP,RIGHT,BOTTOM in pixels, or the pathology whose
            reference boxes shall be in it.
        whole: how two audits are compared as a whole.
        numbers: JSON file to write what differs in the figure into.
        output: folder to write the comparison of two audits into; or file to write the figure into, whose
            ending says the format: png, pdf or svg.

    Example:
        cxr-explain compare figures/phantom-000001.json run --id phantom-000001 --names three,five
    """
    import json

    from cxr_explain.figures.model_comparison import compare as comparison
    from cxr_explain.support.whole_file import write_output

    inputs = _expanded(inputs)
    if image_id is None and not any(map(is_saved, inputs)):
        of_figure = (names, crop, numbers, source.radiographs, source.labels, source.boxes)
        is_plain = not any(of_figure) and (class_maps, reading, look) == (
            "3",
            ReadingPanel(),
            PageLookPanel(),
        )
        _compare_whole(inputs, images, whole, output or Path("comparison"), is_plain=is_plain)
        return
    if whole != WholeRunsPanel():
        raise OptionError(
            "options of two audits as a whole for a figure", expected="them with RUN_A RUN_B, without --id"
        )
    output = output or Path("compare.pdf")
    if numbers is not None:
        check_apart(numbers, _read(inputs, source, {}), option="--numbers")
    cases = {run: _case(run, image_id, images) for run in inputs if not is_saved(run)}
    explanations = [cases[each].explanation if each in cases else _loaded([each])[0] for each in inputs]
    if cases:
        case = next(iter(cases.values()))
        radiograph, labels = case.radiograph(), case.reference_labels
    else:
        known = _radiographs(source.radiographs or [], explanations, reading)
        check_apart(output, _read(inputs, source, known))
        if numbers is not None:
            check_apart(numbers, _read(inputs, source, known), option="--numbers")
        _, radiograph = next(iter(known.values()))
        labels = _labels(source, explanations[:1], known)[0]
    figure = comparison(
        dict(zip(_names(names, inputs), explanations, strict=True)),
        pathologies=int(class_maps) if class_maps.isdecimal() else class_maps.split(","),
        radiograph=radiograph,
        reference_labels=labels,
        crop=None if crop is None else _crop(crop),
        **look.options(),
    )
    figure.save(output)
    if numbers is not None:
        text = json.dumps(figure.differences.to_dict(), indent=2, allow_nan=False) + "\n"
        write_output(numbers, text.encode(), "numbers")
    console.say(f"Look at {output}.")


def _compare_whole(
    runs: Sequence[str], images: str | None, whole: WholeRunsPanel, folder: Path, *, is_plain: bool
) -> None:
    """Compare two audits; `is_plain` says that no option of a figure was given."""
    from cxr_explain.audit.comparison.document import compare_runs
    from cxr_explain.pages.run_comparison import write_comparison

    if len(runs) != 2:
        raise OptionError(
            counted(len(runs), "audit"), expected="two audits of the same images, or one image with --id"
        )
    if not is_plain:
        raise OptionError(
            "options of a figure for two audits as a whole",
            expected="them with --id, or with saved explanations",
        )
    a, b = (_opened(run, images) for run in runs)
    of_runs = {a.record.policy, b.record.policy}
    otherwise = of_runs.pop() if len(of_runs) == 1 else LabelPolicy()
    policy = None if whole.counting == LabelsPanel() else whole.counting.policy(otherwise)
    found = compare_runs(
        a,
        b,
        policy=policy,
        allow_tuning_images=whole.allow_tuning_images,
        cases=whole.cases,
        progress=console.tell,
    )
    page = write_comparison(found, folder)
    console.say(found.to_text(tables=whole.tables), lines=True)
    if not whole.tables:
        console.say(f"Every number: {folder / 'comparison.json'}, or the same command with --tables.")
    console.say(f"Look at {page}.")


def _opened(run: str, images: str | None) -> AuditRun:
    from cxr_explain.audit.store import AuditRun

    return AuditRun.open(run, images=images)


def _case(run: str, image_id: str | None, images: str | None) -> StoredCase:
    from cxr_explain.audit.results import position_of

    if image_id is None:
        raise OptionError(f"the audit {run} without --id", expected="the identifier of an image in it")
    opened = _opened(run, images)
    return opened.case(position_of(opened, image_id))


def _expanded(inputs: Sequence[str]) -> list[str]:
    """Inputs with the saved explanations that a folder has, or that a glob matches, in its place."""
    from cxr_explain.audit.store import RECORD

    found: list[str] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir() and not (path / RECORD).exists():
            saved = sorted(map(str, path.glob("*.json")))
        elif not path.exists() and "://" not in text:
            saved = sorted(each for each in glob.glob(text, recursive=True) if is_saved(each))
        else:
            saved = []
        found += saved or [text]
    return found


def _loaded(paths: Sequence[str]) -> list[Explanation]:
    from cxr_explain.explaining.explanation import Explanation

    return [Explanation.load(path) for path in paths]


def _radiographs(
    inputs: Sequence[str], explanations: Sequence[Explanation], reading: ReadingPanel
) -> dict[str, tuple[Path, Radiograph]]:
    """Those of the files that explanations are of, by their SHA-256; no other file is decoded."""
    import hashlib

    wanted = {each.provenance.radiograph_sha256: each for each in explanations}
    found: dict[str, tuple[Path, Radiograph]] = {}
    for path in console.files_of(inputs) if inputs else []:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest in wanted and digest not in found:
            found[digest] = path, reading.settings().read(path)
            note_other_reading(*found[digest], wanted[digest])
    for explanation in explanations:
        digest = explanation.provenance.radiograph_sha256
        if digest not in found:
            raise OptionError(
                f"no radiograph of SHA-256 {digest[:12]}",
                source=explanation.id,
                remedy="Name its file, or a folder that it is in, with --radiographs.",
            )
    return found


def _read(
    inputs: Sequence[str], source: SourcePanel, known: dict[str, tuple[Path, Radiograph]]
) -> list[tuple[str, str | Path | None]]:
    """The files that are read, by what names them."""
    radiographs = (("--radiographs", path) for path, _ in known.values())
    saved = (("INPUT", path) for path in inputs)
    return [*saved, *radiographs, ("--labels", source.labels), ("--boxes", source.boxes)]


def _labels(
    source: SourcePanel, explanations: Sequence[Explanation], known: dict[str, tuple[Path, Radiograph]]
) -> list[Any]:
    """The reference labels of each explanation; None where none are given."""
    files = [path for path, _ in known.values()]
    predicted = [each.pathology for each in explanations[0].ranking.predictions]
    labels_for = reference_labels(source.labels or None, source.boxes, files, predicted)
    labels: list[Any] = []
    for explanation in explanations:
        there = known.get(explanation.provenance.radiograph_sha256)
        labels.append(labels_for(there[0], there[1].shape) if labels_for and there else None)
    return labels


def _names(names: str | None, inputs: Sequence[str]) -> list[str]:
    given = [name.strip() for name in names.split(",")] if names else _names_of(inputs)
    if len(given) != len(inputs) or len(set(given)) < len(given) or not all(given):
        raise OptionError(
            f"the names {', '.join(given)} for {len(inputs)} inputs",
            expected="a name for each, all different",
            remedy="Name them with --names A,B.",
        )
    return given


def _names_of(inputs: Sequence[str]) -> list[str]:
    """Names of folders, that say the method; of files, where several are in one folder."""
    paths = list(map(Path, inputs))
    folders = [path.parent.name or path.stem if is_saved(path.name) else path.name for path in paths]
    return folders if len(set(folders)) == len(folders) else [path.stem for path in paths]


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for each in text.split("|"):
        name, equals, value = (part.strip() for part in each.partition("="))
        if not (name and equals and value):
            raise OptionError(f"--colours {text!r}", expected="such as 'Effusion=#0072B2|Mass=orange'")
        pairs[name] = value
    return pairs


def _crop(text: str) -> tuple[float, float, float, float] | str:
    parts = text.split(",")
    try:
        left, top, right, bottom = map(float, parts)
    except ValueError:
        if len(parts) == 1:
            return text.strip()
        raise OptionError(f"--crop {text!r}", expected="LEFT,TOP,RIGHT,BOTTOM, or a pathology") from None
    return left, top, right, bottom
