"""Equalised rendering: the authors' code read literally, OpenCV, scikit-image, and the same as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from radiograph_files import dataset, encode, phantom, raster
from skimage import exposure

from cxr_explain.dicom.greyscale import Greyscale
from cxr_explain.errors import OptionError
from cxr_explain.loaders import read_radiograph
from cxr_explain.loaders.equalisation import equalising_table
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.radiograph import Radiograph

Grey = NDArray[np.uint8]
POLARITIES = ("MONOCHROME1", "MONOCHROME2")


def literal_equalize_hist(image: Grey) -> Grey:
    """OpenCV 4.10, modules/imgproc/src/histogram.cpp, equalizeHist, line by line."""
    hist = [0] * 256
    for level in image.reshape(-1).tolist():
        hist[level] += 1
    i = 0
    while not hist[i]:
        i += 1
    total = image.size
    if hist[i] == total:
        return np.full_like(image, i)
    scale = np.float32(256 - 1.0) / np.float32(total - hist[i])
    table, running = [0] * 256, 0
    for level in range(i + 1, 256):
        running += hist[level]
        table[level] = round(float(np.float32(running) * scale))  # half to even, as lrintf
    return np.array([[table[level] for level in row] for row in image.tolist()], np.uint8)


def literal_jpeg_of_mimic(stored: NDArray[Any], photometric: str) -> Grey:
    """What the authors of MIMIC-CXR-JPG did to a DICOM image (MIT-LCP/mimic-cxr, issue 16)."""
    raw = stored.astype(np.int64)
    raw = raw - raw.min()
    eight = (raw / raw.max() * 255).astype(np.uint8)
    return literal_equalize_hist(~eight if photometric == "MONOCHROME1" else eight)


def literal_jpeg_of_chexpert(stored: NDArray[Any], photometric: str) -> Grey:
    """What the authors of CheXpert did (stanfordmlgroup/chexpert-labeler, issue 11)."""
    eight = np.rint(stored.astype(np.float64) * (255.0 / stored.max())).clip(0, 255).astype(np.uint8)
    return literal_equalize_hist(~eight if photometric == "MONOCHROME1" else eight)


def levels_of(radiograph: Radiograph) -> Grey:
    """The 8-bit levels of pixels that are nothing else."""
    exact = (radiograph.pixels.astype(np.float64) + 1024) / 2048 * 255
    levels = np.rint(exact)
    assert np.abs(exact - levels).max() < 1e-4
    return levels.astype(np.uint8)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read_file(content: Any, **options: Any) -> Radiograph:
        path = tmp_path / "image"
        path.write_bytes(content if isinstance(content, bytes) else encode(content))
        return read_radiograph(path, **options)

    return read_file


def images() -> dict[str, Grey]:
    rng = np.random.default_rng(0)
    return {
        "all levels": rng.integers(0, 256, (40, 50), np.uint8),
        "few levels": rng.choice(np.array([3, 4, 90, 255], np.uint8), (20, 20), p=[0.7, 0.1, 0.1, 0.1]),
        "two levels": np.array([[7, 200]], np.uint8),
        "one level": np.full((5, 6), 77, np.uint8),
        "black": np.zeros((3, 3), np.uint8),
        "smooth": phantom(bits=8),
        "half to even": np.array([[0, 1, 2]], np.uint8),
    }


@pytest.mark.parametrize("name", images())
def test_the_table_is_opencvs(name: str) -> None:
    image = images()[name]
    found = equalising_table(np.bincount(image.reshape(-1), minlength=256))[image]
    assert np.array_equal(found, literal_equalize_hist(image))
    cv2 = pytest.importorskip("cv2")
    assert np.array_equal(found, cv2.equalizeHist(image))


def test_of_many_pixels_the_table_counts_in_single_precision() -> None:
    """Beyond 2^24 pixels it matters."""
    histogram = np.random.default_rng(1).integers(0, 10**6, 256)
    scale = np.float32(255) / np.float32(int(histogram[1:].sum()))
    expected = [round(float(np.float32(int(histogram[1 : v + 1].sum())) * scale)) for v in range(256)]
    assert equalising_table(histogram).tolist() == expected


def test_scikit_image_gives_the_same_but_for_the_darkest_level() -> None:
    """Its levels are c(v) / n; OpenCV's leave out the darkest level that occurs."""
    image = phantom(200, 180, bits=8)
    theirs = exposure.equalize_hist(image, nbins=256)
    darkest = theirs[image == image.min()].max()
    expected = 255 * (theirs - darkest) / (1 - darkest)
    ours = equalising_table(np.bincount(image.reshape(-1), minlength=256))[image]
    assert np.abs(ours - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("photometric", POLARITIES)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_dicom_image_reads_as_mimics_jpeg_would_without_its_compression(
    read: Any, bits: int, photometric: str
) -> None:
    stored = phantom(bits=bits) // 2 + 7  # neither begins at 0 nor ends at the declared end
    window = {"WindowCenter": 2**bits // 4, "WindowWidth": 2**bits // 9}
    found = read(dataset(stored, bits, photometric, **window), rendering="equalised")
    assert np.array_equal(levels_of(found), literal_jpeg_of_mimic(stored, photometric))
    png = read(raster(literal_jpeg_of_mimic(stored, photometric), "PNG"))
    assert np.array_equal(found.pixels, png.pixels)  # to the last bit what the model was trained on


@pytest.mark.parametrize("photometric", POLARITIES)
def test_signed_pixels(read: Any, photometric: str) -> None:
    stored = phantom(bits=12).astype(np.int16) // 2 - 1000
    found = read(dataset(stored, 12, photometric), rendering="equalised")
    assert np.array_equal(levels_of(found), literal_jpeg_of_mimic(stored, photometric))


@pytest.mark.parametrize("photometric", POLARITIES)
def test_chexperts_own_scaling_comes_out_nearly_alike(read: Any, photometric: str) -> None:
    """It begins at 0 and rounds; equalisation takes out nearly all of that."""
    stored = phantom(200, 180, bits=12)
    found = levels_of(read(dataset(stored, 12, photometric), rendering="equalised")).astype(int)
    other = literal_jpeg_of_chexpert(stored, photometric).astype(int)
    assert np.abs(found - other).max() <= 4
    assert np.abs(found - other).mean() < 1


def test_what_is_shown_is_the_plain_radiograph(read: Any) -> None:
    file = dataset(phantom(), WindowCenter=2048, WindowWidth=3000)
    plain, found = read(file), read(file, rendering="equalised")
    assert "display" not in vars(plain)  # it is made when somebody looks at it
    assert np.array_equal(found.display, plain.display)
    assert not np.array_equal(found.pixels, plain.pixels)
    assert "display image, not what the model sees: window center 2048 width 3000 (LINEAR)" in found.steps
    assert any(step.startswith("histogram of 1,920 pixels equalised") for step in found.steps)
    assert not any("equalised" in step for step in plain.steps)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 900}])
