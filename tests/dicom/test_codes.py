"""Codes of pathologies: one each, as pydicom's copy of the standard has them."""

from __future__ import annotations

import io
import itertools
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code
from pydicom.valuerep import validate_value

from cxr_explain.dicom import codes
from cxr_explain.pathologies import DATA_SET_PATHOLOGIES, PATHOLOGIES, LabelState
from cxr_explain.phantom import render, sample_patient
from cxr_explain.phantom.dicom import to_dicom
from cxr_explain.phantom.patient import Projection

EVERY = [*PATHOLOGIES, *DATA_SET_PATHOLOGIES]
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "dicom_objects.md"


def own_codes() -> list[Code]:
    tables = (codes.SIDES, codes.LABEL_STATES, codes.REGION_STATES, codes.VIEWS)
    return [
        codes.CHEST_RADIOGRAPHY,
        *itertools.chain.from_iterable(table.values() for table in tables),
        *map(codes.pathology_code, EVERY),
    ]


def test_every_pathology_has_a_code_of_its_own() -> None:
    found = {name: tuple(codes.pathology_code(name))[:2] for name in EVERY}
    assert len(set(found.values())) == len(EVERY)


def test_every_pathology_of_the_models_is_coded_or_says_why_not() -> None:
    public = set(codes.PATHOLOGY_CODES) & set(PATHOLOGIES)
    assert public | set(codes.PRIVATE_SCOPES) == set(PATHOLOGIES)
    assert not public & set(codes.PRIVATE_SCOPES)
    assert set(codes.PATHOLOGY_CODES) <= set(EVERY)


@pytest.mark.parametrize("code", own_codes(), ids=lambda code: code.value)
def test_codes_are_legal_values(code: Code) -> None:
    for vr, text in (("SH", code.value), ("SH", code.scheme_designator), ("LO", code.meaning)):
        validate_value(vr, text, validation_mode=2)
    assert code.meaning.isascii()


def test_where_pydicom_knows_a_code_it_means_the_same() -> None:
    known = defaultdict(set)
    for scheme, of_scheme in concepts.items():
        for named in of_scheme.values():
            for value, (meaning, _) in named.items():
                known[scheme, value].add(meaning.casefold())
    compared = [code for code in own_codes() if (code.scheme_designator, code.value) in known]
    for code in compared:
        assert code.meaning.casefold() in known[code.scheme_designator, code.value]
    said = [each.code for each in codes.PATHOLOGY_CODES.values() if each.source.startswith("PS3.16")]
    assert said
    assert set(said) <= set(compared)


@pytest.mark.parametrize(
    ("value", "is_valid"), [("46621007", True), ("46621017", False), ("46612007", False)]
)
def test_the_check_digit_tells_a_wrong_code(value: str, is_valid: bool) -> None:
    assert (verhoeff(value) == 0) is is_valid


def test_every_snomed_code_has_the_right_check_digit() -> None:
    snomed = [code.value for code in own_codes() if code.scheme_designator == "SCT"]
    assert len(snomed) > 20
    assert [value for value in snomed if verhoeff(value)] == []


def verhoeff(digits: str) -> int:
    """SNOMED CT's check, by which a mistyped code is found: 0 for a valid identifier."""

    def times(a: int, b: int) -> int:  # in the dihedral group of ten
        turned = b if a < 5 else -b
        return (a + turned) % 5 + 5 * ((a < 5) != (b < 5))

    def moved(position: int, digit: int) -> int:
        for _ in range(position % 8):
            digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
        return digit

    check = 0
    for position, digit in enumerate(map(int, reversed(digits))):
        check = times(check, moved(position, digit))
    return check


@pytest.mark.parametrize("projection", list(Projection))
def test_a_phantom_names_its_view_by_the_same_code(projection: Projection) -> None:
    patient = replace(sample_patient(1), projection=projection)
    source = pydicom.dcmread(io.BytesIO(to_dicom(render(patient, size=64))))
    assert Code(*codes.VIEWS[source.ViewPosition]) == Code(
        source.ViewCodeSequence[0].CodeValue,
        source.ViewCodeSequence[0].CodingSchemeDesignator,
        source.ViewCodeSequence[0].CodeMeaning,
    )


def test_names_that_a_model_brings_have_private_codes_that_differ() -> None:
    names = ["Flu", "flu of the very long kind", "flu of the very long sort", "Грипп", "Грип", "a\\b", " "]
    found = [codes.pathology_code(name) for name in names]
    assert {code.scheme_designator for code in found} == {codes.PRIVATE_SCHEME}
    assert len({code.value for code in found}) == len(names)
    for code in found:
        validate_value("SH", code.value, validation_mode=2)
        validate_value("LO", code.meaning, validation_mode=2)
        assert code.meaning.strip()


def test_every_state_of_a_label_has_a_code() -> None:
    assert set(codes.LABEL_STATES) == set(LabelState)
    assert len(set(codes.LABEL_STATES.values())) == len(LabelState)


def test_the_page_has_the_codes_as_they_are() -> None:
    page = PAGE.read_text("utf-8")
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"`.+`", cells[1]):
            rows[cells[0]] = (cells[1].strip("`"), *cells[2:])
    wanted = {}
    for name in (*PATHOLOGIES, *(set(codes.PATHOLOGY_CODES) - set(PATHOLOGIES))):
        code, known = codes.pathology_code(name), codes.PATHOLOGY_CODES.get(name)
        wanted[name] = (
            f"{code.value}, {code.scheme_designator}",
            code.meaning,
            known.source if known else "none found",
            known.scope if known else codes.PRIVATE_SCOPES[name],
        )
    assert rows == wanted
