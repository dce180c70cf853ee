"""What is compared, and how much of it."""

from __future__ import annotations

from typing import get_args

import pytest

from cxr_explain.cam.perturbation import ScoreCAM
from cxr_explain.cam.registry import LAYER_RULES, Method
from cxr_explain.options import Activation, Normalisation
from cxr_explain.study.plan import ALL, PRESENT, Contender, contenders, full_plan, plain_plan, validity_plan


def test_the_full_plan_has_every_rule_of_layers_and_every_fusion() -> None:
    plan = full_plan(layers=("a", "b"))
    assert [each.name for each in plan.contenders] == [
        *LAYER_RULES,
        "grad-cam, 5 shifts",
        "grad-cam, 5 greys",
        "layercam, 2 layers",
    ]
    assert plan.contenders[-1].layers == ("a", "b")
    fusions = list(plan.fusions)
    assert len(set(fusions)) == len(fusions) == 5 * len(get_args(Normalisation)) * len(get_args(Activation))


def test_the_plain_plan_is_one_fusion_for_all_cases() -> None:
    plan = plain_plan(("cam",), k=3, normalisation="per-class", activation="elu")
    assert list(plan.fusions) == [(3, "per-class", "elu")]
    assert (plan.faithful, plan.randomised, plan.robust, plan.ranked) == (ALL, 0, 0, ("cam",))


def test_the_validity_fuses_the_top_k_and_what_is_there_in_every_phantom() -> None:
    plan = validity_plan(k=3, activation="elu")
    assert [each.name for each in plan.contenders] == ["grad-cam"]
    assert list(plan.fusions) == [(k, name, "elu") for k in (PRESENT, 3) for name in get_args(Normalisation)]
    assert (plan.counterfactual, plan.faithful, plan.randomised, plan.robust) == (ALL, 0, 0, 0)
    assert plan.quick.counterfactual == ALL


def test_a_quick_plan_has_fewer_steps_and_adds_nothing() -> None:
    plan = full_plan(("score-cam", "cam"))
    quick = plan.quick
    assert (quick.steps, quick.percentages, quick.randomised, quick.robust) == (7, (30,), 2, 2)
    assert quick.contenders == (
        Contender("score-cam, 8 channels", ScoreCAM(channels=8)),
        Contender("cam", "cam"),
    )
    plain = plain_plan(("cam",), k=3, normalisation="joint", activation="relu")
    assert (plain.quick.randomised, plain.quick.robust) == (0, 0)


@pytest.mark.parametrize("methods", [("cam",), ("grad-cam", "cam")])
def test_the_rules_stand_in_the_order_asked(methods: tuple[Method, ...]) -> None:
    assert tuple(each.method for each in contenders(methods)) == methods
