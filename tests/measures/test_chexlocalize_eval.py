"""CheXlocalize's `eval.py`: read aloud, pixel by pixel; and by pandas, OpenCV, Pillow and pycocotools."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn import functional as F

from cxr_explain.errors import ReferenceLabelError
from cxr_explain.measures.chexlocalize_eval import (
    EvalInterval,
    EvalTables,
    drawn_mask,
    eval_hits,
    eval_ious,
    eval_points,
    predicted_outlines,
    read_cutoffs,
    read_thresholds,
)
from cxr_explain.measures.segmentation import CHEXLOCALIZE_THRESHOLDS
from cxr_explain.reference.chexlocalize import (
    CHEXLOCALIZE_NAMES,
    OutlineSet,
    read_points,
    write_segmentations,
)
from cxr_explain.reference.saliency_maps import SaliencyMap

IDS = [f"patient{1000 + at // 2}_study1_view{1 + at % 2}_frontal" for at in range(12)]
STRANGER = "patient2000_study1_view1_frontal"
ALPHABET = sorted(CHEXLOCALIZE_NAMES.values())
NAMES = {written: name for name, written in CHEXLOCALIZE_NAMES.items()}


def rectangles(seed: int, ids: list[str], share: float) -> dict[str, dict[str, np.ndarray]]:
    """A rectangle of each pathology in each radiograph, or an empty mask; radiographs of several sizes."""
    draws = np.random.default_rng(seed)
    masks: dict[str, dict[str, np.ndarray]] = {}
    for image_id in ids:
        height = 20 + int(image_id[10]) + 3 * (image_id == STRANGER)
        masks[image_id] = {}
        for name in CHEXLOCALIZE_NAMES:
            mask = np.zeros((height, 24), bool)
            if draws.random() < share and name != "Lung Lesion":
                y, x = draws.integers(0, 12, 2)
                mask[y : y + draws.integers(1, 12), x : x + draws.integers(1, 12)] = True
            masks[image_id][name] = mask
    return masks


REFERENCES = rectangles(1, IDS, 0.5)
PREDICTIONS = {name: mask for name, mask in rectangles(2, [*IDS, STRANGER], 0.7).items() if name != IDS[3]}


def maps() -> list[SaliencyMap]:
    draws = np.random.default_rng(3)
    found = []
    for image_id in IDS:
        for name in sorted(CHEXLOCALIZE_NAMES, key=CHEXLOCALIZE_NAMES.__getitem__):
            values = (draws.random((4, 5)) ** 3).astype(np.float32) * (draws.random() > 0.1)
            shape = REFERENCES[image_id][name].shape
            found.append(SaliencyMap(image_id, name, values, shape, float(draws.random())))
    return found


MAPS = maps()


# --- literal readings, in Python's own floats ---


def slow_iou(prediction: np.ndarray, reference: np.ndarray, true_pos_only: bool) -> float:
    both = either = of_prediction = of_reference = 0
    for found, there in zip(prediction.flat, reference.flat, strict=True):
        both += bool(found) and bool(there)
        either += bool(found) or bool(there)
        of_prediction += bool(found)
        of_reference += bool(there)
    if true_pos_only and (of_prediction == 0 or of_reference == 0):
        return math.nan
    return both / either if either else math.nan


def slow_rows(true_pos_only: bool) -> dict[str, dict[str, float]]:
    """IoU by radiograph, then by pathology as it is written: radiographs with references, then the others."""
    rows: dict[str, dict[str, float]] = {}
    for image_id in sorted(REFERENCES):
        rows[image_id] = {}
        for written, name in NAMES.items():
            reference = REFERENCES[image_id][name]
            prediction = PREDICTIONS.get(image_id, {}).get(name, np.zeros(reference.shape))
            rows[image_id][written] = slow_iou(prediction, reference, true_pos_only)
    if not true_pos_only:
        for image_id in sorted(set(PREDICTIONS) - set(REFERENCES)):
            rows[image_id] = {
                written: slow_iou(mask := PREDICTIONS[image_id][name], np.zeros(mask.shape), False)
                for written, name in NAMES.items()
            }
    return rows


def slow_otsu_mask(saliency: np.ndarray) -> np.ndarray:
    """Otsu's threshold by trying all of them; then lone pixels fall, and what is shut in is filled."""
    height, width = saliency.shape
    low = min(saliency.flat)
    span = max(value - low for value in saliency.flat)
    if span == 0:
        return np.zeros((height, width), bool)
    grey = [[int(np.float32(255) * ((value - low) / span)) for value in row] for row in saliency]
    values = [value for row in grey for value in row]
    best, level = -1.0, 0
    for threshold in range(256):
        below = [value for value in values if value <= threshold]
        above = [value for value in values if value > threshold]
        if below and above:
            apart = sum(above) / len(above) - sum(below) / len(below)
            between = len(below) * len(above) * apart * apart
            if between > best * (1 + 1e-12):
                best, level = between, threshold
    there = {(y, x) for y in range(height) for x in range(width) if grey[y][x] > level}
    around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    there = {(y, x) for y, x in there if any((y + i, x + j) in there for i, j in around)}
    outside: set[tuple[int, int]] = set()
    todo = [(y, x) for y in range(-1, height + 1) for x in (-1, width)]
    while todo:  # from beyond the edge, through what is not there, side by side
        y, x = todo.pop()
        if (y, x) in outside or (y, x) in there or not (-1 <= y <= height and -1 <= x <= width):
            continue
        outside.add((y, x))
        todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return np.array([[(y, x) not in outside for x in range(width)] for y in range(height)])


