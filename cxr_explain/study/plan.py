"""What a study compares, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from cxr_explain.options import Activation, Method, Normalisation

NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


@dataclass(frozen=True)
class Contender:
    """One way to make class maps.

    Args:
        name: in the tables.
        method: the rule's name.
        layers: explained instead of the classifier's target layer.
    """

    name: str
    method: Method
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Args:
        contenders: rules, each alone and fused.
        ks: K of the fusions.
        normalisations: of the fusions.
        activations: of the fusions.
        steps: of the deletion and insertion curves.
        percentages: of pixels that ROAD removes.
        resamples: of the bootstrap.
        randomised: cases whose maps are compared with those of randomised weights; 0 leaves it out.
        ranked: contenders whose fused maps are judged rank by rank.
    """

    contenders: tuple[Contender, ...]
    ks: tuple[int, ...] = (1, 2, 3, 4, 5)
    normalisations: tuple[Normalisation, ...] = NORMALISATIONS
    activations: tuple[Activation, ...] = ACTIVATIONS
    steps: int = 49
    percentages: tuple[int, ...] = (10, 30, 50, 70, 90)
    resamples: int = 1000
    randomised: int = 24
    ranked: tuple[str, ...] = ("grad-cam",)

    @property
    def quick(self) -> Plan:
        """The same in fewer steps: to see that it runs, not to judge by."""
        return replace(self, steps=10, percentages=(20, 60), resamples=200, randomised=4)


def contenders(methods: tuple[Method, ...] = (), layers: tuple[str, ...] = ()) -> tuple[Contender, ...]:
    """The rules named, or all of them; and LayerCAM of several layers where these are given.

    >>> [each.name for each in contenders(("cam",), ("a", "b"))]
    ['cam', 'layercam, 2 layers']
    """
    chosen = [Contender(method, method) for method in methods or get_args(Method)]
    if layers:
        chosen.append(Contender(f"layercam, {len(layers)} layers", "layercam", layers))
    return tuple(chosen)
