"""The model's square: bit for bit TorchXRayVision's where asked for, without its border otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_explain import Radiograph
from cxr_explain.errors import ImageTooLargeError, OptionError
from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

SHAPES = [
    (256, 256),
    (300, 256),
    (256, 300),
    (301, 255),
    (255, 300),
    (100, 90),
    (224, 224),
    (224, 301),
    (1, 40),
]


def noise(shape: tuple[int, int], seed: int = 0) -> Radiograph:
    values = np.random.default_rng(seed).uniform(-1024, 1024, shape)
    return Radiograph.from_array(values.astype(np.float32))


def by_xrv(pixels: np.ndarray, size: int) -> np.ndarray:
    ensure_torchvision_imports()
    from torchxrayvision.datasets import XRayCenterCrop, XRayResizer

    return XRayResizer(size)(XRayCenterCrop()(pixels[None]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [224, 64])
def test_xrv_compatible_equals_xrv_to_the_last_bit(shape: tuple[int, int], size: int) -> None:
    radiograph = noise(shape)
    result = prepare(radiograph, size, xrv_compatible=True)
    assert result.tensor.dtype == torch.float32
    np.testing.assert_array_equal(result.tensor.numpy(), by_xrv(np.array(radiograph.pixels), size))
    assert "XRayResizer" in result.steps[-1]


@settings(max_examples=30)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.integers(1, 40),
    st.sampled_from(["crop", "pad"]),
    st.floats(-1024, 1024, width=32).filter(lambda value: not 0 < value <= 1),
)
def test_a_constant_image_stays_constant(shape: tuple[int, int], size: int, fit: str, value: float) -> None:
    result = prepare(Radiograph.from_array(np.full(shape, np.float32(value))), size, fit=fit).tensor
    assert result.shape == (1, size, size)
    assert result.min() >= -1024
    assert result.max() <= 1024
    if fit == "crop" or shape[0] == shape[1]:
        torch.testing.assert_close(result, torch.full_like(result, value), atol=1e-3, rtol=1e-6)


def test_the_border_is_not_contaminated_as_xrv_does_it() -> None:
    pixels = np.full((1024, 1024), -1024.0)
    pixels[500:520, 500:520] = 1024  # else scikit-image clips its border away again
    radiograph = Radiograph.from_array(pixels)
    theirs = prepare(radiograph, 224, xrv_compatible=True).tensor[0]
    assert theirs[0, 0] > -900
    assert theirs[0, 100] > -1000
    ours = prepare(radiograph, 224).tensor[0]
    assert ours[:100].max() < -1023.99
    assert ours[:, -100:].max() < -1023.99


@pytest.mark.parametrize("shape", SHAPES)
def test_the_crop_is_centred_and_the_resize_is_torchs(shape: tuple[int, int]) -> None:
    radiograph = noise(shape)
    side = min(shape)
    top, left = shape[0] // 2 - side // 2, shape[1] // 2 - side // 2
    square = torch.from_numpy(np.array(radiograph.pixels[top : top + side, left : left + side]))
    expected = torch.nn.functional.interpolate(
        square[None, None], size=(224, 224), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(prepare(radiograph, 224).tensor, expected[0], atol=1e-3, rtol=0)


def test_a_square_of_the_models_size_is_passed_on() -> None:
    radiograph = noise((224, 300))
    result = prepare(radiograph, 224)
    np.testing.assert_array_equal(result.tensor[0], radiograph.pixels[:, 38:262])
    result.tensor.zero_()
    assert radiograph.pixels.any()


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (41, 60), (1, 8), (8, 1), (3, 6), (6, 3)])
@pytest.mark.parametrize("xrv_compatible", [False, True])
def test_padding_is_black_and_keeps_every_pixel(shape: tuple[int, int], xrv_compatible: bool) -> None:
    side = max(shape)
    radiograph = noise(shape)
    result = prepare(radiograph, side, fit="pad", xrv_compatible=xrv_compatible)
    geometry = result.geometry
    expected = np.full((side, side), -1024, np.float32)
    expected[-geometry.top : -geometry.top + shape[0], -geometry.left : -geometry.left + shape[1]] = (
        radiograph.pixels
    )
    np.testing.assert_allclose(result.tensor[0], expected, atol=1e-3)
    assert any("padded with black" in step for step in result.steps)


def test_a_point_of_the_radiograph_is_found_where_the_geometry_says() -> None:
    for shape, fit in (((300, 420), "crop"), ((420, 300), "crop"), ((300, 420), "pad"), ((421, 300), "pad")):
        pixels = np.full(shape, -1024.0)
        pixels[140:160, 170:190] = 1024
        result = prepare(Radiograph.from_array(pixels), 224, fit=fit)
        bright = (result.tensor[0].numpy() + 1024) / 2048
        rows, columns = np.mgrid[:224, :224] + 0.5
        centre = np.array([(columns * bright).sum(), (rows * bright).sum()]) / bright.sum()
        np.testing.assert_allclose(centre, result.geometry.points_to_model([180, 150]), atol=0.05)


def test_the_steps_are_named() -> None:
    radiograph = noise((30, 40))
    steps = prepare(radiograph, 20).steps
    assert steps[: len(radiograph.steps)] == radiograph.steps
    assert "centre crop to 30 x 30 of 40 x 30 (10 columns not seen)" in steps
    assert "(10 rows not seen)" in " ".join(prepare(noise((40, 30)), 20).steps)
    assert "already square (30 x 30)" in prepare(noise((30, 30)), 20).steps


def test_another_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="fit='stretch'"):
        prepare(noise((3, 4)), 2, fit="stretch")


def _normalised(path: Path) -> np.ndarray:
    """8-bit grey through XRV's own `normalize`; colour as luminance, before it."""
    ensure_torchvision_imports()
    from PIL import Image
    from torchxrayvision.datasets import normalize

    with Image.open(path) as image:
        return normalize(np.asarray(image.convert("L")), 255).astype(np.float32)


