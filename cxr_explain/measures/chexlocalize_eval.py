"""The numbers of CheXlocalize's `eval.py`, and the masks that it is given, as the authors' code has them.

What that code does, and this module with it:

- A saliency map becomes a mask at the radiograph's resolution (`heatmap_to_segmentation.py`): min-max, then
  Otsu's threshold, and the contours of what lies above are filled, so that holes close and lone pixels go; or
  what is greater than a threshold, as it is. Where the model's probability is below a cutoff, nothing is.
- `--metric iou` leaves a case out in the slice of true positives (`--true_pos_only True`, the default) where
  the reference mask or the predicted one is empty; over all cases (`False`) where both are. There, what is
  predicted in a radiograph without references counts too, with 0.
- `--metric hitmiss` asks whether the largest value of the map, of equal ones the first row by row, lies in
  the reference mask; a case without one is left out. `--true_pos_only` plays no part in it.
- Its mean and its interval are those of 1,000 draws of the radiographs, one by one, with replacement: the
  mean of the draws' means, and the 25th and the 975th of them, rounded to three digits. This is the
  benchmark's own definition; this package's intervals draw patients, see
  :func:`cxr_explain.measures.statistics.bootstrap.mean_estimate`.

Where it differs: two maps of one case are refused, where `eval.py` stops at the second and goes on with what
it has; radiographs and pathologies without any map are left out, where it fails. Smoothing by a box
(`--if_smoothing`) is not here.

Source:
    https://github.com/rajpurkarlab/cheXlocalize, `eval.py` and `heatmap_to_segmentation.py`; Saporta et al.,
    Nature Machine Intelligence 4 (2022) 867.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from cxr_explain.errors import ReferenceLabelError, naming
from cxr_explain.measures.chexlocalize_scores import Scores
from cxr_explain.measures.overlap import CaseMean, NotScored
from cxr_explain.measures.segmentation import Threshold
from cxr_explain.reference.chexlocalize import (
    CHEXLOCALIZE_NAMES,
    MostRepresentativePoints,
    OutlineSet,
    chexlocalize_pathology,
)
from cxr_explain.reference.outlines import Outline, RunLengths
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.saliency_maps import SaliencyMap
from cxr_explain.support.arrays import Mask
from cxr_explain.support.bounded import read_bounded
from cxr_explain.support.prose import counted
from cxr_explain.support.spreadsheet import safe_csv
from cxr_explain.support.whole_file import write_output

Metric = Literal["iou", "hitmiss"]
"""As `eval.py` has it in `--metric`, and in the names of what it writes."""

PeakOf = Literal["map", "mask"]
"""Where the point of a hit comes from: the map's largest value; or the mask's first pixel.

