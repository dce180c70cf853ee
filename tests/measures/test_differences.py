"""What differs between models, against a slow and literal reading of the definitions in float64."""

from __future__ import annotations

from dataclasses import replace
from math import floor, hypot, sqrt

import numpy as np
import pytest
from synthetic import synthetic_explanation, synthetic_radiograph

from cxr_explain.errors import OptionError
from cxr_explain.measures.differences import differences

SHAPE = (90, 120)


def explained(seed=0, shape=SHAPE, **options):
    radiograph = synthetic_radiograph(shape)
    return synthetic_explanation(radiograph, seed=seed, **({"k": 4} | options))


def interpolated(values, geometry, x, y):
    """Bilinear between the centres of cells, constant beyond the outermost."""
    rows, columns = values.shape
    u = min(max((x - geometry.left) / geometry.side * columns - 0.5, 0), columns - 1)
    v = min(max((y - geometry.top) / geometry.side * rows - 0.5, 0), rows - 1)
    left, top = floor(u), floor(v)
    right, bottom = min(left + 1, columns - 1), min(top + 1, rows - 1)
    a, b = u - left, v - top
    above = (1 - a) * float(values[top, left]) + a * float(values[top, right])
    below = (1 - a) * float(values[bottom, left]) + a * float(values[bottom, right])
    return (1 - b) * above + b * below


def seen(geometry, x, y):
    left, top, right, bottom = geometry.seen_box
    return left <= x < right and top <= y < bottom


def samples(one, other, a, b):
    """The two maps at the centres of the samples that both models saw, and where these are."""
    height, width = a.radiograph_shape
    share = min(1.0, 256 / max(height, width))
    rows, columns = round(height * share), round(width * share)
    found = []
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) * width / columns, (row + 0.5) * height / rows
            if seen(a, x, y) and seen(b, x, y):
                found.append((interpolated(one, a, x, y), interpolated(other, b, x, y), x, y))
    return np.array(found), (width / columns, height / rows)


def centre_of_peak(values, geometry):
    cells = [(row, column) for row in range(len(values)) for column in range(len(values[0]))]
    row, column = max(cells, key=lambda cell: values[cell])
    rows, columns = values.shape
    return (
        geometry.left + (column + 0.5) / columns * geometry.side,
        geometry.top + (row + 0.5) / rows * geometry.side,
    )


def mean_ranks(values):
    order = sorted(values)
    first, last = {}, {}
    for place, value in enumerate(order, start=1):
        first.setdefault(value, place)
        last[value] = place
    return np.array([(first[value] + last[value]) / 2 for value in values])


def correlation(one, other):
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"seed": 0}, {"seed": 1}),
        ({"seed": 0, "grid": 7}, {"seed": 0, "grid": 14}),
        ({"seed": 2, "fit": "pad"}, {"seed": 3, "fit": "crop", "model_size": 320}),
    ],
)
def test_numbers_are_those_of_the_definitions(first, second):
    a, b = explained(**first), explained(**second)
    found = differences({"A": a, "B": b}, pixel_spacing=(0.4, 0.3))
    checked = 0
    for each in found.pathologies:
        for pair in each.pairs:
            one = a.class_maps[each.models["A"].rank - 1].astype(np.float64)
            other = b.class_maps[each.models["B"].rank - 1].astype(np.float64)
            assert (pair.one, pair.other) == ("A", "B")
            check(pair, one, other, a.geometry, b.geometry)
            checked += 1
    assert checked >= 2
    totals = [np.maximum(x.maps.astype(np.float64), 0).sum(axis=0) for x in (a, b)]
    check(found.whole[0], *totals, a.geometry, b.geometry)


