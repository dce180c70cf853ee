"""One explanation is one pass through the body, with every engine, and no engine is imported unasked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from networks import small_xrv
from torch import Tensor

from cxr_explain import Explainer, XRVDenseNet
from cxr_explain.engines.registry import ENGINES
from cxr_explain.options import Engine

SIDE = 64


@pytest.fixture(scope="module")
def explainers() -> dict[Engine, Explainer]:
    """An explainer on each engine, of the same weights."""
    return {
        engine: Explainer(XRVDenseNet(small_xrv(), input_size=SIDE), engine=engine)
        for engine in ENGINES
        if engine != "auto"
    }


def images(count: int) -> Tensor:
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(count)) * 2048 - 1024


class Counted:
    """A body that is what it was, and counts."""

    def __init__(self, body: Callable[[Tensor], Tensor]) -> None:
        self.body = body
        self.batches: list[int] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        self.batches.append(len(inputs))
        return self.body(inputs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("top_k", [1, 5, 18])
def test_one_pass_through_the_body_however_many_classes(
    explainers: dict[Engine, Explainer], engine: Engine, top_k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = explainers[engine]
    for count in (1, 3):
        explainer.explain_inputs(images(count))  # the first of each kind is checked beside calling the model
    counted = Counted(explainer.classifier._body)
    monkeypatch.setattr(explainer.classifier, "_body", counted)
    for count in (1, 3):
        explainer.explain_inputs(images(count), top_k=top_k)
    assert counted.batches == [1, 3]


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "torch"])
def test_an_engine_ranks_and_shows_what_torch_does(
    explainers: dict[Engine, Explainer], engine: Engine
) -> None:
    ours, torchs = (explainers[each].explain_inputs(images(3), top_k=5) for each in (engine, "torch"))
    for one, other, ranking, expected in zip(
        ours.fused, torchs.fused, ours.rankings, torchs.rankings, strict=True
    ):
        assert ranking.pathologies == expected.pathologies
        torch.testing.assert_close(one.maps, other.maps, atol=1e-4, rtol=0)
        torch.testing.assert_close(one.class_maps, other.class_maps, atol=1e-5, rtol=1e-3)


def test_no_engine_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys, torch, cxr_explain\n"
        "from cxr_explain import Explainer, XRVDenseNet\n"
        "from networks import small_xrv\n"
        "explainer = Explainer(XRVDenseNet(small_xrv(), input_size=64))\n"
        "explainer.explain_inputs(torch.zeros(1, 1, 64, 64), top_k=2)\n"
        "print(sorted({'onnx', 'onnxscript', 'onnxruntime', 'openvino'} & set(sys.modules)))"
    )
    code = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n{code}"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