The paper has the first. The last `eval.py` takes what `heatmap_to_segmentation.pkl_to_mask` returns for the
map, and that had become a mask.
"""

REPLICATES = 1000
"""Draws of the bootstrap."""

_LEVEL = 0.05  # as the authors' code has it: the share that the interval leaves out
_LARGEST_TABLE = 2**20  # bytes
_AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)  # neighbours along edges and corners


def drawn_mask(saliency: NDArray[np.floating[Any]], threshold: Threshold = "otsu") -> Mask:
    """The mask of a map at full resolution, as `heatmap_to_segmentation.py` draws it.

    Args:
        saliency: (H, W) float32 or float64; computed in its precision.
        threshold: level of the min-max normalised map; or "otsu", with its contours filled.

    Returns:
        (H, W) bool; empty for a map that is the same everywhere.

    >>> ring = np.float32([[9, 9, 9, 0], [9, 0, 9, 0], [9, 9, 9, 0], [0, 0, 0, 0], [0, 9, 0, 0]])
    >>> drawn_mask(ring).astype(int).tolist()
    [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    """
    with np.errstate(over="ignore"):
        scaled = saliency - saliency.min()
    span = scaled.max()
    if not 0 < span < np.inf:
        return np.zeros(saliency.shape, bool)
    scaled /= span  # in place, as what follows: a radiograph of 50 million pixels has 200 MB
    if threshold != "otsu":
        return np.asarray(scaled > scaled.dtype.type(threshold))
    scaled *= 255
    grey = scaled.astype(np.uint8)
    del scaled
    counts = sum((np.bincount(row, minlength=256) for row in grey), np.zeros(256, np.intp))
    return _filled(grey > threshold_otsu(hist=counts))


def predicted_outlines(
    maps: Iterable[SaliencyMap],
    *,
    thresholds: Mapping[str, float] | None = None,
    cutoffs: Mapping[str, float] | None = None,
    source: str = "given by the caller",
) -> OutlineSet:
    """The masks of saliency maps, as `heatmap_to_segmentation.py` makes them.

    Args:
        maps: the maps; each is dropped once its mask is known. What has no map has an empty mask.
        thresholds: level of the min-max normalised map by pathology; by default Otsu's.
        cutoffs: by pathology, the probability below which the mask is empty; by default none.
        source: where the maps come from, for messages.

    Raises:
        ReferenceLabelError: no map at all, a second one of a case, or maps of one radiograph that tell
            several sizes.
        MissingExtraError: pycocotools is not installed.

    >>> one = SaliencyMap("patient1_study1_view1_frontal", "Edema", np.float32([[0, 8, 8, 1]]), (1, 4), 0.4)
    >>> predicted_outlines([one]).mask("patient1_study1_view1_frontal", "Edema").tolist()
    [[False, True, True, False]]
    >>> cut = predicted_outlines([one], cutoffs=dict.fromkeys(CHEXLOCALIZE_NAMES, 0.5))
    >>> cut.mask("patient1_study1_view1_frontal", "Edema").any()
    np.False_
    """
    found: dict[str, dict[str, Outline]] = {}
    for each in maps:
        of_image = found.setdefault(each.image_id, {})
        if each.pathology in of_image:
            raise _second(each)
        mask = np.zeros(each.shape, bool)
        if cutoffs is None or each.probability >= cutoffs[each.pathology]:
            mask = drawn_mask(each.full_size(), "otsu" if thresholds is None else thresholds[each.pathology])
        of_image[each.pathology] = RunLengths.of(mask)
    if not found:
        raise ReferenceLabelError("no saliency map", expected="one or more", source=source)
    return OutlineSet.of_some(found, source=source)


def eval_ious(predictions: OutlineSet, references: OutlineSet, *, true_pos_only: bool = True) -> Scores:
    """The IoU of each case, as `eval.py --metric iou` counts cases.

    Args:
        predictions: predicted masks; where a radiograph has none, it counts as empty.
        references: the reference masks.
        true_pos_only: leave out cases where either mask is empty; else those where both are, and predictions
            for radiographs without references count as well.

    Returns:
        The scores of all ten pathologies.

    Raises:
        ReferenceLabelError: predictions of another size than the references.

    >>> there = OutlineSet.of_masks({"patient1": {"Edema": [[True, False]], "Atelectasis": [[False, False]]}})
    >>> found = OutlineSet.of_masks({"patient1": {"Edema": [[True, True]], "Atelectasis": [[True, False]]}})
    >>> for true_pos_only in (True, False):
    ...     means = eval_ious(found, there, true_pos_only=true_pos_only).means
    ...     means["Edema"].value, means["Atelectasis"].value
    (0.5, None)
    (0.5, 0.0)
    """
    ids = references.ids if true_pos_only else tuple(sorted({*references.ids, *predictions.ids}))
    means = {
        name: CaseMean.over(_iou(predictions, references, image_id, name, true_pos_only) for image_id in ids)
        for name in CHEXLOCALIZE_NAMES
    }
    missing = len(set(references.ids) - set(predictions.ids))
    strays = len(set(predictions.ids) - set(references.ids))
    notes = []
    if missing:
        all_of = counted(len(references.ids), "radiograph")
        notes.append(f"{missing} of {all_of} without a prediction: empty masks")
    if strays:
        counts = "not counted" if true_pos_only else "counted"
        notes.append(f"predictions for {counted(strays, 'radiograph')} without references: {counts}")
    return Scores(ids, _in_written_order(means), tuple(notes))


def eval_hits(maps: Iterable[SaliencyMap], references: OutlineSet, *, peak_of: PeakOf = "map") -> Scores:
    """Whether each map's most salient point lies in the reference mask, as `eval.py --metric hitmiss` has it.

    Args:
        maps: the maps, each at most once; maps of radiographs without references are passed over.
        references: the reference masks; a case without one, or without a map, is left out.
        peak_of: where the point comes from.

    Returns:
        The scores of all ten pathologies, in the order in which the maps come.

    Raises:
        ReferenceLabelError: a second map of a case, or a map of another size than its reference.

    >>> there = OutlineSet.of_masks({"patient1": {"Edema": [[False, False, False, True]]}})
    >>> one = SaliencyMap("patient1", "Edema", np.float32([[0, 1]]), (1, 4), 0.7)
    >>> eval_hits([one], there).means["Edema"].value
    1.0
    >>> eval_hits([one], there, peak_of="mask").means["Edema"].value  # its mask begins one pixel before
    0.0
    """
    found: dict[str, dict[str, float | NotScored]] = {}
    strays = set()
    for each in maps:
        if each.image_id not in references.outlines:
            strays.add(each.image_id)
            continue
        hits = found.setdefault(each.pathology, {})
        if each.image_id in hits:
            raise _second(each)
        hits[each.image_id] = _hit(each, references, peak_of)
    told = f"maps of {counted(len(strays), 'radiograph')} without references: not counted"
    return _hits(found, references, (told,) if strays else ())


def eval_points(points: MostRepresentativePoints, references: OutlineSet) -> Scores:
    """Whether a point of a reader lies in the reference mask: `eval.py`'s human benchmark of hits.

    Args:
        points: the points; where a finding has none, it is missed.
        references: the reference masks; a case without one is left out.

    Raises:
        ReferenceLabelError: a point outside of the radiograph.

    >>> there = OutlineSet.of_masks({"patient1": {"Edema": [[False, True]]}})
    >>> eval_points({"patient1": {"Edema": ((1.7, 0.2),)}}, there).means["Edema"].value
    1.0
    """

    def hit(image_id: str, name: str) -> float | NotScored:
        mask = references.mask(image_id, name)
        if not mask.any():
            return "no reference"
        height, width = mask.shape
        for x, y in (given := points.get(image_id, {}).get(name, ())):
            if not (0 <= x < width and 0 <= y < height):
                raise ReferenceLabelError(
                    f"the point {quoted([x, y])} of {name} in {quoted(image_id)}",
                    expected=f"x below {width} and y below {height}",
                )
        return float(any(mask[int(y), int(x)] for x, y in given))

    hits = {name: {each: hit(each, name) for each in references.ids} for name in CHEXLOCALIZE_NAMES}
    return _hits(dict(_in_written_order(hits)), references, ())


@dataclass(frozen=True)
class EvalTables:
    """What `eval.py` makes of the scores of the cases, and writes.

    Args:
        metric: which measure it is.
        scores: the scores of the cases.
        seed: seed of the bootstrap's draws, `--seed` there.
        is_human: whether readers were measured (`--if_human_benchmark`), which two files are named after.

    >>> there = OutlineSet.of_masks({name: {"Edema": [[True, False]]} for name in ("patient1", "patient2")})
    >>> tables = EvalTables("iou", eval_ious(there, there))
    >>> tables.summary["Edema"]
    EvalInterval(lower=1.0, mean=1.0, upper=1.0)
    """

    metric: Metric
    scores: Scores
    seed: int = 0
    is_human: bool = False

    @cached_property
    def draws(self) -> NDArray[np.float64]:
        """(1000, 10): the mean of each draw, by the order of `CHEXLOCALIZE_NAMES`; NaN without a case."""
        values = np.array([self.scores.means[name].values for name in CHEXLOCALIZE_NAMES], np.float64)
        kept = ~np.isnan(values)
        filled = np.where(kept, values, 0)
        cases = values.shape[1]
        draw = np.random.RandomState(self.seed)  # the generator of `np.random.seed`, with its own state
        drawn = np.empty((REPLICATES, len(values)))
        for at in range(REPLICATES):
            chosen = draw.choice(cases, size=cases, replace=True)
            with np.errstate(invalid="ignore"):
                drawn[at] = filled.take(chosen, axis=1).sum(axis=1) / kept[:, chosen].sum(axis=1)
        return drawn

    @cached_property
    def summary(self) -> Mapping[str, EvalInterval]:
        """Mean and interval by pathology, in the order of the names in CheXlocalize's files."""
        found = dict(zip(CHEXLOCALIZE_NAMES, map(EvalInterval.of, self.draws.T), strict=True))
        return _in_written_order(found)

    def save(self, folder: str | PathLike[str]) -> tuple[Path, Path, Path]:
        """Write `eval.py`'s three files, under its names: the cases, the draws, and the summary.

        Args:
            folder: where to; made if it is missing.

        Returns:
            The paths written.

        Raises:
            OutputError: a folder that cannot be written to.
        """
        of_human = "humanbenchmark_" if self.is_human else ""
        files = {
            f"{self.metric}_{of_human}results_per_cxr.csv": self._cases(),
            f"{self.metric}_{of_human}bootstrap_results_per_cxr.csv": self._draws(),
            f"{self.metric}_summary_results.csv": self._summary(),
        }
        first, second, third = (
            write_output(Path(folder) / name, safe_csv(rows).encode(), "a table")
            for name, rows in files.items()
        )
        return first, second, third

    def _cases(self) -> Iterator[Sequence[object]]:
        means = self.scores.means
        yield [*(CHEXLOCALIZE_NAMES[name] for name in means), "img_id"]
        columns = [_as_written(mean.values, whole=self.metric == "hitmiss") for mean in means.values()]
        for image_id, *row in sorted(zip(self.scores.ids, *columns, strict=True)):
            yield [*row, image_id]

    def _draws(self) -> Iterator[Sequence[object]]:
        yield [CHEXLOCALIZE_NAMES[name] for name in CHEXLOCALIZE_NAMES]
        yield from ([_cell(value) for value in row] for row in self.draws.tolist())

    def _summary(self) -> Iterator[Sequence[object]]:
        yield ["name", "lower", "mean", "upper"]
        for name, each in self.summary.items():
            yield [CHEXLOCALIZE_NAMES[name], _cell(each.lower), _cell(each.mean), _cell(each.upper)]


@dataclass(frozen=True)
class EvalInterval:
    """One row of `eval.py`'s summary, rounded as there; NaN where it has no number.

    Args:
        lower: the 25th of the 1,000 draws' means.
        mean: the mean of the draws' means.
        upper: the 975th of them.
    """

    lower: float
    mean: float
    upper: float

    @classmethod
    def of(cls, draws: NDArray[np.float64]) -> EvalInterval:
        """The interval of the draws' means (b,); those that are NaN stand behind the largest.

        >>> EvalInterval.of(np.arange(1000.0))
        EvalInterval(lower=24.0, mean=499.5, upper=974.0)
        """
        in_order = np.sort(draws)
        lower = int(_LEVEL / 2 * len(draws)) - 1
        upper = int((1 - _LEVEL / 2) * len(draws)) - 1
        numbers = draws[~np.isnan(draws)]
        mean = numbers.mean() if numbers.size else np.nan
        return cls(*(float(np.round(value, 3)) for value in (in_order[lower], mean, in_order[upper])))

    def __str__(self) -> str:
        ends = ("none" if np.isnan(end) else f"{end:.3f}" for end in (self.lower, self.upper))
        return "none" if np.isnan(self.mean) else f"{self.mean:.3f} ({' to '.join(ends)})"


def read_thresholds(path: str | PathLike[str]) -> dict[str, float]:
    r"""Levels of the min-max normalised map by pathology: CheXlocalize's `tuning_results.csv`.

    Args:
        path: CSV table with the columns threshold and task, a row for each of the ten pathologies.

    Raises:
        ReferenceLabelError: no such file, another table, or a threshold that is not from 0 to below 1.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "tuning_results.csv")
    ...     rows = [f"0.4,{name}" for name in CHEXLOCALIZE_NAMES.values()]
    ...     _ = path.write_text("\n".join(["threshold,task", *rows]))
    ...     read_thresholds(path)["Effusion"]
    0.4
    """
    return {name: rows[0][0] for name, rows in _table(path, ("threshold",), most=1).items()}


def read_cutoffs(path: str | PathLike[str]) -> dict[str, float]:
    r"""Probabilities below which a mask is empty, by pathology: `probability_tuning_results.csv`.

    Args:
        path: CSV table with the columns prob_threshold, mIoU and task; of the rows of a pathology the one
            with the largest mIoU counts, of equal ones the first.

    Raises:
        ReferenceLabelError: no such file, another table, or a cutoff that is not from 0 to below 1.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "probability_tuning_results.csv")
    ...     rows = [f"0.1,0.20,{name}\n0.2,0.25,{name}" for name in CHEXLOCALIZE_NAMES.values()]
    ...     _ = path.write_text("\n".join(["prob_threshold,mIoU,task", *rows]))
    ...     read_cutoffs(path)["Effusion"]
    0.2
    """
    best = _table(path, ("prob_threshold", "mIoU"))
    return {name: max(rows, key=lambda row: row[1])[0] for name, rows in best.items()}


def _table(
    path: str | PathLike[str], columns: tuple[str, ...], *, most: int | None = None
) -> dict[str, list[tuple[float, ...]]]:
    expected = f"a CSV table with the columns {', '.join((*columns, 'task'))}"
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in CHEXLOCALIZE_NAMES}
    with naming(path):
        try:
            rows = csv.DictReader(io.StringIO(read_bounded(path, _LARGEST_TABLE).decode("utf-8-sig")))
            missing = {*columns, "task"} - {*(rows.fieldnames or ())}
            if missing:
                raise ReferenceLabelError(f"no column {min(missing)}", expected=expected)
            for row in rows:
                numbers = tuple(float(row[column]) for column in columns)
                found[chexlocalize_pathology(row["task"])].append(numbers)
        except OSError as error:
            raise ReferenceLabelError(f"no readable file ({error.strerror})", expected=expected) from error
        except (AttributeError, TypeError, ValueError, csv.Error) as error:
            raise ReferenceLabelError(f"another file ({quoted(str(error))})", expected=expected) from error
        for name, of_pathology in found.items():
            if not of_pathology or (most and len(of_pathology) > most):
                raise ReferenceLabelError(
                    f"{len(of_pathology)} rows for {CHEXLOCALIZE_NAMES[name]}",
                    expected="one" if most else "one or more",
                )
            if not all(0 <= numbers[0] < 1 and all(map(isfinite, numbers)) for numbers in of_pathology):
                raise ReferenceLabelError(
                    f"a number out of range for {CHEXLOCALIZE_NAMES[name]}", expected="0 to below 1"
                )
    return found


