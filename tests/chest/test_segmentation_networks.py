"""TorchXRayVision's segmentation networks as a source of lungs, from files of the published format."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xrv_files
from networks import xrv
from torch import Tensor, nn
from typer.testing import CliRunner

from cxr_explain import Explainer
from cxr_explain.audit.reading import ManifestRow
from cxr_explain.audit.record import Record
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.chest.regions import regions_of
from cxr_explain.chest.segmentation import SIZE, PretrainedSegmenter, Segmenter
from cxr_explain.cli.app import app
from cxr_explain.errors import (
    ArchitectureError,
    AuditError,
    OptionError,
    UnknownWeightsError,
    WeightsIntegrityError,
    WeightsNotFoundError,
)
from cxr_explain.models.hooked import imagenet_input
from cxr_explain.phantom import render, sample_patient, to_radiograph
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.radiograph import Radiograph
from cxr_explain.reference import make_manifest
from cxr_explain.weights import SEGMENTATIONS

# TorchXRayVision's PSPNet calls it; the library itself switches all warnings off.
pytestmark = pytest.mark.filterwarnings("ignore:`nn.functional.upsample` is deprecated:UserWarning")

BASELINES = xrv.baseline_models


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, nn.Module]]]:
    """A weights folder with both files, and the networks that they are of."""
    folder = tmp_path_factory.mktemp("weights")
    yield (
        folder,
        {
            "chestx-det": xrv_files.write_pspnet(folder),
            "chestx-anatomy": xrv_files.write_anatomy(folder),
        },
    )
    for file in folder.iterdir():
        file.unlink()  # 150 MB


@pytest.fixture
def folder(files: tuple[Path, dict[str, nn.Module]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return files[0]


TAKEN = {
    "chestx-det": [
        BASELINES.chestx_det.PSPNet.targets.index(name) for name in ("Right Lung", "Left Lung", "Heart")
    ],
    "chestx-anatomy": [
        BASELINES.chestx_anatomy.TARGETS.index(name) for name in ("right lung", "left lung", "heart")
    ],
}


@pytest.mark.parametrize("name", TAKEN)
def test_the_registry_says_what_torchxrayvision_says(name: str) -> None:
    (entry,) = (entry for entry in SEGMENTATIONS if entry.name == name)
    targets = {
        "chestx-det": BASELINES.chestx_det.PSPNet.targets,
        "chestx-anatomy": BASELINES.chestx_anatomy.TARGETS,
    }
    assert entry.structures == len(targets[name])
    assert entry.file_name == {"chestx-det": xrv_files.PSPNET, "chestx-anatomy": xrv_files.ANATOMY}[name]
    assert str(entry.url).endswith(f"/releases/download/v1/{entry.file_name}")
    assert BASELINES.chestx_anatomy.WEIGHTS_URL in {entry.url for entry in SEGMENTATIONS}


@pytest.mark.parametrize("name", TAKEN)
def test_the_network_of_lungs_and_heart_alone_gives_what_the_whole_one_gives(
    files: tuple[Path, dict[str, nn.Module]], folder: Path, name: str
) -> None:
    segmenter = Segmenter.from_pretrained(name, weights_dir=folder, device="cpu")
    x = imagenet_input(torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2048 - 1024)
    whole = files[1][name]
    with torch.inference_mode():
        theirs = whole(x) if name == "chestx-det" else whole._forward(x)["logits"]
        ours = segmenter._logits(segmenter._network, x)
    assert ours.shape == (1, 3, 64, 64)
    torch.testing.assert_close(ours, theirs[:, TAKEN[name]])
    assert ours.std() > 1e-3
    assert not any(p.requires_grad or p.grad is not None for p in segmenter._network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_masks_are_those_of_torchxrayvisions_own_model(folder: Path, name: str) -> None:
    """Built by its own constructor from the same file, with its own normalisation."""
    build = {
        "chestx-det": BASELINES.chestx_det.PSPNet,
        "chestx-anatomy": BASELINES.chestx_anatomy.UNetResNet50,
    }[name]
    model = build(cache_dir=str(folder))
    pixels = np.random.default_rng(0).uniform(-1024, 1024, (SIZE, SIZE)).astype(np.float32)
    masks = Segmenter.from_pretrained(name, weights_dir=folder).masks(Radiograph.from_array(pixels))
    with torch.inference_mode():
        theirs = (model(torch.from_numpy(pixels)[None, None])[0, TAKEN[name]] > 0).numpy()
    for mask, wanted in zip(masks.values(), theirs, strict=True):
        assert (mask != wanted).mean() < 1e-4


class Dark(nn.Module):
    """The right lung is what is dark in the left half of the image, the left lung in the right half."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.running = 0
        self.most = 0

    def forward(self, x: Tensor) -> Tensor:
        self.running += 1
        self.most = max(self.most, self.running)
        assert x.shape == (1, 3, SIZE, SIZE)
        grey = x[:, :1] * 0.229 + 0.485
        dark = torch.where(grey > 0.05, 0.5 - grey, -1.0)  # but not what is padded
        left = torch.arange(SIZE) < SIZE // 2
        threading.Event().wait(0.05)
        self.running -= 1
        return torch.cat([torch.where(left, dark, -1.0), torch.where(left, -1.0, dark)], dim=1)


