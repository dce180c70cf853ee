"""Adapters for TorchXRayVision's DenseNet and ResNet.

Both end in global average pooling and a linear layer, so that no gradient is needed. Their own `forward`
returns calibrated values for published weights; here the logits are taken before that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain.errors import ArchitectureError, ModelError, OptionError
from cxr_explain.models.base import Classifier, Outputs
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.published import put_right
from cxr_explain.radiograph import VALUE_RANGE
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports, xrv_module

_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_FIRST_OF_LAYER = re.compile(r"features\.denseblock([1-9]\d{0,5})\.denselayer[1-9]\d{0,5}\.conv1\.weight")


class XRVClassifier(Classifier):
    """What TorchXRayVision's models share: outputs with names of their own, and one range of inputs."""

    names_outputs = True

    def check_inputs(self, inputs: Tensor) -> None:
        """Refuse inputs that were never scaled as TorchXRayVision's models expect.

        Args:
            inputs: model inputs, (B, C, S, S).

        Raises:
            OptionError: values outside of [-1024, 1024], or all within [0, 1].
        """
        low, high = VALUE_RANGE
        smallest, largest = (value.item() for value in inputs.aminmax())
        slack = 1e-3 * (high - low)  # interpolation overshoots a little
        in_unit = smallest >= 0 and 0 < largest <= 1
        if in_unit or not (low - slack <= smallest and largest <= high + slack):
            raise OptionError(
                f"values from {smallest:g} to {largest:g}",
                expected="values in [-1024, 1024], as TorchXRayVision's data sets give them",
                remedy=f"Scale first: (2 * x{'' if in_unit else ' / maximum'} - 1) * 1024.",
            )


class XRVDenseNet(XRVClassifier, PooledLinearClassifier):
    """A `torchxrayvision.models.DenseNet`, whatever weights it carries.

    Args:
        module: the model.
        outputs: names, or `Outputs` with operating points; by default the model's own `pathologies` (or
            `targets`) and `op_threshs`.
        **description: further arguments of `Classifier`, such as `name` and `input_size`.

    >>> ensure_torchvision_imports()
    >>> import torchxrayvision as xrv
    >>> XRVDenseNet(xrv.models.DenseNet()).pathologies[0]
    'Atelectasis'
    """

    def __init__(
        self, module: nn.Module, outputs: Outputs | Sequence[str] | None = None, **description: Any
    ) -> None:
        description.setdefault("name", _own_name(module, "DenseNet"))
        description.setdefault("input_size", int(getattr(module, "input_resolution", 224)))
        super().__init__(
            module,
            DenseNetBody(module),
            module.classifier,  # type: ignore[arg-type]  # to mypy, it may be a tensor
            outputs or _own_outputs(module),
            target_layer="features (post-ReLU)",
            layer="features",
            **description,
        )

    @classmethod
    def configuration(
        cls, tensors: Mapping[str, Tensor], *, source: str | PathLike[str] | None = None
    ) -> dict[str, Any]:
        """The arguments of `empty` for the module that a checkpoint's tensors belong to, from their shapes.

        Args:
            tensors: the checkpoint's tensors by name.
            source: name of the weights, for the error message.

        Raises:
            ArchitectureError: a tensor that tells the shape is missing or contradicts the others, or a model
                of images in colour.

        >>> small = XRVDenseNet.empty(growth_rate=8, block_config=(2, 3), num_init_features=16, bn_size=2)
        >>> XRVDenseNet.configuration(small.state_dict())["block_config"]
        (2, 3)
        """
        first = _shape_of(tensors, "features.conv0.weight", 4, source)
        layer = "features.denseblock1.denselayer1"
        bottleneck = _shape_of(tensors, f"{layer}.conv1.weight", 4, source)[0]
        growth = _shape_of(tensors, f"{layer}.conv2.weight", 4, source)[0]
        if bottleneck % growth:
            raise ArchitectureError(
                f"{bottleneck} channels between the convolutions of {layer}, and {growth} after them",
                expected="a multiple of that",
                source=source,
            )
        if first[1] != 1:
            raise ArchitectureError(
                f"a first convolution of {first[1]} channels",
                expected="1, for a grey radiograph",
                remedy="Build the model yourself and pass HookedClassifier(model, ..., prepare=...).",
                source=source,
            )
        return {
            "in_channels": 1,
            "num_init_features": first[0],
            "growth_rate": growth,
            "bn_size": bottleneck // growth,
            "block_config": _block_config(tensors),
            "num_classes": _shape_of(tensors, "classifier.weight", 2, source)[0],
        }

    @classmethod
    def empty(cls, **configuration: Any) -> nn.Module:
        """TorchXRayVision's DenseNet with random weights; see `configuration`."""
        return cast(nn.Module, xrv_module("models").DenseNet(**configuration))


