"""How the numbers of a study were measured: what each rests on, beside them and not elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

from cxr_explain.geometry import TOLERANCE
from cxr_explain.measures.adcc import adcc
from cxr_explain.measures.faithfulness import deletion
from cxr_explain.measures.randomisation import cascades
from cxr_explain.measures.road import NOISE
from cxr_explain.measures.robustness import CONTRAST, GAMMA, SIGMA, shift_equivariance
from cxr_explain.measures.ruler import SAMPLES
from cxr_explain.measures.subject import BLUR
from cxr_explain.study.judge import IOBB
from cxr_explain.study.plan import ALL, Plan
from cxr_explain.support.prose import counted

_BLANKS = {
    "blur": f"the image blurred by a Gaussian of {BLUR:.3f} of the side",
    "black": "black",
    "mean": "the image's mean grey",
}


def protocol_of(plan: Plan) -> Iterator[tuple[str, str]]:
    """Steps, percentages, tolerances, blanks and defaults of what a plan measures: each name, and how.

    Args:
        plan: what was compared.

    >>> from cxr_explain.study.plan import full_plan
    >>> dict(protocol_of(full_plan()))["deletion, insertion"]
    '20 steps of whole cells; blank: the image blurred by a Gaussian of 0.071 of the side'
    """
    yield (
        "grid",
        f"{SAMPLES} samples along the longer side of the radiograph, fewer where it has fewer pixels",
    )
    yield (
        "peak",
        f"in the finding, or no farther beside it than {TOLERANCE:.4f} of the model's square; strict: in it",
    )
    yield "IoU", "of the finding and of the evidence above Otsu's threshold"
    yield "energy", "share of the positive evidence that lies in the finding"
    yield "T(IoBB)", f"IoBB above {IOBB:g}; where references are boxes"
    if plan.faithful:
        yield from _faithfulness(plan)
    yield (
        "fusions",
        f"K = {', '.join(map(str, plan.ks))}; {', '.join(plan.normalisations)}; "
        f"{', '.join(plan.activations)}; where no other is named, the largest K and the first of the others",
    )
    yield "outside, winner entropy", "means over images; all else over findings"
    if plan.randomised:
        how = _default(cascades, "how")
        yield (
            "randomised weights",
            f"{counted(plan.draws, 'draw')} ({how}), each down to three layers; maps of the top class of "
            f"{_first(plan.randomised)}",
        )
    if plan.robust:
        down, right = _default(shift_equivariance, "cells")
        yield (
            "changes of the image",
            f"noise of SD {SIGMA:g} in a range of 2048; contrast times {CONTRAST:g}; greys to the power of "
            f"{GAMMA:g}; histogram equalised in 256 levels; mirrored; shifted by {down} cells down "
            f"and {right} to the right; maps of the top class of {_first(plan.robust)}",
        )
    yield "intervals", f"95 %, percentiles of {plan.resamples} resamples of patients, the same for all rules"


def _faithfulness(plan: Plan) -> Iterator[tuple[str, str]]:
    blank = _BLANKS[_default(deletion, "baseline")]
    yield "deletion, insertion", f"{plan.steps} steps of whole cells; blank: {blank}"
    yield "score", "the class's own probability, the sigmoid of the logit"
    if plan.percentages:
        gone = " and ".join(f"{each} %" for each in plan.percentages)
        yield (
            "ROAD",
            f"{gone} of the pixels, filled from around them with noise of SD {NOISE:g}; half of the "
            "difference of least and most salient first",
        )
    yield (
        "drop, increase, coherency, ADCC",
        f"what the map hides fades to {_BLANKS[_default(adcc, 'baseline')]}",
    )
    yield "cases of these", _first(plan.faithful)


def _first(n: int) -> str:
    return "all cases" if n >= ALL else f"the first {counted(n, 'case')}"


def _default(function: Callable[..., Any], name: str) -> Any:
    """What an argument is where the study does not say otherwise."""
    return signature(function).parameters[name].default