def _filled(mask: Mask) -> Mask:
    """What is inside of the contours of two pixels or more: without lone pixels, and without holes."""
    kept = mask & ndimage.binary_dilation(mask, structure=_AROUND)
    outside, count = ndimage.label(~kept)
    open_to_edge = np.zeros(count + 1, bool)
    for edge in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        open_to_edge[edge] = True
    return np.asarray(kept | ~open_to_edge[outside])


def _iou(
    predictions: OutlineSet, references: OutlineSet, image_id: str, name: str, true_pos_only: bool
) -> float | NotScored:
    there, found = (
        each.outline(image_id, name) if image_id in each.outlines else None
        for each in (references, predictions)
    )
    if there is not None and found is not None and there.shape != found.shape:
        raise ReferenceLabelError(
            f"a mask of {found.shape} for {name} in {quoted(image_id)}",
            expected=f"{there.shape}, as its reference",
            source=predictions.source,
        )
    drawn = [None if each is None or each.is_empty else each.mask() for each in (there, found)]
    reference, prediction = (mask if mask is not None and mask.any() else None for mask in drawn)
    if reference is None and (true_pos_only or prediction is None):
        return "no reference"
    if prediction is None and true_pos_only:
        return "no prediction"
    if reference is None or prediction is None:
        return 0.0
    return float((reference & prediction).sum() / (reference | prediction).sum())