class XRVResNet(XRVClassifier, PooledLinearClassifier):
    """A `torchxrayvision.models.ResNet`, or the torchvision ResNet inside it.

    Args:
        module: the model.
        outputs: names, or `Outputs` with operating points; by default the model's own.
        **description: further arguments of `Classifier`, such as `name` and `input_size`.

    >>> from cxr_explain import ensure_torchvision_imports; ensure_torchvision_imports()
    >>> from torchvision.models import resnet18
    >>> model = resnet18(num_classes=2)
    >>> model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)  # radiographs have one channel
    >>> classifier = XRVResNet(model, Outputs(("Effusion", "Mass")), input_size=64)
    >>> classifier.forward(torch.zeros(1, 1, 64, 64)).activations.shape
    torch.Size([1, 512, 2, 2])
    """

    def __init__(
        self, module: nn.Module, outputs: Outputs | Sequence[str] | None = None, **description: Any
    ) -> None:
        backbone: Any = getattr(module, "model", module)
        description.setdefault("name", _own_name(module, "ResNet"))
        description.setdefault("input_size", int(getattr(module, "input_resolution", 512)))
        super().__init__(
            module,
            ResNetBody(backbone),
            backbone.fc,
            outputs or _own_outputs(module),
            target_layer="layer4",
            layer="layer4" if backbone is module else "model.layer4",
            **description,
        )

    @classmethod
    def configuration(
        cls, tensors: Mapping[str, Tensor], *, source: str | PathLike[str] | None = None
    ) -> dict[str, Any]:
        """The arguments of `empty` for the module that a checkpoint's tensors belong to.

        Args:
            tensors: the checkpoint's tensors by name.
            source: name of the weights, for the error message.

        Raises:
            ArchitectureError: no head among the tensors.
        """
        return {"num_classes": _shape_of(tensors, "fc.weight", 2, source)[0]}

    @classmethod
    def empty(cls, *, num_classes: int) -> nn.Module:
        """The ResNet-50 of one channel inside TorchXRayVision's ResNet, with random weights."""
        ensure_torchvision_imports()
        from torchvision.models import resnet50

        module: nn.Module = resnet50(weights=None, num_classes=num_classes)
        module.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        return module


def _shape_of(
    tensors: Mapping[str, Tensor], key: str, dimensions: int, source: str | PathLike[str] | None
) -> torch.Size:
    tensor = tensors.get(key)
    if tensor is None or tensor.ndim != dimensions or 0 in tensor.shape:
        raise ArchitectureError(
            f"no tensor {key}" if tensor is None else f"{key} of shape {tuple(tensor.shape)}",
            expected=f"a TorchXRayVision model, where it has {dimensions} dimensions",
            source=source,
        )
    return tensor.shape


def _block_config(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Count the layers of each block; a gap in their numbers shows when the tensors are fitted."""
    layers = Counter(match[1] for match in map(_FIRST_OF_LAYER.fullmatch, tensors) if match)
    return tuple(layers[name] for name in sorted(layers, key=int))


@dataclass(frozen=True, eq=False)
class DenseNetBody:
    """A DenseNet up to its pooling.

    Args:
        module: the model, with `features` and `classifier`.
    """

    module: nn.Module

    def __post_init__(self) -> None:
        _require(self.module, ("features", "classifier"), "a TorchXRayVision DenseNet")

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        # features2's ReLU, but not in place: a user's hook keeps its tensor.
        return F.relu(self.module.features(inputs))  # type: ignore[operator]  # to mypy, it may be a tensor

    @property
    def network(self) -> nn.Module:
        """See `cxr_explain.models.finer.NetworkBody`."""
        return self.module

    def of(self, network: nn.Module) -> DenseNetBody:
        """See `cxr_explain.models.finer.NetworkBody`."""
        return DenseNetBody(network)


@dataclass(frozen=True, eq=False)
class ResNetBody:
    """A ResNet up to its pooling.

    Args:
        backbone: torchvision's ResNet.
    """

    backbone: nn.Module

    def __post_init__(self) -> None:
        _require(self.backbone, (*_RESNET, "fc"), "a torchvision ResNet")

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        for name in _RESNET:
            inputs = getattr(self.backbone, name)(inputs)
        return inputs

    @property
    def network(self) -> nn.Module:
        """See `cxr_explain.models.finer.NetworkBody`."""
        return self.backbone

    def of(self, network: nn.Module) -> ResNetBody:
        """See `cxr_explain.models.finer.NetworkBody`."""
        return ResNetBody(network)


def _require(module: nn.Module, names: Sequence[str], expected: str) -> None:
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        raise ModelError(f"a {type(module).__name__} without {', '.join(missing)}", expected=expected)


def _own_name(module: nn.Module, architecture: str) -> str:
    return str(getattr(module, "weights", None) or f"TorchXRayVision {architecture}")


def _own_outputs(module: nn.Module) -> Outputs:
    names: Any = getattr(module, "pathologies", None) or getattr(module, "targets", ())
    points: Any = getattr(module, "op_threshs", None)
    return put_right(Outputs(tuple(names), () if points is None else tuple(points.tolist())), module)
