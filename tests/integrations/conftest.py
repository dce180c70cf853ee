"""Three phantoms, a radiograph that is not square, and the bundled model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from monai.data import set_track_meta
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxr_explain import Explainer
from cxr_explain.phantom.dataset import write_dataset


@pytest.fixture(scope="session")
def explainer() -> Explainer:
    """The model that comes with the package."""
    return Explainer.from_pretrained("phantom", device="cpu")


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms in NIH ChestX-ray14's file layout."""
    folder = tmp_path_factory.mktemp("phantoms") / "nih"
    for _ in write_dataset(folder, n=3, seed=5, size=256):
        pass
    return folder


@pytest.fixture(scope="session")
def upright(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom cut to 256 rows and 216 columns, which says that it is a phantom."""
    path = tmp_path_factory.mktemp("upright") / "upright.png"
    said = PngInfo()
    said.add_text("Software", "cxr-explain phantom")
    image = Image.open(sorted((phantoms / "images").glob("*.png"))[0])
    image.crop((20, 0, 236, 256)).save(path, pnginfo=said)
    return path


@pytest.fixture
def untracked() -> Iterator[None]:
    """MONAI without metadata."""
    set_track_meta(False)
    yield
    set_track_meta(True)
