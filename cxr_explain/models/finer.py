"""Finer maps with the same weights: activations of a dilated network, scores of the network itself.

A DenseNet-121 sees 224 x 224 pixels in 7 x 7 cells. With its last stride taken out, and what follows dilated,
it gives the cells of four inputs that are shifted by half a cell, as one map of 14 x 14; with the last two,
28 x 28. Every second or fourth of them, from the first on, are the network's own: its scores come with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from math import prod
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import Classifier
from cxr_explain.models.dilated import dilated, strides_of
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.models.monai import MonaiResNetBody
from cxr_explain.models.output_kinds import agree
from cxr_explain.models.pooled_linear import PooledLinearClassifier, PooledLinearPass, pooled_linear
from cxr_explain.models.steadiness import numbers
from cxr_explain.models.xrv import DenseNetBody, ResNetBody
from cxr_explain.options import Resolution, check_resolution

SMALLEST_CELL = 8
"""Pixels along a cell of the finest map: as in DRN and DeepLab, the stem's strides and one more stay."""

_ROUNDING = 1e-4
"""What other orders of the same sums may change of a score, of the largest one."""

_WAY_OUT = (
    "Choose resolution='native', or an earlier layer, whose maps are finer: cxr-explain layers lists them."
)


@runtime_checkable
class NetworkBody(Protocol):
    """A body of which it is known what network is in it, so that another one can take that one's place."""

    @property
    def network(self) -> nn.Module:
        """The DenseNet or ResNet."""
        ...

    def of(self, network: nn.Module) -> NetworkBody:
        """The same body of another network of the same form."""
        ...

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        ...


