"""The phantom model: TorchXRayVision's DenseNet in a small configuration, its head kept as evidence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.phantom_model.settings import Settings
from cxr_explain.phantom.findings import FINDINGS
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

SLOWER = 0.1
"""Of the directions' learning rate, as a share of the body's. Each step moves every entry by about the rate,
all channels add up, and kappa multiplies the sum: at the body's rate the logits would jump by dozens."""


class Network(nn.Module):
    """A DenseNet whose head is kept as evidence for each cell.

    The head's weight is kappa_k v^k. Where the objective says where findings are, the factor makes evidence
    v^k . a of about 1 in the cells of a finding worth a sure logit after the mean over the map, though a
    nodule covers few of 784 cells and edema a third of them. It goes with the inverse root of the share of
    the map: between equal logits, which would let the faintest trace of a nodule outshine any edema in the
    fusion, and equal evidence, which would leave nodules without a voice. Else it is the same for all, and
    makes the head learn as fast as the body, as a plain linear layer does.

    Args:
        settings: the configuration.
        areas: (F,) cells of the map that a finding typically touches; not used where the objective does not
            say where findings are.
    """

    kappa: Tensor

    def __init__(self, settings: Settings, areas: Tensor) -> None:
        super().__init__()
        self._bfloat16 = settings.precision == "bfloat16"
        self.densenet = empty_densenet(settings)
        channels = self.densenet.classifier.in_features
        self.directions = nn.Parameter(0.01 * torch.randn(len(areas), channels))
        self.bias = nn.Parameter(torch.full((len(areas),), -2.0))
        located = 400 / 7 * settings.cells / areas.sqrt()
        self.register_buffer(
            "kappa", located if settings.weights.located else torch.full_like(areas, 1 / SLOWER)
        )

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(N, F, I, J) evidence v . a, and (N, F) logits, of (N, 1, S, S) inputs."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and self._bfloat16):
            features = self.densenet.features(inputs.contiguous(memory_format=torch.channels_last))
        activations = F.relu(features.float())
        evidence = torch.einsum("fc,ncij->nfij", self.directions, activations)
        return evidence, self.kappa * evidence.mean((-2, -1)) + self.bias

    def folded(self) -> nn.Module:
        """The DenseNet with the head in its classifier."""
        with torch.no_grad():
            self.densenet.classifier.weight.copy_(self.kappa[:, None] * self.directions)
            self.densenet.classifier.bias.copy_(self.bias)
        return self.densenet


def empty_densenet(settings: Settings) -> Any:
    """TorchXRayVision's DenseNet in this configuration, not trained."""
    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    return DenseNet(
        num_classes=len(FINDINGS),
        growth_rate=settings.growth_rate,
        block_config=settings.block_config,
        num_init_features=settings.num_init_features,
        bn_size=settings.bn_size,
    ).to(memory_format=torch.channels_last)
