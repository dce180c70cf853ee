"""The closed sets of options, in one place that costs nothing to import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

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

Resolution: TypeAlias = Literal["native", "finest"] | int
"""How fine maps are: as the network makes them ("native"), so many cells along a side, such as 14 or 28, or
as fine as can be had ("finest"); see `cxr_explain.models.finer`."""

Rendering = Literal["plain", "equalised"]
"""The grey levels that the model sees: those that a viewer shows, or these after histogram equalisation, as
the JPEGs of MIMIC-CXR-JPG and CheXpert were made."""

Uncertain = Literal["ignore", "zeros", "ones"]
"""What an uncertain reference label counts as in statistics: nothing, a negative, or a positive."""

Blanks = Literal["ignore", "negative"]
"""What a reference label that is not mentioned counts as in statistics: nothing, or a negative."""

NoFinding = Literal["ignore", "negative"]
"""What a positive "No Finding" says of other pathologies in statistics: nothing, or that each is negative."""

LabelsAs = Literal["strict", "xrv", "chexpert"]
"""Whose convention reference labels are counted by: none (what is said alone), TorchXRayVision's, or that of
CheXpert's authors."""

RULES = "rules"
"""The fixed rules that find lungs and thorax where no segmentation network does."""

CalibrationKind = Literal["none", "temperature", "isotonic"]
"""How probabilities are calibrated: not at all, by one temperature a pathology, or by an isotonic curve."""

ProbabilityKind = Literal["sigmoid", "softmax", "calibrated"]
"""What the probabilities are that are shown: the model's own, or calibrated ones."""

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


def check_resolution(value: object) -> None:
    """Refuse what is no `Resolution`.

    Raises:
        OptionError: another word, or no number of cells.

    >>> check_resolution("fine")
    Traceback (most recent call last):
    cxr_explain.errors.OptionError: found resolution='fine'; expected native, finest, or cells such as 14.
    """
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if value not in ("native", "finest") and not is_number:
        raise OptionError(f"resolution={value!r}", expected="native, finest, or cells such as 14")


@dataclass(frozen=True)
class LabelPolicy:
    """What reference labels count as in statistics.

    A pathology that is not labelled is never counted, whatever the policy.

    - "strict" counts what is said alone, positive or negative;
    - "chexpert" also counts a blank as negative, as CheXpert's authors do (stanfordmlgroup/chexpert-labeler,
      issues 9, 29 and 44). Of uncertain labels they tried all three: U-Ignore, U-Zeros, U-Ones;
    - "xrv" also counts every pathology but devices as negative where "No Finding" is positive, whatever else
      is said of it, as `CheX_Dataset` of TorchXRayVision 1.5.7 does.

    Args:
        uncertain: what an uncertain label counts as: nothing, a negative, or a positive.
        blanks: what a label that is not mentioned counts as: nothing, or a negative.
        no_finding: what a positive "No Finding" says of the other pathologies: nothing, or that each is
            negative.

    Raises:
        OptionError: a value that is none of these.

    >>> LabelPolicy.of("chexpert")
    LabelPolicy(uncertain='ignore', blanks='negative', no_finding='ignore')
    >>> LabelPolicy("ones", blanks="negative").name
    'chexpert, uncertain ones'
    """

    uncertain: Uncertain = "ignore"
    blanks: Blanks = "ignore"
    no_finding: NoFinding = "ignore"

    def __post_init__(self) -> None:
        check_option("uncertain", self.uncertain, Uncertain)
        check_option("blanks", self.blanks, Blanks)
        check_option("no_finding", self.no_finding, NoFinding)

    @classmethod
    def of(cls, given: LabelPolicyLike) -> LabelPolicy:
        """The policy of a convention's name, or one that is strict but for uncertain labels.

        Raises:
            OptionError: another name.

        >>> LabelPolicy.of("zeros").name, LabelPolicy.of("xrv").no_finding
        ('strict, uncertain zeros', 'negative')
        """
        if isinstance(given, LabelPolicy):
            return given
        if given in get_args(Uncertain):
            return cls(given)  # type: ignore[arg-type]  # which get_args does not tell
        if given not in get_args(LabelsAs):
            names = (*get_args(LabelsAs), *get_args(Uncertain))
            raise OptionError(f"policy={given!r}", expected=f"a LabelPolicy, or one of {', '.join(names)}")
        return _CONVENTIONS[given]

    def but(
        self,
        uncertain: Uncertain | None = None,
        blanks: Blanks | None = None,
        no_finding: NoFinding | None = None,
    ) -> LabelPolicy:
        """The same, but for what is given.

        >>> LabelPolicy.of("xrv").but(uncertain="ones").name
        'xrv, uncertain ones'
        """
        return LabelPolicy(uncertain or self.uncertain, blanks or self.blanks, no_finding or self.no_finding)

    @property
    def name(self) -> str:
        """The nearest convention, and what differs from it."""
        base: LabelsAs = (
            "chexpert" if self.blanks == "negative" else "xrv" if self.no_finding == "negative" else "strict"
        )
        both = base == "chexpert" and self.no_finding == "negative"
        return ", ".join(
            (
                base,
                *(("No Finding negative",) if both else ()),
                *((f"uncertain {self.uncertain}",) if self.uncertain != "ignore" else ()),
            )
        )

    def words(self, verb: Literal["are", "were"] = "are") -> str:
        """What counts as what, as a clause.

        Args:
            verb: the clause's tense.

        >>> LabelPolicy("zeros").words("were")
        'uncertain reference labels were counted as negative, and those not mentioned were left out'
        """
        uncertain, blanks = _HOW[self.uncertain], _HOW[self.blanks]
        absence = {"are": "counts", "were": "counted"}[verb]
        return f"uncertain reference labels {verb} {uncertain}, and those not mentioned {verb} {blanks}" + (
            f"; where “No Finding” is positive, every other pathology {absence} as negative"
            if self.no_finding == "negative"
            else ""
        )


LabelPolicyLike: TypeAlias = LabelPolicy | LabelsAs | Uncertain
"""A policy, the name of a convention, or what uncertain labels count as while all else is strict."""

_CONVENTIONS: dict[str, LabelPolicy] = {
    "strict": LabelPolicy(),
    "xrv": LabelPolicy(no_finding="negative"),
    "chexpert": LabelPolicy(blanks="negative"),
}
_HOW = {
    "ignore": "left out",
    "zeros": "counted as negative",
    "negative": "counted as negative",
    "ones": "counted as positive",
}
