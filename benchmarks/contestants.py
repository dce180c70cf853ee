"""Who is measured: one builder each, which returns a function of a batch of model inputs.

Every contestant gets its own copy of the same model (some leave hooks or frozen parameters behind), in
channels-last memory format, and produces what its documentation says for the five best-ranked classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn

from benchmarks.facts import computes_bfloat16
from cxr_explain.engines.registry import ENGINES
from cxr_explain.options import Dtype, Engine

TOP_K = 5
LAYER = "features.denseblock4"  # behind `features.norm5` an in-place ReLU makes two of the peers raise
PASS_FLOP = 5.7e9
"""What one image takes in the convolutions of DenseNet-121 at 224: 2.85e9 products, each with a sum."""
Run = Callable[[Tensor], object]


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Args:
        key: short name, for --only.
        label: for people.
        package: distribution it needs; its version is reported.
        build: from a private copy of the model to the function that is timed.
        peer: slower by design of the comparison, so measured in fewer rounds.
        bare: key of the bare pass that an explanation of ours stands beside; '' for what is none of ours.
        dtype: arithmetic of the pass.
    """

    key: str
    label: str
    package: str
    build: Callable[[nn.Module], Run]
    peer: bool = True
    bare: str = ""
    dtype: Dtype = "float32"

    @property
    def version(self) -> str | None:
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


def build_model(*, seed: int = 0) -> nn.Module:
    """TorchXRayVision's DenseNet-121 with random weights: the cost does not depend on them."""
    from cxr_explain import ensure_torchvision_imports

    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    torch.manual_seed(seed)
    return DenseNet().eval().to(memory_format=torch.channels_last)


