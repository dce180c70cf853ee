"""An audit is of one engine and one precision, from its first part to its last, wherever it goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from networks import NAMES, small_xrv

from cxr_explain import Explainer, Outputs, XRVDenseNet
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.record import Record
from cxr_explain.audit.resuming import for_workers
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError
from cxr_explain.explaining.explainer import Pretrained
from cxr_explain.integrations.ray_crew import Worker
from cxr_explain.reference.csv_file import parse_manifest
from cxr_explain.reference.manifest import Manifest

RUNNING = RunSettings(batch_size=2, workers=1, part_rows=2, regions=False)


@pytest.fixture(scope="module")
def model() -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5), Outputs(NAMES), input_size=64)


@pytest.fixture(scope="module")
def chosen(model: XRVDenseNet) -> Explainer:
    return Explainer(model, engine="openvino")


@pytest.fixture(scope="module")
def free(model: XRVDenseNet) -> Explainer:
    """One that takes another engine than the runs of these tests, where it may choose."""
    explainer = Explainer(model, engine="auto")
    assert explainer.settings.engine == "onnxruntime"
    return explainer


@pytest.fixture(scope="module")
def table(phantoms: Path) -> Manifest:
    names = sorted(path.name for path in (phantoms / "images").glob("*.png"))[:6]
    rows = "".join(f"{name[:-4]},{name}\n" for name in names)
    return parse_manifest(f"image_id,path\n{rows}".encode(), source="phantoms")


Audits = Callable[..., AuditRun]


@pytest.fixture
def audit(table: Manifest, phantoms: Path, tmp_path: Path) -> Audits:
    def run(explainer: Explainer, **options: object) -> AuditRun:
        return run_audit(
            explainer, table, phantoms / "images", tmp_path / "run", running=RUNNING, top_k=2, **options
        )

    return run


def once() -> Callable[[], bool]:
    return lambda: True


def test_a_run_says_what_ran_its_model(chosen: Explainer, audit: Audits, tmp_path: Path) -> None:
    run = audit(chosen)
    said = json.loads((tmp_path / "run" / "run.json").read_bytes())
    assert said["map_settings"]["engine"] == "openvino"
    assert said["engine_version"].startswith("OpenVINO 20")
    explanation = run.case(0).explanation
    assert explanation.provenance.map_settings.engine == "openvino"
    assert explanation.provenance.engine_version == said["engine_version"]
    assert f"was run by {said['engine_version']} in float32 on cpu" in run.methods_text()


def test_another_engine_is_refused(
    model: XRVDenseNet, chosen: Explainer, audit: Audits, tmp_path: Path
) -> None:
    audit(chosen, stop=once())
    before = sorted(path.name for path in (tmp_path / "run" / "parts").iterdir())
    with pytest.raises(AuditError) as error:
        audit(Explainer(model))
    assert "engine (openvino there, torch now)" in str(error.value)
    assert "Choose another --out" in str(error.value)
    assert "engine version" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "run" / "parts").iterdir()) == before


def test_another_precision_is_refused(model: XRVDenseNet, audit: Audits) -> None:
    audit(Explainer(model), stop=once())
    with pytest.raises(AuditError, match=r"dtype \(float32 there, bfloat16 now\)"):
        audit(Explainer(model, dtype="bfloat16"))


def test_another_version_of_the_engine_goes_on(chosen: Explainer, audit: Audits, tmp_path: Path) -> None:
    """As another torch does; the record keeps the version with which it began."""
    run = audit(chosen, stop=once())
    before = replace(run.record, engine_version="OpenVINO 2000.1")
    for path in (tmp_path / "run" / "parts").iterdir():
        path.unlink()
    (tmp_path / "run" / "run.json").write_bytes(before.to_json())
    again = audit(chosen)
    assert again.joined
    assert again.record == before


def test_auto_goes_on_with_the_engine_of_the_run(
    free: Explainer, chosen: Explainer, audit: Audits, tmp_path: Path
) -> None:
    audit(chosen, stop=once())
    began = (tmp_path / "run" / "run.json").read_bytes()
    again = audit(free)
    assert again.joined
    assert (tmp_path / "run" / "run.json").read_bytes() == began
    assert again.case(5).explanation.provenance.map_settings.engine == "openvino"
    assert free.settings.engine == "onnxruntime", "the caller's is left as it came"


def test_auto_goes_on_with_torch(model: XRVDenseNet, free: Explainer, audit: Audits) -> None:
    audit(Explainer(model), stop=once())
    again = audit(free)
    assert again.joined
    assert again.record.map_settings.engine == "torch"


def test_auto_does_not_mix_engines_where_the_run_s_is_missing(
    free: Explainer, chosen: Explainer, audit: Audits, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit(chosen, stop=once())
    monkeypatch.setitem(sys.modules, "openvino", None)  # as where it is not installed
    with pytest.raises(AuditError) as error:
        audit(free)
    said = str(error.value)
    assert "began with the engine openvino, which cannot go on here: no module openvino" in said
    assert "pip install 'cxr-explain[openvino]'" in said
    assert "Or choose another --out." in said


def test_a_record_of_another_engine_is_another_audit() -> None:
    model = XRVDenseNet(small_xrv(2), Outputs(NAMES[:2]), input_size=64)
    now = Record.of(Explainer(model), parse_manifest(b"image_id,path\na,a.png\n"))
    other = replace(now, map_settings=replace(now.map_settings, engine="onnxruntime"))
    with pytest.raises(AuditError, match=r"engine \(torch there, onnxruntime now\)"):
        other.check_same(now)


def test_a_record_that_names_an_engine_comes_back(chosen: Explainer, table: Manifest) -> None:
    record = Record.of(chosen, table)
    assert Record.from_json(record.to_json()) == record


def test_a_worker_on_another_machine_takes_the_engine_of_the_record(table: Manifest, tmp_path: Path) -> None:
    record = Record.of(Explainer.from_pretrained("phantom", device="cpu"), table)
    given = Pretrained("phantom", {"engine": "auto", "device": "cpu", "fit": "crop"})
    worker = Worker(given, record, ImageFolder(tmp_path), str(tmp_path / "run"), RUNNING)
    assert worker._explainer.settings.engine == "torch"
    half = replace(record, map_settings=replace(record.map_settings, engine="openvino", dtype="bfloat16"))
    options = for_workers(given, half).options
    assert options == {"engine": "openvino", "dtype": "bfloat16", "device": "cpu", "fit": "crop"}