def test_a_presentation_state_shows_it_as_the_figure_does(read: Any, window: dict[str, int]) -> None:
    file = dataset(phantom(), **window)
    plain, found = read(file), read(file, rendering="equalised")
    assert Greyscale.of(file).state(found) == Greyscale.of(file).state(plain)


@pytest.mark.parametrize("photometric", POLARITIES)
def test_padding_does_not_count_and_is_black(read: Any, photometric: str) -> None:
    inside = phantom(30, 20) // 2 + 100
    stored = np.full((50, 40), 4000, np.uint16)
    stored[10:40, 10:30] = inside
    found = levels_of(read(dataset(stored, 12, photometric, PixelPaddingValue=4000), rendering="equalised"))
    assert np.array_equal(found[10:40, 10:30], literal_jpeg_of_mimic(inside, photometric))
    found[10:40, 10:30] = 0
    assert not found.any()


@pytest.mark.parametrize("photometric", POLARITIES)
def test_what_is_behind_a_shutter_does_not_count_and_is_black(read: Any, photometric: str) -> None:
    stored = phantom(50, 40)
    stored[:10] = 4095
    shutter = {
        "ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 0, "ShutterRightVerticalEdge": 41,
        "ShutterUpperHorizontalEdge": 11, "ShutterLowerHorizontalEdge": 51,
    }  # fmt: skip
    found = levels_of(read(dataset(stored, 12, photometric, **shutter), rendering="equalised"))
    assert np.array_equal(found[10:], literal_jpeg_of_mimic(stored[10:], photometric))
    assert not found[:10].any()


