"""An audit's run: what is stored, what is refused, and that nothing is done twice."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cxr_explain import Explainer, HookedClassifier, Outputs, read_radiograph
from cxr_explain.audit.notices import not_complete
from cxr_explain.audit.record import Record
from cxr_explain.audit.rows import explanation_of
from cxr_explain.audit.run import BatchProgress, RunSettings, run_audit
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError, OptionError, OutputError
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.options import LabelPolicy
from cxr_explain.reference.csv_file import parse_manifest
from cxr_explain.reference.manifest import Manifest
from tests.audit.conftest import COUNT, RUNNING


def comparable(run: AuditRun) -> list[dict[str, object]]:
    """The rows without their timings."""
    return [
        {name: value for name, value in row.items() if not name.endswith("_ms")}
        for row in run.results.to_pylist()
    ]


def assert_same_table(one: AuditRun, other: AuditRun) -> None:
    """Ids in the manifest's order, rankings equal, numbers to 1e-5."""
    first, second = comparable(one), comparable(other)
    assert [row["image_id"] for row in first] == [row["image_id"] for row in second]
    for left, right in zip(first, second, strict=True):
        assert left.keys() == right.keys()
        for name, value in left.items():
            if isinstance(value, float):
                assert right[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name
            elif name in ("class_maps", "reference_maps"):
                assert np.allclose(value, right[name], atol=2e-3), name
            elif name == "operating_points":
                assert value == right[name]
            else:
                assert value == right[name], name
    assert one.failures.to_pylist() == other.failures.to_pylist()


def test_every_image_has_its_row(
    finished: AuditRun, manifest: Manifest, phantoms: Path, explainer: Explainer
) -> None:
    assert finished.is_complete
    assert finished.joined
    assert finished.results["image_id"].to_pylist() == list(manifest.ids)
    assert len(finished.failures) == 0
    path = phantoms / "images" / manifest.paths[3]
    direct = explainer.explain(read_radiograph(path))
    row = finished.results.slice(3, 1).to_pylist()[0]
    assert row["sha256"] == direct.provenance.radiograph_sha256
    assert tuple(row["ranking"]) == direct.ranking.pathologies
    for prediction in direct.ranking.predictions:
        assert row[f"logit {prediction.pathology}"] == pytest.approx(prediction.logit, rel=1e-5, abs=1e-5)
        assert row[f"probability {prediction.pathology}"] == pytest.approx(prediction.probability, abs=1e-5)


def test_an_explanation_comes_back_from_the_store(
    finished: AuditRun, manifest: Manifest, phantoms: Path, explainer: Explainer
) -> None:
    direct = explainer.explain(read_radiograph(phantoms / "images" / manifest.paths[5]))
    stored = finished.case(5).explanation
    assert stored.ranking.pathologies == direct.ranking.pathologies
    assert stored.geometry == direct.geometry
    assert np.abs(stored.maps - direct.maps).max() <= 1e-3 * direct.maps.max()
    peak = np.abs(direct.class_maps).max()
    assert np.abs(stored.class_maps - direct.class_maps).max() <= 1e-3 * peak
    same = dataclasses.replace(stored.provenance, torch_version=direct.provenance.torch_version)
    assert same == direct.provenance


def test_boxed_pathologies_have_their_maps_whatever_their_rank(
    finished: AuditRun, manifest: Manifest, explainer: Explainer, phantoms: Path
) -> None:
    boxed = [row for row in finished.results.to_pylist() if row["reference_pathologies"]]
    assert boxed
    for row in boxed:
        at = finished.position[row["image_id"]]
        names = {box.pathology for box in manifest[row["row"]].boxes} & set(finished.record.pathologies)
        assert set(row["reference_pathologies"]) == names
        stored = finished.case(at).reference_explanation
        assert stored is not None
        assert stored.class_maps.shape[0] == len(names)
        radiograph = read_radiograph(phantoms / "images" / manifest.paths[row["row"]])
        direct = explainer.explain(radiograph, pathologies=names, top_k=len(names))
        assert stored.ranking.pathologies == direct.ranking.pathologies
        assert np.allclose(stored.class_maps, direct.class_maps, atol=1e-3 * np.abs(direct.class_maps).max())
    without = [row for row in finished.results.to_pylist() if not row["reference_pathologies"]]
    assert without
    assert finished.case(finished.position[without[0]["image_id"]]).reference_explanation is None


@pytest.mark.parametrize(
    "running",
    [
        RunSettings(batch_size=1, workers=1, part_rows=1),
        RunSettings(batch_size=7, workers=4),
        RunSettings(batch_size=64, workers=3, part_rows=5),
    ],
)
def test_the_table_does_not_depend_on_how_it_was_run(
    running: RunSettings,
    finished: AuditRun,
    explainer: Explainer,
    manifest: Manifest,
    phantoms: Path,
    tmp_path: Path,
) -> None:
    other = run_audit(explainer, manifest, phantoms / "images", tmp_path / "run", running=running)
    assert_same_table(finished, other)


@pytest.mark.parametrize("batch_size", [1, 5, COUNT])
def test_an_audit_makes_one_forward_pass_a_batch(
    batch_size: int, explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    """Maps of the pathologies with reference boxes come from the pass that ranks."""
    assert manifest.boxes
    passes: list[int] = []
    hook = explainer.classifier.module.features.register_forward_hook(
        lambda _module, inputs, _output: passes.append(len(inputs[0]))
    )
    try:
        run = run_audit(
            explainer, manifest, phantoms / "images", tmp_path / "run", running=RunSettings(batch_size)
        )
    finally:
        hook.remove()
    assert any(run.results["reference_pathologies"].to_pylist())
    assert len(passes) == -(-COUNT // batch_size)
    assert sum(passes) == COUNT


def test_images_that_would_be_read_otherwise_than_prepared_are_refused(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    reading = ReadSettings(xrv_compatible=True)
    with pytest.raises(OptionError, match="xrv_compatible=True; expected xrv_compatible=False"):
        run_audit(explainer, manifest, phantoms / "images", tmp_path / "run", reading=reading)
    assert not (tmp_path / "run").exists()


def test_the_record_keeps_every_setting(explainer: Explainer, manifest: Manifest) -> None:
    other = Explainer(explainer.classifier, method="layercam", fit="pad", xrv_compatible=True)
    asked = RankingSettings(2, "calibrated", ("Mass",), True)
    record = Record.of(other, manifest, asked, policy=LabelPolicy("ones", "negative", "negative"))
    assert record.policy == LabelPolicy("ones", "negative", "negative")
    assert Record.from_json(record.to_json()) == record
    assert record.read_settings == ReadSettings(xrv_compatible=True)
    assert record.map_settings == other.settings
    assert record.method_title(2) == "FM-G-CAM of LayerCAM"
    document = json.loads(record.to_json())
    assert document["schema"] == "cxr-explain/audit/5"
    for changed in (
        {"schema": "cxr-explain/audit/1"},
        {"ranking_settings": {"top_k": 0}},
        {"rows": None, "x": 1},
    ):
        with pytest.raises(AuditError, match=r"something else than the record|changed since it was written"):
            Record.from_json(json.dumps(document | changed).encode())
    for earlier in ("cxr-explain/audit/1", "cxr-explain/audit/3"):
        with pytest.raises(AuditError, match=rf"of schema {earlier}; .* in a new folder"):
            Record.from_json(json.dumps(document | {"schema": earlier}).encode())


def test_a_record_says_how_labels_count_and_how_images_are_rendered(
    explainer: Explainer, manifest: Manifest
) -> None:
    plain = json.loads(Record.of(explainer, manifest).to_json())
    assert (plain["uncertain"], plain["blanks"], plain["no_finding"]) == ("ignore", "ignore", "ignore")
    assert plain["read_settings"]["rendering"] == "plain"
    equalised = ReadSettings(rendering="equalised")
    asked = Record.of(explainer, manifest, reading=equalised, policy="xrv")
    assert json.loads(asked.to_json())["no_finding"] == "negative"
    assert Record.from_json(asked.to_json()) == asked
    with pytest.raises(AuditError, match=r"rendering \(plain there, equalised now\); in no finding"):
        asked.check_same(Record.of(explainer, manifest))


def test_an_equalised_audit_explains_what_equalised_reading_gives(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    reading = ReadSettings(rendering="equalised")
    run = run_audit(
        explainer, manifest.select([0, 1]), phantoms / "images", tmp_path / "run", reading=reading
    )
    for at, row in enumerate(run.results.to_pylist()):
        path = phantoms / "images" / run.manifest.paths[row["row"]]
        direct = explainer.explain(read_radiograph(path, rendering="equalised"))
        plain = explainer.explain(read_radiograph(path))
        stored = run.case(at).explanation
        assert stored.provenance.steps == direct.provenance.steps
        scores = {each.pathology: each.logit for each in direct.ranking.predictions}
        assert {each.pathology: each.logit for each in stored.ranking.predictions} == pytest.approx(
            scores, abs=1e-4
        )
        assert scores != {each.pathology: each.logit for each in plain.ranking.predictions}
        assert np.array_equal(run.case(at).radiograph().display, read_radiograph(path).display)
    assert "histogram equalisation" in run.methods_text()


def test_a_run_that_was_stopped_goes_on(
    finished: AuditRun, explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    where, running = tmp_path / "run", dataclasses.replace(RUNNING, batch_size=2, part_rows=2)
    seen: list[int] = []

    def advance(progress: BatchProgress) -> None:
        seen.append(progress.explained)

    for stops_after in (1, 2, 3):
        calls = iter(range(100))
        run = run_audit(
            explainer, manifest, phantoms / "images", where, running=running, advance=advance,
            stop=lambda calls=calls, last=stops_after: next(calls) + 1 >= last,
        )  # fmt: skip
        assert not run.is_complete or stops_after == 3
    run = run_audit(explainer, manifest, phantoms / "images", where, running=running, advance=advance)
    assert sum(seen) == COUNT, "no image was explained twice"
    assert_same_table(finished, run)
    before = sorted((where / "parts").iterdir())
    run_audit(explainer, manifest, phantoms / "images", where, running=running, advance=advance)
    assert sum(seen) == COUNT
    assert sorted((where / "parts").iterdir()) == before


def test_an_unfinished_run_can_be_read(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    run = run_audit(
        explainer, manifest, phantoms / "images", tmp_path / "run", running=RUNNING, stop=lambda: True
    )
    assert not run.joined
    assert run.results["row"].to_pylist() == [0, 1, 2, 3]
    assert len(run.failures) == 0
    (note,) = not_complete(4, len(manifest))
    assert note in statistics_of(run).document["notes"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"top_k": 3}, "top k (5 there, 3 now)"),
        ({"reading": ReadSettings(voi="none")}, "voi (auto there, none now)"),
        ({"explainer": {"normalisation": "per-class"}}, "normalisation (joint there, per-class now)"),
        ({"explainer": {"method": "layercam"}}, "method (grad-cam there, layercam now)"),
        ({"explainer": {"fit": "pad"}}, "fit (crop there, pad now)"),
        ({"manifest": True}, "manifest sha256"),
    ],
)
def test_runs_that_differ_are_not_mixed(
    change: dict[str, object],
    named: str,
    finished: AuditRun,
    explainer: Explainer,
    manifest: Manifest,
    phantoms: Path,
) -> None:
    asked = dict(change)
    other = Explainer(explainer.classifier, **asked.pop("explainer", {}))
    table = manifest
    if asked.pop("manifest", False):
        table = parse_manifest(b"image_id,path\na,a.png\n", source="another")
    before = finished.place.read("run.json")
    with pytest.raises(AuditError) as error:
        run_audit(other, table, phantoms / "images", finished.place.name, **asked)
    assert named in str(error.value)
    assert finished.place.read("run.json") == before


def test_other_weights_are_refused(finished: AuditRun, manifest: Manifest, phantoms: Path) -> None:
    other = Explainer.from_pretrained("phantom")
    other.classifier.weights_sha256 = "0" * 64
    with pytest.raises(AuditError, match=r"weights sha256 \([0-9a-f]{12} there, 000000000000 now\)"):
        run_audit(other, manifest, phantoms / "images", finished.place.name)


def test_failures_are_rows_and_the_run_goes_on(explainer: Explainer, phantoms: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    good = sorted((phantoms / "images").glob("*.png"))[0]
    shutil.copy(good, images / "good.png")
    (images / "torn.png").write_bytes(good.read_bytes()[:3000])
    (images / "text.png").write_text("not an image")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(images / "real.png")
    (tmp_path / "outside.png").write_bytes(good.read_bytes())
    (images / "link.png").symlink_to(tmp_path / "outside.png")
    (images / "gone.png").symlink_to("nowhere.png")
    (images / "circle.png").symlink_to("circle.png")
    (images / "folder.png").mkdir()
    names = ["good", "torn", "text", "missing", "real", "link", "gone", "circle", "folder"]
    text = "image_id,path\n" + "".join(f"{name},{name}.png\n" for name in names)
    manifest = parse_manifest(text.encode(), source="failing")
    run = run_audit(explainer, manifest, images, tmp_path / "run", running=RUNNING)
    assert run.is_complete
    assert run.results["image_id"].to_pylist() == ["good"]
    codes = dict(zip(run.failures["image_id"].to_pylist(), run.failures["code"].to_pylist(), strict=True))
    assert codes == {
        "torn": "corrupt-image", "text": "not-an-image", "missing": "no-such-file", "real": "phantom-weights",
        "link": "unreadable-file", "gone": "no-such-file", "circle": "unreadable-file",
        "folder": "not-an-image",
    }  # fmt: skip
    assert str(tmp_path) not in json.dumps(run.failures.to_pylist())
    assert run.place.read("failures.csv").decode().count("\n") == 9

    again = RunSettings(follow_links=True, retry_failed=True)
    followed = run_audit(explainer, manifest, images, tmp_path / "run", running=again)
    assert followed.results["image_id"].to_pylist() == ["good", "link"]
    shutil.copy(good, images / "missing.png")
    run_audit(explainer, manifest, images, tmp_path / "run")
    assert AuditRun.open(tmp_path / "run").results["image_id"].to_pylist() == ["good", "link"], (
        "only when asked"
    )
    tried = run_audit(explainer, manifest, images, tmp_path / "run", running=again)
    assert tried.results["image_id"].to_pylist() == ["good", "missing", "link"]
    assert len(tried.failures) == 6


def test_an_image_that_was_replaced_is_not_drawn_over(
    explainer: Explainer, phantoms: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    first, second = sorted((phantoms / "images").glob("*.png"))[:2]
    shutil.copy(first, images / "a.png")
    manifest = parse_manifest(b"image_id,path\na,a.png\n", source="one")
    run = run_audit(explainer, manifest, images, tmp_path / "run")
    assert run.case(0).radiograph().sha256 == run.results["sha256"][0].as_py()
    shutil.copy(second, images / "a.png")
    with pytest.raises(AuditError, match="the image that was explained"):
        run.case(0).radiograph()


def test_a_foreign_file_among_the_parts_is_named(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    where = tmp_path / "run"
    run_audit(explainer, manifest, phantoms / "images", where, running=RUNNING, stop=lambda: True)
    torn = where / "parts" / "part-00000008-00000000.parquet"
    torn.write_bytes(b"PAR1 no Parquet file")
    with pytest.raises(AuditError, match=r"part-00000008.*something else than a part"):
        run_audit(explainer, manifest, phantoms / "images", where, running=RUNNING)
    pq.write_table(pa.table({"row": [999], "code": [None]}), torn)
    with pytest.raises(AuditError, match="something else than a part"):
        run_audit(explainer, manifest, phantoms / "images", where, running=RUNNING)


def test_two_audits_of_one_folder_do_not_meet(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    def meet() -> bool:
        with pytest.raises(AuditError, match="an audit that is under way"):
            run_audit(explainer, manifest, phantoms / "images", tmp_path / "run", running=RUNNING)
        return True

    run_audit(explainer, manifest, phantoms / "images", tmp_path / "run", running=RUNNING, stop=meet)


def test_a_folder_that_cannot_be_written_to(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        run_audit(explainer, manifest, phantoms / "images", tmp_path / "file" / "run")


def test_no_folder_of_images(explainer: Explainer, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no folder of images"):
        run_audit(explainer, manifest, tmp_path / "nowhere", tmp_path / "run")


def test_no_audit_to_open(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="found no audit"):
        AuditRun.open(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": "other"}')
    with pytest.raises(AuditError, match=r"run\.json.*something else"):
        AuditRun.open(tmp_path)


@pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux's /dev/full behaviour of a size-limited folder"
)
def test_a_full_disk_keeps_what_was_finished(
    finished: AuditRun, explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(where)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        with pytest.raises(OutputError, match="No space left on device"):
            run_audit(explainer, manifest, phantoms / "images", where / "run", running=RUNNING)
        kept = list((where / "run" / "parts").glob("*.parquet"))
        assert kept
        assert not list((where / "run").rglob(".*.parquet.*")), "no half-written file"
        subprocess.run(["mount", "-o", "remount,size=8m", str(where)], check=True)
        assert_same_table(
            finished, run_audit(explainer, manifest, phantoms / "images", where / "run", running=RUNNING)
        )
        assert all(path.exists() for path in kept)
    finally:
        subprocess.run(["umount", str(where)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small tmpfs")
def test_a_read_only_folder_is_refused_before_anything_is_done(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(where)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        with pytest.raises(OutputError, match="Read-only file system"):
            run_audit(explainer, manifest, phantoms / "images", where / "run", running=RUNNING)
    finally:
        subprocess.run(["umount", str(where)], check=True)


def test_images_that_go_or_change_while_it_runs(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    """One that goes is a failure; of one that changes, the row says which bytes were explained."""
    images = tmp_path / "images"
    shutil.copytree(phantoms / "images", images)
    gone, changed = images / manifest.paths[-1], images / manifest.paths[-2]

    def advance(progress: BatchProgress) -> None:
        gone.unlink(missing_ok=True)
        shutil.copy(images / manifest.paths[0], changed)

    small = dataclasses.replace(RUNNING, batch_size=2, part_rows=2)  # the last ones are not read ahead
    run = run_audit(explainer, manifest, images, tmp_path / "run", running=small, advance=advance)
    assert run.is_complete
    assert run.failures["image_id"].to_pylist() == [manifest.ids[-1]]
    digests = run.results["sha256"].to_pylist()
    assert digests[-1] == digests[0]
    assert run.case(len(digests) - 1).radiograph().sha256 == digests[0]


class OneLabel(nn.Module):
    """Exactly one of six outputs is true, and one of them has no name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6), nn.Softmax(1))
        self.net = nn.Sequential(nn.Conv2d(1, 4, 5, 4), nn.ReLU(), *head)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x / 100)


def test_the_softmax_of_a_one_label_classifier_comes_back_from_a_run(
    manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    outputs = Outputs(("Effusion", "", "Mass", "Nodule", "Pneumothorax", "Cardiomegaly"), (0.2,) * 6)
    module = OneLabel().eval()
    one = Explainer(HookedClassifier(module, "net.1", outputs, input_size=64))
    run = run_audit(one, manifest, phantoms / "images", tmp_path / "run", running=RUNNING)
    assert run.record.output_kind == "softmax"
    rows = run.results.to_pylist()
    for row in rows[:3]:
        path = phantoms / "images" / row["image_id"]
        direct = one.explain(path if path.suffix else path.with_suffix(".png"))
        with torch.no_grad():
            own = module(one.prepare(direct.radiograph).tensor[None])[0]
        again = explanation_of(row, run.record)
        for index, name in enumerate(outputs.pathologies):
            if name:
                assert direct.ranking[name].probability == pytest.approx(float(own[index]), rel=1e-5)
                assert row[f"probability {name}"] == pytest.approx(float(own[index]), rel=1e-5)
                assert again.ranking[name].probability == row[f"probability {name}"]
        assert again.ranking.pathologies == direct.ranking.pathologies


def test_images_that_were_moved_are_found_where_the_message_says(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    images, moved, where = tmp_path / "images", tmp_path / "moved", tmp_path / "run"
    shutil.copytree(phantoms / "images", images)
    run_audit(explainer, manifest, images, where, running=RUNNING)
    images.rename(moved)
    with pytest.raises(OptionError, match="name it with --images, images="):
        AuditRun.open(where).case(0).radiograph()
    (where / "place.json").unlink()
    with pytest.raises(AuditError, match=r"where the images are\. Name their folder with --images"):
        AuditRun.open(where).case(0).radiograph()
    assert AuditRun.open(where, images=moved).case(0).radiograph().shape
