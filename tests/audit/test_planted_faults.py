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
import torch
from PIL import Image
from torch import nn

from cxr_explain import Explainer
from cxr_explain.audit.cases import Cases
from cxr_explain.audit.results import write_statistics
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.statistics import statistics
from cxr_explain.models.base import Outputs
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.pages.audit_report import build_report
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference import make_manifest
from cxr_explain.reference.csv_file import parse_manifest

PHANTOMS, MANY, AN_IMAGE = 300, 700, 96
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
        "subject": MOVED, "side": "above", "agreement": "disagrees"
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


@pytest.fixture(scope="module")
def without_fault(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """What the bundled model predicts of many phantoms, and their true labels."""
    folder = tmp_path_factory.mktemp("many")
    for _ in write_dataset(folder / "nih", n=MANY, seed=2700, size=AN_IMAGE, bits=12):
        pass
    run = run_audit(
        Explainer.from_pretrained("phantom", engine="auto"),
        make_manifest("nih", folder / "nih"),
        folder / "nih" / "images",
        folder / "run",
        running=RunSettings(batch_size=16, workers=1),
    )
    return Cases.of(run)


@pytest.mark.parametrize("n", [40, 400])
def test_a_subgroup_made_to_fail_is_the_top_finding_of_its_kind(without_fault: Cases, n: int) -> None:
    """A ward of n, in which a third has an effusion that is put down to others of the ward."""
    cases, draws = without_fault, np.random.default_rng(n)
    at = cases.labels.index(FAILING)
    there = cases.states[:, at] == 1
    few = min(n // 3, int(there.sum()) - 15)
    ward = np.concatenate([np.flatnonzero(there)[:few], np.flatnonzero(~there)[: n - few]])
    states = cases.states.copy()
    states[ward, at] = draws.permutation(states[ward, at])
    wards = np.full(len(cases), "others", object)
    wards[ward] = "failing"
    planted = replace(cases, states=states, columns={**cases.columns, "ward": tuple(wards)})
    found = first_of(statistics(planted).document["findings"], "subgroup")
    assert found["cases"]["ward"] == "failing"
    assert found["cases"]["subject"] == FAILING


def marker_reader() -> HookedClassifier:
    """A model whose Mass is nothing but a white square; its Edema is how bright the rest of the image is."""
    convolution, head = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, 2)
    with torch.no_grad():
        convolution.weight.fill_(1 / (9 * 1024))
        convolution.bias.copy_(torch.tensor([-0.4, 1.0]))
        head.weight.copy_(torch.tensor([[500.0, 0.0], [-200.0, 2.0]]))
        head.bias.copy_(torch.tensor([-0.5, -2.0]))
    module = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return HookedClassifier(module, "1", Outputs(("Mass", "Edema"), (0.5, 0.5)), input_size=32, name="reader")


def test_a_marker_that_drives_one_output_is_the_top_finding_on_places(tmp_path: Path) -> None:
    for _ in write_dataset(tmp_path / "nih", n=60, seed=900, size=AN_IMAGE):
        pass
    for path in (tmp_path / "nih" / "images").iterdir():
        with Image.open(path) as image:
            pixels = np.array(image)
        pixels[4:16, 4:16] = np.iinfo(pixels.dtype).max
        Image.fromarray(pixels).save(path)
    manifest = make_manifest("nih", tmp_path / "nih")
    running = RunSettings(batch_size=16, workers=1)
    explainer = Explainer(marker_reader())
    run = run_audit(
        explainer, manifest, tmp_path / "nih" / "images", tmp_path / "run", running=running, top_k=2
    )
    found = first_of(write_statistics(run).document["findings"], "place")
    assert found["cases"]["subject"] == "Mass"
    assert "upper left corner" in found["text"]
