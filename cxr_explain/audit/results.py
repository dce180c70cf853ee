"""What is made of an audit's store afterwards: statistics that are kept, and figures on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cxr_explain.audit.document import STATISTICS, Statistics
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import OptionError
from cxr_explain.explaining.output_names import check_replaceable
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.figures.patient_panel import panel
from cxr_explain.support.whole_file import safe_stem


def write_statistics(run: AuditRun, **options: Any) -> Statistics:
    """Compute the statistics of a run, and keep them as RUN/statistics.json.

    Args:
        run: an audit, finished or not.
        **options: how the statistics are made, such as `level=0.9`; see
            `cxr_explain.audit.statistics.statistics_of`.

    Raises:
        OutputError: a folder that cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     found = write_statistics(example_audit(folder))
    ...     found.document["images"]
    2
    """
    found = statistics_of(run, **options)
    run.place.write(STATISTICS, found.to_json())
    return found


def figure_of(run: AuditRun, image_id: str, **options: Any) -> ExplanationFigure:
    """Draw the figure of one image from the maps that are stored, with its reference labels and boxes.

    It shows what the figure of `Explainer.explain` shows; opacities may differ by the rounding of float16.

    Args:
        run: an audit, finished or not.
        image_id: the image's name in the manifest.
        **options: those of `cxr_explain.figures.draw_explanation`, such as `style`.

    Raises:
        OptionError: no such image, or one that failed.
        AuditError: other bytes than those that were explained.
        RadiographError: a file that is not there any more.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     run = example_audit(folder)
    ...     figure_of(run, run.manifest.ids[0]).save(f"{folder}/one.png").name
    'one.png'
    """
    case = run.case(position_of(run, image_id))
    options = {"missing_letters": "number", **options}
    return case.explanation.figure(case.reference_labels, radiograph=case.radiograph(), **options)


def panel_of(
    run: AuditRun, image_ids: Sequence[str], columns: Sequence[str] = ("radiograph", "fused"), **options: Any
) -> ExplanationFigure:
    """Draw several images in one figure, a row each, from the maps that are stored.

    Args:
        run: an audit, finished or not.
        image_ids: the images' names in the manifest, in the order of the rows.
        columns: what is drawn of each, see `cxr_explain.panel`.
        **options: further options of `cxr_explain.panel`.

    Raises:
        OptionError: no such image, one that failed, or a column that no image has.
        AuditError: other bytes than those that were explained.
        RadiographError: a file that is not there any more.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     run = example_audit(folder)
    ...     panel_of(run, run.manifest.ids, ["fused", "predictions"]).save(f"{folder}/two.pdf").name
    'two.pdf'
    """
    cases = [run.case(position_of(run, image_id)) for image_id in image_ids]
    given = {"reference_labels": [case.reference_labels for case in cases]} | options
    return panel(
        [case.explanation for case in cases],
        columns,
        radiographs=[case.radiograph() for case in cases],
        **given,
    )


def position_of(run: AuditRun, image_id: str) -> int:
    """Where in the results an image is.

    Raises:
        OptionError: it is not there; says why.
    """
    if image_id in run.position:
        return run.position[image_id]
    for row in run.failures.to_pylist():
        if row["image_id"] == image_id:
            raise OptionError(f"an image that failed: {row['message'].rstrip('.')}", source=image_id)
    known = list(run.position)
    raise OptionError(
        "no such image in this audit",
        expected=f"an image_id of its manifest, such as {known[0]!r}" if known else "an image_id",
        source=image_id,
    )


def safe_name(image_id: str, ids: Iterable[str], ending: str) -> Path:
    """A file name for an image's id, whatever it consists of, and for none of the other ids.

    Args:
        image_id: the image's name in the manifest.
        ids: the names of all images.
        ending: ending of the file.

    >>> [str(safe_name(each, ["a/b", "a:b", "A"], ".png")) for each in ("a/b", "a:b", "A")]
    ['a_b-c14cddc0.png', 'a_b-6783a31e.png', 'A.png']
    """
    stem = safe_stem(image_id) or "figure"
    others = {(safe_stem(each) or "figure").casefold() for each in ids if each != image_id}
    digest = hashlib.sha256(image_id.encode(errors="backslashreplace")).hexdigest()
    names = (stem, f"{stem}-{digest[:8]}", f"{stem}-{digest}")
    return Path(next((name for name in names if name.casefold() not in others), names[-1]) + ending)


def default_figure(run: AuditRun, image_id: str) -> Path:
    """Where the figure of an image is written unless another place is named: in the current folder.

    Raises:
        OptionError: something else than a figure of this package is there.
    """
    path = safe_name(image_id, run.manifest.ids, ".png")
    check_replaceable(path)
    return path
