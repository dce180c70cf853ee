"""The numbers of a row, read aloud: loops over samples, and direct calls of the evaluation functions."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from cxr_explain import Explainer, class_maps, fuse
from cxr_explain.measures.adcc import adcc
from cxr_explain.measures.faithfulness import deletion, insertion
from cxr_explain.measures.road import road
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.radiograph import Radiograph
from cxr_explain.study.cases import Case
from cxr_explain.study.judge import localisation, sharing
from cxr_explain.study.measure import Tables, measure
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.seen_case import SeenCase, show


def seen_with(explainer: Explainer, case: Case, *masks: tuple[str, tuple[slice, slice]]) -> SeenCase:
    """The case with these masks instead of its own."""
    found = {}
    for name, region in masks:
        found[name] = np.zeros(case.radiograph.shape, bool)
        found[name][region] = True
    return show(explainer, replace(case, masks=found), 0)


def wide(case: Case) -> Case:
    """The same phantom with margins that the centre crop leaves out."""
    pixels = np.pad(case.radiograph.pixels, ((0, 0), (32, 32)), constant_values=-1024)
    return replace(case, radiograph=replace(Radiograph.from_array(pixels, id="wide"), phantom=True))


def test_a_map_is_scored_on_the_pixels_that_the_model_saw(explainer: Explainer, cases: list[Case]) -> None:
    """Half of the finding lies outside of the crop: it neither counts for nor against the map."""
    seen = seen_with(explainer, wide(cases[0]), ("Mass", np.s_[20:60, 22:52]))
    saliency = seen.geometry.maps_to_radiograph(np.eye(6, dtype=np.float32)[::-1] + 0.1)[:, 32:128]
    found = localisation(seen, "Mass", np.eye(6, dtype=np.float32)[::-1] + 0.1)
    inside = total = pixels = 0.0
    for y, x in np.ndindex(96, 96):
        total += saliency[y, x]
        if 20 <= y < 60 and x < 20:
            inside += saliency[y, x]
            pixels += 1
    assert found["energy"] == pytest.approx(inside / total, rel=1e-4)
    assert found["energy, spread evenly"] == pytest.approx(pixels / 96**2)
    y, x = np.unravel_index(saliency.argmax(), saliency.shape)
    assert found["peak"] == float(20 <= y < 60 and x < 20)
    assert found["peak, at the centre"] == 0.0
    assert found["peak, strict, at the centre"] == 0.0


def test_a_random_peak_counts_by_the_area_that_counts(explainer: Explainer, cases: list[Case]) -> None:
    seen = seen_with(explainer, cases[0], ("Mass", np.s_[30:50, 40:60]))
    found = localisation(seen, "Mass", np.ones((4, 4), np.float32))
    reach, near = 96 / 28, 0
    for y, x in np.ndindex(96, 96):
        dy, dx = max(30 - y, y - 49, 0), max(40 - x, x - 59, 0)
        near += math.hypot(dy, dx) <= reach
    assert found["peak, at random"] == pytest.approx(near / 96**2)


def test_perfect_inverted_and_empty_maps(explainer: Explainer, cases: list[Case]) -> None:
    box = ReferenceBox("Mass", 48, 24, 24, 24)
    seen = seen_with(explainer, replace(cases[0], boxes=(box,)), ("Mass", np.s_[24:48, 48:72]))
    perfect = np.zeros((96, 96), np.float32)
    perfect[24:48, 48:72] = 1
    good, bad = localisation(seen, "Mass", perfect), localisation(seen, "Mass", 1 - perfect)
    assert good["peak"] == good["peak, tolerant"] == good["IoBB"] == good["T(IoBB) 0.25"] == 1
    assert good["IoU"] == pytest.approx(1)
    assert good["energy"] == pytest.approx(1)
    assert bad["IoU"] == bad["peak"] == pytest.approx(0)
    assert bad["energy"] == pytest.approx(0)
    nothing = localisation(seen, "Mass", -np.ones((4, 4), np.float32))
    found = {name for name, value in nothing.items() if not math.isnan(value)}
    centre = {"peak, at the centre", "peak, strict, at the centre"}
    assert found == {"peak, at random", "energy, spread evenly"} | centre


def test_a_finding_that_the_model_did_not_see_is_not_estimable(
    explainer: Explainer, cases: list[Case], plan: Plan
) -> None:
    """No rule can be right or wrong about it: no measure of place counts it, as a miss or otherwise."""
    case = wide(cases[0])
    mask = np.zeros(case.radiograph.shape, bool)
    mask[10:30, 2:22] = True
    lean = replace(plan, contenders=contenders(("grad-cam",)), ks=(1, 5), faithful=0, randomised=0, robust=0)
    for boxes in ((), (ReferenceBox("Mass", 2, 10, 20, 20),)):
        tables = measure(explainer, [replace(case, masks={"Mass": mask}, boxes=boxes)], lean)
        strata = {"size", "share", "parts", "kinds", "case", "group", "method", "pathology"}
        for row in tables.alone:
            assert all(math.isnan(value) for name, value in row.items() if name not in strata)
        places = ("class share", "class share, own pixels", "fused peak, tolerant", "outside")
        assert {row["ranked"] for row in tables.fused} == {True, False}
        for row in tables.fused:
            assert all(math.isnan(row[name]) for name in places)


def test_shares_of_a_fused_map_are_sums_over_samples(explainer: Explainer, cases: list[Case]) -> None:
    seen = seen_with(explainer, cases[0], ("Mass", np.s_[20:60, 20:60]), ("Effusion", np.s_[40:80, 40:80]))
    draws = torch.from_numpy(np.random.default_rng(0).random((1, 3, 7, 7)).astype(np.float32))
    mass, effusion = seen.present["Mass"], seen.present["Effusion"]
    other = next(index for index in seen.ranked if index not in (mass, effusion))
    fused = fuse(draws)
    found = dict(sharing(seen, [other, mass, effusion], fused))
    maps = seen.geometry.maps_to_radiograph(fused.maps[0].numpy())
    in_mass = np.zeros((96, 96), bool)
    in_mass[20:60, 20:60] = True
    in_effusion = np.zeros((96, 96), bool)
    in_effusion[40:80, 40:80] = True
    for name, at, mask, beside in (("Mass", 1, in_mass, in_effusion), ("Effusion", 2, in_effusion, in_mass)):
        own = mask & ~beside
        assert found[name]["class share"] == pytest.approx(
            maps[at][mask].sum() / maps[:, mask].sum(), rel=1e-4
        )
        expected = maps[at][own].sum() / maps[:, own].sum()
        assert found[name]["class share, own pixels"] == pytest.approx(expected, rel=1e-4)
        outside = maps[:, ~(in_mass | in_effusion)].sum() / maps.sum()
        assert found[name]["outside"] == pytest.approx(outside, rel=1e-4)
        kept = sum(float(draws[0, at, i, j]) for i, j in np.ndindex(7, 7) if draws[0, :, i, j].argmax() == at)
        assert found[name]["survived"] == pytest.approx(kept / float(draws[0, at].sum()), rel=1e-4)
    missing = dict(sharing(seen, [other, effusion], fuse(draws[:, :2])))
    assert missing["Mass"]["class share"] == missing["Mass"]["fused peak, tolerant"] == 0
    assert math.isnan(missing["Mass"]["survived"])


def test_a_row_has_the_faithfulness_of_direct_calls(
    tables: Tables, cases: list[Case], explainer: Explainer, plan: Plan
) -> None:
    """One class at a time here; all of an image's at once in the study."""
    seen, classifier = show(explainer, cases[0], 0), explainer.classifier
    name, index = next(iter(seen.present.items()))
    inputs, classes = seen.tensor[None], torch.tensor([[index]])
    explain = partial(class_maps, classifier, method="grad-cam")
    maps = explain(inputs, classes)
    chosen = {"seed": seen.seed, "steps": plan.steps}
    gone = deletion(classifier.logits, inputs, classes, maps, **chosen)
    come = insertion(classifier.logits, inputs, classes, maps, **chosen)
    parts = adcc(classifier.logits, explain, inputs, classes, maps)
    removed = road(classifier.logits, inputs, classes, maps, percentages=plan.percentages, seed=seen.seed)
    expected = {
        "DAUC": gone.area,
        "IAUC": come.area,
        "average drop": parts.average_drop,
        "coherency": parts.coherency,
        "complexity": parts.complexity,
        "ADCC": parts.adcc,
        "ROAD": removed,
    }
    (row,) = (r for r in tables.alone if r["method"] == "grad-cam" and r["pathology"] == name and "DAUC" in r)
    for measure_, column in expected.items():
        assert row[measure_] == pytest.approx(float(column[0, 0]), abs=2e-3), measure_
