"""Words and numbers that figures, pages and notebooks share; pages and notebooks have them in English."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cxr_explain.explaining.provenance import ExplainerFacts, Tuning
from cxr_explain.explaining.settings import MapSettings
from cxr_explain.figures.wording import ENGLISH, Wording
from cxr_explain.options import ProbabilityKind

DISCLAIMER = ENGLISH("research use only")
NOT_PREDICTED = ENGLISH("not predicted")
NO_OPERATING_POINT = ENGLISH("no operating point")
NO_LABEL = ENGLISH("none given")

_VIEWS = {"frontal": ("pa", "ap"), "lateral": ("ll", "rl", "l", "lat")}

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


def side_of_point(above: bool | None, words: Wording = ENGLISH) -> str:
    """On which side of the operating point a prediction is, in a word; '' without an operating point."""
    return "" if above is None else words("above" if above else "below")


def weights_text(sha256: str | None, words: Wording = ENGLISH) -> str:
    """By which digest the weights are known.

    Args:
        sha256: hexadecimal digest of the weights' file; None for a model that came as an object.
        words: the language.
    """
    return words("weights by digest", digest=sha256[:12]) if sha256 else words("weights without a file")


def training_text(
    training_sets: Sequence[str], words: Wording = ENGLISH, *, phantom_only: bool = False
) -> str:
    """The data sets that a model was trained on.

    >>> training_text(["NIH", "CheXpert"]), training_text([]), training_text(["phantoms"], phantom_only=True)
    ('NIH, CheXpert', 'unknown', 'phantoms only, no radiograph')
    """
    sets = ", ".join(training_sets)
    if not phantom_only:
        return sets or words("unknown")
    named = sets not in ("", "phantoms")
    return words("phantoms alone, named", sets=sets) if named else words("phantoms alone")


def ranked_by_text(by: str, kind: ProbabilityKind = "sigmoid", words: Wording = ENGLISH) -> str:
    """What pathologies are ranked by.

    Args:
        by: "probability" or "calibrated".
        kind: what the probabilities are.
        words: the language.
    """
    return words("calibrated value" if by != "probability" else f"{kind} probability")


def probability_text(kind: ProbabilityKind, words: Wording = ENGLISH) -> str:
    """What the probabilities of a model are.

    >>> probability_text("sigmoid")
    "the sigmoid of the model's score, not calibrated"
    """
    texts = {"sigmoid": "sigmoid of the score", "softmax": "softmax of the scores"}
    return words(texts.get(kind, "calibrated scores"))


def scores_text(kind: ProbabilityKind, words: Wording = ENGLISH) -> str:
    """The same as a clause, for a list of facts.

    >>> scores_text("softmax")
    'probabilities are a softmax, not calibrated'
    """
    scores = {
        "sigmoid": "scores are sigmoids",
        "softmax": "scores are a softmax",
        "calibrated": "scores are calibrated",
    }
    return words(scores[kind])


def operating_point_text(tuning: Tuning | None, words: Wording = ENGLISH) -> str:
    """What an operating point is, and on how many patients it was fitted.

    Args:
        tuning: how operating points were fitted; None where they are the weights' own.
        words: the language.

    >>> operating_point_text(None)
    "the probability from which the weights' authors call a pathology positive"
    """
    if tuning is None:
        return words("what an operating point is")
    return words(
        "what a fitted operating point is",
        basis=tuning.basis,
        patients=f"{tuning.patients:,}",
        fitted=tuning.fitted,
        outputs=tuning.outputs,
    )


def tuning_lines(tuning: Tuning, sha256: str | None) -> list[str]:
    """How operating points were fitted, on what, and by which digest they are known.

    Args:
        tuning: how they were fitted.
        sha256: hexadecimal digest of the operating points.
    """
    calibrated = f"probabilities of {tuning.calibrated} calibrated ({tuning.calibrate})"
    return [
        f"{tuning.fitted} of {tuning.outputs} fitted for {tuning.goal}, the others are the weights' own",
        *([calibrated] if tuning.calibrated else []),
        f"fitted on {tuning.images:,} images of {tuning.patients:,} patients, {tuning.part}, of "
        f"{tuning.manifest_source}",
        f"SHA-256 {(sha256 or '')[:12]}",
    ]


def fusion_text(settings: MapSettings, k: int, words: Wording = ENGLISH) -> str:
    """How K class maps became fused maps; or that they were only scaled.

    >>> fusion_text(MapSettings(), 5)
    'normalisation joint, activation relu'
    >>> fusion_text(MapSettings(), 1)
    'none: a single class map, normalisation joint, activation relu'
    >>> fusion_text(MapSettings(), 0)
    'nothing to explain'
    """
    if k == 0:
        return words("nothing to explain")
    how = "not fused, one map" if k == 1 else "how fused" if settings.fused else "not fused"
    return words(how, normalisation=settings.normalisation, activation=settings.activation)


def engine_text(facts: ExplainerFacts) -> str:
    """Name and version of the engine that ran the model; '' where torch did.

    >>> from cxr_explain.explaining.example import example_explanation
    >>> engine_text(example_explanation().provenance)
    ''
    """
    engine = facts.map_settings.engine
    return facts.engine_version or ("" if engine == "torch" else engine)


def software_text(facts: ExplainerFacts) -> str:
    """The versions of the software that computed a result."""
    versions = (f"cxr-explain {facts.package_version}", f"torch {facts.torch_version}", engine_text(facts))
    return ", ".join(filter(None, versions))


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
    if images == phantoms == 1:
        texts.append("This image is a computed chest phantom with known findings. No patient is in it.")
    elif phantoms:
        which = "These images are" if phantoms == images else f"{phantoms:,} of {images:,} images are"
        texts.append(f"{which} computed chest phantoms with known findings. No patient is in them.")
    if phantom_only:
        texts.append(
            "The model was trained on computed phantoms alone and has never seen a radiograph. What it "
            "predicts, and how often it agrees, says nothing about patients."
        )
    return texts


def from_header(value: str | None, words: Wording = ENGLISH) -> str:
    """What a header says; "unknown" where it says nothing, never a guess."""
    return words("from header", value=value) if value else words("unknown")


def view_text(header: str | None, reference: str | None, words: Wording = ENGLISH) -> str:
    """The view and where it is known from; the header's counts, and a table that says another is named.

    Args:
        header: as the radiograph's header has it; None where it does not say.
        reference: as the table of reference labels has it, or the manifest; None where it does not say.
        words: the language.

    >>> view_text(None, "PA"), view_text("AP", "frontal"), view_text("AP", "PA")
    ('PA (from reference table)', 'AP (from header)', 'AP (from header; reference table: PA)')
    """
    if not header:
        return words("from reference table", value=reference) if reference else words("unknown")
    if not reference or same_view(header, reference):
        return words("from header", value=header)
    return words("from header, and another", value=header, other=reference)


def same_view(one: str, other: str) -> bool:
    """Whether one of two views may be the other, less exactly: AP is frontal, and "AP supine" is AP."""
    first, second = one.casefold().split()[:1], other.casefold().split()[:1]
    return first == second or any(
        [general] in (first, second) and {*first, *second} <= {general, *exact}
        for general, exact in _VIEWS.items()
    )


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
