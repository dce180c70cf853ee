"""The examples of `data_manifests/` are what the readers give, and fit the published schema."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tables import EXAMPLES, ON_DISK

from cxr_explain.pathologies import ReferenceBox
from cxr_explain.reference import (
    Manifest,
    MaskReference,
    make_manifest,
    read_manifest,
    write_manifest,
)
from cxr_explain.reference.csv_file import csv_bytes

SOURCES = {name: name for name in ON_DISK if name != "csv"}
SOURCES |= {"csv": "csv/images.csv", "csv-columns": "csv/columns.csv"}
SCHEMA = EXAMPLES.parent / "manifest.schema.json"


@pytest.mark.parametrize("name", SOURCES)
def test_each_example_gives_its_manifest(name: str) -> None:
    manifest = make_manifest(name.split("-")[0], EXAMPLES / SOURCES[name])
    kept = EXAMPLES / f"manifest-{name}.csv"
    assert read_manifest(kept) == manifest
    assert kept.read_bytes().replace(b"\r\n", b"\n") == csv_bytes(manifest).replace(b"\r\n", b"\n")


def test_there_is_an_example_of_each() -> None:
    assert {path.name for path in EXAMPLES.glob("manifest-*.csv")} == {
        f"manifest-{name}.csv" for name in SOURCES
    }
    assert {name.split("-")[0] for name in SOURCES} == set(ON_DISK)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def full() -> Manifest:
    return Manifest(
        ["a", "b"],
        ["x/a.png", "..b.png"],
        pathologies=["Mass", "Edema"],
        states=[[1, 0], [-1, -2]],
        ages=[0.5, 1e-7],
        boxes={0: (ReferenceBox("Mass", 0, 1, 2, 3),)},
        box_spaces={0: (1024, 1024)},
        masks={1: {"Edema": MaskReference("png", "m/b.png")}},
        extra={"site": ["x", ""]},
    )


def test_what_is_written_fits_the_schema(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    inner = {
        name: jsonschema.Draft202012Validator({"$defs": schema["$defs"], **schema["$defs"][name]})
        for name in ("boxes", "masks")
    }
    files = [*EXAMPLES.glob("manifest-*.csv"), write_manifest(full(), tmp_path / "m.csv")]
    for row in (row for path in files for row in rows(path)):
        validator.validate(row)
        for name, each in inner.items():
            if row.get(name):
                each.validate(json.loads(row[name]))


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"image_id": ""},
            {"image_id": "a\nb"},
            {"path": "/a"},
            {"path": "a/../b"},
            {"path": ".."},
            {"path": "a//b"},
        ),
        *(
            {"path": "C:a"},
            {"path": "a\\b"},
            {"path": "./a"},
            {"path": "a/"},
            {"sex": "female"},
            {"age": "old"},
        ),
        *({"label:Mass": "2"}, {"box_space": "10"}),
    ],
)
def test_the_schema_and_the_reader_refuse_the_same(change: dict[str, str], tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from cxr_explain.errors import ManifestError

    row = {
        "image_id": "a",
        "path": "a.png",
        "sex": "F",
        "age": "5",
        "label:Mass": "1",
        "box_space": "1x1",
    } | change
    assert not jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid(row)
    path = tmp_path / "m.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(ManifestError):
        read_manifest(path)
