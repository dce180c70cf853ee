"""A small audit to try things on: two computed phantoms, and the bundled model that has seen nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from cxr_explain.audit.run import run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference import make_manifest
from cxr_explain.reference.manifest import Manifest


def example_inputs(folder: str | os.PathLike[str]) -> tuple[Explainer, Manifest, Path]:
    """What an audit needs: an explainer, a manifest, and a folder of images.

    Args:
        folder: where the phantoms are written; it must be empty or missing.

    Returns:
        The explainer of the bundled phantom model, the manifest of two phantoms of 96 x 96 pixels, and the
        folder of their images.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     explainer, manifest, images = example_inputs(folder)
    ...     len(manifest), len(list(images.iterdir()))
    (2, 2)
    """
    data = Path(folder)
    for _ in write_dataset(data, n=2, size=96):
        pass  # each is written as it is rendered
    return Explainer.from_pretrained("phantom", device="cpu"), make_manifest("nih", data), data / "images"


def example_audit(folder: str | os.PathLike[str]) -> AuditRun:
    """A finished audit, in `folder`/run; what it audited is in `folder`/data.

    Args:
        folder: an existing folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     run = example_audit(folder)
    ...     len(run.results), len(run.failures)
    (2, 0)
    """
    explainer, manifest, images = example_inputs(Path(folder, "data"))
    return run_audit(explainer, manifest, images, Path(folder, "run"))
