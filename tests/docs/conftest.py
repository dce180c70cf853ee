"""A folder in which the documentation's commands and code run as they stand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WEIGHTS = ("densenet121-res224-all", "densenet121-res224-nih", "densenet121-res224-chex")
IMAGE_OF_THE_AUDIT = "00000040_003"
SMALL: dict[str, Any] = {"growth_rate": 8, "block_config": (2, 2, 2, 2), "num_init_features": 16}
"""The DenseNet that stands here for the published ones: as many blocks, with few layers in each."""


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: a study, other images, a data set in NIH's layout, weights.

    The weights have published names and the published format, the shapes of a small DenseNet, and random
    numbers in them; tests/models reads a DenseNet-121.
    """
    folder = tmp_path_factory.mktemp("material")
    _write_phantoms(folder / "phantoms")
    _write_nih(folder / "phantoms", folder / "NIH")
    for table in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"):
        shutil.copy(folder / "NIH" / table, folder / table)
    _write_study(folder)
    _write_weights(folder)
    _write_small_weights(folder / "mine.safetensors")
    return folder


@pytest.fixture
def prepared(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the material as the working folder; weights, caches and records of digests stay in it.

    A DenseNet whose shape nobody tells, as that of published weights, is a small one.
    """
    import matplotlib.pyplot as plt
    import torch

    from cxr_explain.models.xrv import XRVDenseNet

    empty = XRVDenseNet.empty
    monkeypatch.setattr(XRVDenseNet, "empty", lambda **configuration: empty(**SMALL | configuration))
    folder = tmp_path / "work"
    shutil.copytree(material, folder, copy_function=_link)
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_DIR", str(folder / "weights"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(folder)
    torch.manual_seed(0)
    yield folder
    plt.close("all")


def _link(source: str, target: str) -> None:
    """Weights are large and nobody writes to them; all else is copied."""
    if source.endswith(".pt"):
        Path(target).hardlink_to(source)
    else:
        shutil.copy(source, target)


def _write_phantoms(folder: Path) -> None:
    from cxr_explain.phantom.dataset import write_dataset

    for _ in write_dataset(folder, n=2, seed=39, size=256):
        pass


def _write_nih(phantoms: Path, folder: Path) -> None:
    """The same as NIH's data set, all in the test split; one image has the id of docs/audit.md."""
    shutil.copytree(phantoms, folder, ignore=shutil.ignore_patterns("dicom", "counterfactuals"))
    images = sorted((folder / "images").iterdir())
    tables = [path for path in folder.iterdir() if path.suffix in {".csv", ".txt"}]
    images[0].rename(images[0].with_name(f"{IMAGE_OF_THE_AUDIT}.png"))
    for table in tables:
        text = table.read_text(encoding="utf-8").replace(images[0].stem, IMAGE_OF_THE_AUDIT)
        table.write_text(text, encoding="utf-8")
    names = sorted(path.name for path in (folder / "images").iterdir())
    (folder / "test_list.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    (folder / "train_val_list.txt").write_text("", encoding="utf-8")


def _write_study(folder: Path) -> None:
    from radiograph_files import dataset, encode, phantom

    image = dataset(phantom(rows=300, columns=260), StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4")
    (folder / "study.dcm").write_bytes(encode(image))
    shutil.copy(min((folder / "phantoms" / "images").iterdir()), folder / "other.png")


def _write_weights(folder: Path) -> None:
    import torch

    from cxr_explain import ensure_torchvision_imports
    from cxr_explain.weights import find_entry

    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    torch.manual_seed(11)
    model = DenseNet(**SMALL)
    (folder / "weights").mkdir()
    first, *others = (folder / "weights" / find_entry(name).file_name for name in WEIGHTS)
    torch.save(model, first)
    for other in others:
        other.hardlink_to(first)


def _write_small_weights(path: Path) -> None:
    """The DenseNet of somebody's own that docs/how_to/own_weights.md uses before it says how to make it."""
    import torch
    from safetensors.torch import save_file
    from torchxrayvision.models import DenseNet

    from cxr_explain.weights import CheckpointFacts

    torch.manual_seed(0)
    model = DenseNet(growth_rate=8, block_config=(2, 2), num_init_features=16, num_classes=3)
    facts = CheckpointFacts(
        pathologies=("Effusion", "Mass", "Pneumothorax"),
        operating_points=(0.12, 0.04, None),
        training_sets=("Our hospital, 2015 to 2019",),
        input_size=224,
    )
    save_file(model.state_dict(), path, metadata=facts.to_metadata())
