"""Adapters for TorchXRayVision's DenseNet and ResNet, and the models of weights files.

Both end in global average pooling and a linear layer, so that no gradient is needed. Their own `forward`
returns calibrated values for published weights; here the logits are taken before that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain.errors import ArchitectureError, ModelError
from cxr_explain.models.base import Outputs
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.pathologies import PATHOLOGIES
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports
from cxr_explain.weights import (
    Architecture,
    Checkpoint,
    CheckpointFacts,
    Weights,
    check_fit,
    load_into,
    open_weights,
)

if TYPE_CHECKING:
    from cxr_explain.weights import WeightsEntry

_FIRST_OF_LAYER = re.compile(r"features\.denseblock([1-9]\d{0,5})\.denselayer[1-9]\d{0,5}\.conv1\.weight")


class XRVDenseNet(PooledLinearClassifier):
    """A `torchxrayvision.models.DenseNet`, whatever weights it carries.

    Args:
        module: the model.
        outputs: names and operating points; by default the model's own `pathologies` (or `targets`) and
            `op_threshs`.
        **description: see `Classifier`.

    >>> ensure_torchvision_imports()
    >>> import torchxrayvision as xrv
    >>> XRVDenseNet(xrv.models.DenseNet()).pathologies[0]
    'Atelectasis'
    """

    def __init__(self, module: nn.Module, outputs: Outputs | None = None, **description: Any) -> None:
        description.setdefault("name", _own_name(module, "DenseNet"))
        description.setdefault("input_size", int(getattr(module, "input_resolution", 224)))
        super().__init__(
            module,
            _densenet_body(module),
            module.classifier,  # type: ignore[arg-type]
            outputs or _own_outputs(module),
            target_layer="features (post-ReLU)",
            **description,
        )


class XRVResNet(PooledLinearClassifier):
    """A `torchxrayvision.models.ResNet`, or the torchvision ResNet inside it.

    Args:
        module: the model.
        outputs: names and operating points; by default the model's own.
        **description: see `Classifier`.

    >>> from cxr_explain import ensure_torchvision_imports; ensure_torchvision_imports()
    >>> from torchvision.models import resnet18
    >>> model = resnet18(num_classes=2)
    >>> model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)  # radiographs have one channel
    >>> classifier = XRVResNet(model, Outputs(("Effusion", "Mass")), input_size=64)
    >>> classifier.forward(torch.zeros(1, 1, 64, 64)).activations.shape
    torch.Size([1, 512, 2, 2])
    """

    def __init__(self, module: nn.Module, outputs: Outputs | None = None, **description: Any) -> None:
        backbone: Any = getattr(module, "model", module)
        description.setdefault("name", _own_name(module, "ResNet"))
        description.setdefault("input_size", int(getattr(module, "input_resolution", 512)))
        super().__init__(
            module,
            _resnet_body(backbone),
            backbone.fc,
            outputs or _own_outputs(module),
            target_layer="layer4",
            **description,
        )


def from_pretrained(
    weights: str | PathLike[str],
    *,
    weights_dir: str | PathLike[str] | None = None,
    fetch: bool = True,
) -> PooledLinearClassifier:
    """Build the classifier of a set of weights with a name, or of a checkpoint file.

    A file may hold TorchXRayVision's DenseNet of any depth and width, told by the tensors' shapes, or its
    ResNet-50. Of a safetensors file the names of the outputs, their operating points, the training sets and
    the input size are read too, where its metadata say them: see `cxr_explain.weights.facts`.

    Args:
        weights: a name of the registry ("densenet121-res224-nih"), or the path of a checkpoint.
        weights_dir: where weights lie; by default TorchXRayVision's own folder.
        fetch: download what is missing.

    Raises:
        WeightsError: unknown, missing, unsafe, changed, or of another architecture.
    """
    opened, checkpoint = open_weights(weights, weights_dir, fetch=fetch)
    # Weights that this package owns may be laid out for speed; a user's model is never touched.
    return _build(opened, checkpoint)


def _build(opened: Weights, checkpoint: Checkpoint) -> PooledLinearClassifier:
    architecture = _architecture(opened.entry, checkpoint)
    is_resnet = architecture == "xrv-resnet50"
    head = checkpoint.state_dict.get("fc.weight" if is_resnet else "classifier.weight")
    if head is None or head.ndim != 2:
        raise ArchitectureError(
            f"no classification head among {len(checkpoint.state_dict)} tensors",
            expected="a TorchXRayVision DenseNet or ResNet-50 with its head",
            source=opened.path,
        )
    outputs = _outputs(opened, checkpoint, len(head))
    module = _module(architecture, checkpoint.state_dict, opened.name)
    load_into(module, checkpoint.state_dict, name=opened.name)
    module.eval().requires_grad_(False)
    adapter: Callable[..., PooledLinearClassifier] = XRVResNet if is_resnet else XRVDenseNet
    return adapter(
        module.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        outputs,
        name=opened.name,
        weights_sha256=opened.sha256,
        **_description(opened.entry, checkpoint.facts, 512 if is_resnet else 224),
    )


def _architecture(entry: WeightsEntry | None, checkpoint: Checkpoint) -> Architecture:
    if entry is not None:
        return entry.architecture
    return "xrv-resnet50" if "layer4.0.conv1.weight" in checkpoint.state_dict else "xrv-densenet"


def _description(entry: WeightsEntry | None, facts: CheckpointFacts, input_size: int) -> dict[str, Any]:
    """The registry's word, else the file's; a file is taken at its word that it knows phantoms alone."""
    phantom_only = facts.trained_on == "phantoms"
    if entry is not None:
        return {
            "training_sets": entry.training_sets,
            "input_size": entry.input_size,
            "phantom_only": phantom_only or entry.trained_on == "phantoms",
        }
    return {
        "training_sets": facts.training_sets or (),
        "input_size": facts.input_size or input_size,
        "phantom_only": phantom_only,
    }


def _outputs(opened: Weights, checkpoint: Checkpoint, count: int) -> Outputs:
    entry = opened.entry
    names = (entry.pathologies if entry else checkpoint.pathologies) or PATHOLOGIES
    points = entry.operating_points if entry else checkpoint.facts.operating_points or ()
    if len(names) != count and entry is not None and not entry.bundled:
        # A published file of another size; `load_into` says which tensors do not fit.
        return Outputs(names, points)
    if len(names) != count:
        named = names is not PATHOLOGIES
        raise ArchitectureError(
            f"{count} outputs and {len(names)} names" if named else f"{count} outputs without names",
            expected="a name for each output" if named else f"TorchXRayVision's {len(PATHOLOGIES)} outputs",
            remedy="Name them in the metadata of a safetensors file, as in cxr_explain.weights.facts, "
            "or build the model yourself and pass XRVDenseNet(model, Outputs(names)).",
            source=opened.path,
        )
    return Outputs(tuple(names), points)


def _module(architecture: Architecture, state_dict: Mapping[str, Tensor], name: str) -> nn.Module:
    """An empty model for these tensors, built only once it is known that they fit.

    The published DenseNets have one shape. For any other file the shapes are the file's word, so they are
    tried on a model without memory first: nothing larger than the file itself is ever allocated.
    """
    if architecture == "xrv-resnet50":
        return empty_resnet50(len(state_dict["fc.weight"]))
    if architecture == "xrv-densenet121":
        return empty_densenet(num_classes=len(state_dict["classifier.weight"]))
    configuration = densenet_configuration(state_dict, source=name)
    if configuration["in_channels"] != 1:
        raise ArchitectureError(
            f"a first convolution of {configuration['in_channels']} channels",
            expected="1, for a grey radiograph",
            remedy="Build the model yourself and pass HookedClassifier(model, ..., prepare=...).",
            source=name,
        )
    with torch.device("meta"):
        check_fit(empty_densenet(**configuration), state_dict, name=name)
    return empty_densenet(**configuration)


def densenet_configuration(
    state_dict: Mapping[str, Tensor], *, source: str | PathLike[str] | None = None
) -> dict[str, Any]:
    """The arguments of the `torchxrayvision.models.DenseNet` that a state dict belongs to, from its shapes.

    Args:
        state_dict: the tensors by name.
        source: the weights, for the error message.

    Raises:
        ArchitectureError: a tensor that tells the shape is missing or contradicts the others.

    >>> ensure_torchvision_imports()
    >>> import torchxrayvision as xrv
    >>> small = xrv.models.DenseNet(growth_rate=8, block_config=(2, 3), num_init_features=16, bn_size=2)
    >>> densenet_configuration(small.state_dict())["block_config"]
    (2, 3)
    """
    first = _shape_of(state_dict, "features.conv0.weight", 4, source)
    layer = "features.denseblock1.denselayer1"
    bottleneck = _shape_of(state_dict, f"{layer}.conv1.weight", 4, source)[0]
    growth = _shape_of(state_dict, f"{layer}.conv2.weight", 4, source)[0]
    if bottleneck % growth:
        raise ArchitectureError(
            f"{bottleneck} channels between the convolutions of {layer}, and {growth} after them",
            expected="a multiple of that",
            source=source,
        )
    return {
        "in_channels": first[1],
        "num_init_features": first[0],
        "growth_rate": growth,
        "bn_size": bottleneck // growth,
        "block_config": _block_config(state_dict),
        "num_classes": _shape_of(state_dict, "classifier.weight", 2, source)[0],
    }


def _shape_of(
    state_dict: Mapping[str, Tensor], key: str, dimensions: int, source: str | PathLike[str] | None
) -> torch.Size:
    tensor = state_dict.get(key)
    if tensor is None or tensor.ndim != dimensions or 0 in tensor.shape:
        raise ArchitectureError(
            f"no tensor {key}" if tensor is None else f"{key} of shape {tuple(tensor.shape)}",
            expected=f"a TorchXRayVision DenseNet, where it has {dimensions} dimensions",
            source=source,
        )
    return tensor.shape


def _block_config(state_dict: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Count the layers of each block; a gap in their numbers shows when the tensors are fitted."""
    layers = Counter(match[1] for match in map(_FIRST_OF_LAYER.fullmatch, state_dict) if match)
    return tuple(layers[name] for name in sorted(layers, key=int))


