"""Adapter for MONAI's 2-D DenseNets (`monai.networks.nets.DenseNet121` and its siblings)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.models.base import Outputs
from cxr_explain.models.pooled_linear import PooledLinearClassifier


class MonaiDenseNet(PooledLinearClassifier):
    """A MONAI DenseNet: `features`, then `class_layers` (ReLU, global average pooling, linear).

    Args:
        module: the model, with `spatial_dims=2`.
        outputs: names of the N outputs; or `Outputs`, with operating points and what they are.
        input_size: side S of the square input, in pixels.
        prepare: function from (B, 1, S, S) in [-1024, 1024] to the value range and channels that the model
            was trained on; by default nothing is changed.
        **description: further arguments of `Classifier`, such as `name`.

    Raises:
        ModelError: another module.

    >>> from monai.networks.nets import DenseNet121
    >>> MonaiDenseNet(DenseNet121(2, 1, 2), Outputs(("Mass", "Edema"))).name
    'MONAI DenseNet121'
    """

    def __init__(
        self,
        module: nn.Module,
        outputs: Outputs | Sequence[str],
        *,
        input_size: int = 224,
        prepare: Callable[[Tensor], Tensor] | None = None,
        **description: Any,
    ) -> None:
        layers = getattr(module, "class_layers", None)
        if not isinstance(layers, nn.Sequential) or not isinstance(
            getattr(layers, "pool", None), nn.AdaptiveAvgPool2d
        ):
            raise ModelError(
                f"a {type(module).__name__}",
                expected="a MONAI DenseNet with spatial_dims=2",
                remedy="For any other module use HookedClassifier with the name of its target layer.",
            )
        description.setdefault("name", f"MONAI {type(module).__name__}")
        super().__init__(
            module,
            MonaiBody(module, prepare),
            layers.out,  # type: ignore[arg-type]
            outputs,
            input_size=input_size,
            target_layer="features (post-ReLU)",
            layer="features",
            prepare=prepare,
            **description,
        )


@dataclass(frozen=True, eq=False)
class MonaiBody:
    """A MONAI DenseNet up to its pooling.

    Args:
        module: the model.
        prepare: function from inputs to what the model takes.
    """

    module: nn.Module
    prepare: Callable[[Tensor], Tensor] | None

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        module: Any = self.module
        features = module.features(self.prepare(inputs) if self.prepare else inputs)
        # class_layers.relu may work in place; a user's hook on `features` keeps its tensor.
        return cast(Tensor, module.class_layers.relu(features.clone()))

    @property
    def network(self) -> nn.Module:
        """See `cxr_explain.models.finer.NetworkBody`."""
        return self.module

    def of(self, network: nn.Module) -> MonaiBody:
        """See `cxr_explain.models.finer.NetworkBody`."""
        return MonaiBody(network, self.prepare)


@dataclass(frozen=True, eq=False)
class MonaiResNetBody:
    """A MONAI ResNet up to its pooling.

    Args:
        network: the model, with `spatial_dims=2`.
    """

    network: nn.Module

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        network: Any = self.network
        maps: Tensor = network.act(network.bn1(network.conv1(inputs)))
        if not network.no_max_pool:
            maps = network.maxpool(maps)
        for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
            maps = layer(maps)
        return maps

    def of(self, network: nn.Module) -> MonaiResNetBody:
        """See `cxr_explain.models.finer.NetworkBody`."""
        return MonaiResNetBody(network)