def check(pair, one, other, a, b):
    values, spacing = samples(one, other, a, b)
    u, v = values[:, 0], values[:, 1]
    regions = [(w >= 0.5 * w.max()) & (w > 0) for w in (u, v)]
    # A sample at half of the peak may fall on either side in float32: the least and the most that are there.
    near = [np.abs(w - 0.5 * w.max()) < 1e-5 * w.max() for w in (u, v)]
    (a_least, a_most), (b_least, b_most) = (
        (region & ~edge, region | edge) for region, edge in zip(regions, near, strict=True)
    )
    least = (a_least & b_least).sum() / (a_most | b_most).sum()
    most = (a_most & b_most).sum() / (a_least | b_least).sum()
    assert least - 1e-9 <= pair.overlap <= most + 1e-9
    assert pair.pearson == pytest.approx(correlation(u, v), abs=1e-5)
    rounded = [np.round(w / np.abs(w).max(), 6) for w in (u, v)]
    assert pair.spearman == pytest.approx(correlation(*map(mean_ranks, rounded)), abs=2e-3)
    peaks = centre_of_peak(one, a), centre_of_peak(other, b)
    across, down = peaks[0][0] - peaks[1][0], peaks[0][1] - peaks[1][1]
    assert pair.peak_distance_px == pytest.approx(hypot(across, down))
    assert pair.peak_distance_mm == pytest.approx(hypot(across * 0.3, down * 0.4))
    assert pair.peak_distance_share == pytest.approx(hypot(across, down) / hypot(120, 90))
    for peak, region, answer in (
        (peaks[0], regions[1], pair.one_points_into_other),
        (peaks[1], regions[0], pair.other_points_into_one),
    ):
        inside = [
            bool(there)
            for (_, _, x, y), there in zip(values, region, strict=True)
            if abs(x - peak[0]) <= spacing[0] / 2 and abs(y - peak[1]) <= spacing[1] / 2
        ]
        assert answer in (inside or [None])


def test_ranks_and_probabilities_are_each_models_own():
    a, b = explained(0), explained(5, k=2)
    found = differences({"A": a, "B": b})
    for each in found.pathologies:
        for name, explanation in (("A", a), ("B", b)):
            model = each.models[name]
            ranked = list(explanation.ranking.pathologies)
            assert model.rank == (ranked.index(each.pathology) + 1 if each.pathology in ranked else None)
            (own,) = [p for p in explanation.ranking.predictions if p.pathology == each.pathology]
            assert (model.probability, model.above) == (own.probability, own.above)
            assert (model.peak is None) == (model.rank is None)
    both = set(a.ranking.pathologies) & set(b.ranking.pathologies)
    alone = set(a.ranking.pathologies) ^ set(b.ranking.pathologies)
    assert set(found.ranked_by_one_only) == alone
    assert all(found.ranked_by_one_only[name] == "A" for name in set(a.ranking.pathologies) - both)
    best = {name: min(x.ranking.pathologies.index(name) for x in (a, b)) for name in both}
    assert [each.pathology for each in found.pathologies[: len(both)]] == sorted(both, key=best.__getitem__)
    assert found.to_dict()["pathologies"][0]["models"]["A"]["rank"] == found.pathologies[0].models["A"].rank


def test_a_map_without_evidence_has_no_numbers():
    a = explained()
    flat = replace(a, class_maps=np.zeros_like(a.class_maps), maps=np.zeros_like(a.maps))
    found = differences({"A": a, "B": flat}, pixel_spacing=(1, 1))
    for pair in (*found.pathologies[0].pairs, *found.whole):
        values = (
            pair.peak_distance_px,
            pair.peak_distance_mm,
            pair.overlap,
            pair.spearman,
            pair.pearson,
            pair.one_points_into_other,
            pair.other_points_into_one,
        )
        assert values == (None,) * 7


def test_three_models_are_compared_two_by_two():
    found = differences({name: explained(seed) for seed, name in enumerate("ABC")})
    assert [(pair.one, pair.other) for pair in found.whole] == [("A", "B"), ("A", "C"), ("B", "C")]


def test_only_explanations_of_one_radiograph_are_compared():
    a = explained()
    with pytest.raises(OptionError, match="1 explanation; expected two or more"):
        differences({"A": a})
    other = synthetic_explanation(synthetic_radiograph(SHAPE, seed=4), k=2)
    with pytest.raises(OptionError, match=r"'A' of SHA-256 .*, 'B' of .*expected explanations of one"):
        differences({"A": a, "B": other})
    reshaped = replace(a, geometry=replace(a.geometry, radiograph_shape=(120, 90)))
    with pytest.raises(OptionError, match="one file read in two ways"):
        differences({"A": a, "B": reshaped})
