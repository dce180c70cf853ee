"""Adapters for TorchXRayVision's DenseNet and ResNet, and the models of its published weights.

Both end in global average pooling and a linear layer, so that no gradient is needed. Their own `forward`
returns calibrated values for published weights; here the logits are taken before that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain._torchvision import ensure_torchvision_imports
from cxr_explain.errors import ArchitectureError, ModelError
from cxr_explain.models.base import Outputs
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.weights import Checkpoint, Weights, load_into, open_weights
from cxr_explain.pathologies import PATHOLOGIES

if TYPE_CHECKING:
    from cxr_explain.models.weights import WeightsEntry


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
    """Build the classifier of a published set of weights, or of a checkpoint file of the same architecture.

    Args:
        weights: a name of the registry ("densenet121-res224-nih"), or the path of a checkpoint.
        weights_dir: where weights lie; by default TorchXRayVision's own folder.
        fetch: download what is missing.

    Raises:
        WeightsError: unknown, missing, unsafe, changed, or not of this architecture.
    """
    opened, checkpoint = open_weights(weights, weights_dir, fetch=fetch)
    # Weights that this package owns may be laid out for speed; a user's model is never touched.
    return _build(opened, checkpoint)


def _build(opened: Weights, checkpoint: Checkpoint) -> PooledLinearClassifier:
    entry = opened.entry
    is_resnet = (
        entry.architecture == "xrv-resnet50" if entry else "layer4.0.conv1.weight" in checkpoint.state_dict
    )
    head = checkpoint.state_dict.get("fc.weight" if is_resnet else "classifier.weight")
    if head is None or head.ndim != 2:
        raise ArchitectureError(
            f"no classification head among {len(checkpoint.state_dict)} tensors",
            expected="a TorchXRayVision DenseNet-121 or ResNet-50 with its head",
            source=opened.path,
        )
    outputs = _outputs(entry, checkpoint, len(head))
    module = _empty_resnet50(len(head)) if is_resnet else _empty_densenet121(len(head))
    load_into(module, checkpoint.state_dict, name=opened.name)
    module.eval().requires_grad_(False)
    description = {
        "name": opened.name,
        "weights_sha256": opened.sha256,
        "training_sets": entry.training_sets if entry else (),
        "input_size": entry.input_size if entry else (512 if is_resnet else 224),
    }
    adapter: Callable[..., PooledLinearClassifier] = XRVResNet if is_resnet else XRVDenseNet
    return adapter(module.to(memory_format=torch.channels_last), outputs, **description)  # type: ignore[call-overload]


def _outputs(entry: WeightsEntry | None, checkpoint: Checkpoint, count: int) -> Outputs:
    if entry is not None:
        return Outputs(entry.pathologies, entry.operating_points)
    names = checkpoint.pathologies or PATHOLOGIES
    if len(names) != count:
        raise ArchitectureError(
            f"{count} outputs without names",
            expected=f"TorchXRayVision's {len(PATHOLOGIES)} outputs",
            remedy="Build the model yourself and pass XRVDenseNet(model, Outputs(names)).",
        )
    return Outputs(tuple(names))


def _empty_densenet121(outputs: int) -> nn.Module:
    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    return DenseNet(num_classes=outputs)


def _empty_resnet50(outputs: int) -> nn.Module:
    ensure_torchvision_imports()
    from torchvision.models import resnet50

    module = resnet50(weights=None, num_classes=outputs)
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