def dark() -> Segmenter:
    return Segmenter(Dark(), lambda network, x: network(x), name="dark", sha256="0" * 64)


@pytest.mark.parametrize("shape", [(200, 300), (301, 200), (256, 256)])
def test_masks_lie_in_the_radiographs_pixels(shape: tuple[int, int]) -> None:
    pixels = np.full(shape, 500, np.float32)
    pixels[50:150, 30:80] = pixels[50:150, 140:190] = -500
    masks = dark()(Radiograph.from_array(pixels))
    assert not isinstance(masks, str)
    both = masks["Left Lung"] | masks["Right Lung"]
    assert both.shape == shape
    assert (both != (pixels < 0)).mean() < 0.02
    assert not (masks["Left Lung"] & masks["Right Lung"]).any()


@pytest.mark.parametrize(
    ("radiograph", "why"),
    [
        (
            replace(Radiograph.from_array(np.zeros((90, 90), np.float32)), view="LATERAL"),
            "a view that is not",
        ),
        (Radiograph.from_array(np.zeros((400, 90), np.float32)), "too narrow"),
        (Radiograph.from_array(np.zeros((40, 40), np.float32)), "fewer than 64 pixels"),
    ],
)
def test_what_is_no_frontal_chest_is_not_segmented(radiograph: Radiograph, why: str) -> None:
    regions = regions_of(radiograph, segment=dark())
    assert regions.lungs is None
    assert why in regions.reasons["outside_lungs"]


@pytest.mark.parametrize("dark_columns", [slice(0), slice(30, 33), slice(0, 256)])
def test_lungs_of_an_implausible_size_are_none(dark_columns: slice) -> None:
    pixels = np.full((256, 256), 500, np.float32)
    pixels[:, dark_columns] = -500
    regions = regions_of(Radiograph.from_array(pixels), segment=dark())
    assert regions.lungs is None
    assert regions.reasons["outside_lungs"] == "lungs of an implausible size in the segmentation"


