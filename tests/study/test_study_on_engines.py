"""A study by another engine: the same tables, in the record, and never mixed with torch's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cxr_explain import Explainer, class_maps
from cxr_explain.engines.following import following
from cxr_explain.engines.registry import ENGINES
from cxr_explain.errors import OptionError, OutputError
from cxr_explain.explaining.explainer import Pretrained
from cxr_explain.study.cases import Case, phantom_cases
from cxr_explain.study.measure import Tables, measure
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.run import run_study
from cxr_explain.study.session import CaseSource, EvaluationSettings, stack_of_layers
from tests.engine_networks import counted, small_classifier
from tests.networks import images

PLAN = Plan(
    contenders(("grad-cam", "score-cam")),
    ks=(2,),
    normalisations=("joint",),
    activations=("relu",),
    steps=4,
    percentages=(50,),
    faithful=1,
    randomised=2,
    draws=1,
    robust=1,
)
BOUND = 1e-3


@pytest.fixture(scope="module")
def few() -> list[Case]:
    return list(phantom_cases(2, seed=10_000_007, size=96))


@pytest.fixture(scope="module")
def by_torch(few: list[Case]) -> Tables:
    return measure(Explainer(small_classifier()), few, PLAN)


@pytest.fixture(scope="module")
def compiled() -> Explainer:
    explainer = Explainer(small_classifier(), engine="openvino")
    following(explainer.classifier)  # exported here, where nobody counts what the body is asked
    return explainer


def differences(one: Tables, other: Tables) -> Iterator[tuple[str, float]]:
    for name, rows in vars(one).items():
        others = vars(other)[name]
        assert len(rows) == len(others), name
        for row, second in zip(rows, others, strict=True):
            assert row.keys() == second.keys()
            for key, value in row.items():
                if isinstance(value, float):
                    assert math.isnan(value) == math.isnan(second[key]), key
                    yield f"{name}: {key}", 0.0 if math.isnan(value) else abs(value - second[key])
                else:
                    assert value == second[key], key


def test_the_tables_are_those_of_torch(few: list[Case], by_torch: Tables, compiled: Explainer) -> None:
    assert compiled.settings.engine == "openvino"
    with counted(small_classifier()) as by_module:
        found = measure(compiled, few, PLAN)
    assert by_module == []  # of all passes, those of the randomised weights, too
    worst = max(differences(found, by_torch), key=lambda each: each[1])
    assert worst[1] <= BOUND, worst


def test_a_record_says_the_engine_and_refuses_another(
    few: list[Case], compiled: Explainer, tmp_path: Path
) -> None:
    model, plan = Pretrained("small"), replace(PLAN, faithful=0, randomised=0, robust=0)
    run_study(model, few, plan, tmp_path, of="two phantoms", explainer=compiled)
    record = json.loads((tmp_path / "study.json").read_text())
    assert record["engine"] == ENGINES["openvino"].version
    assert record["precision"] == "float32"
    run_study(model, few, plan, tmp_path, of="two phantoms", explainer=compiled)
    with pytest.raises(OutputError, match="a study of another engine"):
        run_study(model, few, plan, tmp_path, of="two phantoms", explainer=Explainer(small_classifier()))


def test_reduced_precision_is_refused_where_it_would_be_that_of_one_pass() -> None:
    settings = EvaluationSettings(CaseSource(), Pretrained("phantom", {"dtype": "bfloat16"}))
    with pytest.raises(OptionError, match=r"dtype='bfloat16' with torch; expected .*engine='openvino'"):
        _ = settings.explainer


def test_a_case_is_scored_once_for_all_its_measures(few: list[Case]) -> None:
    """Each map costs 2 (T - 1) images of its curves, 2 P of ROAD and a masked one; all share the blank."""
    plan = replace(PLAN, contenders=PLAN.contenders[:1], randomised=0, robust=0, ranked=())
    classifier = small_classifier()
    with counted(classifier) as passes:
        tables = measure(Explainer(classifier), few[:1], plan)
    maps = len([row for row in tables.alone if not math.isnan(row.get("DAUC", math.nan))])
    assert maps == len(tables.alone)
    prepared = 1 + 1  # the image for its ranking, and again for the maps of all contenders
    assert sum(passes) <= prepared + 1 + maps * (2 * (4 - 1) + 2 + 1)


def test_a_study_has_the_stack_of_layers_with_any_engine(compiled: Explainer) -> None:
    layers = stack_of_layers(compiled.classifier)
    assert layers == stack_of_layers(small_classifier()) == ("features.transition1.relu", "features")
    for classifier in (compiled.classifier, following(compiled.classifier)):
        maps, expected = (
            class_maps(each, images(2), torch.tensor([0, 4]), method="layercam", layers=layers)
            for each in (classifier, small_classifier())
        )
        torch.testing.assert_close(maps, expected)