@dataclass(frozen=True, eq=False)
class DilatedBody:
    """A body whose network is without the last strides.

    Args:
        body: the body as it is.
        out: how many strides are taken out.
    """

    body: NetworkBody
    out: int

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, f I, f J)."""
        return self.body.of(dilated(self.body.network, self.out))(inputs)


@dataclass(frozen=True, eq=False)
class PreparedBody:
    """A body behind what a hooked classifier does to its inputs.

    Args:
        body: the body.
        prepare: function from inputs to what the network takes.
    """

    body: NetworkBody
    prepare: Callable[[Tensor], Tensor]

    @property
    def network(self) -> nn.Module:
        """See `NetworkBody`."""
        return self.body.network

    def of(self, network: nn.Module) -> PreparedBody:
        """See `NetworkBody`."""
        return PreparedBody(self.body.of(network), self.prepare)

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        return self.body(self.prepare(inputs))


def placed(dense: Tensor, factor: int) -> Tensor:
    """Dense maps, with each cell where the network's own maps are taken to lie.

    Map and input cover the same square, so that cell i of the network's map of I stands for the point
    (i + 1/2) / I. Cell f i of the dense map is the same cell, and lies (f - 1) / 2 cells before that point:
    the map is moved by so much. That is half a cell, or one and a half, so that two neighbours are averaged
    along each side, which also takes off the chequered pattern of dilated networks. The first cells are
    repeated; the last ones, whose taps lie beyond the map, move out of it.

    Args:
        dense: (B, C, f I, f J).
        factor: f, 2 or 4, or 1 for the map as it is.

    >>> placed(torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]]), 2).tolist()
    [[[[0.0, 2.0], [4.0, 6.0]]]]
    """
    if factor == 1:
        return dense
    by = factor // 2
    rows, columns = (side - by + 1 for side in dense.shape[-2:])
    moved = F.pad(dense[..., :rows, :columns], (by, 0, by, 0), mode="replicate")
    return F.avg_pool2d(moved, 2, stride=1)


class FinerPass(PooledLinearPass):
    """Finer activations, and the logits of the network itself, which are a by-product.

    Args:
        dense: what the dilated body gives, (B, C, f I, f J).
        factor: f.
        head: the linear layer behind the pooling.
    """

    def __init__(self, dense: Tensor, factor: int, head: nn.Linear) -> None:
        super().__init__(placed(dense, factor), head)
        self.dense_logits = self.logits
        """(B, N): what the head makes of the finer activations; no scores of the network."""
        self.logits = pooled_linear(dense[..., ::factor, ::factor], head)


class FinerClassifier(PooledLinearClassifier):
    """A classifier with finer activations, whose scores are those of the classifier that it comes from.

    Rules that look at activations and their gradients look at the finer ones. A rule that scores other
    inputs, such as Score-CAM, takes its masks from them, and the scores from the model itself.

    Args:
        plain: the classifier; of torch, or one that an engine runs.
        resolution: how many cells a map has along the input's longer side, or "finest".
        dense: the same model with `DilatedBody`, on the engine that runs the classifier; by default torch.

    Raises:
        ModelError: a model of which no finer maps can be had.
        OptionError: no resolution.

    >>> from cxr_explain.models.xrv import XRVDenseNet
    >>> from cxr_explain import ensure_torchvision_imports; ensure_torchvision_imports()
    >>> import torchxrayvision as xrv
    >>> finer = FinerClassifier(XRVDenseNet(xrv.models.DenseNet()), 14)
    >>> finer.forward(torch.zeros(1, 1, 224, 224)).activations.shape
    torch.Size([1, 1024, 14, 14])
    """

    def __init__(
        self, plain: Classifier, resolution: Resolution, dense: PooledLinearClassifier | None = None
    ) -> None:
        check_resolution(resolution)
        plain = _with_network(plain)
        self._network_body = cast(NetworkBody, plain.by_torch.body)  # type: ignore[attr-defined]  # pooled, too
        super().__init__(
            plain.module,
            self._placed,
            plain.head,
            plain.outputs,
            target_layer=plain.target_layer,
            **plain.description,
        )
        self.plain = plain
        self.resolution = resolution
        self._dense = dense

    def taken_out(self, height: int, width: int) -> tuple[int, int]:
        """How many strides are taken out for inputs of this size, and their product f.

        Raises:
            OptionError: a resolution that inputs of this size cannot have; the message says which they can.
        """
        strides = strides_of(self._network_body.network)
        cell = prod(strides)
        if height % cell or width % cell:
            raise OptionError(
                f"resolution={self.resolution!r} for inputs of {height} x {width} pixels",
                expected=f"sides that are multiples of {cell}, the pixels of a cell of this model",
                remedy=_WAY_OUT,
            )
        grids = _grids(strides, max(height, width))
        cells = max(grids) if self.resolution == "finest" else cast(int, self.resolution)
        if cells in grids:
            return grids[cells]
        finer = ", ".join(map(str, sorted(set(grids) - {min(grids)})))
        raise OptionError(
            f"resolution={self.resolution!r} for {self.name} and inputs of {height} x {width} pixels",
            expected=f"native, which is {min(grids)} cells" + (f", or one of {finer}" if finer else ""),
        )

    def dense(self, out: int) -> PooledLinearClassifier:
        """The same model without its last strides, in torch; its logits are those of `DilatedBody`."""
        view = copy(cast(PooledLinearClassifier, self.plain.by_torch))
        view._body = DilatedBody(self._network_body, out)  # noqa: SLF001 - its own class
        return view

    def restricted(self, region: Tensor) -> PooledLinearClassifier:
        """See `PooledLinearClassifier.restricted`; scores are of the finer activations in the region."""
        view = copy(self.plain)
        view._body = self._placed  # noqa: SLF001 - its own class
        return view.restricted(region)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """See `Classifier.undisturbed`; as the classifier that it comes from."""
        with self.plain.undisturbed():
            yield

    def suited(self, inputs: Tensor) -> Tensor:
        """See `Classifier.suited`."""
        return self.plain.suited(inputs)

    def check_inputs(self, inputs: Tensor) -> None:
        """See `Classifier.check_inputs`."""
        self.plain.check_inputs(inputs)

    def run(self, inputs: Tensor) -> Tensor:
        """The logits of the model itself; see `Classifier.run`."""
        return self.plain.run(inputs)

    def call(self, inputs: Tensor) -> object:
        """Whatever the module gives for suited inputs."""
        return self.plain.call(inputs)

    @property
    def by_torch(self) -> Classifier:
        """See `Classifier.by_torch`; the classifier that it comes from, whose layers have their own size."""
        return self.plain.by_torch

    @property
    def device(self) -> torch.device:
        """See `Classifier.device`."""
        return self.plain.device

    def as_called(self, inputs: Tensor, logits: Tensor | None = None) -> Classifier:
        """This classifier, if the scores that come with its maps are those of calling the module.

        Raises:
            ModelError: a module that computes something else than its body and head; or a layer behind the
                strides that looks at the whole map, so that a shifted input is not what it sees.
        """
        found = self.plain.as_called(inputs)
        if found is not self.plain:
            raise ModelError(
                "a model whose own forward gives other scores than body and head of the family",
                expected="scores of body and head, of which finer maps can be had",
                remedy=_WAY_OUT,
                source=self.name,
            )
        self.outputs = self.plain.outputs
        ours = self.forward(inputs[:1]).logits if logits is None else logits[:1]
        own = self.plain.logits(inputs[:1])
        if not agree(ours, own, _ROUNDING):
            raise ModelError(
                f"a network that gives {numbers(own)}, and {numbers(ours)} where the cells of its own map lie"
                " among finer ones",
                expected="layers that see a cell and those around it, such as convolutions and batch norms",
                remedy=_WAY_OUT,
                source=self.name,
            )
        return self

    def pass_of(self, inputs: Tensor) -> PooledLinearPass:
        """See `PooledLinearClassifier.pass_of`."""
        return FinerPass(*self._dense_maps(inputs), self._head)

    def _placed(self, inputs: Tensor) -> Tensor:
        return placed(*self._dense_maps(inputs))

    def _dense_maps(self, inputs: Tensor) -> tuple[Tensor, int]:
        """(B, 1, S, S) -> (B, C, f I, f J), not placed; and f."""
        out, factor = self.taken_out(*inputs.shape[-2:])
        return (self._dense or self.dense(out)).body(inputs), factor


def _grids(strides: Sequence[int], side: int) -> dict[int, tuple[int, int]]:
    """How many cells there can be along a side; for each the strides to take out, and their product.

    >>> _grids((2, 2, 2, 2, 2), 224)
    {7: (0, 1), 14: (1, 2), 28: (2, 4)}
    """
    found, cell, factor = {side // prod(strides): (0, 1)}, prod(strides), 1
    for out, stride in enumerate(reversed(strides), start=1):
        cell, factor = cell // stride, factor * stride
        if cell >= SMALLEST_CELL:
            found[side // cell] = (out, factor)
    return found


_HOOKED: dict[str, tuple[type, str, tuple[str, ...]]] = {
    "torchvision.models.resnet.ResNet": (ResNetBody, "fc", ("layer4",)),
    "torchvision.models.densenet.DenseNet": (DenseNetBody, "classifier", ("features", "features.norm5")),
    "monai.networks.nets.resnet.ResNet": (MonaiResNetBody, "fc", ("layer4",)),
}
"""Classes of modules that users hook: a body, the name of the head, and names of the body's last layer."""