def slow_large(saliency: SaliencyMap) -> np.ndarray:
    """Bilinear interpolation with half-pixel centres, in Python's floats."""
    values = saliency.values.astype(float)
    (rows, columns), (height, width) = values.shape, saliency.shape
    large = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            at_y = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            at_x = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            i, j = int(at_y), int(at_x)
            down, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
            v, u = at_y - i, at_x - j
            top = (1 - u) * values[i, j] + u * values[i, right]
            bottom = (1 - u) * values[down, j] + u * values[down, right]
            large[y, x] = (1 - v) * top + v * bottom
    return large


# --- the IoU ---


@pytest.mark.parametrize("true_pos_only", [True, False])
def test_the_iou_counts_the_cases_that_eval_counts(true_pos_only: bool, tmp_path: Path) -> None:
    there, found = OutlineSet.of_masks(REFERENCES), OutlineSet.of_masks(PREDICTIONS)
    scores = eval_ious(found, there, true_pos_only=true_pos_only)
    rows = slow_rows(true_pos_only)
    assert list(scores.ids) == list(rows) == sorted(rows)
    assert [CHEXLOCALIZE_NAMES[name] for name in scores.means] == ALPHABET
    for written, name in NAMES.items():
        values = [math.nan if each is None else each for each in scores.means[name].values]
        assert values == pytest.approx([row[written] for row in rows.values()], nan_ok=True)
    assert scores.means["Lung Lesion"].value is None
    counted = "not counted" if true_pos_only else "counted"
    assert scores.notes == (
        "1 of 12 radiographs without a prediction: empty masks",
        f"predictions for 1 radiograph without references: {counted}",
    )


def test_the_two_modes_differ_where_they_should() -> None:
    full, left, empty = ([[True, True]], [[True, False]], [[False, False]])
    there = OutlineSet.of_masks({
        "p1": {"Edema": full, "Atelectasis": empty, "Consolidation": left, "Pneumothorax": empty}
    })  # fmt: skip
    found = OutlineSet.of_masks({
        "p1": {"Edema": left, "Atelectasis": left, "Consolidation": empty, "Pneumothorax": empty},
        "p2": {"Edema": left, "Atelectasis": empty},
    })  # fmt: skip
    expected = {
        True: {"Edema": (0.5,), "Atelectasis": (None,), "Consolidation": (None,), "Pneumothorax": (None,)},
        False: {
            "Edema": (0.5, 0.0),
            "Atelectasis": (0.0, None),
            "Consolidation": (0.0, None),
            "Pneumothorax": (None, None),
        },
    }
    for true_pos_only, by_name in expected.items():
        means = eval_ious(found, there, true_pos_only=true_pos_only).means
        assert {name: means[name].values for name in by_name} == by_name


def test_masks_of_several_sizes_are_refused() -> None:
    there = OutlineSet.of_masks({"p1": {"Edema": [[True, False]]}})
    other = OutlineSet.of_masks({"p1": {"Edema": [[True], [False]]}}, source="mine.json")
    with pytest.raises(ReferenceLabelError, match=r"mine\.json.*\(2, 1\).*expected"):
        eval_ious(other, there)


# --- from maps to masks ---


def test_a_mask_is_drawn_as_it_is_read_aloud() -> None:
    draws = np.random.default_rng(4)
    shapes = [(5, 6), (9, 7), (1, 12), (12, 1), (2, 2)]
    for at in range(60):
        saliency = draws.random(shapes[at % 5]).astype(np.float32)
        if at % 3 == 0:
            saliency = (saliency > 0.4).astype(np.float32) * 3 - 1  # holes, corners that touch, lone pixels
        np.testing.assert_array_equal(drawn_mask(saliency), slow_otsu_mask(saliency))
    for each in MAPS[:30]:
        np.testing.assert_array_equal(drawn_mask(each.full_size()), slow_otsu_mask(each.full_size()))


