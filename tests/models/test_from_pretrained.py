"""From a name to a classifier, through a real HTTP server on loopback and files of the published formats."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner
from weights_server import FileServer, serving

from cxr_explain import (
    PATHOLOGIES,
    Explainer,
    HookedClassifier,
    Outputs,
    XRVResNet,
    ensure_torchvision_imports,
)
from cxr_explain.cli.app import app
from cxr_explain.errors import (
    ArchitectureError,
    UnsafeWeightsError,
    WeightsDownloadError,
    WeightsIntegrityError,
)
from cxr_explain.weights import ENTRIES, find_entry

ensure_torchvision_imports()
import torchxrayvision as xrv  # noqa: E402 - needs the line above

DENSENETS = [entry.name for entry in ENTRIES if entry.architecture == "xrv-densenet"]
RESNET = "resnet50-res512-all"
BY_DEFAULT = [
    pytest.param(name, marks=() if name.endswith(("all", "chex")) else pytest.mark.slow) for name in DENSENETS
]
"""One file of each format; tests/weights/test_weights_registry.py holds the numbers of every entry."""


class _Malicious:
    """Unpickling this would write a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


def saved(thing: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def resnet50(outputs: int = 18) -> nn.Module:
    from torchvision.models import resnet50 as build

    module = build(weights=None, num_classes=outputs)
    module.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return module


def small_resnet() -> nn.Module:
    """torchvision's class, with one block for each layer."""
    from torchvision.models.resnet import BasicBlock, ResNet

    module = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=18)
    module.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return module.eval()


def small_densenet() -> nn.Module:
    return xrv.models.DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=16)


@pytest.fixture(scope="module")
def densenet() -> nn.Module:
    torch.manual_seed(5)
    return xrv.models.DenseNet().eval()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(b"") as server:
        monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_URL", server.base)
        yield server


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_each_densenet_equals_torchxrayvisions_own(
    name: str, densenet: nn.Module, mirror: FileServer, tmp_path: Path
) -> None:
    """Fetched, read and built by us; the same file then read by TorchXRayVision gives the same scores."""
    mirror.content = saved(densenet, legacy=name.endswith("all"))
    classifier = Explainer.from_pretrained(name).classifier
    theirs = xrv.models.DenseNet(weights=name, cache_dir=str(tmp_path / "weights"))
    x = torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(1)) * 2048 - 1024
    logits = classifier.forward(x).logits
    calibrated = xrv.models.op_norm(logits.sigmoid(), theirs.op_threshs)
    with torch.inference_mode():
        torch.testing.assert_close(calibrated, theirs(x), atol=2e-5, rtol=0)
    assert list(classifier.pathologies) == theirs.pathologies
    assert (classifier.input_size, classifier.training_sets) == (224, find_entry(name).training_sets)
    assert len(mirror.requests) == 1