def test_a_falling_rescale_turns_the_image_once(read: Any) -> None:
    stored = phantom()
    falling = read(dataset(stored, RescaleSlope=-1, RescaleIntercept=4095), rendering="equalised")
    assert np.array_equal(levels_of(falling), literal_jpeg_of_mimic(4095 - stored.astype(int), "MONOCHROME2"))
    rising = read(dataset(stored, RescaleSlope=2, RescaleIntercept=-100), rendering="equalised")
    assert np.array_equal(levels_of(rising), literal_jpeg_of_mimic(stored, "MONOCHROME2"))


@pytest.mark.parametrize(("photometric", "level"), [("MONOCHROME1", 255), ("MONOCHROME2", 0)])
def test_a_constant_image_has_nothing_to_equalise(read: Any, photometric: str, level: int) -> None:
    found = read(dataset(np.full((40, 40), 900, np.uint16), 12, photometric), rendering="equalised")
    assert set(levels_of(found).reshape(-1).tolist()) == {level}
    assert "all pixels have one value" in found.warnings
    assert not any("equalised before" in each for each in found.warnings)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_a_raster_image_is_scaled_and_equalised_as_it_is_shown(read: Any, kind: str) -> None:
    image = phantom(bits=8) // 3 + 40
    found = read(raster(image, kind), rendering="equalised")
    assert np.array_equal(levels_of(found), literal_jpeg_of_mimic(image, "MONOCHROME2"))
    assert np.array_equal(found.display, image)


def test_sixteen_bits_in_a_png_are_those_of_a_dicom_file(read: Any) -> None:
    image = phantom(bits=16)
    png, dicom = (
        read(each, rendering="equalised") for each in (raster(image, "PNG"), dataset(image, bits=16))
    )
    assert np.array_equal(png.pixels, dicom.pixels)


def test_an_image_that_was_equalised_before_is_named(read: Any) -> None:
    """As CheXpert's JPEGs are; compression moves the levels a little."""
    before = literal_jpeg_of_mimic(phantom(200, 180), "MONOCHROME2")
    for file in (raster(before, "PNG"), raster(before, "JPEG", quality=95)):
        warnings = read(file, rendering="equalised").warnings
        assert any(each.startswith("equalised before, as it seems") for each in warnings)
        assert not any("equalised" in each for each in read(file).warnings)
    dull = (before // 4 + 90).astype(np.uint8) ** 2
    assert not any("before" in each for each in read(raster(dull, "PNG"), rendering="equalised").warnings)


def test_torchxrayvisions_reader_equalises_nothing(read: Any) -> None:
    for refused in (
        lambda: ReadSettings(xrv_compatible=True, rendering="equalised"),
        lambda: read(dataset(phantom()), xrv_compatible=True, rendering="equalised"),
    ):
        with pytest.raises(OptionError, match="rendering='equalised' with xrv_compatible=True"):
            refused()


def test_another_rendering_is_refused(read: Any) -> None:
    for refused in (
        lambda: ReadSettings(rendering="clahe"),  # type: ignore[arg-type]
        lambda: read(dataset(phantom()), rendering="clahe"),
    ):
        with pytest.raises(OptionError, match="rendering='clahe'; expected one of plain, equalised"):
            refused()


def test_settings_without_it_are_kept_as_before() -> None:
    assert list(ReadSettings().said()) == ["voi", "xrv_compatible", "frame", "max_pixels"]
    assert ReadSettings(rendering="equalised").said()["rendering"] == "equalised"


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name", ["gdcm_CR-MONO1-10-chest.dcm", "msft_budi1_voilut.dcm", "efferent_jpegls_16bit.dcm"]
)
def test_public_files_read_as_the_authors_code_gives_them(name: str, real_data: Path) -> None:
    """With OpenCV itself, and pydicom's stored values."""
    cv2, pydicom = pytest.importorskip("cv2"), pytest.importorskip("pydicom")
    file = pydicom.dcmread(real_data / "dicom" / name)
    raw = file.pixel_array.astype(np.int64)
    raw = raw - raw.min()
    eight = (raw / raw.max() * 255).astype(np.uint8)
    expected = cv2.equalizeHist(~eight if file.PhotometricInterpretation == "MONOCHROME1" else eight)
    found = read_radiograph(real_data / "dicom" / name, rendering="equalised")
    assert np.array_equal(levels_of(found), expected)
