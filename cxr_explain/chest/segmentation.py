"""TorchXRayVision's segmentation networks, which find lungs and heart for :mod:`~cxr_explain.chest.regions`.

Their published weights were not at hand when this was written: each network was run with random weights in
files of the published format, and compared with TorchXRayVision's own. How well the published weights do is
not known here.

Source:
    Lian et al., A Structure-Aware Relation Network for Thoracic Diseases Detection and Segmentation, IEEE
    Transactions on Medical Imaging 40 (2021) 2042; `torchxrayvision.baseline_models.chestx_det.PSPNet`.
    Seibold et al., Detailed Annotations of Chest X-Rays via CT Projection for Report Understanding, BMVC
    2022; `torchxrayvision.baseline_models.chestx_anatomy.UNetResNet50`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

from cxr_explain.chest.lung_plausibility import AREA
from cxr_explain.chest.lungs_and_thorax import HEART, LUNGS, unsuitable
from cxr_explain.errors import ArchitectureError
from cxr_explain.explaining.explainer import device_named
from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.models.hooked import imagenet_input
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Mask
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports
from cxr_explain.weights import Weights, check_fit, known_entry, load_into, open_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

STRUCTURES = (*LUNGS, HEART)
"""What is taken of a network, in the order of its outputs."""

SIZE = 512
"""Side of the networks' square input."""


@dataclass(frozen=True)
class _Architecture:
    """One kind of network.

    Args:
        structures: names of the outputs.
        taken: those of the two lungs and the heart, in the order of `STRUCTURES`.
        heads: its layers with an output for each structure.
        empty: a network of so many structures, with weights of no meaning.
        logits: what it gives, (B, structures, S, S), for grey levels as ImageNet's networks take them.
    """

    structures: Sequence[str]
    taken: tuple[str, ...]
    heads: tuple[str, ...]
    empty: Callable[[int], nn.Module]
    logits: Callable[[Any, Tensor], Tensor] = field(default=lambda network, inputs: network(inputs))

    def of_chest(self, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """The tensors of a network that gives lungs and heart alone: memory for 3 maps, not for up to 159."""
        kept, at = dict(tensors), [list(self.structures).index(name) for name in self.taken]
        for name in (f"{head}.{part}" for head in self.heads for part in ("weight", "bias")):
            count = len(kept[name]) if name in kept else 0
            if count != len(self.structures):
                raise ArchitectureError(
                    f"{count} outputs in {name}", expected=f"{len(self.structures)}", source=source
                )
            kept[name] = kept[name][at]
        return kept


def _pspnet() -> _Architecture:
    from torchxrayvision.baseline_models.chestx_det import PSPNet
    from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet

    return _Architecture(PSPNet.targets, STRUCTURES, ("classification", "aux_cls"), pspnet)


def _unet() -> _Architecture:
    from torchxrayvision.baseline_models.chestx_anatomy import MODEL_NAME, TARGETS, BackboneUNet

    return _Architecture(
        TARGETS,
        ("right lung", "left lung", "heart"),
        ("head.out.conv",),
        lambda structures: BackboneUNet(MODEL_NAME, structures),
        lambda network, inputs: network._forward(inputs)["logits"],  # noqa: SLF001 - `forward` takes a dict
    )


_ARCHITECTURES: Mapping[str, Callable[[], _Architecture]] = {
    "classification.weight": _pspnet,
    "head.out.conv.weight": _unet,
}
"""Each kind of network by the tensor that tells it."""


class Segmenter:
    """A segmentation network that finds lungs and heart.

    The whole radiograph is padded to a square and resized to 512 x 512; a pixel belongs to a lung where its
    logit is above 0, a probability of one half. One radiograph at a time, whatever the number of threads: the
    memory stays that of one.

    Args:
        network: the network, with outputs for the two lungs, and the heart if it knows it.
        logits: how it is called.
        name: name of the weights.
        sha256: hexadecimal digest of the weights' file.
    """

    def __init__(
        self, network: nn.Module, logits: Callable[[Any, Tensor], Tensor], *, name: str, sha256: str
    ) -> None:
        self._network = network
        self._logits = logits
        self.name = name
        self.sha256 = sha256
        self._alone = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        weights: str | PathLike[str],
        *,
        weights_dir: str | PathLike[str] | None = None,
        fetch: bool = True,
        device: str | torch.device | None = None,
    ) -> Self:
        """Load a network.

        Args:
            weights: "chestx-det" (14 structures), "chestx-anatomy" (159), or a file of either's weights.
            weights_dir: folder of the weights with a name; by default TorchXRayVision's own folder.
            fetch: whether missing weights are downloaded.
            device: device that computes; by default CUDA where present, else the CPU.

        Raises:
            WeightsError: unknown, missing, unsafe, changed since their first use, or of something else.
        """
        _refuse_classifiers(weights)
        import torch

        opened, checkpoint = open_weights(weights, weights_dir, fetch=fetch)
        ensure_torchvision_imports()
        kind = _architecture(checkpoint.state_dict, opened)
        with torch.device("meta"):  # random weights would be thrown away
            network = kind.empty(len(kind.taken))
        tensors = kind.of_chest(_fitted(checkpoint.state_dict, network), opened.name)
        check_fit(network, tensors, name=opened.name)
        network.to_empty(device="cpu")
        for buffer in network.buffers():
            buffer.zero_()  # a count of batches may be missing
        load_into(network, tensors, name=opened.name)
        network.eval().requires_grad_(False).to(device_named(device))
        return cls(network, kind.logits, name=opened.name, sha256=opened.sha256)

    def __call__(self, radiograph: Radiograph) -> Mapping[str, Mask] | str:
        """(H, W) masks of lungs and heart, by the names in `STRUCTURES`; or why there are none to be found.

        A lung that covers a few pixels, or half of the image, is none, as with the fixed rules.
        """
        reason = unsuitable(radiograph)
        if reason:
            return reason
        masks = self.masks(radiograph)
        (low, high), square = AREA, max(radiograph.shape) ** 2
        if not all(low <= masks[name].sum() / square <= high for name in LUNGS):
            return "lungs of an implausible size in the segmentation"
        return masks

    def masks(self, radiograph: Radiograph) -> Mapping[str, Mask]:
        """(H, W) masks of lungs and heart, whatever the network makes of the radiograph."""
        import torch

        model_input = prepare(radiograph, SIZE, fit="pad")
        device = next(self._network.parameters()).device
        with self._alone, torch.inference_mode():
            logits = self._logits(self._network, imagenet_input(model_input.tensor[None].to(device)))[0]
        masks = model_input.geometry.mask_to_radiograph((logits > 0).cpu().numpy())
        return dict(zip(STRUCTURES, masks, strict=False))