def test_threads_wait_for_each_other() -> None:
    """The memory is that of one radiograph, whatever the number of threads that read."""
    segmenter = dark()
    radiograph = Radiograph.from_array(np.zeros((128, 128), np.float32))
    threads = [threading.Thread(target=segmenter, args=(radiograph,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert segmenter._network.most == 1


# -- what is refused ----


def test_missing_weights_have_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=xrv_files.PSPNET) as caught:
        Segmenter.from_pretrained("chestx-det", weights_dir=tmp_path, fetch=False)
    assert f"{SEGMENTATIONS[0].url}" in str(caught.value)
    with pytest.raises(UnknownWeightsError, match="Did you mean chestx-det"):
        Segmenter.from_pretrained("chestx_det")


def test_other_weights_are_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="nih: found the weights of a classifier"):
        Segmenter.from_pretrained("nih", weights_dir=tmp_path)
    with pytest.raises(
        ArchitectureError, match=r"masks of 159 structures, no scores.*--regions chestx-anatomy"
    ):
        Explainer.from_pretrained("chestx-anatomy", weights_dir=tmp_path)


def test_a_file_of_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(ArchitectureError, match="no segmentation network among 1 tensors"):
        Segmenter.from_pretrained(tmp_path / "other.pt")
    torch.save({"classification.weight": torch.zeros(9, 512, 1, 1)}, tmp_path / "nine.pt")
    with pytest.raises(ArchitectureError, match=r"9 outputs in classification\.weight; expected 14"):
        Segmenter.from_pretrained(tmp_path / "nine.pt")


def test_tensors_that_are_missing_are_named(
    files: tuple[Path, dict[str, nn.Module]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TorchXRayVision itself loads what there is, and leaves the rest random."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    kept = {k: v for k, v in files[1]["chestx-anatomy"].state_dict().items() if ".layer0." not in k}
    torch.save(kept, tmp_path / "head.pt")
    with pytest.raises(ArchitectureError, match=r"the model wants backbone\.backbone\.layer0\.0\.weight"):
        Segmenter.from_pretrained(tmp_path / "head.pt")


def test_a_file_that_has_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / xrv_files.PSPNET
    for value in (0.0, 1.0):
        torch.save({"classification.weight": torch.full((9, 512, 1, 1), value)}, path)
        error = WeightsIntegrityError if value else ArchitectureError
        with pytest.raises(error):
            Segmenter.from_pretrained("chestx-det", weights_dir=tmp_path)


# -- in an audit ----


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("phantoms") / "nih"
    for _ in write_dataset(where, n=3, seed=100, size=256, bits=12):
        pass
    return where


def test_an_audit_uses_it_and_records_it(phantoms: Path, tmp_path: Path) -> None:
    explainer = Explainer.from_pretrained("phantom")
    manifest = make_manifest("nih", phantoms)

    def audited(name: str, segmenter: Segmenter | None) -> AuditRun:
        running = RunSettings(batch_size=2, workers=2)
        where = tmp_path / name
        return run_audit(
            explainer, manifest, phantoms / "images", where, running=running, segmenter=segmenter
        )

    by_network, by_rules = audited("network", dark()), audited("rules", None)
    assert (by_network.record.regions, by_network.record.regions_sha256) == ("dark", "0" * 64)
    assert (by_rules.record.regions, by_rules.record.regions_sha256) == ("rules", None)
    radiograph = to_radiograph(render(sample_patient(100), size=256))
    assert regions_of(radiograph, segment=dark()).lungs is not None
    shares = [run.results.column("outside_lungs").to_pylist() for run in (by_network, by_rules)]
    assert None not in shares[0]
    assert shares[0] != shares[1]
    with pytest.raises(AuditError, match=r"regions \(dark there, rules now\)"):
        audited("network", None)
    assert AuditRun.open(tmp_path / "network").record == by_network.record


def test_the_command_says_what_is_missing(phantoms: Path, tmp_path: Path) -> None:
    run = CliRunner()
    run.invoke(app, ["manifest", "nih", "--source", str(phantoms), "--out", str(tmp_path / "m.csv")])
    words = ["audit", str(tmp_path / "m.csv"), "--images", str(phantoms / "images"), "--weights", "phantom"]
    words += ["--out", str(tmp_path / "run"), "--offline", "--weights-dir", str(tmp_path)]
    result = run.invoke(app, [*words, "--regions", "chestx-det"])
    assert result.exit_code == 1
    assert "expected the weights chestx-det" in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_uses_the_network(phantoms: Path, folder: Path, tmp_path: Path) -> None:
    run = CliRunner()
    run.invoke(app, ["manifest", "nih", "--source", str(phantoms), "--out", str(tmp_path / "m.csv")])
    words = ["audit", str(tmp_path / "m.csv"), "--images", str(phantoms / "images"), "--weights", "phantom"]
    words += ["--out", str(tmp_path / "run"), "--regions", str(folder / xrv_files.ANATOMY)]
    result = run.invoke(app, words)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["regions"] == xrv_files.ANATOMY
    assert len(record["regions_sha256"]) == 64


def test_another_process_comes_to_the_same_network(tmp_path: Path) -> None:
    import pickle

    asked = PretrainedSegmenter("chestx-det", {"weights_dir": tmp_path, "fetch": False})
    with pytest.raises(WeightsNotFoundError):
        pickle.loads(pickle.dumps(asked)).load()


def test_a_crew_without_the_network_is_refused(phantoms: Path, tmp_path: Path) -> None:
    """Each machine of a cluster loads it for itself; another one there is refused."""
    from cxr_explain.audit.images import ImageFolder
    from cxr_explain.audit.place import place_at
    from cxr_explain.audit.run import Audit
    from cxr_explain.explaining.explainer import Pretrained
    from cxr_explain.integrations.ray_crew import Worker

    explainer, manifest = Explainer.from_pretrained("phantom"), make_manifest("nih", phantoms)
    record = Record.of(explainer, manifest, segmenter=dark())
    images = ImageFolder(phantoms / "images")
    with pytest.raises(AuditError, match="weights with SHA-256 None on this machine; expected 0000"):
        Worker(Pretrained("phantom"), record, images, str(tmp_path / "run"), RunSettings())
    ray_crew = pytest.importorskip("cxr_explain.integrations.ray_crew")
    pytest.importorskip("ray", reason="needs the package of the `ray` extra")
    audit = Audit(record, images, place_at(tmp_path / "run"), RunSettings(), dark())
    with pytest.raises(OptionError, match="an audit with dark, and a crew without"):
        next(ray_crew.RayCrew(Pretrained("phantom"))(audit, [ManifestRow(0, "a", "a.png")], print))
