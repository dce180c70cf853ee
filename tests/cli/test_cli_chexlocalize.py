"""`cxr-explain chexlocalize write` and `score`, as a user runs them, against literal answers."""

from __future__ import annotations

import csv
import json
import math
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cxr_explain.audit.run import run_audit
from cxr_explain.cli.app import app
from cxr_explain.cli.chexlocalize import table_of
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.measures.chexlocalize_eval import EvalTables, eval_ious
from cxr_explain.measures.statistics.bootstrap import mean_estimate
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference import make_manifest
from cxr_explain.reference.chexlocalize import (
    CHEXLOCALIZE_NAMES,
    OutlineSet,
    read_segmentations,
    write_annotations,
    write_segmentations,
)
from cxr_explain.reference.outlines import Polygons
from cxr_explain.reference.saliency_maps import find_saliency_maps, read_saliency_map

RUN = CliRunner()
FIRST, SECOND = "patient64541_study1_view1_frontal", "patient64542_study1_view1_frontal"


def chexlocalize(*arguments: object) -> Any:
    return RUN.invoke(app, ["chexlocalize", *map(str, arguments)])


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((12, 16), bool)
    mask[top:bottom, left:right] = True
    return mask


# --- four cases, as many as CheXlocalize's sample outlines in its two radiographs ---

REFERENCES = {
    FIRST: {
        "Enlarged Cardiomediastinum": box(2, 2, 6, 6),
        "Cardiomegaly": box(4, 4, 8, 12),
        "Airspace Opacity": box(0, 0, 6, 4),
        "Edema": box(0, 0, 0, 0),
    },
    SECOND: {"Support Devices": box(6, 6, 10, 14), "Edema": box(0, 0, 0, 0)},
}
MASKS = {
    FIRST: {
        "Enlarged Cardiomediastinum": box(2, 2, 6, 6),  # the same 16 pixels
        "Cardiomegaly": box(4, 8, 8, 16),  # 16 of 48
        "Airspace Opacity": box(8, 8, 12, 16),  # none of 56
        "Edema": box(0, 0, 2, 2),  # where nothing is
    },
    SECOND: {"Support Devices": box(6, 6, 10, 10)},  # 16 of 32
}
PEAKS = {
    (FIRST, "Enlarged Cardiomediastinum"): (3, 3),
    (FIRST, "Cardiomegaly"): (5, 14),  # beside the reference
    (FIRST, "Airspace Opacity"): (9, 9),
    (FIRST, "Edema"): (0, 0),
    (SECOND, "Support Devices"): (7, 7),
}
IOU = {
    "Enlarged Cardiomediastinum": 16 / 16,
    "Cardiomegaly": 16 / 48,
    "Airspace Opacity": 0 / 56,
    "Support Devices": 16 / 32,
}
HIT = {"Enlarged Cardiomediastinum": 1, "Cardiomegaly": 0, "Airspace Opacity": 0, "Support Devices": 1}


def as_chexlocalize_pickles(folder: Path) -> None:
    """Maps whose Otsu mask is a known rectangle, written as CheXlocalize's models write them."""
    folder.mkdir()
    for image_id in MASKS:
        for task in CHEXLOCALIZE_NAMES.values():
            mask = MASKS[image_id].get(task, box(0, 0, 0, 0))
            values = torch.from_numpy(mask).float() * 0.75
            if (image_id, task) in PEAKS:
                values[PEAKS[image_id, task]] = 0.8
            info = {
                "map": values[None, None],
                "prob": 0.5,
                "task": task,
                "gt": int(mask.any()),
                "cxr_img": torch.rand(3, 12, 16),
                "cxr_dims": (16, 12),
            }
            (folder / f"{image_id}_{task}_map.pkl").write_bytes(pickle.dumps(info, pickle.HIGHEST_PROTOCOL))


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """References and maps in CheXlocalize's formats."""
    as_chexlocalize_pickles(tmp_path / "maps")
    write_segmentations(tmp_path / "gt.json", OutlineSet.of_masks(REFERENCES))
    return tmp_path


