"""Graphs for tests, each exported once for a process: an export takes seconds."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import networks
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxr_explain import Evidence, Explainer, ExportedGraph, HookedClassifier, Outputs, export_graph

K = 5
SIZE = 64
POINTS = (0.2, None, 0.6, 0.5, 0.01, 0.3)
TIED = ("Effusion", "Mass", "Edema", "Hernia", "Fibrosis", "Nodule")


@cache
def of_densenet() -> tuple[Explainer, ExportedGraph]:
    """TorchXRayVision's DenseNet with few layers, compiled, with every setting at its default."""
    module = networks.small_xrv()
    module.input_resolution = SIZE
    explainer = Explainer(torch.compile(module, backend="eager"))
    return explainer, export_graph(explainer, top_k=K)


def tied_net() -> nn.Sequential:
    """A pooled linear head whose second, fourth and fifth output are the same, and the largest."""
    torch.manual_seed(0)
    head = nn.Linear(8, len(TIED))
    net = nn.Sequential(nn.Conv2d(1, 8, 5, 4), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    with torch.no_grad():
        net[0].weight /= 500
        head.weight[[1, 3, 4]] = head.weight[1].abs() + 0.5
        head.bias[[1, 3, 4]] = 0.25
    return net


@cache
def of_ties() -> tuple[Explainer, ExportedGraph]:
    """Outputs that are equal, explained at a hooked layer; three of five may rank, by the probability."""
    explainer = Explainer(
        HookedClassifier(tied_net(), "1", Outputs(TIED, POINTS), input_size=32, phantom_only=True),
        normalisation="per-class",
        activation="elu",
        fit="pad",
    )
    return explainer, export_graph(explainer, top_k=3, pathologies=("Fibrosis", "Edema", "Hernia", "Mass"))


def energy(evidence: Evidence) -> Tensor:
    """A rule of one's own."""
    a = evidence.activations
    return torch.einsum("bkc,bcij->bkij", evidence.weights, a * a.square().mean(dim=(2, 3), keepdim=True))


@cache
def of_calibrated_softmax() -> tuple[Explainer, ExportedGraph]:
    """One of several is true, ranked by operating points; a rule of one's own."""
    net = networks.randomise(tied_net(), seed=3)
    explainer = Explainer(
        HookedClassifier(net, "1", Outputs(TIED, POINTS, "softmax-logits"), input_size=32),
        method=energy,
        fused=False,
        normalisation="released",
    )
    return explainer, export_graph(explainer, top_k=9, rank_by="calibrated")


def by_onnx_runtime(graph: ExportedGraph, images: Tensor) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(graph.content, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"image": images.numpy()}))


def by_openvino(graph: ExportedGraph, images: Tensor) -> list[NDArray[Any]]:
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(graph.content), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    given = compiled(images.numpy())
    return [np.array(given[index]) for index in range(5)]


def in_float64(module: nn.Module) -> Any:
    """The same network in float64."""
    return copy.deepcopy(module).double().eval()
