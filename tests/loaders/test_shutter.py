"""Display shutters, and the display modules that are named instead."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom import uid
from radiograph_files import SHUTTERS, dataset, encode, phantom

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders import read_radiograph
from cxr_explain.loaders.shutter import read_shutter

ROWS, COLUMNS = 48, 40


@pytest.fixture
def read(tmp_path):
    def read_dataset(ds, syntax=uid.ExplicitVRLittleEndian, **options):
        (tmp_path / "a.dcm").write_bytes(encode(ds, syntax))
        return read_radiograph(tmp_path / "a.dcm", **options)

    return read_dataset


def literally_visible(shutter, row, column, height=1.0):
    """PS3.3 C.7.6.11 for the centre of one pixel, counted from 1."""
    shapes = shutter["ShutterShape"]
    seen = True
    if "RECTANGULAR" in shapes:
        left, right = shutter["ShutterLeftVerticalEdge"], shutter["ShutterRightVerticalEdge"]
        upper, lower = shutter["ShutterUpperHorizontalEdge"], shutter["ShutterLowerHorizontalEdge"]
        seen &= left <= column <= right and upper <= row <= lower
    if "CIRCULAR" in shapes:
        y, x = shutter["CenterOfCircularShutter"]
        seen &= (height * (row - y)) ** 2 + (column - x) ** 2 <= shutter["RadiusOfCircularShutter"] ** 2
    if "POLYGONAL" in shapes:
        seen &= in_polygon(shutter["VerticesOfThePolygonalShutter"], row, column)
    return seen


def in_polygon(values, row, column):
    """By the crossings of a ray to the right; on an edge is inside."""
    corners = list(zip(values[::2], values[1::2], strict=True))
    inside = False
    for (r1, c1), (r2, c2) in zip(corners, corners[1:] + corners[:1], strict=True):
        cross = (c2 - c1) * (row - r1) - (r2 - r1) * (column - c1)
        if cross == 0 and min(r1, r2) <= row <= max(r1, r2) and min(c1, c2) <= column <= max(c1, c2):
            return True
        if (r1 > row) != (r2 > row) and column < c1 + (row - r1) * (c2 - c1) / (r2 - r1):
            inside = not inside
    return inside


def hidden_by(shutter, height=1.0):
    grid = ((row, column) for row in range(1, ROWS + 1) for column in range(1, COLUMNS + 1))
    seen = [literally_visible(shutter, row, column, height) for row, column in grid]
    return ~np.array(seen).reshape(ROWS, COLUMNS)


EVERYTHING = {key: value for shape in SHUTTERS.values() for key, value in shape.items()}
EVERYTHING["ShutterShape"] = ["CIRCULAR", "RECTANGULAR", "POLYGONAL"]
CASES = {
    **SHUTTERS,
    "all three": EVERYTHING,
    "two of them": EVERYTHING | {"ShutterShape": ["POLYGONAL", "CIRCULAR"]},
    "partly outside": SHUTTERS["rectangular"]
    | {"ShutterLeftVerticalEdge": -3, "ShutterLowerHorizontalEdge": 99},
    "one pixel": SHUTTERS["circular"] | {"RadiusOfCircularShutter": 0},
    "one column": SHUTTERS["rectangular"] | {"ShutterRightVerticalEdge": 5},
    "concave": SHUTTERS["polygonal"]
    | {"VerticesOfThePolygonalShutter": [1, 1, 40, 20, 1, 40, 48, 40, 48, 1]},
    "closed by itself": SHUTTERS["polygonal"]
    | {"VerticesOfThePolygonalShutter": [2, 2, 2, 30, 30, 30, 2, 2]},
    "vertices outside": SHUTTERS["polygonal"]
    | {"VerticesOfThePolygonalShutter": [-9, 20, 24, 60, 60, 20, 24, -9]},
    "hiding nothing": SHUTTERS["rectangular"]
    | {"ShutterLeftVerticalEdge": 1, "ShutterRightVerticalEdge": 40}
    | {"ShutterUpperHorizontalEdge": 1, "ShutterLowerHorizontalEdge": 48},
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shutter", CASES.values(), ids=CASES)
def test_each_pixel_follows_the_standards_text(read, shutter, photometric):
    pixels = np.clip(phantom(), 200, 4000)
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    shown = read(dataset(pixels, photometric=photometric, **window, **shutter))
    whole = read(dataset(pixels, photometric=photometric, **window))
    hidden = hidden_by(shutter)
    assert (shown.pixels[hidden] == -1024).all()
    assert (shown.display[hidden] == 0).all()
    assert np.array_equal(shown.pixels[~hidden], whole.pixels[~hidden])
    assert np.array_equal(shown.display[~hidden], whole.display[~hidden])
    assert f"{100 * hidden.mean():.1f} % of the pixels left out, shown black" in " ".join(shown.steps)
    named = [warning for warning in shown.warnings if "shutter" in warning]
    little = int(1 - hidden.mean() < 0.05)
    assert [warning.endswith("are its numbers pixels?") for warning in named] == [True] * little


@pytest.mark.parametrize("seed", range(20))
def test_any_polygon_follows_the_standards_text(seed):
    """Corners in and out of the image, edges through centres, crossings, corners on one line."""
    rng = np.random.default_rng(seed)
    for _ in range(20):
        corners = rng.integers(-4, 16, 2 * rng.integers(3, 9)).tolist()
        ds = item(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=corners)
        warnings = []
        shutter = read_shutter(ds, 10, 12, warnings)
        seen = np.array(
            [[in_polygon(corners, row, column) for column in range(1, 13)] for row in range(1, 11)]
        )
        if not seen.any():
            assert shutter is None
            assert "would hide the whole image" in warnings[0]
            continue
        assert np.array_equal(~shutter.hidden, seen)


@pytest.mark.parametrize("voi", ["auto", "none", 0])
@pytest.mark.parametrize("shutter", SHUTTERS.values(), ids=SHUTTERS)
def test_the_contrast_is_that_of_the_visible_pixels(read, shutter, voi):
    """The rest is at the far end of the range: it would take the contrast, and make a good window absurd."""
    hidden = hidden_by(shutter)
    picture = np.clip(phantom(), 1000, 2000)
    behind, cropped = picture.copy(), picture.copy()
    behind[hidden] = 4095
    cropped[hidden] = 7
    window = {} if voi == "auto" else {"WindowCenter": 1500, "WindowWidth": 1000}
    shown = read(dataset(behind, **window, **shutter), voi=voi)
    padded = read(dataset(cropped, PixelPaddingValue=7, **window), voi=voi)
    assert np.array_equal(shown.pixels, padded.pixels)
    assert np.array_equal(shown.display, padded.display)


def test_pixels_that_are_not_square_make_an_ellipse(read):
    """The radius is "a number of pixels along the row direction" (PS3.3 table C.7-17a)."""
    shutter = SHUTTERS["circular"]
    shown = read(dataset(np.clip(phantom(), 200, 4000), ImagerPixelSpacing=[0.4, 0.2], **shutter), voi="none")
    assert np.array_equal(shown.pixels == -1024, hidden_by(shutter, height=2.0))


NOT_APPLIED = {
    "would hide the whole image": SHUTTERS["rectangular"]
    | {"ShutterLeftVerticalEdge": 60, "ShutterRightVerticalEdge": 90},
    "rectangular display shutter of the header is invalid": {"ShutterShape": "RECTANGULAR"},
    "circular display shutter of the header is invalid": {
        "ShutterShape": "CIRCULAR",
        "CenterOfCircularShutter": [3, 3],
    },
    "polygonal display shutter of the header is invalid": {
        "ShutterShape": "POLYGONAL",
        "VerticesOfThePolygonalShutter": [3, 3, 9, 9],
    },
    "without a shape": SHUTTERS["rectangular"] | {"ShutterShape": ""},
    "of an unknown shape": {"ShutterShape": "TRIANGULAR"},
    "bitmap display shutter of the header is not applied": {"ShutterShape": "BITMAP"},
}


@pytest.mark.parametrize(("says", "shutter"), NOT_APPLIED.items(), ids=NOT_APPLIED)
def test_a_shutter_that_cannot_be_applied_is_named(read, says, shutter):
    shown = read(dataset(phantom(), **shutter))
    assert np.array_equal(shown.pixels, read(dataset(phantom())).pixels)
    assert [warning for warning in shown.warnings if says in warning]


def test_a_shutter_in_millimetres_is_named(read):
    edges = dict(zip(("Left", "Upper", "Right", "Lower"), (1, 1, 8, 9), strict=True))
    sides = {"Left": "Vertical", "Right": "Vertical", "Upper": "Horizontal", "Lower": "Horizontal"}
    shutter = {f"Shutter{side}{sides[side]}Edge": value for side, value in edges.items()}
    shown = read(dataset(phantom(), ShutterShape="RECTANGULAR", **shutter))
    assert "the display shutter of the header leaves 3.8 % of the image: are its numbers pixels?" in (
        shown.warnings
    )


def test_reversed_edges_are_invalid_and_the_other_shape_is_applied(read):
    both = EVERYTHING | {"ShutterShape": ["RECTANGULAR", "CIRCULAR"], "ShutterLeftVerticalEdge": 39}
    shown = read(dataset(np.clip(phantom(), 200, 4000), **both), voi="none")
    assert np.array_equal(shown.pixels == -1024, hidden_by(SHUTTERS["circular"]))
    assert any("rectangular display shutter of the header is invalid" in w for w in shown.warnings)


def test_shapes_that_leave_nothing_together_are_named(read):
    apart = EVERYTHING | {"ShutterShape": ["RECTANGULAR", "CIRCULAR"], "CenterOfCircularShutter": [99, 99]}
    shown = read(dataset(np.clip(phantom(), 200, 4000), **apart), voi="none")
    assert np.array_equal(shown.pixels == -1024, hidden_by(SHUTTERS["rectangular"]))
    assert any("circular display shutter would hide the whole image" in w for w in shown.warnings)


def test_padding_alone_before_the_shutter_is_an_image_of_padding(read):
    pixels = np.where(hidden_by(SHUTTERS["circular"]), phantom(), 5).astype(np.uint16)
    with pytest.raises(CorruptImageError, match="padding only"):
        read(dataset(pixels, PixelPaddingValue=5, **SHUTTERS["circular"]))


def test_torchxrayvisions_reader_knows_no_shutter(read):
    pixels = phantom()
    shown = read(dataset(pixels, **SHUTTERS["circular"]), xrv_compatible=True)
    assert np.array_equal(shown.pixels, read(dataset(pixels), xrv_compatible=True).pixels)
    assert (shown.display[hidden_by(SHUTTERS["circular"])] == 0).all()
    assert any("behind the display shutter" in warning for warning in shown.warnings)


def item(**attributes):
    ds = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


SKIPPED = {
    "ICC profile": {"ICCProfile": bytes(128)},
    "graphic annotation": {"GraphicAnnotationSequence": [item(GraphicLayer="A")]},
    "Presentation LUT Sequence": {"PresentationLUTSequence": [item(LUTDescriptor=[2, 0, 16])]},
    "graphic layers": {"GraphicLayerSequence": [item(GraphicLayer="A")]},
    "displayed area": {"DisplayedAreaSelectionSequence": [item(PresentationSizeMode="SCALE TO FIT")]},
    "Softcopy VOI LUT Sequence": {"SoftcopyVOILUTSequence": [item(WindowCenter=1, WindowWidth=2)]},
    "mask subtraction": {"MaskSubtractionSequence": [item(MaskOperation="NONE")]},
    "spatial transformation": {"ImageRotation": 90, "ImageHorizontalFlip": "N"},
    "Frame Display Shutter Sequence": {
        "SharedFunctionalGroupsSequence": [item(FrameDisplayShutterSequence=[item(ShutterShape="CIRCULAR")])]
    },
}


@pytest.mark.parametrize(("name", "attributes"), SKIPPED.items(), ids=SKIPPED)
def test_display_modules_that_are_not_applied_are_named(read, name, attributes):
    shown = read(dataset(phantom(), **attributes))
    assert np.array_equal(shown.pixels, read(dataset(phantom())).pixels)
    assert [w for w in shown.warnings if name in w and "of the header is not applied" in w]


def test_overlay_planes_are_counted(read):
    ds = dataset(phantom(), ImageRotation=0, ImageHorizontalFlip="N")
    for group in (0x6000, 0x6002):
        ds.add_new((group, 0x0010), "US", ROWS)
        ds.add_new((group, 0x0011), "US", COLUMNS)
        ds.add_new((group, 0x3000), "OW", bytes(ROWS * COLUMNS // 8))
    shown = read(ds)
    assert "2 overlay planes of the header not shown" in shown.warnings
    assert len(shown.warnings) == 1 + len(read(dataset(phantom())).warnings)


def test_one_overlay_in_the_unused_bits_and_one_curve(read):
    """An overlay of old writers has no data of itself: it is drawn into the samples' words."""
    ds = dataset(phantom() | np.uint16(0x1000), WindowCenter=2048, WindowWidth=4096)
    ds.add_new((0x6000, 0x0010), "US", ROWS)
    ds.add_new((0x6000, 0x0102), "US", 12)
    ds.add_new((0x5000, 0x3000), "OW", bytes(8))
    shown = read(ds)
    assert {"1 overlay plane of the header not shown", "1 curve of the header not shown"} < {*shown.warnings}
    assert np.array_equal(shown.pixels, read(dataset(phantom(), WindowCenter=2048, WindowWidth=4096)).pixels)


def test_the_case_of_a_collimated_chest(read):
    """White behind the shutter, no window: the contrast is that of the chest, and the rest is black."""
    chest = np.clip(phantom(bits=12), 300, 2600)
    white = np.full_like(chest, 4095)
    white[3:44, 4:36] = chest[3:44, 4:36]
    shown = read(dataset(white, **SHUTTERS["rectangular"]))
    assert np.array_equal(shown.pixels[3:44, 4:36], read(dataset(chest[3:44, 4:36].copy())).pixels)
    assert (np.delete(shown.pixels, np.s_[3:44], axis=0) == -1024).all()
