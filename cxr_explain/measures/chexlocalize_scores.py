"""CheXlocalize's two measures, mean IoU and hit rate, of maps or masks against its reference masks.

Source:
    Saporta et al., Benchmarking saliency methods for chest X-ray interpretation, Nature Machine Intelligence
    4 (2022) 867; https://github.com/rajpurkarlab/cheXlocalize.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cxr_explain.errors import ReferenceLabelError, naming
from cxr_explain.measures.overlap import CaseMean, EmptyPrediction, NotScored, case_iou
from cxr_explain.measures.segmentation import Threshold, chexlocalize_threshold, segment
from cxr_explain.options import check_option
from cxr_explain.pathologies import PATHOLOGIES, canonical_pathology
from cxr_explain.reference.chexlocalize import CHEXLOCALIZE_NAMES, OutlineSet, chexlocalize_pathology
from cxr_explain.reference.outlines import Outline, checked_shape
from cxr_explain.reference.problems import quoted
from cxr_explain.support.arrays import Map, Mask, Shape, as_map

ScoreThreshold = Threshold | Literal["tuned"]
"""Threshold of a min-max normalised map: a number, Otsu's, or CheXlocalize's own for the pathology."""


@dataclass(frozen=True)
class Scores:
    """One measure, by pathology.

    Args:
        ids: names of the radiographs, in the order of each mean's `values`.
        means: mean of the measure by pathology.
        notes: pathologies that were left out, and why; predictions that are missing.
    """

    ids: tuple[str, ...]
    means: Mapping[str, CaseMean]
    notes: tuple[str, ...] = ()

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each id, to resample by.

        >>> Scores(("patient64541_study1_view1_frontal",), {}).patients
        ('patient64541',)
        """
        return tuple(patient_of(image_id) for image_id in self.ids)


def patient_of(image_id: str) -> str:
    """The patient in an id.

    >>> patient_of("patient64541_study1_view1_frontal")
    'patient64541'
    """
    return image_id.split("_", 1)[0]