@pytest.mark.peers
def test_a_mask_is_what_opencv_and_pillow_draw() -> None:
    cv2 = pytest.importorskip("cv2")
    draws = np.random.default_rng(5)
    for at in range(200):
        shape = tuple(draws.integers(2, 40, 2))
        saliency = draws.random(shape).astype(np.float32)
        if at % 2:
            saliency = (saliency < draws.random()).astype(np.float32)
        if np.ptp(saliency) == 0:
            continue
        grey = np.uint8(255 * ((saliency - saliency.min()) / np.ptp(saliency)))
        _, above = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
        contours = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        image = Image.new("1", (shape[1], shape[0]))
        for contour in (np.reshape(each, (-1, 2)) for each in contours):
            if len(contour) > 1:
                ImageDraw.Draw(image).polygon([(int(x), int(y)) for x, y in contour], outline=1, fill=1)
        np.testing.assert_array_equal(drawn_mask(saliency), np.array(image, bool))


def test_a_threshold_is_taken_as_it_is() -> None:
    ring = np.float32([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    assert drawn_mask(ring, 0.5).tolist() == (ring > 0.5).tolist()
    assert drawn_mask(ring).all()
    for even in (0.0, -3.5):
        assert not drawn_mask(np.full((4, 4), even, np.float32)).any()
        assert not drawn_mask(np.full((4, 4), even, np.float32), 0.2).any()


def test_maps_become_masks_with_thresholds_and_cutoffs() -> None:
    cutoffs = dict.fromkeys(CHEXLOCALIZE_NAMES, 0.5)
    otsu = predicted_outlines(MAPS)
    tuned = predicted_outlines(MAPS, thresholds=CHEXLOCALIZE_THRESHOLDS)
    cut = predicted_outlines(MAPS, cutoffs=cutoffs)
    for each in MAPS:
        where = (each.image_id, each.pathology)
        small = torch.from_numpy(each.values)[None, None]
        large = F.interpolate(small, size=each.shape, mode="bilinear", align_corners=False)[0, 0]
        lifted = large - large.min()
        expected = drawn_mask(large.numpy())
        np.testing.assert_array_equal(otsu.mask(*where), expected)
        np.testing.assert_array_equal(cut.mask(*where), expected & (each.probability >= 0.5))
        above = (lifted / lifted.max() > CHEXLOCALIZE_THRESHOLDS[each.pathology]).numpy()
        np.testing.assert_array_equal(tuned.mask(*where), above)
    assert any(each.probability < 0.5 and otsu.mask(each.image_id, each.pathology).any() for each in MAPS)


def test_maps_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ReferenceLabelError, match="no saliency map"):
        predicted_outlines([])
    with pytest.raises(ReferenceLabelError, match="a second map of"):
        predicted_outlines([MAPS[0], MAPS[0]])
    with pytest.raises(ReferenceLabelError, match="a second map of"):
        eval_hits([MAPS[0], MAPS[0]], OutlineSet.of_masks(REFERENCES))
    other = SaliencyMap(IDS[0], "Edema", MAPS[0].values, (9, 9), 0.5)
    with pytest.raises(ReferenceLabelError, match="masks of 2 sizes"):
        predicted_outlines([MAPS[0], other])
    with pytest.raises(ReferenceLabelError, match=r"a map for a radiograph of \(9, 9\)"):
        eval_hits([other], OutlineSet.of_masks(REFERENCES))


# --- hits ---


def test_a_hit_is_the_first_of_the_largest_values() -> None:
    there = OutlineSet.of_masks(REFERENCES)
    for peak_of in ("map", "mask"):
        scores = eval_hits(MAPS, there, peak_of=peak_of)  # type: ignore[arg-type]
        assert [CHEXLOCALIZE_NAMES[name] for name in scores.means] == ALPHABET
        for each in MAPS:
            large = slow_large(each) if peak_of == "map" else drawn_mask(each.full_size()).astype(float)
            best, hit = -math.inf, math.nan
            for y in range(large.shape[0]):
                for x in range(large.shape[1]):
                    if large[y, x] > best + 1e-6:
                        best, hit = large[y, x], float(REFERENCES[each.image_id][each.pathology][y, x])
            found = scores.means[each.pathology].values[IDS.index(each.image_id)]
            if REFERENCES[each.image_id][each.pathology].any():
                assert found == hit
            else:
                assert found is None


def test_missing_maps_are_left_out_and_strangers_are_told() -> None:
    stray = SaliencyMap("p9", "Edema", MAPS[0].values, (9, 9), 0.5)
    scores = eval_hits([*MAPS[20:30], stray], OutlineSet.of_masks(REFERENCES))
    assert scores.ids == tuple(IDS)
    assert scores.notes == ("maps of 1 radiograph without references: not counted",)
    for name, mean in scores.means.items():
        assert [at for at, value in enumerate(mean.values) if value is not None] == (
            [2] if REFERENCES[IDS[2]][name].any() else []
        )


def test_points_of_readers(tmp_path: Path) -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:4, 5:9] = True
    there = OutlineSet.of_masks({
        name: {"Effusion": mask, "Edema": mask, "Atelectasis": np.zeros_like(mask)} for name in ("p1", "p2")
    })  # fmt: skip
    path = tmp_path / "points.json"
    points = {"p1": {"Pleural Effusion": [[0, 0], [5.9, 3.9]], "Edema": [[9, 2]], "Atelectasis": [[1, 1]]}}
    path.write_text(json.dumps(points))
    means = eval_points(read_points(path), there).means
    assert means["Effusion"].values == (1.0, 0.0)
    assert means["Edema"].values == (0.0, 0.0)
    assert means["Atelectasis"].values == (None, None)
    path.write_text(json.dumps({"p1": {"Edema": [[12, 2]]}}))
    with pytest.raises(ReferenceLabelError, match=r"the point .*12, 2.*x below 12"):
        eval_points(read_points(path), there)


