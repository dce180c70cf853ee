"""VOI tables that contradict their descriptor, are flat, or use less than they declare; rasters that do."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from radiograph_files import dataset, encode, lut_item, phantom

from cxr_explain.loaders import read_radiograph

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
LINE = np.arange(4096)


@pytest.fixture
def read(tmp_path):
    def read_dataset(ds, **options):
        (tmp_path / "a.dcm").write_bytes(encode(ds))
        return read_radiograph(tmp_path / "a.dcm", **options)

    return read_dataset


def linear(pixels):
    """What the whole window makes of 12 bits."""
    return (-1024 + 2048 * (pixels / 4095.0)).astype(np.float32)


@pytest.mark.parametrize(
    ("factor", "bits"),
    [(4, 16), (2, 16), (1, 16), (1, 14), (16, 12), (2, 12), (16, 8), (1, 10), (1, 0), (1, 7), (1, 65535)],
)
def test_a_table_of_another_depth_than_declared_is_scaled_by_its_own_largest_entry(read, factor, bits):
    shown = read(dataset(phantom(), VOILUTSequence=[lut_item(LINE * factor, bits=bits)]))
    np.testing.assert_allclose(shown.pixels, linear(phantom()), atol=1e-3)
    ends = f"declares {bits} bits and its entries end at {4095 * factor}: scaled by this largest entry"
    assert f"a VOI LUT of the header {ends}" in shown.warnings


@pytest.mark.parametrize("peak", [2048, 3000, 4094, 4095])
def test_a_table_that_stays_below_white_on_purpose_keeps_its_declared_range(read, peak):
    """A curve need not reach white; only an unused bit, or one too many, contradicts the descriptor."""
    entries = np.rint(LINE * (peak / 4095))
    shown = read(dataset(phantom(), VOILUTSequence=[lut_item(entries, bits=12)]))
    np.testing.assert_allclose(shown.pixels, linear(entries[phantom()]), atol=1e-3)
    assert not any("scaled by" in warning for warning in shown.warnings)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [12, 16, 0])
@pytest.mark.parametrize("level", [0, 1, 1000, 3000, 4095])
def test_a_flat_table_gives_way_to_the_window_beside_it(read, level, bits, photometric):
    flat = lut_item(np.full(4096, level), bits=bits)
    shown = read(dataset(phantom(), 12, photometric, VOILUTSequence=[flat], **WINDOW))
    assert np.array_equal(shown.pixels, read(dataset(phantom(), 12, photometric, **WINDOW)).pixels)
    assert any("VOI LUT of 4096 entries" in w and w.endswith("not applied") for w in shown.warnings)
    assert any("window center 2048 width 4096 (LINEAR), number 1 of the header" in s for s in shown.steps)


def test_a_flat_table_alone_falls_back_to_the_pixels(read):
    shown = read(dataset(phantom(), VOILUTSequence=[lut_item(np.zeros(4096), bits=12)]))
    assert np.array_equal(shown.pixels, read(dataset(phantom())).pixels)
    assert any(warning.endswith("not applied") for warning in shown.warnings)


def test_a_flat_table_asked_for_by_its_number_is_applied_and_named(read):
    ds = dataset(phantom(), VOILUTSequence=[lut_item(np.zeros(4096), bits=12)], **WINDOW)
    shown = read(ds, voi=0)
    assert (shown.pixels == -1024).all()
    assert any("pure black or white" in warning for warning in shown.warnings)


def test_the_first_window_that_fits_the_pixels_is_taken(read):
    ds = dataset(phantom(), WindowCenter=[60000, 2048], WindowWidth=[100, 4096])
    shown = read(ds)
    assert np.array_equal(shown.pixels, linear(phantom()))
    assert any("window center 60000 width 100 (LINEAR)" in w and "not applied" in w for w in shown.warnings)


def test_a_table_shorter_than_its_descriptor_is_left_out(read):
    item = lut_item(LINE[:1000], bits=12)
    item.LUTDescriptor = [4096, 0, 12]
    shown = read(dataset(phantom(), VOILUTSequence=[item], **WINDOW))
    assert np.array_equal(shown.pixels, linear(phantom()))
    assert "a VOI LUT of the header is invalid: left out" in shown.warnings


def test_a_table_longer_than_its_descriptor_is_named(read):
    item = lut_item(np.arange(5000), bits=12)
    item.LUTDescriptor = [4096, 0, 12]
    shown = read(dataset(phantom(), VOILUTSequence=[item]))
    np.testing.assert_allclose(shown.pixels, linear(phantom()), atol=1e-3)
    assert "a VOI LUT of the header has 5000 entries: the 4096 declared are used" in shown.warnings


def test_a_modality_table_that_declares_too_much_does_not_make_eight_bits_black(read):
    ds = dataset(phantom(bits=8), 8, ModalityLUTSequence=[lut_item(np.arange(256) * 4)])
    shown = read(ds)
    assert shown.display.max() == 255
    assert any("contrast taken from the pixels" in warning for warning in shown.warnings)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(("bits", "factor"), [(8, 256), (10, 64), (12, 16), (14, 4), (15, 2), (16, None)])
def test_sixteen_bit_rasters_that_use_less_are_named_with_the_factor(tmp_path, kind, bits, factor):
    pixels = phantom(bits=bits).astype(np.uint16)
    path = tmp_path / f"a.{kind}"
    Image.fromarray(pixels).save(path)
    shown = read_radiograph(path)
    assert np.array_equal(shown.pixels, (-1024 + 2048 * (pixels / 65535.0)).astype(np.float32))
    named = [w for w in shown.warnings if f"looks like {bits}-bit data" in w]
    assert len(named) == (bits < 16)
    assert bits == 16 or f"multiply the values by {factor} and save again" in named[0]