def empty_densenet(**configuration: Any) -> nn.Module:
    """TorchXRayVision's DenseNet with random weights; see `densenet_configuration`."""
    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    return cast(nn.Module, DenseNet(**configuration))


def empty_resnet50(outputs: int) -> nn.Module:
    """The torchvision ResNet-50 of one channel that TorchXRayVision's ResNet wraps, with random weights."""
    ensure_torchvision_imports()
    from torchvision.models import resnet50

    module: nn.Module = resnet50(weights=None, num_classes=outputs)
    module.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return module


def _densenet_body(module: Any) -> Callable[[Tensor], Tensor]:
    _require(module, ("features", "classifier"), "a TorchXRayVision DenseNet")

    def body(inputs: Tensor) -> Tensor:
        # features2's ReLU, but not in place: a user's hook keeps its tensor.
        return F.relu(module.features(inputs))

    return body


def _resnet_body(backbone: nn.Module) -> Callable[[Tensor], Tensor]:
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    _require(backbone, (*names, "fc"), "a torchvision ResNet")

    def body(inputs: Tensor) -> Tensor:
        for name in names:
            inputs = getattr(backbone, name)(inputs)
        return inputs

    return body


def _require(module: nn.Module, names: Sequence[str], expected: str) -> None:
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        raise ModelError(f"a {type(module).__name__} without {', '.join(missing)}", expected=expected)


def _own_name(module: nn.Module, architecture: str) -> str:
    return str(getattr(module, "weights", None) or f"TorchXRayVision {architecture}")


def _own_outputs(module: nn.Module) -> Outputs:
    names: Any = getattr(module, "pathologies", None) or getattr(module, "targets", ())
    points: Any = getattr(module, "op_threshs", None)
    return Outputs(tuple(names), () if points is None else tuple(points.tolist()))
