"""Numbers of the header as people write them, and whatever pydicom is set to read them as."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom import config, hooks, valuerep
from radiograph_files import SHUTTERS, dataset, encode, phantom

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders import read_radiograph


@pytest.fixture
def read(tmp_path):
    """Read a file in which bytes are replaced by others of the same length."""

    def read_with(ds, replaced=(b"", b""), **options):
        data = encode(ds)
        old, new = replaced
        assert len(old) == len(new)
        assert not old or data.count(old) == 1
        (tmp_path / "a.dcm").write_bytes(data.replace(old, new) if old else data)
        return read_radiograph(tmp_path / "a.dcm", **options)

    return read_with


def image(**attributes):
    return dataset(phantom(), **attributes)


@pytest.mark.parametrize("written", [b"1500,5", b"1500,25", b"15000,75", b"-0,5", b"1,5e3", b"0,125"])
def test_a_decimal_comma_is_read_as_a_point_and_named(read, written):
    point = written.replace(b",", b".")
    shown = read(image(WindowCenter=point.decode(), WindowWidth="3001.5"), (point, written), voi=0)
    expected = read(image(WindowCenter=float(point), WindowWidth="3001.5"), voi=0)
    assert np.array_equal(shown.pixels, expected.pixels)
    assert "WindowCenter has a decimal comma: read as a decimal point" in shown.warnings


@pytest.mark.parametrize(
    "written", [b"2,048", b"1,234,5", b"2,048,000", b"15O0", b"1;5", b"1500,5mm", b"nan"]
)
def test_what_may_mean_two_numbers_or_none_is_unreadable(read, written):
    shown = read(image(WindowCenter="7" * len(written), WindowWidth="3000"), (b"7" * len(written), written))
    assert np.array_equal(shown.pixels, read(image()).pixels)
    assert "WindowCenter of the header is unreadable: left out" in shown.warnings


def test_several_windows_with_commas(read):
    ds = image(WindowCenter=["2048.5", "1000"], WindowWidth=["4096", "500.25"])
    shown = read(ds, (b"500.25", b"500,25"), voi=1)
    assert np.array_equal(shown.pixels, read(ds, voi=1).pixels)
    assert "WindowWidth has a decimal comma: read as a decimal point" in shown.warnings


def test_commas_in_slope_and_spacing(read):
    ds = image(RescaleSlope="0.5625", RescaleIntercept="10", ImagerPixelSpacing=["0.1953", "0.1953"])
    shown = read(ds, (b"0.5625", b"0,5625"))
    assert np.array_equal(shown.pixels, read(ds).pixels)
    shown = read(ds, (b"0.1953\\0.1953", b"0,1953\\0,1953"))
    assert shown.pixel_spacing == (0.1953, 0.1953)
    assert "ImagerPixelSpacing has a decimal comma: read as a decimal point" in shown.warnings


def test_a_spacing_that_nobody_can_read_is_named(read):
    shown = read(image(ImagerPixelSpacing=["0.1953", "0.1953"]), (b"0.1953\\0.1953", b"0.1953mm 0.19"))
    assert shown.pixel_spacing is None
    assert "ImagerPixelSpacing is invalid: left out" in shown.warnings


def test_a_number_that_decoding_needs_is_refused_where_it_cannot_be_read(read):
    with pytest.raises(CorruptImageError, match="a NumberOfFrames that is not a whole number"):
        read(image(NumberOfFrames="1000001"), (b"1000001", b"1,00001"))


def test_windows_that_do_not_pair_up_are_left_out(read):
    shown = read(image(WindowCenter=["2048", "1000"], WindowWidth="4096"))
    assert "window centers and widths of the header do not pair up: left out" in shown.warnings


def everything():
    """Numbers of every kind that reading looks at, some of them against the standard."""
    ds = image(
        WindowCenter=["2048.25", "1000"],
        WindowWidth=["4096", "500"],
        RescaleSlope="1.5",
        RescaleIntercept="-3",
        PixelAspectRatio=[1, 1],
        PixelPaddingValue=7,
        PatientID="X123456",
        PatientBirthDate="19700101",
        **SHUTTERS["polygonal"],
    )
    ds.add_new("AccessionNumber", "SH", "")
    return ds


SETTINGS = {
    "use_DS_numpy": (config, "use_DS_numpy", True),
    "use_IS_numpy": (config, "use_IS_numpy", True),
    "use_DS_decimal": (config, "use_DS_decimal", True),
    "allow_DS_float": (config, "allow_DS_float", True),
    "enforce_valid_values": (config, "enforce_valid_values", True),
    "datetime_conversion": (config, "datetime_conversion", True),
    "convert_wrong_length_to_UN": (config, "convert_wrong_length_to_UN", True),
    "use_none_as_empty_text_VR_value": (config, "use_none_as_empty_text_VR_value", True),
    "replace_un_with_known_vr": (config, "replace_un_with_known_vr", False),
    "assume_implicit_vr_switch": (config, "assume_implicit_vr_switch", False),
    "INVALID_KEYWORD_BEHAVIOR": (config, "INVALID_KEYWORD_BEHAVIOR", "RAISE"),
    "reading_validation_mode=RAISE": (config.settings, "reading_validation_mode", config.RAISE),
    "reading_validation_mode=IGNORE": (config.settings, "reading_validation_mode", config.IGNORE),
    "infer_sq_for_un_vr": (config.settings, "infer_sq_for_un_vr", False),
    "DSclass": (valuerep, "DSclass", valuerep.DSdecimal),
    "hook": (hooks.hooks, "raw_element_value", lambda *_, **__: 1 / 0),
    "callback": (config, "data_element_callback", lambda *_, **__: 1 / 0),
}


@pytest.mark.parametrize(("owner", "name", "value"), SETTINGS.values(), ids=SETTINGS)
def test_a_file_reads_the_same_whatever_pydicom_is_set_to(tmp_path, monkeypatch, owner, name, value):
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(everything()).replace(b"2048.25", b"2048,25"))
    options = {"voi": 1, "metadata": ["WindowCenter", "PatientBirthDate", "RescaleSlope"]}
    before = read_radiograph(path, **options)
    monkeypatch.setattr(owner, name, value)
    after = read_radiograph(path, **options)
    assert getattr(owner, name) == value
    assert np.array_equal(after.pixels, before.pixels)
    assert np.array_equal(after.display, before.display)
    known = ("id", "steps", "warnings", "pixel_spacing", "metadata", "view", "patient_orientation")
    assert [getattr(after, key) for key in known] == [getattr(before, key) for key in known]


def test_the_settings_come_back_after_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "use_DS_numpy", True)
    (tmp_path / "a.dcm").write_bytes(encode(image(Modality="CT")))
    with pytest.raises(Exception, match="computed tomography"):
        read_radiograph(tmp_path / "a.dcm")
    assert config.use_DS_numpy
    assert isinstance(pydicom.dcmread(tmp_path / "a.dcm").ImagerPixelSpacing, np.ndarray)
