"""The closed sets of options, in one place that costs nothing to import."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from cxr_explain.errors import OptionError

Normalisation = Literal["joint", "per-class", "released"]
"""What the fusion divides by: the L2 norm of the (K, I, J) block, of each class map, or of each column."""

Activation = Literal["relu", "elu", "gelu"]
"""The function that the fusion applies last."""

Fit = Literal["crop", "pad"]
"""The model's square: the largest centred one inside the radiograph, or the smallest around it."""

RankBy = Literal["probability", "calibrated"]
"""The score that ranks: the probability, or TorchXRayVision's rescaling by operating point."""

OutputKind = Literal["logits", "sigmoids", "softmax", "log-softmax", "softmax-logits", "calibrated"]
"""What calling a model gives.

- "logits": one score for each pathology before a sigmoid, where any number of pathologies may be present;
- "sigmoids": their probabilities, behind the sigmoid;
- "calibrated": those behind TorchXRayVision's rescaling by operating point, too (`op_norm`);
- "softmax-logits": scores of a classifier of which exactly one output is true, before a softmax;
- "softmax", "log-softmax": their probabilities, or the logarithms of these.
"""

ONE_LABEL: tuple[OutputKind, ...] = ("softmax", "log-softmax", "softmax-logits")
"""The kinds whose probabilities are a softmax: they sum to 1 over the outputs."""

Dtype = Literal["float32", "bfloat16"]
"""Number format of the forward pass."""

Engine = Literal["torch", "onnxruntime", "openvino", "auto"]
"""What runs the model; "auto" is the fastest that is installed and can run it."""

Uncertain = Literal["ignore", "zeros", "ones"]
"""What an uncertain reference label counts as in statistics: nothing, a negative, or a positive."""

RULES = "rules"
"""The fixed rules that find lungs and thorax where no segmentation network does."""

FigureFormat = Literal["png", "pdf", "svg"]
"""Formats of a figure."""

StyleName = Literal["light", "dark", "print"]
"""Styles of figures that come with the package."""

FigurePart = Literal["table", "class maps", "facts", "notes"]
"""What a figure has below and beside its images: predictions and reference labels, the K class maps, facts on
method, model and radiograph, and warnings and notes."""


def check_option(option: str, value: object, choices: Any) -> None:
    """Refuse a value that is none of the choices.

    Args:
        option: the argument's name.
        value: what was given for it.
        choices: the `Literal` of the choices, such as `Fit`.

    Raises:
        OptionError: another value; the message names the option, the value and the choices.

    >>> check_option("fit", "stretch", Fit)
    Traceback (most recent call last):
    cxr_explain.errors.OptionError: found fit='stretch'; expected one of crop, pad.
    """
    if value not in get_args(choices):
        raise OptionError(f"{option}={value!r}", expected=f"one of {', '.join(get_args(choices))}")


def check_at_least(least: int, **values: float) -> None:
    """Refuse a number that is too small, or not finite.

    Args:
        least: the smallest number that is allowed.
        **values: the numbers by the arguments' names.

    Raises:
        OptionError: names the first argument that is refused, its value and the smallest allowed.

    >>> check_at_least(1, steps=0)
    Traceback (most recent call last):
    cxr_explain.errors.OptionError: found steps=0; expected 1 or more.
    """
    for name, value in values.items():
        if not least <= value < math.inf:
            raise OptionError(f"{name}={value}", expected=f"{least} or more")
