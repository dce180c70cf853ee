"""Readers of what is no image, each called with a path and nothing else."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cxr_explain.audit.parquet_bounds import bounded_table
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.reference.data_sets.nih import manifest_of_nih
from cxr_explain.reference.data_sets.padchest import manifest_of_padchest
from cxr_explain.reference.standard import read_references


def classifier(path: Path) -> object:
    return Explainer.from_pretrained(path, device="cpu", allow_phantom_weights=True)


def explanation(path: Path) -> object:
    """Read it, and draw from it what needs no radiograph."""
    read = Explanation.load(path)
    return read.winner, read.shown_nowhere, repr(read)


def labels(path: Path) -> object:
    references = read_references(labels=path)
    return references.rows("no-such-image.png")


def boxes(path: Path) -> object:
    return read_references(boxes=path)


def outlines(path: Path) -> object:
    """Read them, and draw the masks of the first radiograph."""
    references = read_references(segmentations=path)
    entry = references.manifest[0]
    shape = {"large": (10_000, 10_000)}.get(path.stem, (64, 64))
    return references.masks(entry.path, shape)


def padchest(path: Path) -> object:
    return manifest_of_padchest(path)


def nih(path: Path) -> object:
    return manifest_of_nih(path)


def parquet(path: Path) -> object:
    """Read all columns, as those of a run of a thousand images."""
    try:
        return bounded_table(str(path), pq.read_schema(path).names, rows=1000)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise AuditError(str(error).splitlines()[0][:200]) from error


def run(path: Path) -> object:
    """Open a run's folder, and look at all that it holds."""
    opened = AuditRun.open(path)
    return opened.is_complete, opened.manifest, opened.results, opened.failures, opened.images
