"""What a study compares, and how much of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import get_args

from cxr_explain.cam.perturbation import ScoreCAM
from cxr_explain.cam.registry import LAYER_RULES, Method
from cxr_explain.cam.rules import Rule
from cxr_explain.cam.smoothing import SHIFTS_AND_CONTRAST, Smoothed
from cxr_explain.cam.views import View
from cxr_explain.options import Activation, Normalisation

NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

_FEW = 8  # channels

GREYS = (View(), View(contrast=0.9), View(gamma=0.8), View(gamma=1.25), View(equalised=True))
"""The image as it is, and with other greys: less contrast, two powers, and its histogram equalised."""

SHIFTS = tuple(view for view in SHIFTS_AND_CONTRAST if view.contrast == 1)
"""As many views, which are shifted instead."""

PRESENT = "present"
"""Stands in the place of K where the findings that are there are fused, however many they are."""

ALL = 10**9
"""More cases than any study has."""


@dataclass(frozen=True)
class Contender:
    """One way to make class maps.

    Args:
        name: what the tables call it.
        method: the rule's name, or the rule.
        layers: explained instead of the classifier's target layer.
    """

    name: str
    method: Method | Rule
    layers: tuple[str, ...] = ()

    @property
    def quick(self) -> Contender:
        """Score-CAM tries each channel in each image; a few of them will do to see that it runs."""
        if self.method != "score-cam":
            return self
        return Contender(f"{self.name}, {_FEW} channels", ScoreCAM(channels=_FEW), self.layers)


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Args:
        contenders: rules, each alone and fused.
        ks: numbers K of classes that are fused.
        normalisations: normalisations that the fusions use.
        activations: activations that the fusions use.
        steps: number of steps of the deletion and insertion curves.
        percentages: percentages of the pixels that ROAD removes; none leaves ROAD out.
        resamples: number of the bootstrap's resamples.
        faithful: number of cases, the first ones, whose maps' faithfulness is measured, which costs most.
        randomised: number of cases, the first ones, whose maps are compared with those of randomised
            weights; 0 leaves it out.
        draws: number of draws of these weights.
        robust: number of cases, the first ones, whose images are changed in ways that should not matter;
            0 leaves it out.
        ranked: contenders whose fused maps are judged rank by rank.
        counterfactual: number of cases, the first ones, all of them phantoms, whose scores are compared
            with those of the same phantom without each finding in turn; 0 leaves it out.
        present: fuse the findings that are there, too.
    """

    contenders: tuple[Contender, ...]
    ks: tuple[int, ...] = (1, 2, 3, 4, 5)
    normalisations: tuple[Normalisation, ...] = NORMALISATIONS
    activations: tuple[Activation, ...] = ACTIVATIONS
    steps: int = 20
    percentages: tuple[int, ...] = (20, 50)
    resamples: int = 1000
    faithful: int = 40
    randomised: int = 12
    draws: int = 10
    robust: int = 8
    ranked: tuple[str, ...] = ("grad-cam",)
    counterfactual: int = 0
    present: bool = False

    @property
    def fusions(self) -> Iterator[tuple[int | str, Normalisation, Activation]]:
        """Every K with every normalisation and activation."""
        chosen: tuple[int | str, ...] = (PRESENT, *self.ks) if self.present else self.ks
        return product(chosen, self.normalisations, self.activations)

    @property
    def quick(self) -> Plan:
        """The same in fewer steps: to see that it runs, not to judge by."""
        return replace(
            self,
            contenders=tuple(each.quick for each in self.contenders),
            steps=7,
            percentages=(30,),
            resamples=200,
            randomised=min(self.randomised, 2),
            draws=min(self.draws, 2),
            robust=min(self.robust, 2),
        )


def contenders(methods: Sequence[Method] = (), layers: Sequence[str] = ()) -> tuple[Contender, ...]:
    """The rules named, or all that read a layer; and LayerCAM of several layers where these are given.

    >>> [each.name for each in contenders(["cam"], ["a", "b"])]
    ['cam', 'layercam, 2 layers']
    """
    chosen = [Contender(method, method) for method in methods or LAYER_RULES]
    if layers:
        chosen.append(Contender(f"layercam, {len(layers)} layers", "layercam", tuple(layers)))
    return tuple(chosen)


def smoothed() -> tuple[Contender, ...]:
    """Grad-CAM averaged over views: does it help to shift the image, and does it help to change its greys?

    >>> [each.name for each in smoothed()]
    ['grad-cam, 5 shifts', 'grad-cam, 5 greys']
    """
    return tuple(
        Contender(f"grad-cam, {len(views)} {name}", Smoothed("grad-cam", views))
        for name, views in (("shifts", SHIFTS), ("greys", GREYS))
    )


def full_plan(methods: Sequence[Method] = (), layers: Sequence[str] = ()) -> Plan:
    """The study: the rules named, or every one and Grad-CAM smoothed; alone and fused, by all measures."""
    rules, stacked = contenders(methods), contenders(methods, layers)
    return Plan((*rules, *(() if methods else smoothed()), *stacked[len(rules) :]))


def plain_plan(
    methods: Sequence[Method], *, k: int, normalisation: Normalisation, activation: Activation
) -> Plan:
    """Some rules as they are used, without the comparison of fusions and the randomised weights."""
    return Plan(
        contenders(methods),
        ks=(k,),
        normalisations=(normalisation,),
        activations=(activation,),
        faithful=ALL,
        randomised=0,
        robust=0,
        ranked=tuple(methods),
    )


def validity_plan(
    methods: Sequence[Method] = ("grad-cam",), *, k: int = 5, activation: Activation = "relu"
) -> Plan:
    """How far a model and its maps can be trusted as an instrument, on phantoms of which all is known.

    Args:
        methods: rules, each alone and fused.
        k: K of the fusion of the top classes; the findings that are there are fused beside it.
        activation: activation of the fusions.
    """
    plan = plain_plan(methods, k=k, normalisation="joint", activation=activation)
    plan = replace(plan, normalisations=NORMALISATIONS, faithful=0, ranked=())
    return replace(plan, counterfactual=ALL, present=True)