def full_resolution(saliency: ArrayLike, shape: Shape) -> Map:
    """A map of the whole radiograph at its resolution: bilinear, half-pixel centres, edges repeated.

    For a model that saw the radiograph squeezed into a square, as CheXlocalize's did. Where it saw a crop,
    the way is :meth:`cxr_explain.Geometry.maps_to_radiograph`.

    Args:
        saliency: (I, J).
        shape: (H, W).

    Returns:
        (H, W) float64.

    Raises:
        OptionError: another shape, or values that are not finite.
        ReferenceLabelError: a size beyond the limit.

    >>> full_resolution([[0.0, 1.0]], (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    values = as_map(saliency)
    height, width = checked_shape(shape)
    return _stretched(_stretched(values, height).T, width).T


def predicted_mask(
    saliency: ArrayLike, pathology: str, shape: Shape, *, threshold: ScoreThreshold = "otsu"
) -> Mask:
    """From a class map to CheXlocalize's predicted mask: upsample, min-max, threshold.

    Args:
        saliency: (I, J), over the whole radiograph; at full resolution it is used as it is.
        pathology: one of the ten, under any name that it has.
        shape: the radiograph's height and width (H, W) in pixels.
        threshold: level of the min-max normalised map, from 0 to below 1; "otsu"; or "tuned", the one that
            CheXlocalize found for the pathology.

    Raises:
        ReferenceLabelError: a pathology that is not one of the ten.
        OptionError: a threshold out of range, or no map.

    >>> predicted_mask([[0.0, 1.0]], "Pleural Effusion", (1, 4), threshold="tuned").tolist()
    [[False, False, True, True]]
    """
    tuned = chexlocalize_threshold(pathology)
    return segment(full_resolution(saliency, shape), tuned if threshold == "tuned" else threshold)


def mean_ious(
    predictions: OutlineSet,
    references: OutlineSet,
    *,
    predicted: Collection[str] = PATHOLOGIES,
    empty_prediction: EmptyPrediction = "left out",
) -> Scores:
    """The mean IoU of each pathology over all radiographs with references.

    Args:
        predictions: predicted masks; where a radiograph has none, it counts as empty, as in CheXlocalize.
        references: the reference masks.
        predicted: what the model has an output for; what it has none for is left out, with a note.
        empty_prediction: whether a case without a predicted pixel is "left out" or counts as "zero".

    Raises:
        ReferenceLabelError: a prediction for a radiograph without references.
        OptionError: predictions of another size than the references.

    >>> there = OutlineSet.of_masks({"patient1_study1_view1_frontal": {"Edema": [[True, False]]}})
    >>> print(mean_ious(there, there).means["Edema"])
    1.000 (1 case)
    """
    check_option("empty_prediction", empty_prediction, EmptyPrediction)
    _check_ids(predictions.outlines, references)
    named, notes = _with_output(predicted)
    missing = len(references.ids) - len(predictions.ids)
    if missing:
        notes += (f"{missing} of {len(references.ids)} radiographs without a prediction: empty masks",)

    def scores(pathology: str) -> Iterator[float | NotScored]:
        for image_id in references.ids:
            yield _case_iou(predictions, references, image_id, pathology, empty_prediction)

    return Scores(references.ids, {name: CaseMean.over(scores(name)) for name in named}, notes)


def hit_rates(
    maps: Iterable[tuple[str, str, ArrayLike]],
    references: OutlineSet,
    *,
    predicted: Collection[str] = PATHOLOGIES,
) -> Scores:
    """The hit rate of each pathology: the share of maps whose peak lies in the reference mask.

    As the authors' code has it: the peak is the largest value, whatever its sign, and of equal ones the first
    row by row. The pointing game of this package is another, see
    :func:`cxr_explain.measures.localisation.peak_hit`.

    Args:
        maps: (id, pathology, map), a map once for each; of any resolution, over the whole radiograph.
        references: the reference masks. Where there is a mask and no map, the case is left out.
        predicted: what the model has an output for; maps of what it has none for are left out, with a note.

    Raises:
        ReferenceLabelError: a map for an unknown radiograph or pathology, or a second one.
        OptionError: an array that is no map.

    >>> there = OutlineSet.of_masks({"patient1_study1_view1_frontal": {"Edema": [[True, False]]}})
    >>> hit_rates([("patient1_study1_view1_frontal", "Edema", [[1.0, 0.0]])], there).means["Edema"].value
    1.0
    """
    named, notes = _with_output(predicted)
    found: dict[str, dict[str, float | NotScored]] = {name: {} for name in named}
    for image_id, pathology, saliency in maps:
        name = chexlocalize_pathology(pathology)
        if image_id in found.get(name, {}):
            raise ReferenceLabelError(f"a second map of {name} for {quoted(image_id)}", expected="one")
        reference = references.outline(image_id, name)
        if name in found:
            found[name][image_id] = _hit(saliency, reference)
    means = {name: CaseMean.over(_in_order(hits, references, name)) for name, hits in found.items()}
    return Scores(references.ids, means, notes)


def _stretched(values: Map, samples: int) -> Map:
    """Interpolated along the rows' axis.

    As a + f (b - a), which keeps what is even even: torch's (1 - f) a + f b makes peaks of rounding.
    """
    cells = len(values)
    position = np.clip((np.arange(samples) + 0.5) * cells / samples - 0.5, 0, cells - 1)
    lower = position.astype(np.intp)
    upper = np.minimum(lower + 1, cells - 1)
    fraction = (position - lower)[:, None]
    return np.asarray(values[lower] + fraction * (values[upper] - values[lower]))


def _hit(saliency: ArrayLike, reference: Outline) -> float | NotScored:
    if reference.is_empty or not (there := reference.mask()).any():
        return "no reference"
    peak = full_resolution(saliency, reference.shape).argmax()
    return float(there.flat[peak])


def _in_order(
    hits: Mapping[str, float | NotScored], references: OutlineSet, pathology: str
) -> Iterator[float | NotScored]:
    for image_id in references.ids:
        empty = references.outline(image_id, pathology).is_empty
        yield hits.get(image_id, "no reference" if empty else "no prediction")


def _case_iou(
    predictions: OutlineSet,
    references: OutlineSet,
    image_id: str,
    pathology: str,
    empty_prediction: EmptyPrediction,
) -> float | NotScored:
    reference = references.outline(image_id, pathology)
    if reference.is_empty:  # most are: nothing is drawn
        return "no reference"
    there = reference.mask()
    found = (
        predictions.mask(image_id, pathology)
        if image_id in predictions.outlines
        else np.zeros(there.shape, bool)
    )
    with naming(f"{predictions.source}, {quoted(image_id)}, {pathology}"):
        return case_iou(found, there, empty_prediction=empty_prediction)


def _check_ids(predictions: Collection[str], references: OutlineSet) -> None:
    unknown = sorted(set(predictions) - set(references.ids))
    if unknown:
        raise ReferenceLabelError(
            f"predictions for {len(unknown)} radiographs without references, such as {quoted(unknown[0])}",
            expected="ids of the references",
            source=references.source,
        )


def _with_output(predicted: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which of the ten pathologies the model has an output for, and a note for each of the others."""
    outputs = {canonical_pathology(name) for name in predicted}
    named = tuple(name for name in CHEXLOCALIZE_NAMES if name in outputs)
    others = (name for name in CHEXLOCALIZE_NAMES if name not in outputs)
    return named, tuple(f"{name}: the model has no such output; left out" for name in others)
