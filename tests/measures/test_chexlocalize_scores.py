"""CheXlocalize's measures on its own forms of file: the protocol read aloud, NaN as the authors have it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cxr_explain.errors import CxrExplainError, OptionError, ReferenceLabelError
from cxr_explain.measures.chexlocalize_scores import (
    full_resolution,
    hit_rates,
    mean_ious,
    patient_of,
    predicted_mask,
)
from cxr_explain.measures.segmentation import CHEXLOCALIZE_THRESHOLDS
from cxr_explain.measures.statistics.bootstrap import mean_estimate
from cxr_explain.reference.chexlocalize import (
    CHEXLOCALIZE_NAMES,
    OutlineSet,
    read_annotations,
    read_segmentations,
    write_segmentations,
)

IDS = tuple(f"patient{number}_study1_view{view}_frontal" for number in (1, 2, 3) for view in (1, 2))
MASK = np.zeros((40, 60), bool)
MASK[5:15, 30:50] = True


def random_masks(seed: int, share: float = 0.5) -> dict[str, dict[str, np.ndarray]]:
    """Rectangles of each pathology, some of them empty, in a radiograph each of its own size."""
    draws = np.random.default_rng(seed)
    masks: dict[str, dict[str, np.ndarray]] = {}
    for at, image_id in enumerate(IDS):
        masks[image_id] = {}
        for name in CHEXLOCALIZE_NAMES:
            mask = np.zeros((30 + at, 40), bool)
            if draws.random() < share:
                y, x = draws.integers(0, 20, 2)
                mask[y : y + draws.integers(1, 15), x : x + draws.integers(1, 20)] = True
            masks[image_id][name] = mask
    return masks


def slow_mean_iou(predictions: dict, references: dict, pathology: str, true_positives_only: bool) -> float:
    """The authors' protocol, NaN where a case does not count, and the mean over the rest."""
    scores = []
    for image_id in sorted(references):
        there = references[image_id][pathology]
        found = predictions.get(image_id, {}).get(pathology, np.zeros_like(there))
        both = sum(bool(a) and bool(b) for a, b in zip(found.flat, there.flat, strict=True))
        either = sum(bool(a) or bool(b) for a, b in zip(found.flat, there.flat, strict=True))
        counts = there.any() and (found.any() or not true_positives_only)
        scores.append(both / either if counts else math.nan)
    kept = [score for score in scores if not math.isnan(score)]
    return sum(kept) / len(kept) if kept else math.nan


def test_the_mean_iou_is_the_protocol_read_aloud(tmp_path: Path) -> None:
    references, predictions = random_masks(1), random_masks(2, share=0.8)
    del predictions[IDS[3]]
    there = read_segmentations(write_segmentations(tmp_path / "gt.json", OutlineSet.of_masks(references)))
    found = read_segmentations(write_segmentations(tmp_path / "p.json", OutlineSet.of_masks(predictions)))
    everything = list(CHEXLOCALIZE_NAMES)
    for strict, empty in ((True, "left out"), (False, "zero")):
        scores = mean_ious(found, there, predicted=everything, empty_prediction=empty)  # type: ignore[arg-type]
        assert scores.ids == IDS
        for pathology in everything:
            expected = slow_mean_iou(predictions, references, pathology, strict)
            mean = scores.means[pathology]
            assert (math.nan if mean.value is None else mean.value) == pytest.approx(expected, nan_ok=True)
            assert len(mean.values) == len(IDS)
            assert mean.cases + mean.without_reference + mean.without_prediction == len(IDS)
        assert scores.notes == ("1 of 6 radiographs without a prediction: empty masks",)


def test_perfect_and_inverted_predictions() -> None:
    there = OutlineSet.of_masks({IDS[0]: {"Edema": MASK}, IDS[1]: {"Edema": np.zeros_like(MASK)}})
    inverted = OutlineSet.of_masks({IDS[0]: {"Edema": ~MASK}, IDS[1]: {"Edema": ~MASK}})
    assert mean_ious(there, there).means["Edema"].value == 1.0
    assert mean_ious(inverted, there).means["Edema"].value == 0.0
    atelectasis = mean_ious(there, there).means["Atelectasis"]
    assert str(atelectasis) == "not estimable (0 of 2 cases; left out: 2 without a reference mask)"


