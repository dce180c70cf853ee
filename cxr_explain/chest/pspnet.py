"""TorchXRayVision's PSPNet as a segmentation for :mod:`~cxr_explain.chest.regions`.

Its published weights were not at hand when this was written: the adaptor was run with stand-ins that have its
interface, never with the published network, and nothing is known here of how well that one does.

Source:
    Lian et al., A Structure-Aware Relation Network for Thoracic Diseases Detection and Segmentation, IEEE
    Transactions on Medical Imaging 40 (2021) 2042; `torchxrayvision.baseline_models.chestx_det.PSPNet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from cxr_explain.chest.lungs_and_thorax import LUNGS
from cxr_explain.chest.regions import Segment
from cxr_explain.errors import OptionError
from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Mask

if TYPE_CHECKING:
    import torch

SIZE = 512
"""Side of the network's square input."""


class SegmentationNetwork(Protocol):
    """A network with TorchXRayVision's interface."""

    targets: Sequence[str]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, S, S) in [-1024, 1024] to (B, targets, S, S) logits."""


def segment_by(network: SegmentationNetwork) -> Segment:
    """A function from a radiograph to masks of its lungs, for :func:`regions.regions_of`.

    The whole radiograph is padded to a square and resized to 512 x 512; a pixel belongs to a lung where its
    logit is above 0, a probability of one half.

    Args:
        network: for example `torchxrayvision.baseline_models.chestx_det.PSPNet()`, in its evaluation mode.

    Raises:
        OptionError: a network without one of the lungs among its targets.
    """
    names = list(network.targets)
    if missing := [name for name in LUNGS if name not in names]:
        raise OptionError(f"a network of {len(names)} targets", expected=f"one that has {', '.join(missing)}")

    def segment(radiograph: Radiograph) -> Mapping[str, Mask]:
        import torch

        model_input = prepare(radiograph, SIZE, fit="pad")
        with torch.inference_mode():
            logits = network(model_input.tensor[None])[0]
        masks = (logits[[names.index(name) for name in LUNGS]] > 0).cpu().numpy()
        return dict(zip(LUNGS, model_input.geometry.mask_to_radiograph(masks), strict=True))

    return segment
