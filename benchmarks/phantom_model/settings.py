"""What decides the outcome of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cxr_explain.phantom.findings import FINDINGS


@dataclass(frozen=True)
class Stage:
    """One cycle of training, with examples of its own.

    Args:
        patients: how many chests are rendered; the seeds go on from stage to stage.
        variants: pairs a chest.
        prevalence: the chance of each finding.
        epochs: times that each pair is seen.
        rate: the highest learning rate.
        ramp: steps over which the logits' share of the objective grows. They are sums over all cells, and
            noise until the cells have begun to mean something.
    """

    patients: int
    variants: int
    prevalence: Mapping[str, float]
    epochs: int
    rate: float
    ramp: int = 0


MANY_FINDINGS = Stage(4000, 2, dict.fromkeys(FINDINGS, 0.2) | {"Nodule": 0.35}, 8, 5e-3, ramp=200)
"""More findings for each rendered chest, and more of them together, than a user would draw."""


@dataclass(frozen=True)
class Settings:
    """What decides the outcome.

    Args:
        seed: of the parameters, the order and the augmentation.
        stages: one after the other.
        pairs: pairs a step.
        growth_rate, block_config, num_init_features, bn_size: of the DenseNet.
    """

    seed: int = 0
    stages: tuple[Stage, ...] = (MANY_FINDINGS,)
    pairs: int = 16
    growth_rate: int = 16
    block_config: tuple[int, ...] = (2, 12)
    num_init_features: int = 16
    bn_size: int = 4