@dataclass(frozen=True)
class PretrainedSegmenter:
    """How another process comes to a segmenter: what `Segmenter.from_pretrained` is told.

    Args:
        weights: a name or a file.
        options: keyword arguments of `Segmenter.from_pretrained`.
    """

    weights: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Segmenter:
        """A segmenter of this process's own."""
        return Segmenter.from_pretrained(self.weights, **self.options)


def _refuse_classifiers(weights: str | PathLike[str]) -> None:
    """Before anything is fetched."""
    entry = known_entry(weights) if isinstance(weights, str) else None
    if entry is not None and not entry.structures:
        raise ArchitectureError(
            "the weights of a classifier",
            expected="those of a segmentation network: chestx-det or chestx-anatomy",
            source=entry.name,
        )


def _architecture(tensors: Mapping[str, Tensor], opened: Weights) -> _Architecture:
    for name, architecture in _ARCHITECTURES.items():
        if name in tensors:
            return architecture()
    raise ArchitectureError(
        f"no segmentation network among {len(tensors)} tensors",
        expected="torchxrayvision's chestx_det.PSPNet or chestx_anatomy.UNetResNet50, by the tensor "
        + " or ".join(_ARCHITECTURES),
        source=opened.path,
    )


def _fitted(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors that the network has, by its own names; what is over plays no part, as in TorchXRayVision.

    CXAS's own checkpoints have the backbone's tensors one level higher.
    """
    wanted, nested = network.state_dict(), "backbone.backbone."
    if not any(name.startswith(nested) for name in tensors):
        tensors = {re.sub(r"^backbone\.", nested, name): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in tensors.items() if name in wanted}