def test_support_devices_have_no_output_and_are_left_out_with_a_note() -> None:
    there = OutlineSet.of_masks({IDS[0]: {"Support Devices": MASK}})
    scores = mean_ious(there, there)
    assert set(scores.means) == set(CHEXLOCALIZE_NAMES) - {"Support Devices"}
    assert scores.notes == ("Support Devices: the model has no such output; left out",)
    assert mean_ious(there, there, predicted=["Support Devices"]).means["Support Devices"].value == 1.0
    hits = hit_rates([(IDS[0], "Support Devices", MASK.astype(float))], there)
    assert "Support Devices" not in hits.means
    assert hits.notes == scores.notes
    few = mean_ious(there, there, predicted=["Pleural Effusion", "Hernia"])
    assert list(few.means) == ["Effusion"]


def test_predictions_that_do_not_fit_are_refused() -> None:
    there = OutlineSet.of_masks({IDS[0]: {"Edema": MASK}})
    stranger = OutlineSet.of_masks({IDS[1]: {"Edema": MASK}})
    with pytest.raises(ReferenceLabelError, match=IDS[1]):
        mean_ious(stranger, there)
    other = OutlineSet.of_masks({IDS[0]: {"Edema": MASK[:9]}}, source="mine.json")
    with pytest.raises(OptionError, match=rf"mine\.json.*{IDS[0]}.*Edema"):
        mean_ious(other, there)
    with pytest.raises(OptionError):
        mean_ious(there, there, empty_prediction="maybe")  # type: ignore[arg-type]


def test_full_resolution_is_the_protocols_interpolation() -> None:
    draws = np.random.default_rng(0)
    saliency = draws.normal(size=(7, 7))
    found = full_resolution(saliency, (31, 45))
    for row, column in ((0, 0), (30, 44), (12, 20), (15, 3)):
        y = min(max((row + 0.5) * 7 / 31 - 0.5, 0), 6)
        x = min(max((column + 0.5) * 7 / 45 - 0.5, 0), 6)
        i, j = min(int(y), 5), min(int(x), 5)
        v, u = y - i, x - j
        top = (1 - u) * saliency[i, j] + u * saliency[i, j + 1]
        bottom = (1 - u) * saliency[i + 1, j] + u * saliency[i + 1, j + 1]
        assert found[row, column] == pytest.approx((1 - v) * top + v * bottom)
    np.testing.assert_array_equal(full_resolution(saliency, (7, 7)), saliency)
    for shape in ((31, 45), (224, 3), (1, 1), (7, 320)):
        theirs = F.interpolate(
            torch.from_numpy(saliency)[None, None], shape, mode="bilinear", align_corners=False
        )
        np.testing.assert_allclose(full_resolution(saliency, shape), theirs[0, 0].numpy(), atol=1e-12)
    with pytest.raises(ReferenceLabelError):
        full_resolution(saliency, (10**6, 10**6))


def test_an_even_map_stays_even() -> None:
    """Unlike torch's, whose rounding would give it a peak somewhere."""
    assert np.ptp(full_resolution(np.full((4, 6), 0.3), (40, 61))) == 0


