"""Saving and loading: equal, whole or not at all, and nothing of the patient."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from synthetic import synthetic_explanation

from cxr_explain import Explanation, Geometry, Radiograph, rank
from cxr_explain.errors import OutputError
from cxr_explain.explaining.provenance import Provenance
from cxr_explain.explaining.settings import MapSettings, RankingSettings

HERE = str(Path(__file__).parent)


def explanation(k: int = 3, seed: int = 0) -> Explanation:
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(-1024, 1024, (40, 50)).astype(np.float32)
    radiograph = dataclasses.replace(
        Radiograph.from_array(pixels, id="röntgen-1", view="PA"),
        metadata={"PatientName": "Doe^Jane", "PatientID": "SECRET-4711"},
        laterality="L",
        patient_orientation=("L", "F"),
    )
    logits = [*rng.normal(size=4).tolist(), 50.0]
    ranking = rank(
        logits,
        ["Mass", "Edema", "Hernia", "Effusion", ""],
        [0.1, None, 0.3, float("nan"), 0.5],
        top_k=k or 1,
        pathologies=None if k else (),
    )
    return Explanation(
        id=radiograph.id,
        ranking=ranking,
        class_maps=rng.normal(size=(k, 7, 7)).astype(np.float32),
        maps=rng.random((k, 7, 7), dtype=np.float32),
        geometry=Geometry.fit_square(radiograph.shape, 224),
        provenance=Provenance(
            package_version="1",
            torch_version="2",
            model="m",
            weights_sha256=None,
            training_sets=("NIH",),
            target_layer="features",
            method="FM-G-CAM",
            gradient="closed form",
            rule_title="Grad-CAM",
            map_settings=MapSettings(),
            ranking_settings=RankingSettings(top_k=k or 1),
            device="cpu",
            radiograph_sha256=radiograph.sha256,
            steps=radiograph.steps,
            warnings=("a | b " * 1000,),  # a JSON file larger than the arrays
            view=radiograph.view,
            laterality=radiograph.laterality,
            patient_orientation=radiograph.patient_orientation,
            notes=ranking.notes,
        ),
        radiograph=radiograph,
    )


def assert_equal(one: Explanation, other: Explanation) -> None:
    assert (one.id, one.ranking, one.geometry, one.provenance) == (
        other.id,
        other.ranking,
        other.geometry,
        other.provenance,
    )
    for mine, theirs in ((one.maps, other.maps), (one.class_maps, other.class_maps)):
        assert mine.dtype == theirs.dtype == np.float32
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("k", [0, 1, 4])
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, k: int) -> None:
    before = explanation(k)
    written = before.save(tmp_path / "folder" / "a")
    assert written == tmp_path / "folder" / "a.json"
    after = Explanation.load(written)
    assert_equal(before, after)
    assert after.radiograph is None
    assert after.without_evidence == before.without_evidence
    np.testing.assert_array_equal(after.winner, before.winner)
    np.testing.assert_array_equal(after.maps_in_radiograph(), before.maps_in_radiograph())
    with pytest.raises(ValueError, match="read-only"):
        after.maps[...] = 0


@pytest.mark.parametrize(
    "name", ["a", "a.json", "a.npz", "patient.1", "a.b.json", "ä ö", ".hidden", "\udcff"]
)
def test_any_name_is_found_again(tmp_path: Path, name: str) -> None:
    written = explanation().save(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 2
    for path in (tmp_path / name, written, written.with_suffix(".npz")):
        assert_equal(Explanation.load(path), explanation())


def test_an_id_that_is_no_valid_unicode_is_kept(tmp_path: Path) -> None:
    before = dataclasses.replace(explanation(), id="scan\udcff")
    assert Explanation.load(before.save(tmp_path / "a")).id == "scan\udcff"


def test_the_same_explanation_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = explanation().save(tmp_path / "a")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(now + 1e6))
    second = explanation().save(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".npz").read_bytes() == second.with_suffix(".npz").read_bytes()
    assert_equal(Explanation.load(second), explanation())
    assert Explanation.load(first).save(tmp_path / "c").read_bytes() == first.read_bytes()


def test_neither_pixels_nor_personal_data_are_saved(tmp_path: Path) -> None:
    written = explanation().save(tmp_path / "a")
    with np.load(written.with_suffix(".npz"), allow_pickle=False) as arrays:
        assert sorted(arrays) == ["class_maps", "maps"]
        assert {arrays[name].shape for name in arrays} == {(3, 7, 7)}
    content = written.read_text(encoding="utf-8") + written.with_suffix(".npz").read_bytes().decode("latin-1")
    for secret in ("Doe", "Jane", "SECRET", "4711", "PatientName", "metadata", "display", 'pixels":'):
        assert secret not in content
    assert "röntgen-1" in content


def test_only_the_two_files_are_left_with_the_users_own_mode(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        written = explanation().save(tmp_path / "a")
    finally:
        os.umask(old)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.npz"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
    assert written.read_text(encoding="utf-8").endswith("}\n")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written.*writable folder") as caught:
        explanation().save(tmp_path / "file" / "a")
    assert str(tmp_path / "file") in str(caught.value)
    with pytest.raises(OutputError, match="ends in a file name"):
        explanation().save("")
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        explanation().save(tmp_path / "a")
    assert not list(tmp_path.glob("*.json"))
    assert not list(tmp_path.glob(".*"))


LIMITED = """
import resource, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/.."]
from test_explanation import explanation
from cxr_explain.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    explanation(4, seed=1).save(sys.argv[2])
except OutputError as error:
    print(error)