@pytest.mark.parametrize(
    "text", ["[]", '{"p1": []}', '{"p1": {"Hernia": []}}', '{"p1": {"Edema": [[1]]}}', "{"]
)
def test_points_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(text)
    with pytest.raises(ReferenceLabelError, match=r"points\.json"):
        read_points(path)


# --- the tables ---


def as_pandas_writes(frame: pd.DataFrame, metric: str, folder: Path) -> None:
    """`evaluate` of `eval.py`, with its bootstrap, by pandas."""
    frame = frame.sort_values(by="img_id")
    frame.to_csv(folder / f"{metric}_results_per_cxr.csv", index=False)
    np.random.seed(7)  # noqa: NPY002 - as there
    draws = []
    for _ in range(1000):
        chosen = frame.iloc[np.random.choice(len(frame), size=len(frame), replace=True)]  # noqa: NPY002
        draws.append({written: chosen[written].mean() for written in NAMES})
    drawn = pd.DataFrame.from_records(draws)
    drawn.to_csv(folder / f"{metric}_bootstrap_results_per_cxr.csv", index=False)
    rows = []
    for written in drawn.columns:
        in_order = drawn[written].sort_values()
        lower, upper = in_order.iloc[24].round(3), in_order.iloc[974].round(3)
        rows.append({"name": written, "lower": lower, "mean": round(in_order.mean(), 3), "upper": upper})
    summary = pd.DataFrame.from_records(rows).sort_values(by="name")
    summary.to_csv(folder / f"{metric}_summary_results.csv", index=False)


@pytest.mark.parametrize("which", ["true positives", "all cases", "hits"])
def test_the_files_are_those_of_pandas_byte_by_byte(which: str, tmp_path: Path) -> None:
    there = OutlineSet.of_masks(REFERENCES)
    metric = "hitmiss" if which == "hits" else "iou"
    if which == "hits":
        scores = eval_hits(MAPS, there)
        frame = pd.DataFrame.from_dict(
            {
                image_id: {
                    CHEXLOCALIZE_NAMES[name]: np.nan if mean.values[at] is None else int(mean.values[at])
                    for name, mean in scores.means.items()
                }
                for at, image_id in enumerate(IDS)
            },
            orient="index",
        )
        frame["img_id"] = IDS
    else:
        scores = eval_ious(OutlineSet.of_masks(PREDICTIONS), there, true_pos_only=which == "true positives")
        rows = slow_rows(which == "true positives")
        frame = pd.DataFrame({written: [row[written] for row in rows.values()] for written in ALPHABET})
        frame["img_id"] = list(rows)
    (tmp_path / "theirs").mkdir()
    as_pandas_writes(frame, metric, tmp_path / "theirs")
    paths = EvalTables(metric, scores, seed=7).save(tmp_path / "ours")  # type: ignore[arg-type]
    assert sorted(path.name for path in paths) == sorted(
        path.name for path in (tmp_path / "theirs").iterdir()
    )
    for path in paths:
        assert path.read_text() == (tmp_path / "theirs" / path.name).read_text()