def test_a_predicted_mask_is_upsampled_scaled_and_cut() -> None:
    saliency = np.random.default_rng(1).random((14, 14)) ** 2
    large = F.interpolate(
        torch.from_numpy(saliency)[None, None], (100, 80), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    scaled = (large - large.min()) / (large.max() - large.min())
    for name, threshold in CHEXLOCALIZE_THRESHOLDS.items():
        found = predicted_mask(saliency, name, (100, 80), threshold="tuned")
        np.testing.assert_array_equal(found, scaled > threshold)
    np.testing.assert_array_equal(predicted_mask(saliency, "Edema", (100, 80), threshold=0.25), scaled > 0.25)
    assert predicted_mask(saliency, "Edema", (100, 80)).any()
    assert not predicted_mask(np.ones((7, 7)), "Edema", (100, 80)).any()
    with pytest.raises(ReferenceLabelError, match="Hernia"):
        predicted_mask(saliency, "Hernia", (100, 80))


def test_the_hit_rate_counts_maps_whose_peak_is_inside(tmp_path: Path) -> None:
    square = [[30, 5], [49, 5], [49, 14], [30, 14]]
    document = {
        IDS[0]: {"img_size": [40, 60], "Airspace Opacity": [square]},
        IDS[1]: {"img_size": [40, 60], "Airspace Opacity": [square]},
        IDS[2]: {"img_size": [40, 60]},
        IDS[3]: {"img_size": [40, 60], "Airspace Opacity": [square]},
        IDS[4]: {"img_size": [40, 60], "Airspace Opacity": [square]},
        IDS[5]: {"img_size": [40, 60], "Airspace Opacity": [square]},
    }
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(document))
    there = read_annotations(path)
    np.testing.assert_array_equal(there.mask(IDS[0], "Lung Opacity"), MASK)
    inside, outside = np.zeros((4, 6)), np.zeros((4, 6))
    inside[1, 4] = outside[3, 0] = 1  # the inside cell peaks at row 14.5, column 44.5
    maps = [
        (IDS[0], "Lung Opacity", full_resolution(inside, (40, 60))),
        (IDS[1], "Airspace Opacity", outside),
        (IDS[2], "Lung Opacity", inside),
        (IDS[3], "Lung Opacity", np.ones((4, 6))),
        (IDS[4], "Lung Opacity", np.zeros((4, 6))),
    ]
    found = hit_rates(maps, there).means["Lung Opacity"]
    # Rows 14, inside, and 15 peak alike, and an even map peaks in the corner: the first counts.
    assert found.values == (1.0, 0.0, None, 0.0, 0.0, None)
    assert (found.cases, found.without_reference, found.without_prediction) == (4, 1, 1)


def test_the_hit_is_the_authors_whatever_the_sign() -> None:
    there = OutlineSet.of_masks({IDS[0]: {"Edema": MASK}})
    draws = np.random.default_rng(0)
    for saliency in (draws.normal(size=MASK.shape) for _ in range(20)):
        for each in (saliency, saliency - 9):
            x, y = np.unravel_index(np.argmax(each, axis=None), each.shape)
            found = hit_rates([(IDS[0], "Edema", each)], there).means["Edema"]
            assert found.value == float(MASK[x][y])
    assert hit_rates([(IDS[0], "Edema", MASK - 2.0)], there).means["Edema"].value == 1.0


def test_maps_that_do_not_fit_are_refused() -> None:
    there = OutlineSet.of_masks({IDS[0]: {"Edema": MASK}})
    good = (IDS[0], "Edema", np.ones((2, 2)))
    for maps in (
        [good, good],
        [("patient9", "Edema", np.ones((2, 2)))],
        [(IDS[0], "Hernia", np.ones((2, 2)))],
        [(IDS[0], "Edema", np.ones(2))],
        [(IDS[0], "Edema", np.full((2, 2), np.nan))],
    ):
        with pytest.raises(CxrExplainError):
            hit_rates(maps, there)


def test_intervals_by_patient() -> None:
    references, predictions = random_masks(3, share=0.9), random_masks(4, share=0.9)
    scores = mean_ious(OutlineSet.of_masks(predictions), OutlineSet.of_masks(references))
    assert scores.patients == tuple(patient_of(image_id) for image_id in IDS)
    assert sorted(set(scores.patients)) == ["patient1", "patient2", "patient3"]
    mean = scores.means["Edema"]
    estimate = mean_estimate(mean.values, groups=scores.patients, resamples=200)
    assert estimate.value == pytest.approx(mean.value)
    assert estimate.cases == mean.cases
