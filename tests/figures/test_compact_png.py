"""Fewer bytes, and no region that loses its colour."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from cxr_explain.figures.compact_png import compact_png
from cxr_explain.figures.palette import OKABE_ITO


def colour(name: str) -> tuple[int, int, int]:
    return tuple(int(name[at : at + 2], 16) for at in (1, 3, 5))  # type: ignore[return-value]


def noise(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Grey, with every level in it."""
    grey = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def read(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_seven_small_swatches_keep_their_colours_on_a_large_picture() -> None:
    pixels = noise((600, 800))
    for at, name in enumerate(OKABE_ITO):
        pixels[10 + 40 * at : 16 + 40 * at, 10:16] = colour(name)
    again = read(compact_png(Image.fromarray(pixels)))
    for at, name in enumerate(OKABE_ITO):
        np.testing.assert_allclose(again[12 + 40 * at, 12], colour(name), atol=10)


def test_a_ramp_of_each_colour_over_grey_keeps_its_hue() -> None:
    """As an overlay has it: from grey to 60 % of a colour."""
    pixels = noise((200, 300)).astype(float)
    for at, name in enumerate(OKABE_ITO):
        weight = np.linspace(0, 0.6, 40)[:, None]
        pixels[20 + 20 * at : 26 + 20 * at, 100:140] = (1 - weight) * 128 + weight * np.array(colour(name))
    pixels = pixels.astype(np.uint8)
    again = read(compact_png(Image.fromarray(pixels)))
    assert np.abs(again - pixels).max() <= 36


def test_more_colours_than_a_palette_holds_are_all_kept() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read(compact_png(Image.fromarray(pixels))), pixels)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "RGB"])
def test_every_mode_is_written(mode: str) -> None:
    image = Image.linear_gradient("L").resize((32, 32)).convert(mode)
    assert np.abs(read(compact_png(image)) - read(compact_png(image.convert("RGB")))).max() <= 8


def test_it_is_smaller_than_what_pillow_writes() -> None:
    ramps = [np.linspace(a, b, 200) for a, b in pairwise([0, 120, 255, 30])]
    pixels = np.stack(ramps, axis=-1)[None].repeat(200, 0)
    pixels = (pixels + np.random.default_rng(0).normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8)
    plain = io.BytesIO()
    Image.fromarray(pixels).save(plain, "PNG", optimize=True)
    assert len(compact_png(Image.fromarray(pixels))) < 0.6 * len(plain.getvalue())
