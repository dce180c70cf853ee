"""Faults planted into an audit of phantoms stand on the report's first page, first of their kind."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest

from cxr_explain import Explainer
from cxr_explain.audit.results import write_statistics
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.pages.audit_report import build_report
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference import make_manifest
from cxr_explain.reference.csv_file import parse_manifest

PHANTOMS, AN_IMAGE = 300, 96
FAILING, MOVED, SWAPPED = "Effusion", "Cardiomegaly", 60
"""A pathology with foreign labels, one with another operating point, and the number of a patient."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The report's page, and the findings as the statistics keep them."""
    folder = tmp_path_factory.mktemp("planted")
    for _ in write_dataset(folder / "nih", n=PHANTOMS, seed=700, size=AN_IMAGE, bits=12):
        pass
    explainer = Explainer.from_pretrained("phantom")
    outputs = explainer.classifier.outputs
    before = outputs.operating_points
    at = outputs.pathologies.index(MOVED)
    explainer.classifier.outputs = replace(outputs, operating_points=(*before[:at], 1e-6, *before[at + 1 :]))
    manifest = parse_manifest(manifest_text(folder / "nih").encode(), source="phantoms")
    run = run_audit(
        explainer,
        manifest,
        folder / "nih" / "images",
        folder / "run",
        running=RunSettings(batch_size=16, workers=1),
    )
    found = write_statistics(run).document
    page = build_report(run, folder / "report", cases=3, statistics=found).read_text(encoding="utf-8")
    return page, found["findings"]


def manifest_text(folder: Path) -> str:
    """Two phantoms of each patient; a pathology with labels of others, a patient with inverted ones."""
    given = make_manifest("nih", folder)
    states = (np.asarray(given.states) == 1).astype(int)
    failing = given.pathologies.index(FAILING)
    states[:, failing] = np.random.default_rng(0).permutation(states[:, failing])
    patients = np.arange(PHANTOMS) // 2
    states[patients == SWAPPED] = 1 - states[patients == SWAPPED]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    labels = [f"label:{name}" for name in given.pathologies]
    writer.writerow(["image_id", "path", "patient", "label_source", *labels])
    for at, path in enumerate(given.paths):
        writer.writerow([f"image-{at}", Path(path).name, f"P{patients[at]}", "the renderer", *states[at]])
    return text.getvalue()


def first_of(findings: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in findings["found"] if each["kind"] == kind)


def test_each_planted_fault_is_the_top_finding_of_its_kind(first_page: tuple[str, dict[str, Any]]) -> None:
    _, findings = first_page
    assert first_of(findings, "pathology")["cases"]["subject"] == FAILING
    assert first_of(findings, "operating point")["cases"] == {
        "subject": MOVED, "side": "above", "state": "negative"
    }  # fmt: skip
    assert first_of(findings, "labels")["images"] == [f"image-{2 * SWAPPED}", f"image-{2 * SWAPPED + 1}"]


def test_the_first_page_says_them_and_leads_to_the_cases(first_page: tuple[str, dict[str, Any]]) -> None:
    page, findings = first_page
    opening = unescape(page[: page.index('id="queues"')])
    links = [dict(parse_qsl(link)) for link in re.findall(r'#cases\?([^"]+)"', opening)]
    for kind in ("pathology", "operating point", "labels"):
        first = first_of(findings, kind)
        assert first["text"] in opening
        assert first["cases"] in links
    assert f"image-{2 * SWAPPED}" in opening
    assert f"P{SWAPPED}" not in opening
