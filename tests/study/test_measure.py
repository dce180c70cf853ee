"""Rows: what the evaluation functions say, with a floor and a ceiling beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from cxr_explain import Explainer, class_maps
from cxr_explain.errors import PhantomWeightsError
from cxr_explain.measures.boxes import region_boxes
from cxr_explain.measures.localisation import class_share, peak_hit, within
from cxr_explain.measures.overlap import energy_in_mask, iou
from cxr_explain.measures.segmentation import segment
from cxr_explain.models.xrv import XRVDenseNet
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.radiograph import Radiograph
from cxr_explain.study.cases import Case
from cxr_explain.study.measure import RANDOM, REFERENCE, UNRELATED, MeasureRow, Tables, measure
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.seen_case import show
from tests.networks import small_xrv


def rows_of(rows: Sequence[MeasureRow], **chosen: object) -> list[MeasureRow]:
    return [row for row in rows if all(row[name] == value for name, value in chosen.items())]


def test_every_finding_has_a_row_for_every_choice(tables: Tables, cases: list[Case], plan: Plan) -> None:
    findings = {(case.id, name) for case in cases for name in case.masks}
    methods = [each.name for each in plan.contenders]
    assert {(row["case"], row["pathology"]) for row in tables.alone} == findings
    assert len(tables.alone) == len(findings) * (len(methods) + 2)
    assert len(tables.fused) == len(findings) * len(methods) * 2 * 3 * 3
    assert {row["method"] for row in tables.fused} == set(methods)


def test_a_row_has_what_the_functions_say_at_full_resolution(
    tables: Tables, cases: list[Case], explainer: Explainer
) -> None:
    """Phantoms of 96 pixels are judged in their own pixels, by one map and by a fusion."""
    case = cases[0]
    seen = show(explainer, case, 0)
    for name, index in seen.present.items():
        maps = class_maps(explainer.classifier, seen.tensor[None], torch.tensor([[index]]))
        saliency = seen.geometry.maps_to_radiograph(maps[0, 0].numpy())
        (row,) = rows_of(tables.alone, case=case.id, pathology=name, method="grad-cam")
        assert row["peak"] == peak_hit(saliency, case.masks[name])
        assert row["peak, tolerant"] == peak_hit(saliency, within(case.masks[name], 96 / 28))
        assert row["IoU"] == pytest.approx(iou(segment(np.maximum(saliency, 0)), case.masks[name]))
        assert row["energy"] == pytest.approx(energy_in_mask(saliency, case.masks[name]))
    explanation = explainer.explain(case.radiograph, top_k=2)
    maps = explanation.maps_in_radiograph()
    for at, pathology in enumerate(explanation.ranking.pathologies):
        if pathology in case.masks:
            (row,) = rows_of(
                tables.fused,
                case=case.id,
                pathology=pathology,
                method="grad-cam",
                K=2,
                normalisation="joint",
                activation="relu",
            )
            expected = class_share(maps, at, case.masks[pathology])
            assert row["class share"] == pytest.approx(expected, abs=1e-6)


def test_what_is_not_among_the_top_has_no_share(tables: Tables) -> None:
    out = [row for row in tables.fused if not row["ranked"]]
    assert out
    assert {row["class share"] for row in out} == {0.0}
    assert all(math.isnan(row["survived"]) for row in out)


def test_random_is_chance_and_the_reference_is_the_top(tables: Tables) -> None:
    """The reference lies in 28 x 28 cells, so that its IoU with itself in pixels is short of 1."""
    random, reference = (rows_of(tables.alone, method=method) for method in (RANDOM, REFERENCE))
    rules = [row for row in tables.alone if row["method"] not in (RANDOM, REFERENCE)]
    for measure_ in ("peak, tolerant", "IoU", "energy"):
        floor, top = (np.mean([row[measure_] for row in rows]) for rows in (random, reference))
        middle = np.mean([row[measure_] for row in rules])
        assert floor < middle <= top
    spread = np.mean([row["energy, spread evenly"] for row in random])
    assert np.mean([row["energy"] for row in random]) == pytest.approx(spread, rel=0.1)
    assert {row["peak, tolerant"] for row in reference} == {1.0}


def test_one_map_under_two_names_has_the_same_rows(tables: Tables) -> None:
    """Behind a linear head CAM and Grad-CAM are proportional; Eigen-CAM is another map."""

    def numbers(rows: list[MeasureRow], method: str) -> list[dict[str, object]]:
        return [
            {name: str(value) for name, value in row.items() if name != "method"}
            for row in rows_of(rows, method=method)
        ]

    for rows in (tables.alone, tables.fused):
        assert numbers(rows, "cam") == numbers(rows, "grad-cam") != numbers(rows, "eigen-cam")


def test_only_the_first_cases_are_asked_for_more(tables: Tables, cases: list[Case]) -> None:
    assert {row["case"] for row in tables.alone if "DAUC" in row} == {cases[0].id}
    assert {row["case"] for row in tables.ranks} == {cases[0].id}
    assert {row["case"] for row in tables.randomised} == {case.id for case in cases[:2]}
    assert {row["case"] for row in tables.robust} == {cases[0].id}
    assert {row["method"] for row in tables.ranks} == {"grad-cam"}
    assert [row["rank"] for row in tables.ranks] == [1, 2]


def test_the_classifiers_weights_matter_to_grad_cam_and_not_to_eigen_cam(tables: Tables) -> None:
    first = rows_of(tables.randomised, step=1)
    assert {row["layer"] for row in first} == {"classifier"}
    assert all(row["Spearman"] == pytest.approx(1) for row in rows_of(first, method="eigen-cam"))
    assert all(row["Spearman"] < 0.9 for row in rows_of(first, method="grad-cam"))
    assert {row["layer"] for row in rows_of(tables.randomised, step=0)} == {UNRELATED}


def test_repeated_maps_are_the_same(tables: Tables) -> None:
    assert all(row["repeated"] < 1e-4 for row in tables.robust)
    assert all(row["noise"] > 0.9 for row in rows_of(tables.robust, method="grad-cam"))


def test_cases_are_measured_alike_in_any_batch(
    tables: Tables, cases: list[Case], explainer: Explainer, plan: Plan
) -> None:
    lean = replace(plan, faithful=0, randomised=0, robust=0)
    alone = measure(explainer, cases[1:2], lean, first=1)
    expected = rows_of(tables.alone, case=cases[1].id)
    assert len(alone.alone) == len(expected)
    for ours, theirs in zip(alone.alone, expected, strict=True):
        assert ours["IoU"] == pytest.approx(theirs["IoU"], abs=1e-3)
        assert ours["pathology"] == theirs["pathology"]


def test_a_model_of_phantoms_refuses_a_radiograph(explainer: Explainer, cases: list[Case]) -> None:
    other = Radiograph.from_array(np.zeros((96, 96)), id="other")
    case = replace(cases[0], radiograph=other)
    with pytest.raises(PhantomWeightsError, match="other"):
        measure(explainer, [case], Plan(contenders(("grad-cam",)), randomised=0))


def test_boxes_are_scored_by_iobb(explainer: Explainer, cases: list[Case], plan: Plan) -> None:
    lean = replace(plan, faithful=0, randomised=0, robust=0, ks=(1,))
    boxes = tuple(
        ReferenceBox(name, left, top, right - left, bottom - top)
        for name, mask in cases[0].masks.items()
        for left, top, right, bottom in region_boxes(mask)
    )
    boxed = measure(explainer, [replace(cases[0], boxes=boxes)], lean)
    assert {row["T(IoBB) 0.25"] for row in rows_of(boxed.alone, method=REFERENCE)} == {1.0}
    assert all(row["T(IoBB) 0.25"] in (0.0, 1.0) for row in boxed.alone)


def test_strata_say_size_parts_and_kinds(cases: list[Case]) -> None:
    mask = np.zeros((40, 40), bool)
    mask[:4, :9] = True
    one = Case("a", "a", cases[0].radiograph, {"Mass": mask})
    assert one.strata("Mass") == {"size": "small", "share": 36 / 1600, "parts": 1, "kinds": 1}
    mask = mask.copy()
    mask[4:8, 9:12] = True  # touches by a corner
    mask[30:, 30:] = True
    two = Case("a", "a", cases[0].radiograph, {"Mass": mask, "Edema": ~mask})
    assert two.strata("Mass") == {"size": "large", "share": 148 / 1600, "parts": 2, "kinds": 2}


def test_the_model_leaves_as_it_came(cases: list[Case], plan: Plan) -> None:
    explainer = Explainer(XRVDenseNet(small_xrv(), input_size=64))
    one = replace(plan, contenders=contenders(("grad-cam",)), ks=(1,))
    before = {name: value.clone() for name, value in explainer.classifier.module.state_dict().items()}
    measure(explainer, cases[:1], one)
    after = explainer.classifier.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.grad is not None for p in explainer.classifier.module.parameters())
