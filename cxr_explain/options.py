"""The closed sets of options, in one place that costs nothing to import."""

from __future__ import annotations

from typing import Any, Literal, get_args

from cxr_explain.errors import OptionError

Normalisation = Literal["joint", "per-class", "released"]
"""Of the fusion: by the L2 norm of the (K, I, J) block, of each class map, or of each of its columns."""

Activation = Literal["relu", "elu", "gelu"]
"""Of the fusion, applied last."""

Fit = Literal["crop", "pad"]
"""The model's square: the largest centred one inside the radiograph, or the smallest around it."""

RankBy = Literal["probability", "calibrated"]
"""The score that ranks: the sigmoid, or TorchXRayVision's rescaling by operating point."""

Dtype = Literal["float32", "bfloat16"]
"""Arithmetic of the forward pass."""

Uncertain = Literal["ignore", "zeros", "ones"]
"""What an uncertain reference label counts as in statistics: nothing, a negative, or a positive."""

FigureFormat = Literal["png", "pdf", "svg"]
"""Formats of a figure."""


def check_option(option: str, value: object, choices: Any) -> None:
    """Refuse a value outside of its closed set.

    Args:
        option: the argument's name.
        value: what was given.
        choices: one of the sets above.

    Raises:
        OptionError: names the option, the value and the set.

    >>> check_option("fit", "stretch", Fit)
    Traceback (most recent call last):
    cxr_explain.errors.OptionError: found fit='stretch'; expected one of crop, pad.
    """
    if value not in get_args(choices):
        raise OptionError(f"{option}={value!r}", expected=f"one of {', '.join(get_args(choices))}")
