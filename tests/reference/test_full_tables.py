"""The whole label tables of NIH and CheXpert, which come inside the torchxrayvision package."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cxr_explain.pathologies import PATHOLOGIES
from cxr_explain.reference import Manifest, check_manifest, make_manifest, parse_manifest
from cxr_explain.reference.csv_file import csv_bytes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tables() -> Path:
    """Found without importing the package, which would import torch."""
    (folder,) = importlib.util.find_spec("torchxrayvision").submodule_search_locations
    return Path(folder) / "data"


def counts(manifest: Manifest) -> dict[str, int]:
    return dict(
        zip(manifest.pathologies, np.count_nonzero(manifest.states == 1, axis=0).tolist(), strict=True)
    )


def test_both_are_read_checked_and_read_back(tables: Path, tmp_path: Path) -> None:
    """`python -m benchmarks.audit_tables` says how long it takes."""
    nih = make_manifest("nih", tables)
    chexpert = make_manifest("chexpert", tables / "chexpert_train.csv.gz")
    checks = [check_manifest(manifest, tmp_path, PATHOLOGIES) for manifest in (nih, chexpert)]
    assert [len(check.missing) for check in checks] == [112_120, 223_414]
    assert parse_manifest(csv_bytes(nih)) == nih
    assert parse_manifest(csv_bytes(chexpert)) == chexpert


def test_nih(tables: Path) -> None:
    manifest = make_manifest("nih", tables)
    assert (len(manifest), len(set(manifest.patients))) == (112_120, 30_805)
    assert Counter(manifest.sexes) == {"M": 63_340, "F": 48_780}
    assert counts(manifest)["Infiltration"] == 19_894
    assert counts(manifest)["Hernia"] == 227
    assert len(manifest.rows_with_boxes) == 880
    assert sum(len(boxes) for boxes in manifest.boxes.values()) == 984
    assert len({manifest.patients[row] for row in manifest.rows_with_boxes}) == 726
    assert all(manifest[row].boxes_in((1024, 1024)) for row in manifest.rows_with_boxes)


def test_chexpert(tables: Path) -> None:
    manifest = make_manifest("chexpert", tables / "chexpert_train.csv.gz")
    assert (len(manifest), len(set(manifest.patients))) == (223_414, 64_540)
    assert Counter(manifest.views) == {"AP": 161_590, "lateral": 32_387, "PA": 29_420, "LL": 16, "RL": 1}
    assert Counter(manifest.sexes) == {"M": 132_636, "F": 90_777, None: 1}
    assert manifest.ages.count(None) == 3
    assert np.count_nonzero(manifest.states == -1) == 139_958
    assert np.count_nonzero(manifest.states == 0) == 194_275