def _hit(saliency: SaliencyMap, references: OutlineSet, peak_of: PeakOf) -> float | NotScored:
    reference = references.outline(saliency.image_id, saliency.pathology)
    with naming(f"{quoted(saliency.image_id)}, {saliency.pathology}"):
        if reference.shape != saliency.shape:
            raise ReferenceLabelError(
                f"a map for a radiograph of {saliency.shape}",
                expected=f"{reference.shape}, as its reference in {references.source}",
            )
    there = reference.mask()
    if not there.any():
        return "no reference"
    large = saliency.full_size()
    return float(there.flat[(large if peak_of == "map" else drawn_mask(large)).argmax()])


def _hits(
    found: Mapping[str, Mapping[str, float | NotScored]], references: OutlineSet, notes: tuple[str, ...]
) -> Scores:
    """Scores in the order in which the pathologies were found, and then the others."""

    def scores(name: str) -> Iterator[float | NotScored]:
        hits = found.get(name, {})
        for image_id in references.ids:
            empty = references.outline(image_id, name).is_empty
            yield hits.get(image_id, "no reference" if empty else "no prediction")

    names = dict.fromkeys((*found, *_in_written_order(dict.fromkeys(CHEXLOCALIZE_NAMES))))
    return Scores(references.ids, {name: CaseMean.over(scores(name)) for name in names}, notes)


def _in_written_order(named: Mapping[str, Any]) -> dict[str, Any]:
    """By the names in CheXlocalize's files, as its code sorts them."""
    return {name: named[name] for name in sorted(named, key=CHEXLOCALIZE_NAMES.__getitem__)}


def _as_written(values: tuple[float | None, ...], *, whole: bool) -> list[object]:
    """A column as pandas writes it: hits are whole numbers unless a case is left out."""
    return (
        [int(each) for each in values if each is not None] if whole and None not in values else list(values)
    )


def _cell(value: float) -> float | None:
    return None if np.isnan(value) else value


def _second(saliency: SaliencyMap) -> ReferenceLabelError:
    return ReferenceLabelError(
        f"a second map of {saliency.pathology} for {quoted(saliency.image_id)}", expected="one"
    )
