"""Every shared CR and DX that can be explained: its objects have no error that it has not itself."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_tools import dciodvfy_errors, needs_dciodvfy
from pydicom.datadict import keyword_for_tag

import cxr_explain as cxr
from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.dicom.objects import dicom_objects
from cxr_explain.loaders.header import parse_header, text
from cxr_explain.loaders.scope import quiet_decoders

pytestmark = [pytest.mark.real_data, *needs_dciodvfy]

FROM_THE_SOURCE: dict[str, frozenset[str]] = {
    "fodicom_CR_modalityLUT.dcm": frozenset({"SOPInstanceUID", "LUTDescriptor"}),
    "msft_budi1_voilut.dcm": frozenset({"StudyInstanceUID"}),
    "rentgenprom_dx_j2k16.dcm": frozenset({"PatientName"}),
}
"""Attributes that dciodvfy finds flawed in a source, and that its objects have from it, as it is known by
them: components of unique identifiers that begin with zeros, and letters in no declared character set.
One has a modality LUT of fewer bits than it says, which the presentation state has to say again."""
REFERRED = {"ReferencedSOPInstanceUID": "SOPInstanceUID"}
DRAWN = ("figure", "pdf")
"""Kinds that draw the record figure, which knows little of the header and takes most of the time."""
HALVES = (("overlay", "report"), ("segmentation", "presentation"))
"""The other kinds: by default those of one half from each source, and all from sources with a flaw."""
DRAWN_BY_DEFAULT = ("highdicom_dx_thorax_small.dcm", "fodicom_CR_modalityLUT.dcm")


@cache
def explainer() -> cxr.Explainer:
    return cxr.Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)


@cache
def names() -> list[str]:
    """The CR and DX files, where the folder is there."""
    import os

    folder = Path(os.environ.get("CXR_EXPLAIN_REAL_DATA", "none"), "dicom")
    found = []
    for file in sorted(folder.glob("*.dcm")):
        try:
            with quiet_decoders():
                header = parse_header(file)
                if text(header, "Modality") in ("CR", "DX"):
                    found.append(file.name)
        except Exception:  # noqa: S112 - no DICOM file
            continue
    return found or ["none"]


def flawed(errors: list[str]) -> frozenset[str]:
    """The attributes that errors name; an error that names none is one of its own."""
    found = set()
    for error in errors:
        if "contains invalid data values" in error:  # which follows on the errors that say which
            continue
        tag = re.search(r"\(0x([0-9a-f]{4}),0x([0-9a-f]{4})\)", error)
        keyword = keyword_for_tag(int(tag[1] + tag[2], 16)) if tag else error
        keyword = "LUTDescriptor" if "LUT Descriptor" in error else keyword
        found.add(REFERRED.get(keyword, keyword))
    return frozenset(found)


def halves() -> list[Any]:
    """Every source with every half of the kinds; every second one of them is `slow`."""
    return [
        pytest.param(
            name,
            kinds,
            marks=() if (place + half) % 2 == 0 or name in FROM_THE_SOURCE else pytest.mark.slow,
            id=f"{name}-{' '.join(kinds)}",
        )
        for place, name in enumerate(names())
        for half, kinds in enumerate(HALVES)
    ]


def objects_without_new_errors(file: Path, kinds: tuple[str, ...], folder: Path, top_k: int) -> None:
    """Make, write and check objects of a file."""
    name = file.name
    try:
        explanation = explainer().explain(file, top_k=top_k)
    except cxr.errors.RadiographError as error:
        pytest.skip(f"cannot be explained: {type(error).__name__}")
    made = dicom_objects(explanation, file, kinds=kinds)
    assert not made.not_made, {kind: str(error) for kind, error in made.not_made.items()}
    assert [each.kind for each in made] == list(kinds)
    own, expected = flawed(dciodvfy_errors(file)), FROM_THE_SOURCE.get(name, frozenset())
    assert expected <= own
    for written in made.save(folder):
        assert flawed(dciodvfy_errors(written)) <= expected, written.name
    with quiet_decoders():
        source = pydicom.dcmread(file, stop_before_pixels=True)
        for written in folder.iterdir():
            copy = pydicom.dcmread(written)
            for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
                assert str(copy[keyword].value or "") == str(source.get(keyword) or ""), (
                    written.name,
                    keyword,
                )


@pytest.mark.parametrize(("name", "kinds"), halves())
def test_objects_have_no_error_that_is_not_their_sources(
    name: str, kinds: tuple[str, ...], real_data: Path, tmp_path: Path
) -> None:
    objects_without_new_errors(real_data / "dicom" / name, kinds, tmp_path, top_k=1)


def test_every_kind_is_made() -> None:
    assert {*DRAWN, *HALVES[0], *HALVES[1]} == set(OBJECT_KINDS)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in DRAWN_BY_DEFAULT else pytest.mark.slow) for name in names()],
)
def test_drawn_objects_have_no_error_that_is_not_their_sources(
    name: str, real_data: Path, tmp_path: Path
) -> None:
    objects_without_new_errors(real_data / "dicom" / name, DRAWN, tmp_path, top_k=3)


def test_every_listed_flaw_is_of_a_file_that_is_there(real_data: Path) -> None:
    assert {*FROM_THE_SOURCE, *DRAWN_BY_DEFAULT} <= set(names())
