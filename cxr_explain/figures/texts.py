"""Words and numbers that figures, pages and notebooks share, each written once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cxr_explain.options import ONE_LABEL, OutputKind

DISCLAIMER = "Research use only - not for diagnosis"
NOT_PREDICTED = "not predicted by this model"
NO_OPERATING_POINT = "no operating point"
NO_LABEL = "none given"
UNSEEN = "not seen by the model"
NO_GRADIENT = "No gradient reaches this layer"
ONE_VALUE = "One value for the whole image"

OPERATING_POINT = "the probability from which the weights' authors call a pathology positive"
"""What an operating point is."""

Fact = tuple[str, str]
"""A name, and what is to be said under it."""


def format_probability(value: float) -> str:
    """Three decimals; two significant digits where these would hide the value.

    Args:
        value: probability, 0 to 1.

    >>> [format_probability(value) for value in (0.8312, 0.00225, 3e-7, 0.99999)]
    ['0.831', '0.0022', '<0.0001', '>0.999']
    """
    if 0 < value < 1e-4:
        return "<0.0001"
    if 0 < value < 0.01:
        return f"{value:.2g}" if value >= 0.001 else f"{value:.4f}"
    if 0.9995 <= value < 1:
        return ">0.999"
    return f"{value:.3f}"


def side_of_point(above: bool | None) -> str:
    """On which side of the operating point a prediction is, in a word; '' without an operating point."""
    return {True: "above", False: "below", None: ""}[above]


def weights_text(sha256: str | None) -> str:
    """By which digest the weights are known.

    Args:
        sha256: hexadecimal digest of the weights' file; None for a model that came as an object.
    """
    return f"SHA-256 {sha256[:12]}" if sha256 else "no file: the model came as an object"


def training_text(training_sets: Sequence[str], *, phantom_only: bool = False) -> str:
    """The data sets that a model was trained on.

    >>> training_text(["NIH", "CheXpert"]), training_text([]), training_text(["phantoms"], phantom_only=True)
    ('NIH, CheXpert', 'unknown', 'phantoms only, no radiograph')
    """
    sets = ", ".join(training_sets)
    if not phantom_only:
        return sets or "unknown"
    return "phantoms only, no radiograph" + (f": {sets}" if sets not in ("", "phantoms") else "")


def ranked_by_text(by: str, output_kind: OutputKind = "logits") -> str:
    """What pathologies are ranked by.

    Args:
        by: "probability" or "calibrated".
        output_kind: what the model gives.
    """
    function = "softmax" if output_kind in ONE_LABEL else "sigmoid"
    return f"{function} probability" if by == "probability" else "calibrated value"


def probability_text(output_kind: OutputKind) -> str:
    """What the probabilities of a model are.

    >>> probability_text("sigmoids")
    "the sigmoid of the model's score, not calibrated"
    """
    function = "softmax of the model's scores" if output_kind in ONE_LABEL else "sigmoid of the model's score"
    return f"the {function}, not calibrated"


def fusion_text(normalisation: str, activation: str, *, fused: bool) -> str:
    """How class maps became fused maps; or that they were only scaled together."""
    how = f"normalisation {normalisation}, activation {activation}"
    return how if fused else f"none; class maps scaled together, {how}"


def software_text(package_version: str, torch_version: str) -> str:
    """The versions of the software that computed a result."""
    return f"cxr-explain {package_version}, torch {torch_version}"


def phantom_texts(phantoms: int, images: int, *, phantom_only: bool) -> list[str]:
    """What a reader must know first: that no patient is shown, or that the model has seen none.

    Args:
        phantoms: number of the images that are computed phantoms.
        images: number of images.
        phantom_only: the model was trained on phantoms alone.

    >>> phantom_texts(2, 2, phantom_only=False)
    ['These images are computed chest phantoms with known findings. No patient is in them.']
    """
    texts = []
    if phantoms:
        which = "These images are" if phantoms == images else f"{phantoms:,} of {images:,} images are"
        texts.append(f"{which} computed chest phantoms with known findings. No patient is in them.")
    if phantom_only:
        texts.append(
            "The model was trained on computed phantoms alone and has never seen a radiograph. What it "
            "predicts, and how often it agrees, says nothing about patients."
        )
    return texts


def from_header(value: str | None) -> str:
    """What a header says; "unknown" where it says nothing, never a guess."""
    return f"{value} (from header)" if value else "unknown"


def tally(values: Sequence[str | None], most: int = 6) -> str:
    """Each value and how many images have it, the most frequent first.

    Args:
        values: a value for each image; '' or None where it is unknown.
        most: number of values that are named; the others are counted together.

    >>> tally(["PA", "PA", ""])
    'PA 2, unknown 1'
    """
    counts = Counter(value or "unknown" for value in values).most_common()
    rest = sum(count for _, count in counts[most:])
    shown = [*counts[:most], *([("others", rest)] if rest else [])]
    return ", ".join(f"{value} {count:,}" for value, count in shown)
