"""Nothing that a header says of a patient, a person or a place comes into a run's folder, or a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement

from cxr_explain import Explainer
from cxr_explain.audit.results import write_statistics
from cxr_explain.audit.run import run_audit
from cxr_explain.pages.audit_report import build_report
from cxr_explain.reference import make_manifest, write_manifest

TEXT = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}
"""Kinds of values that hold free text; codes (CS) and identifiers (UI) have rules that pixels depend on."""

KEPT = {"Manufacturer", "ManufacturerModelName", "PatientComments"}
"""By which a phantom is known; a radiograph that is none is refused by the phantom model."""


def planted(dataset: pydicom.Dataset) -> Iterator[str]:
    """Put a word of its own into every text attribute of the dictionary, and into private ones."""
    for number, (tag, (vr, *_, keyword)) in enumerate(sorted(DicomDictionary.items())):
        if vr in TEXT and keyword and keyword not in KEPT and (tag >> 16) not in (0x0000, 0x0002, 0x7FE0):
            word = f"Zz{number:05d}qx"
            dataset.add(DataElement(tag, vr, word))
            yield word
    block = dataset.private_block(0x0011, "ZZPRIVATECREATOR", create=True)
    yield "ZZPRIVATECREATOR"
    for at, vr in enumerate(sorted(TEXT - {"UC"})):
        block.add_new(at, vr, f"ZZPRIVATE{vr}")
        yield f"ZZPRIVATE{vr}"
    for keyword, value in {
        "PatientBirthDate": "19370215",
        "StudyDate": "20190403",
        "StudyTime": "112233",
    }.items():
        setattr(dataset, keyword, value)
        yield value


@pytest.mark.parametrize("named_after_the_patient", [False, True])
def test_planted_words_appear_nowhere_under_the_run(
    named_after_the_patient: bool, phantoms: Path, explainer: Explainer, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    words: set[str] = set()
    for number, path in enumerate(sorted((phantoms / "dicom").glob("*.dcm"))[:3]):
        dataset = pydicom.dcmread(path)
        words |= set(planted(dataset))
        dataset.PatientName, dataset.PatientID = f"Zzyxton^Quillon{number}", f"ZZ-4711-{number}"
        words |= {"Zzyxton", f"Quillon{number}", f"ZZ-4711-{number}", f"ZZ4711{number}"}
        dataset.save_as(
            images / (f"Zzyxton_Quillon{number}.dcm" if named_after_the_patient else f"{number}.dcm")
        )
    broken = images / "broken.dcm"
    broken.write_bytes(next(iter(sorted(images.glob("*.dcm")))).read_bytes()[:-20_000])
    manifest = make_manifest("dicom", images)
    run = run_audit(explainer, manifest, images, tmp_path / "run")
    assert len(run.results) == 3
    found = write_statistics(run)
    build_report(run, tmp_path / "run" / "report", cases=None, statistics=found.document)
    write_manifest(manifest, tmp_path / "manifest.csv")
    for path in sorted((tmp_path / "run").rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":  # which is compressed
            table = pq.read_table(path)
            content += repr((table.to_pylist(), table.schema.metadata)).encode()
        if named_after_the_patient and path.name == "manifest.csv":
            continue  # paths, which the person who makes a manifest has chosen: see data_manifests/README.md
        seen = {word for word in words if word.encode() in content or word in path.name}
        assert not seen, f"{path.name} has {sorted(seen)[:3]}"
    case = run.case(0)
    radiograph = case.radiograph()
    cards = "".join(
        shown._repr_html_()
        for shown in (run, manifest, radiograph, case.explanation, explainer.explain(radiograph))
    )
    assert not {word for word in words if word in cards}