@pytest.mark.parametrize("xrv_compatible", [False, True])
def test_margins_do_not_make_a_huge_square_of_a_line(xrv_compatible: bool) -> None:
    """A file of 48 kB may have 50 million columns in a row; its square would take 10 PB."""
    line = Radiograph.from_array(np.zeros((1, 10_001), np.float32))
    with pytest.raises(
        ImageTooLargeError, match=r"1 x 10001 pixels, with margins 10001 x 10001; .*--fit crop"
    ):
        prepare(line, 8, fit="pad", xrv_compatible=xrv_compatible)
    assert prepare(line, 8, fit="crop", xrv_compatible=xrv_compatible).tensor.shape == (1, 8, 8)


def _real_images(real_data: Path) -> list[Path]:
    return (
        sorted((real_data / "nih1024").glob("*.png"))[:12]
        + sorted((real_data / "raster").glob("nih_*.png"))[:8]
    )


@pytest.mark.real_data
def test_xrv_compatible_equals_xrv_on_real_radiographs(real_data: Path) -> None:
    for path in _real_images(real_data):
        pixels = _normalised(path)
        result = prepare(Radiograph.from_array(pixels), 224, xrv_compatible=True)
        np.testing.assert_array_equal(result.tensor.numpy(), by_xrv(pixels, 224), err_msg=path.name)


@pytest.mark.real_data
def test_the_default_resizer_is_close_to_xrv_within(real_data: Path) -> None:
    """The two antialias differently (a triangle against a Gaussian): a few grey levels of 2048, no shift."""
    differences = []
    for path in sorted((real_data / "nih1024").glob("*.png"))[:12]:
        radiograph = Radiograph.from_array(_normalised(path))
        ours = prepare(radiograph, 224).tensor.numpy()[0, 2:-2, 2:-2]
        theirs = prepare(radiograph, 224, xrv_compatible=True).tensor.numpy()[0, 2:-2, 2:-2]
        differences.append(float(np.abs(ours - theirs).mean()))
        shifted = float(np.abs(ours[:, 1:] - theirs[:, :-1]).mean())
        assert differences[-1] < shifted / 3
    print("mean |difference| to XRV's resizer, interior, of 2048:", np.mean(differences), max(differences))
    assert np.mean(differences) < 4
    assert max(differences) < 8
