"""The report of a run that lies on a disk, through `AuditRun`: it gives what the other tests make up."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic import synthetic_radiograph
from synthetic_audit import SyntheticAudit

from cxr_explain.audit.parts import Parts
from cxr_explain.audit.place import place_at
from cxr_explain.audit.store import AuditRun, join_parts
from cxr_explain.pages.audit_report import build_report, write_pdf
from cxr_explain.pages.audit_report.contents import Contents, settings_of

BOX = '[{""pathology"": ""Effusion"", ""x"": 10, ""y"": 20, ""width"": 30, ""height"": 40}]'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    """Five images; the fourth failed, the last is gone since."""
    folder = tmp_path_factory.mktemp("run")
    audit = SyntheticAudit(rows=5, failed=(3,), shape=(120, 160), with_boxes=False)
    rows = audit.results.to_pylist()
    (folder / "images").mkdir()
    for row in rows:
        path = folder / "images" / f"{row['row']}.png"
        Image.fromarray(synthetic_radiograph((120, 160), seed=row["row"]).display).save(path)
        row["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "images" / "4.png").unlink()
    place = place_at(folder / "run")
    manifest = _manifest().encode()
    record = replace(audit.record, manifest_sha256=hashlib.sha256(manifest).hexdigest())
    place.write("run.json", record.to_json())
    place.write("place.json", json.dumps({"images": str(folder / "images")}).encode())
    place.write("manifest.csv", manifest)
    Parts(place, record).write([*rows, *audit.failures.to_pylist()])
    join_parts(Parts(place, record))
    return AuditRun.open(folder / "run")


def _manifest() -> str:
    head = "image_id,path,patient,view,sex,age,split,label:Effusion,label:Mass,boxes,box_space,label_source\n"
    return head + "".join(
        f"patient{row:06d}_study1_view1_frontal,{row}.png,p{row},PA,F,50,valid,{1 if row == 0 else 0},-1,"
        f'"{BOX if row == 0 else ""}",160x120,a table\n'
        for row in range(5)
    )


def case_of(folder: Path, row: int) -> dict[str, Any]:
    text = (folder / "cases" / f"{row:06d}.js").read_text(encoding="ascii")
    return dict(json.loads(text[text.index(",") + 1 : text.rindex(");")]))


def test_the_report_of_a_run_on_a_disk(run: AuditRun, tmp_path: Path) -> None:
    folder = build_report(run, tmp_path / "report", cases=None, statistics={}).parent
    assert sorted(path.name for path in (folder / "cases").iterdir()) == [
        f"00000{row}.js" for row in (0, 1, 2, 4)
    ]
    case = case_of(folder, 0)
    assert [box[:-1] for box in case["boxes"]] == [["Effusion", 10, 20, 30, 40]]
    assert case["labelSource"] == "a table"
    assert case["image"]["width"] == 160
    assert case["shape"] == [120, 160]
    assert "missing" in case_of(folder, 4)["image"]
    every = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert str(tmp_path.parent).encode() not in every
    assert b"/images" not in every


def test_the_listing_has_the_manifests_labels(run: AuditRun) -> None:
    from cxr_explain.pages.audit_report.listing import Listing

    listing = Listing.of(run)
    assert listing.explained.tolist() == [True, True, True, False, True]
    np.testing.assert_array_equal(listing.output_states[:, 0], [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(listing.output_states[:, 2], [-1] * 5)
    assert listing.ages.tolist() == [50] * 5


def test_its_pdf(run: AuditRun, tmp_path: Path) -> None:
    assert write_pdf(run, tmp_path / "a.pdf", cases=1, statistics={}).read_bytes().startswith(b"%PDF")


def test_verdicts_know_the_settings_of_the_maps_that_were_judged(run: AuditRun) -> None:
    record = run.record
    same = replace(record, torch_version="0", uncertain="ones")
    assert settings_of(same) == settings_of(record) == Contents.of(run, {}, 1).to_data()["run"]["settings"]
    for other in (
        replace(record, target_layer="elsewhere"),
        replace(record, map_settings=replace(record.map_settings, fused=not record.map_settings.fused)),
        replace(record, ranking_settings=replace(record.ranking_settings, top_k=1)),
    ):
        assert settings_of(other) != settings_of(record)