def test_four_known_ious_and_hits_in_both_modes(known: Path) -> None:
    for mode in ("--true-pos-only", "--all-cases"):
        out = known / mode
        result = chexlocalize("score", known / "gt.json", "--maps", known / "maps", mode, "--out", out)
        assert result.exit_code == 0, result.output
        first, second = rows_of(out / "iou_results_per_cxr.csv")
        assert (first["img_id"], second["img_id"]) == (FIRST, SECOND)
        for task in CHEXLOCALIZE_NAMES.values():
            cell = (second if task == "Support Devices" else first)[task]
            if task in IOU:
                assert float(cell) == IOU[task], task
            elif task == "Edema" and mode == "--all-cases":
                assert cell == "0.0", "a mask where nothing is counts among all cases"
            else:
                assert cell == ""
        hits = {row["img_id"]: row for row in rows_of(out / "hitmiss_results_per_cxr.csv")}
        for task, hit in HIT.items():
            image_id = SECOND if task == "Support Devices" else FIRST
            assert float(hits[image_id][task]) == hit, task
        assert hits[FIRST]["Edema"] == "", "without a reference no hit and no miss, in either mode"
        assert sum(cell != "" for row in hits.values() for cell in row.values()) == 2 + len(HIT)
        for name, value in {"iou": 0.333, "hitmiss": 0.0}.items():
            summary = {row["name"]: row for row in rows_of(out / f"{name}_summary_results.csv")}
            assert list(summary) == sorted(CHEXLOCALIZE_NAMES.values())
            # One radiograph of two: a quarter of the draws have none, and stand behind the others.
            row = summary["Cardiomegaly"]
            assert (row["lower"], row["mean"], row["upper"]) == (str(value), str(value), "")


def test_predictions_in_json_and_annotations_give_the_same(known: Path) -> None:
    polygons = {
        image_id: {task: Polygons((12, 16), _polygons(mask)) for task, mask in named.items()}
        for image_id, named in REFERENCES.items()
    }
    write_annotations(known / "gt_annotations.json", OutlineSet.of_some(polygons))
    write_segmentations(known / "predicted.json", OutlineSet.of_masks(MASKS))
    tables = []
    for references, given in (
        ("gt.json", ("--maps", known / "maps")),
        ("gt.json", ("--predictions", known / "predicted.json")),
        ("gt_annotations.json", ("--predictions", known / "predicted.json")),
    ):
        result = chexlocalize("score", known / references, *given, "--out", known / "out")
        assert result.exit_code == 0, result.output
        tables.append((known / "out" / "iou_results_per_cxr.csv").read_text())
    assert tables[0] == tables[1] == tables[2]


def _polygons(mask: np.ndarray) -> tuple[Any, ...]:
    if not mask.any():
        return ()
    (top, left), (bottom, right) = np.argwhere(mask).min(0).tolist(), np.argwhere(mask).max(0).tolist()
    return (((left, top), (right, top), (right, bottom), (left, bottom)),)


def test_points_thresholds_cutoffs_and_the_first_pixel_of_the_mask(known: Path) -> None:
    tasks = CHEXLOCALIZE_NAMES.values()
    (known / "high.csv").write_text("threshold,task\n" + "".join(f"0.99,{task}\n" for task in tasks))
    cutoffs = "".join(f"{0.6 if task == 'Cardiomegaly' else 0.5},1,{task}\n" for task in tasks)
    (known / "cutoffs.csv").write_text(f"prob_threshold,mIoU,task\n{cutoffs}")
    (known / "points.json").write_text(json.dumps({FIRST: {"Cardiomegaly": [[11, 7]]}}))
    arguments = ("score", known / "gt.json", "--maps", known / "maps", "--all-cases")

    assert chexlocalize(*arguments, "--thresholds", known / "high.csv", "--out", known / "a").exit_code == 0
    first, _ = rows_of(known / "a" / "iou_results_per_cxr.csv")
    assert float(first["Enlarged Cardiomediastinum"]) == 1 / 16, "the peak alone"

    assert chexlocalize(*arguments, "--cutoffs", known / "cutoffs.csv", "--out", known / "b").exit_code == 0
    first, _ = rows_of(known / "b" / "iou_results_per_cxr.csv")
    assert (first["Cardiomegaly"], first["Enlarged Cardiomediastinum"]) == ("0.0", "1.0")

    assert chexlocalize(*arguments, "--peak-of", "mask", "--out", known / "c").exit_code == 0
    first, _ = rows_of(known / "c" / "hitmiss_results_per_cxr.csv")
    assert first["Cardiomegaly"] == "1.0", "row 4, column 8 lies in the reference, the peak does not"

    result = chexlocalize("score", known / "gt.json", "--points", known / "points.json", "--out", known / "d")
    assert result.exit_code == 0, result.output
    first, second = rows_of(known / "d" / "hitmiss_humanbenchmark_results_per_cxr.csv")
    found = (first["Cardiomegaly"], first["Airspace Opacity"], second["Support Devices"])
    assert found == ("1.0", "0.0", "0.0")
    assert "Hit rate" in result.output
    assert "IoU" not in result.output


