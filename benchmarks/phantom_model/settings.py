"""What decides the outcome of a training, and the models that are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from cxr_explain.phantom.findings import FINDINGS

INPUT_SIZE = 224

Precision = Literal["float32", "bfloat16"]
"""Arithmetic of the convolutions in training; all else, and the trained network, is in float32."""


@dataclass(frozen=True)
class Weights:
    """How much each part of the objective counts; one that counts nothing is not computed."""

    label: float = 1.0
    cell: float = 1.0
    owner: float = 0.5
    fall: float = 0.5
    others: float = 0.1

    @property
    def counted(self) -> tuple[str, ...]:
        """The parts that count.

        >>> Weights(cell=0, owner=0).counted
        ('label', 'fall', 'others')
        """
        return tuple(name for name, weight in vars(self).items() if weight)

    @property
    def located(self) -> bool:
        """Whether a part says where a finding is."""
        return bool(self.cell or self.owner)


@dataclass(frozen=True)
class Chests:
    """The chests that examples show; those of all models are the same.

    Args:
        patients: how many, with seeds from 0.
        variants: pairs a chest.
        prevalence: the chance of each finding; more of them, and more together, than a user would draw.
    """

    patients: int = 4000
    variants: int = 2
    prevalence: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(FINDINGS, 0.2) | {"Nodule": 0.35}
    )


@dataclass(frozen=True)
class Settings:
    """What decides the outcome, beside the number of threads.

    Args:
        chests: what the examples show.
        weights: how much each part of the objective counts.
        paired: show both images of a pair; else the first alone, and twice as many of them a step.
        epochs: times that each example is seen.
        rate: the highest learning rate.
        ramp: steps over which the logits' share of the objective grows. They are sums over all cells, and
            noise until the cells have begun to mean something.
        images: images a step.
        precision: arithmetic of the convolutions in training.
        seed: of the parameters, the order and the augmentation.
        growth_rate, block_config, num_init_features, bn_size: of the DenseNet.
    """

    chests: Chests = Chests()
    weights: Weights = Weights()
    paired: bool = True
    epochs: int = 8
    rate: float = 5e-3
    ramp: int = 200
    images: int = 32
    precision: Precision = "bfloat16"
    seed: int = 0
    growth_rate: int = 16
    block_config: tuple[int, ...] = (2, 12)
    num_init_features: int = 16
    bn_size: int = 4

    @property
    def cells(self) -> int:
        """Cells along each side of the feature map.

        >>> MODELS["fine"].cells, MODELS["coarse"].cells
        (28, 7)
        """
        return INPUT_SIZE // 2 ** (len(self.block_config) + 1)


_FINE = Settings()

MODELS: Mapping[str, Settings] = MappingProxyType(
    {
        "fine": _FINE,
        "coarse": replace(_FINE, block_config=(2, 4, 8, 6)),
        "labels": replace(
            _FINE,
            weights=Weights(cell=0, owner=0, fall=0, others=0),
            paired=False,
            epochs=2 * _FINE.epochs,
            ramp=0,
        ),
        "counterfactuals": replace(_FINE, weights=Weights(cell=0, owner=0), ramp=0),
    }
)
"""The models by name. fine: maps of 28 x 28, each cell told where the finding is. coarse: the same with the
strides of DenseNet-121, maps of 7 x 7. labels: the fine network, from labels of single images alone.
counterfactuals: the fine network, from labels and from what removing a finding does, told nothing of places.
All see the same number of images."""


def tried(settings: Settings) -> Settings:
    """The same in a minute: to see that it runs, not to use."""
    return replace(settings, chests=replace(settings.chests, patients=40), epochs=1, ramp=0)