else:
    print("saved")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
@pytest.mark.parametrize("room", [0, 100, 5000])  # 5000: the arrays fit, the JSON file does not
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, room: int) -> None:
    path = tmp_path / "a"
    command = [sys.executable, "-c", LIMITED, HERE, str(path), str(room)]
    before = explanation(4)
    assert room < before.save(path).stat().st_size
    if room == 5000:
        assert path.with_suffix(".npz").stat().st_size < room
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in result.stdout
    assert_equal(Explanation.load(path), before)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.npz"]
    for file in tmp_path.iterdir():
        file.unlink()
    subprocess.run(command, capture_output=True, text=True, check=True)
    assert list(tmp_path.iterdir()) == []


ENDLESS = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/.."]
from test_explanation import explanation
pair = explanation(4, seed=0), explanation(2, seed=1)
print("ready", flush=True)
while True:
    for one in pair:
        one.save(sys.argv[2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_kill_leaves_one_explanation_or_none_but_no_torn_one(tmp_path: Path) -> None:
    pair = explanation(4, seed=0), explanation(2, seed=1)
    whole = 0
    for attempt in range(4):
        path = tmp_path / f"{attempt}"
        with subprocess.Popen(
            [sys.executable, "-c", ENDLESS, HERE, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.03 + 0.021 * attempt)
            process.send_signal(signal.SIGKILL)
        try:
            loaded = Explanation.load(path)
        except OutputError:
            assert not path.with_suffix(".json").exists()
            continue
        whole += 1
        assert_equal(loaded, pair[0] if loaded.ranking.k == 4 else pair[1])
    print(f"{whole} of 4 kills left an explanation")


@pytest.mark.parametrize("step", ["unlink", "replace 1", "replace 2"])
def test_a_stop_between_any_two_steps_is_not_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The kill above, at each step in turn."""
    path = tmp_path / "a"
    before = explanation(4)
    before.save(path)
    replaced = []

    class Killed(BaseException):
        pass

    def replace(source: Path, target: Path) -> None:
        replaced.append(target)
        if step == f"replace {len(replaced)}":
            raise Killed
        os.rename(source, target)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if step == "unlink" and self.name == "a.json":
            raise Killed
        if missing_ok and not self.exists():
            return
        os.unlink(self)

    after = explanation(2, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(Killed):
            after.save(path)
    if step == "unlink":
        assert_equal(Explanation.load(path), before)
    else:
        with pytest.raises(OutputError, match="no readable explanation"):
            Explanation.load(path)


def reseal(path: Path, arrays: bytes) -> None:
    """Write other arrays with a digest that fits, as a tamperer would."""
    path.with_suffix(".npz").write_bytes(arrays)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["arrays_sha256"] = hashlib.sha256(arrays).hexdigest()
    path.write_text(json.dumps(document), encoding="utf-8")


def packed(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


F32 = np.zeros((3, 7, 7), np.float32)


@pytest.mark.parametrize(
    "arrays",
    [
        b"",
        b"PK\x03\x04 no zip at all",
        b"\x93NUMPY",
        npy(F32),
        packed(maps=F32),
        packed(maps=F32, class_maps=F32[:2]),
        packed(maps=F32[:2], class_maps=F32[:2]),
        packed(maps=F32[0], class_maps=F32[0]),
        packed(maps=F32.astype(np.float64), class_maps=F32),
        packed(maps=np.array([{}] * 3, dtype=object), class_maps=F32),
        packed(maps=F32, class_maps=F32)[:-30],
    ],
    ids=range(11),
)
def test_resealed_arrays_of_another_kind_are_an_output_error(tmp_path: Path, arrays: bytes) -> None:
    written = explanation().save(tmp_path / "a")
    reseal(written, arrays)
    with pytest.raises(OutputError, match=r"a\.json"):
        Explanation.load(written)


def test_every_changed_byte_of_the_arrays_is_noticed(tmp_path: Path) -> None:
    written = explanation().save(tmp_path / "a")
    npz = written.with_suffix(".npz")
    original = npz.read_bytes()
    for position in range(0, len(original), 97):
        npz.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
        with pytest.raises(OutputError, match="other arrays than were saved"):
            Explanation.load(written)
    npz.unlink()
    with pytest.raises(OutputError, match="FileNotFoundError"):
        Explanation.load(written)


@pytest.mark.parametrize(
    "change",
    [
        {"ranking": None},
        {"ranking": []},
        {"ranking": {"top": [99], "predictions": [], "by": "probability", "notes": []}},
        {"ranking": {"top": [], "predictions": ["Mass"], "by": "probability", "notes": []}},
        {"geometry": []},
        {"geometry": {"side": 3}},
        {"provenance": {}},
        {"provenance": 5},
        {"schema": "cxr-explain/explanation/0"},
    ],
    ids=str,
)
def test_a_changed_document_is_an_output_error(tmp_path: Path, change: dict[str, object]) -> None:
    written = explanation().save(tmp_path / "a")
    document = json.loads(written.read_text(encoding="utf-8"))
    written.write_text(json.dumps({**document, **change}), encoding="utf-8")
    with pytest.raises(OutputError):
        Explanation.load(written)


def test_an_explanation_of_an_earlier_schema_says_so_and_the_way_out(tmp_path: Path) -> None:
    written = explanation().save(tmp_path / "a")
    document = json.loads(written.read_text(encoding="utf-8")) | {"schema": "cxr-explain/explanation/2"}
    written.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(OutputError, match=r"of schema cxr-explain/explanation/2; .* Explain the radiograph"):
        Explanation.load(written)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000, b'"a"'])
def test_another_file_is_an_output_error(tmp_path: Path, text: bytes) -> None:
    written = explanation().save(tmp_path / "a")
    written.write_bytes(text)
    with pytest.raises(OutputError):
        Explanation.load(written)


def test_a_cut_document_is_an_output_error(tmp_path: Path) -> None:
    written = explanation().save(tmp_path / "a")
    text = written.read_bytes()
    for length in range(0, len(text) - 2, 97):
        written.write_bytes(text[:length])
        with pytest.raises(OutputError):
            Explanation.load(written)


def test_a_missing_explanation_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nothing\.json: .*written by Explanation\.save"):
        Explanation.load(tmp_path / "nothing")


def test_the_winner_and_missing_evidence() -> None:
    one = dataclasses.replace(
        explanation(3),
        class_maps=np.array([[[1, 2]], [[1, 3]], [[0, 3]]], np.float32),
        maps=np.array([[[0.5, 0]], [[0, 0.5]], [[0, 0]]], np.float32),
    )
    assert one.winner.tolist() == [[0, 1]]
    assert one.without_evidence == one.ranking.pathologies[2:]
    assert (explanation(0).winner == -1).all()
    assert explanation(0).without_evidence == ()


def test_a_figure_needs_the_radiograph_that_was_explained(tmp_path: Path) -> None:
    loaded = Explanation.load(explanation().save(tmp_path / "a"))
    with pytest.raises(OutputError, match="loaded without its radiograph"):
        loaded.own_radiograph()
    with pytest.raises(OutputError, match="a radiograph with SHA-256"):
        loaded.own_radiograph(explanation(seed=5).radiograph)
    assert loaded.own_radiograph(explanation().radiograph) is not None


def test_a_synthetic_explanation_round_trips(tmp_path: Path) -> None:
    before = synthetic_explanation()
    assert_equal(before, Explanation.load(before.save(tmp_path / "a")))
