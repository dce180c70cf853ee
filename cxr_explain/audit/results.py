"""What is made of an audit's store afterwards: statistics that are kept, and figures on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxr_explain.audit.document import Statistics
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import OptionError
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.support.whole_file import safe_stem

STATISTICS = "statistics.json"


def write_statistics(run: AuditRun, **options: Any) -> Statistics:
    """Compute the statistics of a run, and keep them as RUN/statistics.json.

    Args:
        run: an audit, finished or not.
        **options: see `cxr_explain.audit.statistics.statistics_of`.

    Raises:
        OutputError: a folder that cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     found = write_statistics(example_audit(folder), resamples=100)
    ...     found.document["images"]
    2
    """
    found = statistics_of(run, **options)
    run.place.write(STATISTICS, found.to_json())
    return found


def figure_of(run: AuditRun, image_id: str) -> ExplanationFigure:
    """Draw the figure of one image from the maps that are stored, with its reference labels and boxes.

    It shows what the figure of `Explainer.explain` shows; opacities may differ by the rounding of float16.

    Args:
        run: an audit, finished or not.
        image_id: the image's name in the manifest.

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
    return case.explanation.figure(case.reference_labels, radiograph=case.radiograph())


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


def safe_name(image_id: str, ending: str) -> Path:
    """A file name for an image's id, whatever it consists of.

    >>> str(safe_name("../../etc/passwd", ".png"))
    'etc_passwd.png'
    """
    return Path((safe_stem(image_id) or "figure") + ending)