def test_our_interval_by_patient_stands_beside_theirs_by_radiograph() -> None:
    """Both radiographs of a patient have the same: drawn one by one they pretend to be two patients."""
    draws = np.random.default_rng(0)
    masks: dict[str, dict[str, dict[str, np.ndarray]]] = {"there": {}, "found": {}}
    for patient in range(30):
        width = int(draws.integers(1, 16))
        for view in (1, 2):
            masks["there"][f"patient{patient:03}_study1_view{view}_frontal"] = {"Edema": box(0, 0, 12, 16)}
            masks["found"][f"patient{patient:03}_study1_view{view}_frontal"] = {"Edema": box(0, 0, 12, width)}
    there, found = (OutlineSet.of_masks(masks[name]) for name in ("there", "found"))
    tables = EvalTables("iou", eval_ious(found, there))
    row = next(row for row in table_of(tables).rows if row[0] == "Edema")
    mean, theirs = tables.scores.means["Edema"], tables.summary["Edema"]
    ours = mean_estimate(mean.values, groups=tables.scores.patients)
    assert row[1:3] == ["60", f"{mean.value:.3f}"]
    assert row[3] == f"{theirs.mean:.3f} ({theirs.lower:.3f} to {theirs.upper:.3f})"
    assert row[4] == f"{ours.low:.3f} to {ours.high:.3f}"
    assert ours.high - ours.low > 1.2 * (theirs.upper - theirs.lower)


def test_a_hostile_map_ends_the_scoring_by_name_and_runs_nothing(known: Path) -> None:
    trace = known / "trace"
    path = known / "maps" / f"{FIRST}_Edema_map.pkl"

    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {trace}",)

    path.write_bytes(pickle.dumps({"map": Hostile()}))
    result = chexlocalize("score", known / "gt.json", "--maps", known / "maps", "--out", known / "out")
    assert result.exit_code == 2
    assert path.name in result.stderr.replace("\n", "")
    assert "asks for posix.system" in result.stderr
    assert not trace.exists()
    assert not (known / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{gt}",), "nothing to score"),
        (("{gt}", "--maps", "{maps}", "--points", "{gt}"), "--maps together with --points"),
        (("{gt}", "--predictions", "{gt}", "--cutoffs", "{gt}"), "together with --predictions"),
        (("{maps}/none.json", "--maps", "{maps}"), "no readable file"),
        (("{gt}", "--maps", "{gt}"), "no map of one of"),
        (("{gt}", "--maps", "{maps}", "--cutoffs", "{gt}"), "no column mIoU"),
        (("{gt}", "--maps", "{maps}", "--peak-of", "middle"), "middle"),
    ],
)
def test_usage_errors_are_a_line(known: Path, arguments: tuple[str, ...], said: str) -> None:
    filled = [each.format(gt=known / "gt.json", maps=known / "maps") for each in arguments]
    result = chexlocalize("score", *filled, "--out", known / "out")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not (known / "out").exists()


