"""The command that draws one explanation: of an audit, or one that was saved."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_explain.cli import console
from cxr_explain.cli.audits import RunImages
from cxr_explain.cli.explain import FilePanel, reference_labels
from cxr_explain.cli.panels import ReadingPanel, SingleLookPanel
from cxr_explain.errors import OptionError

if TYPE_CHECKING:
    from cxr_explain.explaining.explanation import Explanation
    from cxr_explain.pathologies import ReferenceLabels
    from cxr_explain.radiograph import Radiograph

_FIGURES = (".png", ".pdf", ".svg")


def figure(
    source: Annotated[str, typer.Argument(metavar="INPUT")],
    image_id: Annotated[
        str | None, typer.Argument(metavar="ID", show_default="none, for a saved explanation")
    ] = None,
    *,
    images: RunImages = None,
    radiograph: Annotated[Path | None, typer.Option(show_default="none")] = None,
    files: FilePanel,
    reading: ReadingPanel,
    look: SingleLookPanel,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", show_default="ID.png, made a safe name", rich_help_panel="Output"),
    ] = None,
) -> None:
    """Draw one explanation, from the maps that are stored: a figure, a page with controls, or an animation.

    Of an image of an audit, by its ID, or of an explanation that was saved.

    Args:
        source: JSON file of one explanation, as `cxr-explain explain` wrote it; or folder of an audit, or its
            URL.
        image_id: identifier of the image in the manifest.
        images: folder of the audit's images, or its URL.
        radiograph: image file that a saved explanation is of; without it, a page and an animation show the
            maps on plain grey.
        files: what is read beside the pixels, for a saved explanation.
        reading: how the radiograph is read, for a saved explanation.
        look: how a figure or an animation looks.
        output: file to write; its ending says what: png, pdf or svg for the figure, html for one page to send
            to somebody, gif for a picture that fades from the radiograph to the map and back.

    Example:
        cxr-explain figure run phantom-000001 --out case.html
    """
    if output is not None and output.suffix.lower() not in (*_FIGURES, ".html", ".gif"):
        raise OptionError(f"--out {output}", expected="a name that ends in .png, .pdf, .svg, .html or .gif")
    if is_saved(source):
        if image_id is not None or images is not None:
            raise OptionError("an image of an audit beside a saved explanation", expected="one of the two")
        _draw(*_saved(Path(source), radiograph, files, reading, output), look)
    else:
        if radiograph is not None or files != FilePanel() or reading != ReadingPanel():
            raise OptionError(
                "options that say how a radiograph is read, for an audit, which knows that",
                expected="them beside the JSON file of a saved explanation only",
            )
        _draw(*_audited(source, image_id, images, output), look)


def _audited(
    run: str, image_id: str | None, images: str | None, output: Path | None
) -> tuple[Explanation, ReferenceLabels | None, Radiograph | None, Path]:
    from cxr_explain.audit.results import default_figure, position_of
    from cxr_explain.audit.store import AuditRun

    opened = AuditRun.open(run, images=images)
    if image_id is None:
        raise OptionError("an audit without an image", expected="the folder, then an ID of its manifest")
    path = output or default_figure(opened, image_id)
    case = opened.case(position_of(opened, image_id))
    return case.explanation, case.reference_labels, case.radiograph(), path


def _saved(
    json: Path, radiograph: Path | None, files: FilePanel, reading: ReadingPanel, output: Path | None
) -> tuple[Explanation, ReferenceLabels | None, Radiograph | None, Path]:
    from cxr_explain.explaining.explanation import Explanation
    from cxr_explain.explaining.output_names import check_replaceable
    from cxr_explain.support.whole_file import safe_stem

    explanation = Explanation.load(json)
    path = output or Path(f"{safe_stem(explanation.id) or 'figure'}.png")
    if output is None:
        check_replaceable(path)
    if radiograph is None and path.suffix.lower() in _FIGURES:
        raise OptionError("a figure without its radiograph", expected="--radiograph FILE, or a page (.html)")
    read = [("--radiograph", radiograph), ("--labels", files.labels), ("--boxes", files.boxes)]
    check_apart(path, read)
    of_file = radiograph or json
    pixels = None if radiograph is None else reading.settings(frame=files.frame).read(radiograph)
    if pixels is not None:
        note_other_reading(of_file, pixels, explanation)
    known = [prediction.pathology for prediction in explanation.ranking.predictions]
    labels_for = reference_labels(files.labels or None, files.boxes, [of_file], known)
    shape = explanation.geometry.radiograph_shape
    return explanation, labels_for and labels_for(of_file, shape), pixels, path


def is_saved(source: str) -> bool:
    """Whether an input is a saved explanation, and no audit."""
    return source.lower().endswith(".json")


def check_apart(
    output: Path, read: Iterable[tuple[str, str | Path | None]], *, option: str = "--out"
) -> None:
    """Refuse to write over a file that is read.

    Args:
        output: the file to write.
        read: the options that name files, and those files.
        option: the option that names the output.

    Raises:
        OptionError: the output is one of them, also by another path.
    """
    for other, path in read:
        if path and os.path.realpath(path) == os.path.realpath(output):
            raise OptionError(
                f"{option} {output}, which would replace the file of {other}", expected="another file"
            )


def note_other_reading(path: Path, radiograph: Radiograph, explanation: Explanation) -> None:
    """Point out a radiograph that is now read with other steps than when it was explained."""
    if radiograph.steps != explanation.provenance.steps[: len(radiograph.steps)]:
        console.note(f"{path}: read otherwise than when it was explained: {'; '.join(radiograph.steps)}")


def _draw(
    explanation: Explanation,
    labels: ReferenceLabels | None,
    radiograph: Radiograph | None,
    path: Path,
    look: SingleLookPanel,
) -> None:
    match path.suffix.lower():
        case ".html":
            if look != SingleLookPanel():
                raise OptionError(
                    "--style or --language for a page", expected="them for .png, .pdf, .svg or .gif"
                )
            explanation.to_html(path, labels, radiograph=radiograph)
        case ".gif":
            explanation.animation(path, radiograph=radiograph, style=look.look("dark"))
        case _:
            options = {"style": look.look(), "missing_letters": "number"}
            explanation.figure(labels, radiograph=radiograph, **options).save(path)
    console.say(f"Look at {path}.")
