"""One small study, made once: three phantoms, two rules, few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxr_explain import Explainer
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.study.cases import Case, phantom_cases
from cxr_explain.study.measure import Tables, measure
from cxr_explain.study.plan import Plan, contenders

SEED = 10_000_007
"""Its phantom has two findings, which faithfulness is measured for at once."""


@pytest.fixture(scope="session")
def explainer() -> Explainer:
    return Explainer.from_pretrained("phantom")


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    return list(phantom_cases(3, seed=SEED, size=96))


@pytest.fixture(scope="session")
def plan() -> Plan:
    return Plan(
        contenders(("cam", "grad-cam", "eigen-cam")),
        ks=(1, 2),
        steps=2,
        percentages=(50,),
        resamples=20,
        faithful=1,
        randomised=2,
        draws=2,
        robust=1,
    )


@pytest.fixture(scope="session")
def tables(explainer: Explainer, cases: list[Case], plan: Plan) -> Tables:
    return measure(explainer, cases, plan)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four phantoms on disk, with boxes and masks."""
    folder = tmp_path_factory.mktemp("dataset") / "phantoms"
    for _ in write_dataset(folder, n=4, seed=SEED, size=96):
        pass
    return folder
