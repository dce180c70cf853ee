"""What is made of a run afterwards: figures and statistics, and what an independent reader finds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from cxr_explain import Explainer, read_radiograph
from cxr_explain.audit.results import figure_of, write_statistics
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import OptionError
from cxr_explain.reference.manifest import Manifest


def drawn(figure: object) -> NDArray[np.int64]:
    canvas = FigureCanvasAgg(figure)  # type: ignore[no-untyped-call]
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


@pytest.mark.parametrize("at", [0, 7])
def test_a_figure_from_the_store_is_the_one_made_directly(
    at: int, finished: AuditRun, manifest: Manifest, phantoms: Path, explainer: Explainer
) -> None:
    """Up to float16's rounding of the maps: a few pixels at an outline's edge, by a few levels of grey."""
    entry = manifest[at]
    radiograph = read_radiograph(phantoms / "images" / entry.path)
    labels = entry.labels_in(radiograph.shape)
    direct = drawn(explainer.explain(radiograph).figure(labels, dpi=100))
    at_stored = finished.position[entry.image_id]
    case = finished.case(at_stored)
    stored = case.explanation.figure(case.reference_labels, radiograph=case.radiograph(), dpi=100)
    difference = np.abs(direct - drawn(stored)).max(axis=2)
    assert (difference > 0).mean() < 0.02
    assert (difference > 8).mean() < 1e-4


def test_the_record_has_the_digest_of_the_manifest_beside_it(finished: AuditRun) -> None:
    stored = (Path(finished.place.name) / "manifest.csv").read_bytes()
    assert finished.record.manifest_sha256 == hashlib.sha256(stored).hexdigest()


def test_a_figure_by_its_id(finished: AuditRun, manifest: Manifest) -> None:
    assert figure_of(finished, manifest.ids[2]).to_bytes()[1:4] == b"PNG"
    with pytest.raises(OptionError, match="no such image"):
        figure_of(finished, "nobody")


def test_aurocs_are_those_of_scikit_learn_from_the_parquet_file(
    finished: AuditRun, manifest: Manifest
) -> None:
    """Read by itself: the file, the manifest's CSV, and nothing of this package."""
    found = write_statistics(finished)
    table = pq.read_table(f"{finished.place.name}/results.parquet")
    kept = json.loads(finished.place.read("statistics.json"))
    assert {name: value for name, value in kept.items() if name != "sha256"} == found.document
    compared = 0
    for entry in kept["pathologies"]:
        name = entry["pathology"]
        if name not in manifest.pathologies:
            assert entry["estimates"]["auroc"]["value"] is None
            continue
        truth = manifest.states[table["row"].to_numpy(), manifest.pathologies.index(name)]
        if 0 < truth.sum() < len(truth):
            expected = roc_auc_score(truth, table[f"probability {name}"].to_numpy())
            assert entry["estimates"]["auroc"]["value"] == pytest.approx(expected, abs=1e-12)
            compared += 1
    assert compared >= 3
