"""Adapters for the baseline models of TorchXRayVision (`torchxrayvision.baseline_models`).

They come from other groups. The input size, the normalisation and the number of channels differ;
each model's `forward` sees to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from cxr_explain.models.base import Outputs
from cxr_explain.models.hooked import HookedClassifier, imagenet_input
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.xrv import ResNetBody, XRVClassifier
from cxr_explain.options import OutputKind


class XRVJFHealthcare(XRVClassifier, HookedClassifier):
    """`jfhealthcare.DenseNet`: five pathologies; a DenseNet-121 with attention behind it, 512 pixels.

    Args:
        module: the model.
        outputs: names and operating points; by default the model's own names.
        **description: further arguments of `Classifier`, such as `name`.

    Source:
        Ye et al., Weakly Supervised Lesion Localization With Probabilistic-CAM Pooling, arXiv 2005.14480.
    """

    def __init__(self, module: nn.Module, outputs: Outputs | None = None, **description: Any) -> None:
        named = outputs or _named(module, "sigmoids" if module.apply_sigmoid else "logits")
        super().__init__(module, "model.module.backbone", named, **_described(module, 512, description))

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """See `Classifier.undisturbed`; DataParallel, which knows GPUs alone, passes inputs on."""
        parallel: Any = self.module.model
        devices = parallel.device_ids
        with super().undisturbed():
            try:
                parallel.device_ids = []
                yield
            finally:
                parallel.device_ids = devices


class _ResNet(XRVClassifier, PooledLinearClassifier):
    """A torchvision ResNet that tells one of a few things about the patient or the image.

    Args:
        module: the model.
        outputs: names of the outputs; by default the model's own.
        **description: further arguments of `Classifier`, such as `name`.
    """

    kind: ClassVar[OutputKind] = "softmax-logits"
    size: ClassVar[int] = 224

    def __init__(self, module: nn.Module, outputs: Outputs | None = None, **description: Any) -> None:
        network = cast(Any, module).model
        super().__init__(
            module,
            _PreparedBody(ResNetBody(network), self),
            self.head_of(network.fc),
            outputs or _named(module, self.kind),
            target_layer="model.layer4",
            layer="model.layer4",
            **_described(module, self.size, description),
        )

    @staticmethod
    def network_input(inputs: Tensor) -> Tensor:
        """What the model makes of inputs for the network, (B, 3, S, S)."""
        return imagenet_input(inputs)

    @staticmethod
    def head_of(layer: nn.Module) -> nn.Linear:
        """The linear layer of the network's last one."""
        return cast(nn.Linear, layer)


@dataclass(frozen=True, eq=False)
class _PreparedBody:
    """A network up to its pooling, from the model's own inputs on."""

    body: ResNetBody
    model: _ResNet

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.body(self.model.network_input(inputs))

    @property
    def network(self) -> nn.Module:
        return self.body.network

    def of(self, network: nn.Module) -> _PreparedBody:
        return _PreparedBody(self.body.of(network), self.model)


class XRVRaceModel(_ResNet):
    """`emory_hiti.RaceModel`: which of three races a patient was registered as; a ResNet-34, 320 pixels.

    Source:
        Gichoya et al., AI recognition of patient race in medical imaging: a modelling study, Lancet
        Digital Health 4 (2022) e406.
    """

    kind = "log-softmax"
    size = 320

    @staticmethod
    def head_of(layer: nn.Module) -> nn.Linear:
        """The linear layer before the logarithm of the softmax."""
        return cast(nn.Linear, cast(nn.Sequential, layer)[0])


class XRVSexModel(_ResNet):
    """`mira.SexModel`: male or female; a ResNet-34, 224 pixels.

    Source:
        Glocker et al., Algorithmic encoding of protected characteristics in chest X-ray disease detection
        models, eBioMedicine 89 (2023) 104467.
    """

    @staticmethod
    def network_input(inputs: Tensor) -> Tensor:
        """Grey levels from 0 to 255 in three channels, as the model was trained on."""
        return ((inputs + 1024) / 2048 * 255).expand(-1, 3, -1, -1)


class XRVViewModel(_ResNet):
    """`xinario.ViewModel`: a frontal or a lateral view; a ResNet-50, 224 pixels.

    Source:
        https://github.com/xinario/chestViewSplit
    """

    @staticmethod
    def head_of(layer: nn.Module) -> nn.Linear:
        """The first two of the network's 1000 outputs, which are all that TorchXRayVision gives."""
        return _FirstOutputs(cast(nn.Linear, layer), 2)


class _FirstOutputs(nn.Linear):
    """The first outputs of a linear layer, always with its numbers as they are now."""

    def __init__(self, whole: nn.Linear, count: int) -> None:
        nn.Module.__init__(self)
        self.whole, self.in_features, self.out_features = whole, whole.in_features, count

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.whole.weight[: self.out_features]

    @property
    def bias(self) -> Tensor:  # type: ignore[override]
        return self.whole.bias[: self.out_features]


def _named(module: nn.Module, kind: OutputKind) -> Outputs:
    return Outputs(tuple(cast(Any, module).targets), kind=kind)


def _described(module: nn.Module, size: int, description: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"TorchXRayVision {module!r}", "input_size": size} | description