def test_hits_without_a_gap_are_whole_numbers(tmp_path: Path) -> None:
    there = OutlineSet.of_masks({name: {"Edema": [[True, False]]} for name in ("p1", "p2")})
    given = [SaliencyMap(name, "Edema", np.float32([[1, 0]]), (1, 2), 0.5) for name in ("p1", "p2")]
    path, *_ = EvalTables("hitmiss", eval_hits(given, there)).save(tmp_path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    cells = [(row["Edema"], row["Atelectasis"], row["img_id"]) for row in rows]
    assert cells == [("1", "", "p1"), ("1", "", "p2")]


def test_the_human_benchmark_has_its_names(tmp_path: Path) -> None:
    there = OutlineSet.of_masks({"p1": {"Edema": [[True, False]]}})
    paths = EvalTables("hitmiss", eval_points({}, there), is_human=True).save(tmp_path)
    assert [path.name for path in paths] == [
        "hitmiss_humanbenchmark_results_per_cxr.csv",
        "hitmiss_humanbenchmark_bootstrap_results_per_cxr.csv",
        "hitmiss_summary_results.csv",
    ]


def test_an_end_that_is_no_number_is_none() -> None:
    draws = np.append(np.full(500, 0.25), np.full(500, np.nan))
    found = EvalInterval.of(draws)
    assert (found.lower, found.mean, math.isnan(found.upper)) == (0.25, 0.25, True)
    assert str(found) == "0.250 (0.250 to none)"
    assert str(EvalInterval.of(np.full(1000, np.nan))) == "none"


# --- CheXlocalize's tables of thresholds ---


def test_thresholds_and_cutoffs_are_read(tmp_path: Path) -> None:
    thresholds, cutoffs = tmp_path / "tuning.csv", tmp_path / "probability.csv"
    rows = [f"{CHEXLOCALIZE_THRESHOLDS[name]},{written}" for written, name in NAMES.items()]
    thresholds.write_text("\n".join(["threshold,task", *rows]))
    assert read_thresholds(thresholds) == CHEXLOCALIZE_THRESHOLDS
    lines = [f"{at / 10},{0.2 - abs(at - 3) / 100},{written}" for written in NAMES for at in range(9)]
    cutoffs.write_text("\n".join(["prob_threshold,mIoU,task", *lines]))
    assert read_cutoffs(cutoffs) == dict.fromkeys(CHEXLOCALIZE_NAMES, 0.3)
    cutoffs.write_text(
        "\n".join(["prob_threshold,mIoU,task", *(f"0.{at},0,{w}" for w in NAMES for at in (4, 5))])
    )
    assert read_cutoffs(cutoffs) == dict.fromkeys(CHEXLOCALIZE_NAMES, 0.4), "of equal ones the first"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threshold,task\n0.4,Edema", "0 rows for"),
        ("threshold,task\n0.4,Hernia", "the pathology 'Hernia'"),
        ("task\nEdema", "no column threshold"),
        ("threshold,task\n0.4", "another file"),
        ("threshold,task\nmuch,Edema", "another file"),
        ("threshold,task\n" + "".join(f"1.5,{written}\n" for written in NAMES), "out of range"),
        ("threshold,task\n" + "".join(f"nan,{written}\n" for written in NAMES), "out of range"),
        ("threshold,task\n" + 2 * "".join(f"0.5,{written}\n" for written in NAMES), "2 rows for"),
        (b"\xff\xfe", "another file"),
        (None, "no readable file"),
    ],
)
def test_tables_that_are_none_are_refused(text: str | bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "tuning.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ReferenceLabelError, match=rf"tuning\.csv: .*{said}"):
        read_thresholds(path)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools and NumPy 2
def test_the_iou_is_that_of_masks_that_pycocotools_decodes(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    there, found = (
        json.loads(write_segmentations(tmp_path / name, OutlineSet.of_masks(masks)).read_text())
        for name, masks in (("gt.json", REFERENCES), ("p.json", PREDICTIONS))
    )
    scores = eval_ious(OutlineSet.of_masks(PREDICTIONS), OutlineSet.of_masks(REFERENCES))
    for written, name in NAMES.items():
        for image_id, value in zip(IDS, scores.means[name].values, strict=True):
            if value is not None:
                masks = [coco.decode(each[image_id][written]).astype(bool) for each in (there, found)]
                assert value == (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