# --- explanations of phantoms, written and scored ---


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms, an audit of them, and a folder that `explain` wrote."""
    folder = tmp_path_factory.mktemp("phantoms")
    for _ in write_dataset(folder / "data", n=3, seed=2, size=96):
        pass
    explainer = Explainer.from_pretrained("phantom", device="cpu")
    manifest = make_manifest("nih", folder / "data")
    run_audit(explainer, manifest, folder / "data" / "images", folder / "run", top_k=8)
    for path in sorted((folder / "data" / "images").iterdir()):
        explainer.explain(path, top_k=8).save(folder / "figures" / path.stem)
    return folder


@pytest.mark.parametrize("source", ["run", "figures"])
def test_our_own_maps_are_written_and_scored_like_theirs(phantoms: Path, source: str, tmp_path: Path) -> None:
    out, scores = tmp_path / "chexlocalize", tmp_path / "scores"
    result = chexlocalize("write", phantoms / source, "--masks", phantoms / "data" / "masks", "--out", out)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {"gt_segmentations.json", "maps", "segmentations.json"}
    assert "Go on with: cxr-explain chexlocalize score" in result.output
    result = chexlocalize("score", out / "gt_segmentations.json", "--maps", out / "maps", "--out", scores)
    assert result.exit_code == 0, result.output

    there = read_segmentations(out / "gt_segmentations.json")
    written = read_segmentations(out / "segmentations.json")
    ids = sorted(path.stem for path in (phantoms / "data" / "images").iterdir())
    assert list(there.ids) == list(written.ids) == ids
    ious = {row["img_id"]: row for row in rows_of(scores / "iou_results_per_cxr.csv")}
    hits = {row["img_id"]: row for row in rows_of(scores / "hitmiss_results_per_cxr.csv")}
    compared = 0
    for (image_id, name), path in find_saliency_maps(out / "maps").paths.items():
        saliency, task = read_saliency_map(path), CHEXLOCALIZE_NAMES[name]
        assert saliency.shape == saliency.values.shape == (96, 96), "as fine as the radiograph"
        assert saliency.values.min() >= 0
        reference, prediction = there.mask(image_id, name), written.mask(image_id, name)
        both = either = 0
        best, hit = -math.inf, 0.0
        for y in range(96):
            for x in range(96):
                both += bool(reference[y, x]) and bool(prediction[y, x])
                either += bool(reference[y, x]) or bool(prediction[y, x])
                if saliency.values[y, x] > best:
                    best, hit = saliency.values[y, x], float(reference[y, x])
        if reference.any() and prediction.any():
            assert float(ious[image_id][task]) == both / either
            assert float(hits[image_id][task]) == hit
            compared += 1
        elif not reference.any():
            assert ious[image_id][task] == hits[image_id][task] == ""
    assert compared == 6


def test_reference_labels_of_an_audit_are_in_the_maps(phantoms: Path, tmp_path: Path) -> None:
    result = chexlocalize("write", phantoms / "run", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "no reference masks: none are known" in result.stderr
    assert not (tmp_path / "out" / "gt_segmentations.json").exists()
    manifest = make_manifest("nih", phantoms / "data")
    states = {entry.image_id: entry.labels for entry in (manifest[at] for at in range(len(manifest)))}
    labels = {
        (each.image_id, each.pathology): each.label
        for each in find_saliency_maps(tmp_path / "out" / "maps").maps()
    }
    assert set(labels.values()) == {0, 1}
    for (image_id, name), label in labels.items():
        assert label == int(str(states[image_id][name]) == "positive")


def test_nothing_of_another_run_is_mixed_in(phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert chexlocalize("write", phantoms / "figures", "--out", out).exit_code == 0
    again = chexlocalize("write", phantoms / "figures", "--out", out)
    assert (again.exit_code, "a file of another run" in again.stderr) == (1, True)
    (out / "segmentations.json").unlink()  # as after a kill
    assert chexlocalize("write", phantoms / "figures", "--out", out).exit_code == 0
    (out / "segmentations.json").unlink()
    shutil.copy(next((out / "maps").iterdir()), out / "maps" / "p9_Edema_map.pkl")
    mixed = chexlocalize("write", phantoms / "figures", "--out", out)
    assert mixed.exit_code == 1
    assert "p9_Edema_map.pkl" in mixed.stderr.replace("\n", "")


def test_a_broken_explanation_fails_and_the_others_are_done(phantoms: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    shutil.copytree(phantoms / "figures", figures)
    first = min(figures.glob("*.npz"))
    first.write_bytes(first.read_bytes()[:-1])
    result = chexlocalize("write", figures, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert first.stem in result.stderr
    assert len(read_segmentations(tmp_path / "out" / "segmentations.json").ids) == 2
    empty = chexlocalize("write", tmp_path, "--out", tmp_path / "none")
    assert (empty.exit_code, "no explanation" in empty.stderr) == (2, True)


def test_no_path_of_this_machine_is_in_what_is_written(phantoms: Path, tmp_path: Path) -> None:
    assert chexlocalize("write", phantoms / "run", "--out", tmp_path / "out").exit_code == 0
    for path in (tmp_path / "out").rglob("*.*"):
        assert str(phantoms).encode() not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()
