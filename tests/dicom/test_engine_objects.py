"""DICOM objects of one engine are not those of another, and say what ran the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dicom_sources import explained, explainer, phantom_file
from pydicom import Dataset

from cxr_explain import Explanation
from cxr_explain.dicom.journal import settings_of
from cxr_explain.dicom.objects import dicom_objects
from cxr_explain.dicom.settings import ObjectSettings
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.settings import ReadSettings


def by(explanation: Explanation, version: str = "", **settings: str) -> Explanation:
    """As if another engine had run the model."""
    made = explanation.provenance
    maps = replace(made.map_settings, **settings)  # type: ignore[arg-type]
    return replace(explanation, provenance=replace(made, map_settings=maps, engine_version=version))


def texts_of(dataset: Dataset) -> list[str]:
    return [str(element.value) for element in dataset.iterall() if element.keyword == "TextValue"]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> tuple[Explanation, Path]:
    return explained(tmp_path_factory.mktemp("phantom"), phantom_file(size=96))


def test_another_engine_or_precision_gives_other_identifiers(phantom: tuple[Explanation, Path]) -> None:
    explanation, file = phantom
    others = [
        explanation,
        by(explanation, "OpenVINO 2026.4.1", engine="openvino"),
        by(explanation, "OpenVINO 2026.4.1", engine="openvino", dtype="bfloat16"),
        by(explanation, "ONNX Runtime 1.32.0", engine="onnxruntime"),
        by(explanation, dtype="bfloat16"),
    ]
    uids = {dicom_objects(each, file, kinds=("report",))["report"].uid for each in others}
    assert len(uids) == len(others)


def test_another_version_of_an_engine_gives_the_same_identifiers(phantom: tuple[Explanation, Path]) -> None:
    explanation, file = phantom
    uids = {
        dicom_objects(by(explanation, version, engine="openvino"), file, kinds=("report",))["report"].uid
        for version in ("OpenVINO 2026.4.1", "OpenVINO 2027.0.0")
    }
    assert len(uids) == 1


def test_objects_say_what_ran_the_model(phantom: tuple[Explanation, Path]) -> None:
    explanation, file = phantom
    vino = by(explanation, "OpenVINO 2026.4.1", engine="openvino", dtype="bfloat16")
    report = dicom_objects(vino, file, kinds=("report",))["report"].dataset
    assert "OpenVINO 2026.4.1" in list(report.SoftwareVersions)
    assert "forward pass: bfloat16, by OpenVINO 2026.4.1" in texts_of(report)
    plain = dicom_objects(explanation, file, kinds=("report",))["report"].dataset
    assert len(plain.SoftwareVersions) == 2
    assert f"forward pass: float32, by torch {explanation.provenance.torch_version}" in texts_of(plain)


def test_the_journal_of_a_server_knows_engines_apart() -> None:
    facts = explainer().facts
    rest = RankingSettings(), ReadSettings(), ObjectSettings()
    vino = replace(facts, map_settings=replace(facts.map_settings, engine="openvino"))
    before = settings_of(facts, *rest)
    assert settings_of(vino, *rest) != before
    assert settings_of(replace(facts, engine_version="OpenVINO 1"), *rest) == before
