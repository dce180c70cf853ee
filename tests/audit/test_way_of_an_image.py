"""From file to model input: a file is read and hashed once, and no pixels are made that nobody looks at."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from cxr_explain import Radiograph, read_radiograph
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.reading import ManifestRow, Reader, Ready
from cxr_explain.explaining.preprocessing import ModelInput, prepare
from cxr_explain.loaders.levels import look_up
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.radiograph import to_display

SIZE = 512
"""Larger than the grid on which regions look at a radiograph."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one phantom as a PNG file."""
    folder = tmp_path_factory.mktemp("way")
    for _ in write_dataset(folder, n=1, seed=5, size=SIZE):
        pass
    return folder / "images"


def read(images: Path, settings: ReadSettings) -> tuple[Radiograph, Counter[str]]:
    """What an audit's reader made of the image, and how often it called what."""
    kept: list[Radiograph] = []

    def keeping(radiograph: Radiograph) -> ModelInput:
        kept.append(radiograph)
        return prepare(radiograph, 224, xrv_compatible=settings.xrv_compatible)

    reader = Reader(ImageFolder(images), keeping, settings)
    (path,) = images.iterdir()
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            calls[called.__name__] += 1
        elif event == "call":
            calls[frame.f_code.co_name] += 1

    reader(ManifestRow(0, "0", path.name))  # imports and caches
    sys.setprofile(count)
    try:
        ready = reader(ManifestRow(0, "0", path.name))
    finally:
        sys.setprofile(None)
    assert isinstance(ready, Ready)
    assert ready.regions is not None
    return kept[-1], calls


def test_an_audit_makes_no_display_image(images: Path) -> None:
    radiograph, _ = read(images, ReadSettings())
    assert "display" not in vars(radiograph)
    assert radiograph.display.shape == (SIZE, SIZE)


def test_a_file_is_opened_hashed_and_looked_up_once(images: Path) -> None:
    _, calls = read(images, ReadSettings())
    assert {name: calls[name] for name in ("open", "openssl_sha256", "look_up", "check_png")} == {
        "open": 1,
        "openssl_sha256": 1,
        "look_up": 1,
        "check_png": 1,
    }


def test_xrv_compatible_pixels_have_a_display_image_of_their_own(images: Path) -> None:
    (path,) = images.iterdir()
    ours, theirs = (read_radiograph(path, xrv_compatible=compatible) for compatible in (False, True))
    assert "display" in vars(theirs)
    assert np.array_equal(ours.display, theirs.display)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("shape", [(1, 1), (300, 700), (65, 1024)])
def test_a_table_is_looked_up_as_by_an_index(kind: type, shape: tuple[int, int]) -> None:
    """Across blocks, at both ends of the type, and in an image that is cut out of another."""
    span = np.iinfo(kind)
    generator = np.random.default_rng(0)
    stored = generator.integers(span.min, span.max, (shape[0], shape[1] + 3), kind, endpoint=True)[:, 1:-2]
    stored[0, 0] = span.min
    stored[-1, -1] = span.max
    table = generator.random(2 ** (8 * stored.itemsize), np.float32)
    assert np.array_equal(look_up(stored, table), table[stored.view(f"u{stored.itemsize}")])


def test_places_of_the_display_image_are_those_of_the_whole() -> None:
    pixels = np.random.default_rng(0).uniform(-1024, 1024, (400, 300)).astype(np.float32)
    rows, columns = np.array([0, 17, 399]), np.array([5, 299])
    radiograph = Radiograph.from_array(pixels)
    before = radiograph.display_at(rows, columns)
    assert "display" not in vars(radiograph)
    literal = np.rint((pixels.astype(np.float64) + 1024) * 255 / 2048).astype(int)
    assert np.abs(radiograph.display.astype(int) - literal).max() <= 1
    assert (radiograph.display != literal).mean() < 1e-3  # float32 rounds some halves otherwise
    assert np.array_equal(before, radiograph.display[np.ix_(rows, columns)])
    assert np.array_equal(before, radiograph.display_at(rows, columns))


def test_display_in_blocks_is_that_of_each_row() -> None:
    pixels = np.random.default_rng(1).uniform(-1500, 1500, (70, 1000)).astype(np.float32)
    assert np.array_equal(to_display(pixels), np.stack([to_display(row) for row in pixels]))


@pytest.mark.parametrize("size", [SIZE, 224])
def test_a_model_input_is_not_the_radiograph_itself(images: Path, size: int) -> None:
    (path,) = images.iterdir()
    radiograph = read_radiograph(path)
    tensor = prepare(radiograph, size).tensor
    before = radiograph.pixels.copy()
    tensor.zero_()
    assert np.array_equal(radiograph.pixels, before)


def test_a_model_input_is_that_of_a_copy(images: Path) -> None:
    (path,) = images.iterdir()
    radiograph = read_radiograph(path)
    copied = torch.from_numpy(np.array(radiograph.pixels))[None, None]
    expected = torch.nn.functional.interpolate(copied, (224, 224), mode="bilinear", antialias=True)[0]
    assert torch.equal(prepare(radiograph, 224).tensor, expected.clamp(-1024, 1024))