@pytest.mark.long
def test_the_resnet_equals_torchxrayvisions_own(mirror: FileServer, tmp_path: Path) -> None:
    torch.manual_seed(6)
    mirror.content = saved(resnet50().state_dict())
    classifier = Explainer.from_pretrained(RESNET).classifier
    theirs = xrv.models.ResNet(weights=RESNET, cache_dir=str(tmp_path / "weights"))
    x = torch.rand(1, 1, 512, 512, generator=torch.Generator().manual_seed(1)) * 2048 - 1024
    calibrated = xrv.models.op_norm(classifier.forward(x).logits.sigmoid(), theirs.op_threshs)
    with torch.inference_mode():
        torch.testing.assert_close(calibrated, theirs(x), atol=2e-5, rtol=0)
    assert classifier.input_size == 512
    assert XRVResNet(theirs).outputs == classifier.outputs  # and not the thresholds of two sigmoids
    points = dict(zip(classifier.pathologies, classifier.operating_points, strict=True))
    assert "Lung Lesion" not in points
    assert "Enlarged Cardiomediastinum" not in points
    assert points["Mass"] == pytest.approx(0.02157, abs=1e-5)
    theirs.model = small_resnet()  # what follows depends on names and thresholds alone
    explainer = Explainer(theirs)
    ranked = explainer.explain_inputs(x, rank_by="calibrated").rankings[0].top
    assert explainer.classifier.outputs.kind == "calibrated"
    assert all(p.above == (p.calibrated >= 0.5) == (p.probability >= points[p.pathology]) for p in ranked)
    hooked = HookedClassifier(theirs, "model.layer4", Outputs(PATHOLOGIES), input_size=512)
    hooked.forward(x)  # which finds out that its outputs are calibrated, and by what
    assert (hooked.outputs.kind, hooked.pathologies) == ("calibrated", classifier.pathologies)
    assert hooked.operating_points == classifier.operating_points
    theirs.op_threshs = torch.full((18,), 0.25)
    assert set(XRVResNet(theirs).operating_points) == {0.25}
    assert XRVResNet(theirs).pathologies == PATHOLOGIES  # trained further, it may know them all
    theirs.targets = theirs.pathologies = [f"output {number}" for number in range(18)]
    assert XRVResNet(theirs).pathologies[0] == "output 0"


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_file_from_the_server_is_refused_and_not_run(
    legacy: bool, mirror: FileServer, tmp_path: Path
) -> None:
    mirror.content = saved({"state_dict": _Malicious(tmp_path / "marker")}, legacy=legacy)
    with pytest.raises(UnsafeWeightsError, match="system"):
        Explainer.from_pretrained("densenet121-res224-nih")
    assert not (tmp_path / "marker").exists()


def test_a_file_cut_before_it_was_served_is_refused(densenet: nn.Module, mirror: FileServer) -> None:
    mirror.content = saved(densenet)[:-100_000]
    with pytest.raises(WeightsIntegrityError):
        Explainer.from_pretrained("densenet121-res224-nih")


def test_the_wrong_architecture_names_the_first_tensors(mirror: FileServer) -> None:
    mirror.content = saved(small_densenet())
    with pytest.raises(ArchitectureError, match=r"features\.conv0\.weight .*16.* for .*64"):
        Explainer.from_pretrained("densenet121-res224-nih")


def test_a_head_without_names_says_what_to_do(mirror: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(saved(xrv.models.DenseNet(num_classes=7).state_dict()))
    with pytest.raises(ArchitectureError, match="7 outputs without names"):
        Explainer.from_pretrained(path)


def test_404_names_the_file_and_the_way_out(mirror: FileServer) -> None:
    mirror.plan = ["404"] * 9
    with pytest.raises(WeightsDownloadError, match=r"404.*densenet121-d121.*CXR_EXPLAIN_WEIGHTS_DIR"):
        Explainer.from_pretrained("densenet121-res224-nih")


def test_the_weights_commands_fetch_and_notice_a_changed_file(
    densenet: nn.Module, mirror: FileServer, tmp_path: Path
) -> None:
    mirror.content = saved(densenet)
    mirror.plan = ["drop"]
    run = CliRunner()
    fetched = run.invoke(app, ["weights", "fetch", "nih"])
    assert fetched.exit_code == 0, fetched.output
    assert mirror.ranges[1] is not None  # the dropped download was resumed
    path = tmp_path / "weights" / find_entry("nih").file_name
    assert path.read_bytes() == mirror.content
    assert run.invoke(app, ["weights", "path", "nih"]).stdout.strip() == str(path)
    assert "MiB" in run.invoke(app, ["weights", "list"]).stdout
    path.write_bytes(saved(small_densenet()))
    changed = run.invoke(app, ["weights", "verify", "nih"])
    assert changed.exit_code == 1
    assert "--accept" in changed.stderr
    with pytest.raises(WeightsIntegrityError, match="SHA-256"):
        Explainer.from_pretrained("nih")