def build_inputs(batch: int, *, seed: int = 1) -> Tensor:
    """Noise in [-1024, 1024], channels last."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(batch, 1, 224, 224, generator=generator) * 2048 - 1024
    return inputs.contiguous(memory_format=torch.channels_last)


def prepare(contestant: Contestant, model: nn.Module) -> Run:
    """Build a contestant on its own copy of the model."""
    return contestant.build(copy.deepcopy(model))


def _bare(model: nn.Module) -> Run:
    def run(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(inputs)

    return run


def ours(model: nn.Module, *, engine: Engine = "torch", dtype: Dtype = "float32", top_k: int = TOP_K) -> Run:
    """An explanation of ours on an engine."""
    from cxr_explain import Explainer, XRVDenseNet

    explainer = Explainer(XRVDenseNet(model), engine=engine, dtype=dtype)
    return partial(explainer.explain_inputs, top_k=top_k)


def _bare_engine(_model: nn.Module, *, engine: Engine, dtype: Dtype) -> Run:
    """The graph of the body alone, on the engine, as an explanation runs it."""
    compile_body = ENGINES[engine].load()
    body = compile_body(_graph(), dtype=dtype, threads=torch.get_num_threads())

    def run(inputs: Tensor) -> object:
        return body(inputs.contiguous().numpy())

    return run


@cache
def _graph() -> bytes:
    from cxr_explain import XRVDenseNet
    from cxr_explain.engines.compiled import body_graph

    return body_graph(XRVDenseNet(build_model()))


def _product(_model: nn.Module, *, dtype: torch.dtype) -> Run:
    """One matrix product with as many operations as the convolutions of a pass."""
    side = 1408
    right = torch.rand(side, side).to(dtype)
    rows = round(PASS_FLOP / (2 * side * side))

    @cache
    def left(batch: int) -> Tensor:
        return torch.rand(batch * rows, side).to(dtype)

    return lambda inputs: left(len(inputs)) @ right


def _released(model: nn.Module) -> Run:
    from xai_inference_engine.services import FMGCam

    generator = FMGCam(model, model.get_submodule(LAYER), torch.device("cpu"))

    def run(inputs: Tensor) -> None:
        for image in inputs:  # takes one image
            generator(image, class_count=TOP_K)
            generator.my_queue.get_nowait()

    return run


def _pytorch_grad_cam(model: nn.Module) -> Run:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(model, [model.get_submodule(LAYER)])

    def run(inputs: Tensor) -> None:
        cam(inputs, None)  # the best class, and the scores that rank the other four
        for classes in _ranked(cam.outputs)[1:]:
            cam(inputs, [ClassifierOutputTarget(index) for index in classes])

    return run


def _captum(model: nn.Module) -> Run:
    from captum.attr import LayerGradCam

    attribution = LayerGradCam(model, model.get_submodule(LAYER))

    def run(inputs: Tensor) -> None:
        with torch.inference_mode():
            scores = model(inputs)
        for classes in _ranked(scores):
            attribution.attribute(inputs, classes, relu_attributions=True)

    return run


def _torch_cam(model: nn.Module) -> Run:
    from torchcam.methods import GradCAM

    extractor = GradCAM(model, LAYER)

    def run(inputs: Tensor) -> None:
        scores = model(inputs)
        ranked = _ranked(scores)
        for rank, classes in enumerate(ranked):
            extractor(classes, scores, retain_graph=rank + 1 < len(ranked))

    return run


def _monai(model: nn.Module) -> Run:
    from monai.visualize import GradCAM

    cam = GradCAM(nn_module=model, target_layers=LAYER)

    def run(inputs: Tensor) -> None:
        with torch.inference_mode():
            ranked = _ranked(model(inputs))
        for row, image in enumerate(inputs.split(1)):  # one class index serves the whole batch
            for classes in ranked:
                cam(image, class_idx=classes[row])

    return run


def _ranked(scores: Tensor) -> list[list[int]]:
    """For each of the five ranks, the class of each image."""
    return scores.detach().argsort(dim=1, descending=True)[:, :TOP_K].T.tolist()


def _of_engine(engine: Engine, dtype: Dtype, key: str) -> tuple[Contestant, ...]:
    """An engine's bare pass, and our explanation on it."""
    package, title = ENGINES[engine].package, f"{ENGINES[engine].title}, {dtype}"
    if dtype == "bfloat16":
        title += _SIMULATED
    settings = {"engine": engine, "dtype": dtype}
    bare, explain = partial(_bare_engine, **settings), partial(ours, **settings)
    return (
        Contestant(f"bare-{key}", f"bare pass, {title}", package, bare, peer=False, dtype=dtype),
        Contestant(key, f"cxr-explain, {title}", package, explain, False, f"bare-{key}", dtype),
    )


_SIMULATED = "" if computes_bfloat16() else " (simulated)"
CONTESTANTS = (
    Contestant("bare", "bare forward pass, again", "torch", _bare, peer=False),
    Contestant(
        "ours", "cxr-explain, `explain_inputs(x, top_k=5)`", "cxr-explain", ours, peer=False, bare="bare"
    ),
    *_of_engine("onnxruntime", "float32", "onnxruntime"),
    *_of_engine("openvino", "float32", "openvino"),
    *_of_engine("openvino", "bfloat16", "openvino-bfloat16"),
    Contestant(
        "product",
        "matrix product of as many operations, float32",
        "torch",
        partial(_product, dtype=torch.float32),
        peer=False,
    ),
    Contestant(
        "product-bfloat16",
        f"the same product, bfloat16{_SIMULATED}",
        "torch",
        partial(_product, dtype=torch.bfloat16),
        peer=False,
        dtype="bfloat16",
    ),
    Contestant("torch-cam", "torch-cam `GradCAM`", "torchcam", _torch_cam),
    Contestant("captum", "captum `LayerGradCam`", "captum", _captum),
    Contestant("pytorch-grad-cam", "pytorch-grad-cam `GradCAM`", "grad-cam", _pytorch_grad_cam),
    Contestant("monai", "MONAI `GradCAM`, image by image", "monai", _monai),
    Contestant(
        "released", "xai-inference-engine `FMGCam`, image by image", "xai-inference-engine", _released
    ),
)