def _with_network(classifier: Classifier) -> PooledLinearClassifier:
    """The classifier as one whose network is known.

    Raises:
        ModelError: another model.
    """
    if isinstance(classifier, PooledLinearClassifier):
        if isinstance(getattr(classifier.by_torch, "body", None), NetworkBody):
            return classifier
    elif isinstance(classifier, HookedClassifier) and (found := _of_hooked(classifier)):
        return found
    raise ModelError(
        f"a {type(classifier.module).__name__} at the layer {classifier.target_layer}, of which no finer "
        "maps are known",
        expected="a DenseNet or ResNet of TorchXRayVision, torchvision or MONAI (2-D), at its last layer",
        remedy=_WAY_OUT,
        source=classifier.name,
    )


def _of_hooked(classifier: HookedClassifier) -> PooledLinearClassifier | None:
    module = classifier.module
    for cls in type(module).__mro__:
        body, head, layers = _HOOKED.get(f"{cls.__module__}.{cls.__qualname__}", (None, "", ()))
        if body and classifier.target_layer in layers and isinstance(getattr(module, head), nn.Linear):
            return PooledLinearClassifier(
                module,
                PreparedBody(body(module), classifier.prepare),
                getattr(module, head),
                classifier.outputs,
                layer=classifier.target_layer,
                prepare=classifier.prepare,
                target_layer=layers[0],
                **classifier.description,
            )
    return None
