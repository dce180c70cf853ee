"""A small data set of phantoms, its manifest, and the bundled model."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cxr_explain import Explainer
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference.csv_file import parse_manifest
from cxr_explain.reference.manifest import Manifest

COUNT = 12
RUNNING = RunSettings(batch_size=4, workers=2, part_rows=4)


@pytest.fixture(scope="session")
def explainer() -> Explainer:
    """The model that comes with the package."""
    return Explainer.from_pretrained("phantom")


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms in NIH ChestX-ray14's file layout."""
    folder = tmp_path_factory.mktemp("phantoms") / "nih"
    for _ in write_dataset(folder, n=COUNT, seed=100, size=128, bits=12):
        pass
    return folder


@pytest.fixture(scope="session")
def manifest(phantoms: Path) -> Manifest:
    """Of the phantoms, with labels and boxes, written by hand."""
    return parse_manifest(manifest_text(phantoms).encode(), source="phantoms")


@pytest.fixture(scope="session")
def finished(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path_factory: pytest.TempPathFactory
) -> AuditRun:
    """An undisturbed run; read it only."""
    return run_audit(
        explainer, manifest, phantoms / "images", tmp_path_factory.mktemp("runs") / "run", running=RUNNING
    )


def manifest_text(phantoms: Path) -> str:
    """A manifest in this package's schema, from NIH's two tables."""
    import io
    import json

    boxes: dict[str, list[dict[str, object]]] = {}
    with (phantoms / "BBox_List_2017.csv").open(encoding="utf-8") as file:
        for image, name, x, y, width, height, *_ in list(csv.reader(file))[1:]:
            box = dict(zip(("x", "y", "width", "height"), map(float, (x, y, width, height)), strict=True))
            boxes.setdefault(image, []).append({"pathology": name, **box})
    with (phantoms / "Data_Entry_2017_v2020.csv").open(encoding="utf-8") as file:
        entries = list(csv.reader(file))[1:]
    names = ("Cardiomegaly", "Effusion", "Mass", "Nodule", "Pneumothorax")
    text = io.StringIO()
    text.write("image_id,path,patient,sex,age,view,boxes,box_space,label_source,hospital,")
    text.write(",".join(f"label:{name}" for name in names) + "\n")
    writer = csv.writer(text, lineterminator="\n")
    for number, row in enumerate(entries):
        found, boxed = row[1].split("|"), json.dumps(boxes.get(row[0], []))
        about = (Path(row[0]).stem, row[0], row[3], "FM"[number % 2], 20 + number, "PA")
        labels = ("1" if name in found else "0" for name in names)
        writer.writerow((*about, boxed, "1024x1024", "the renderer", "AB"[number % 2], *labels))
    return text.getvalue()
