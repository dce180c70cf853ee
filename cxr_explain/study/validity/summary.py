"""From one row a phantom to what is worth reporting, with intervals; frozen, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cxr_explain._version import __version__
from cxr_explain.measures.statistics.bootstrap import Estimate, Statistic, bootstrap
from cxr_explain.measures.statistics.calibration import brier, expected_calibration_error
from cxr_explain.measures.statistics.discrimination import Operation, auroc, operate, youden
from cxr_explain.options import Normalisation
from cxr_explain.support.plain_table import PlainTable

TOP_K = 5
"""The K of `explain` where none is given."""

Choice = Literal["present", "top 5"]
"""The classes that are fused: the findings that are present, or those that rank highest."""

CHOICES: tuple[Choice, ...] = get_args(Choice)
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
REGIONS = ("whole", "own")

AREAS = (0.0, 1.0, 2.0, 4.0, 8.0, 32.0)
"""Areas of findings, in cells of the map, from which the rows of the table by area start."""

AUROC = "AUROC, mean of findings"
FELL = "logit falls when its finding is removed"
FALL = "median fall of that logit"
OTHERS = "mean absolute change of the other logits"
STRICT = "Grad-CAM's peak in the mask, mean of findings"
TOLERANT = "Grad-CAM's peak within half a cell of it, mean of findings"
"""The headlines."""


@dataclass(frozen=True, eq=False)
class Records:
    """All numbers of n phantoms.

    Args:
        findings: F names.
        columns: by measure, (n, F) float64, NaN where it does not apply. "label" is 1, 0, or NaN (hidden).
        operating_points: F probabilities, None where the classifier has none.
    """

    findings: tuple[str, ...]
    columns: Mapping[str, NDArray[np.float64]]
    operating_points: tuple[float | None, ...]

    def __len__(self) -> int:
        return len(self.columns["label"])


@dataclass(frozen=True)
class FindingRow:
    """What was measured of one finding; None is "not estimable".

    Args:
        pathology: its name.
        positives: phantoms with it.
        negatives: phantoms without it; where it is hidden it counts as neither.
        auroc: area under the ROC curve.
        brier: of the sigmoid probability.
        calibration_error: expected calibration error, in ten bins.
        operation: sensitivity and specificity at the classifier's operating point, else at Youden's threshold
            on these very phantoms.
        fell: share of the counterfactuals in which its logit is lower.
        fall: median fall of its logit.
        others: mean absolute change of the other logits.
        strict: share of the peaks of its class map in its mask.
        tolerant: share within half a cell of it.
        random: (strict, tolerant) of a random peak.
        centre: (strict, tolerant) of a peak at the centre.
    """

    pathology: str
    positives: int
    negatives: int
    auroc: float | None
    brier: float | None
    calibration_error: float | None
    operation: Operation | None
    fell: float | None
    fall: float | None
    others: float | None
    strict: float | None
    tolerant: float | None
    random: tuple[float | None, float | None]
    centre: tuple[float | None, float | None]


@dataclass(frozen=True)
class ShareRow:
    """The class share of one way to fuse, over phantoms with two findings or more.

    Args:
        classes: which are fused.
        normalisation: of the fusion.
        whole: in the finding's whole mask.
        own: in the pixels that belong to no other finding's mask.
        chance: 1 / K, on average: the share if all K classes shared alike.
        findings: how many shares were averaged.
    """

    classes: Choice
    normalisation: Normalisation
    whole: Estimate
    own: Estimate
    chance: float | None
    findings: int


@dataclass(frozen=True)
class AreaRow:
    """Findings of one area, whatever they are.

    Args:
        least: area of the mask from which it counts here, in cells of the map.
        below: area from which it counts no more; None for no end.
        findings: how many.
        fell: share of the counterfactuals in which the finding's logit is lower.
        strict: share of the peaks of its class map in its mask.
        tolerant: share within half a cell of it.
    """

    least: float
    below: float | None
    findings: int
    fell: float | None
    strict: float | None
    tolerant: float | None


@dataclass(frozen=True)
class Validity:
    """The instrument's validity on n phantoms.

    Args:
        model: the classifier's name.
        weights_sha256: hexadecimal digest of its weights, where known.
        n: phantoms.
        seed: of the first.
        size: pixels a side.
        headlines: by measure, over all findings, with 95 % bootstrap intervals over phantoms.
        findings: one row each.
        shares: the class share of FM-G-CAM.
        areas: the pointing game and the fall of the logit by area of the finding.
        even_share: the class share, in whole masks, of a map that fills every mask evenly and shares
            overlaps out: what findings that lie over each other leave of 1.
        own_operating_points: whether the classifier came with operating points.
        package_version: of cxr_explain.
    """

    model: str
    weights_sha256: str | None
    n: int
    seed: int
    size: int
    headlines: Mapping[str, Estimate]
    findings: tuple[FindingRow, ...] = field(repr=False)
    shares: tuple[ShareRow, ...] = field(repr=False)
    areas: tuple[AreaRow, ...] = field(default=(), repr=False)
    even_share: float | None = None
    own_operating_points: bool = False
    package_version: str = __version__

    def to_json(self) -> str:
        """All of it; what is not estimable is null."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)

    def to_markdown(self) -> str:
        """The tables for a model card."""
        return self._page(markdown=True)

    def to_text(self) -> str:
        """The tables for a terminal of 100 columns."""
        return self._page(markdown=False)

    def _page(self, *, markdown: bool) -> str:
        tables = (
            _headline_table(self),
            _discrimination_table(self),
            _counterfactual_table(self),
            _pointing_table(self),
            _area_table(self),
            _share_table(self),
        )
        shown = (table.to_markdown() if markdown else table.to_text() for table in tables)
        return "\n\n".join((_provenance(self), *shown)) + "\n"


def summarise(
    records: Records,
    *,
    model: str,
    weights_sha256: str | None,
    seed: int,
    size: int,
    resamples: int = 1000,
) -> Validity:
    """Sum the numbers of all phantoms up.

    Args:
        records: of all phantoms.
        model: the classifier's name.
        weights_sha256: of its weights.
        seed: of the first phantom.
        size: pixels a side.
        resamples: of the bootstrap.
    """

    def estimate(statistic: Statistic) -> Estimate:
        return bootstrap(statistic, len(records), resamples=resamples)

    return Validity(
        model=model,
        weights_sha256=weights_sha256,
        n=len(records),
        seed=seed,
        size=size,
        headlines={name: estimate(statistic) for name, statistic in _headlines(records).items()},
        findings=tuple(_finding_row(records, at) for at in range(len(records.findings))),
        shares=tuple(
            ShareRow(
                classes=choice,
                normalisation=normalisation,
                whole=estimate(_over_all(records, f"{choice} {normalisation} whole")),
                own=estimate(_over_all(records, f"{choice} {normalisation} own")),
                chance=_mean(records.columns[f"{choice} chance"]),
                findings=int(np.isfinite(records.columns[f"{choice} chance"]).sum()),
            )
            for choice in CHOICES
            for normalisation in NORMALISATIONS
        ),
        areas=_area_rows(records),
        even_share=_mean(records.columns["even"]),
        own_operating_points=any(point is not None for point in records.operating_points),
    )


def _headlines(records: Records) -> dict[str, Statistic]:
    """A mean of findings leaves out those that a resample does not have."""

    def mean_auroc(index: NDArray[np.intp]) -> float | None:
        found = (_auroc(records, at, index) for at in range(len(records.findings)))
        return _mean([np.nan if value is None else value for value in found])

    return {
        AUROC: mean_auroc,
        FELL: _over_all(records, "fell"),
        FALL: _median(records, "fall"),
        OTHERS: _over_all(records, "others"),
        STRICT: _over_findings(records, "peak strict"),
        TOLERANT: _over_findings(records, "peak tolerant"),
    }


def _over_all(records: Records, measure: str) -> Statistic:
    """The mean over all present findings of all phantoms."""
    return lambda index: _mean(records.columns[measure][index])


def _over_findings(records: Records, measure: str) -> Statistic:
    """The mean over findings of each finding's own mean: rare findings count as much as others."""
    column = records.columns[measure]
    there = np.isfinite(column)
    values = np.where(there, column, 0)

    def statistic(index: NDArray[np.intp]) -> float | None:
        counts = there[index].sum(axis=0)
        found = counts > 0
        return _mean(values[index].sum(axis=0)[found] / counts[found])

    return statistic


def _median(records: Records, measure: str) -> Statistic:
    return lambda index: _median_of(records.columns[measure][index])


def _mean(values: Iterable[float] | NDArray[np.float64]) -> float | None:
    finite = _finite(values)
    return float(finite.mean()) if finite.size else None


def _median_of(values: NDArray[np.float64]) -> float | None:
    finite = _finite(values)
    return float(np.median(finite)) if finite.size else None


def _finite(values: Iterable[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def _labelled(
    records: Records, at: int, index: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits and labels of the phantoms that count for a finding."""
    label = records.columns["label"][index, at]
    counts = np.isfinite(label)
    return records.columns["logit"][index, at][counts], label[counts] > 0


def _auroc(records: Records, at: int, index: NDArray[np.intp]) -> float | None:
    return auroc(*_labelled(records, at, index))


def _finding_row(records: Records, at: int) -> FindingRow:
    logits, there = _labelled(records, at, np.arange(len(records)))
    chances = np.exp(-np.logaddexp(0, -logits))
    point = records.operating_points[at]
    column = {measure: values[:, at] for measure, values in records.columns.items()}
    return FindingRow(
        pathology=records.findings[at],
        positives=int(there.sum()),
        negatives=int((~there).sum()),
        auroc=auroc(logits, there),
        brier=brier(chances, there),
        calibration_error=expected_calibration_error(chances, there),
        operation=youden(chances, there) if point is None else operate(chances, there, point),
        fell=_mean(column["fell"]),
        fall=_median_of(column["fall"]),
        others=_mean(column["others"]),
        strict=_mean(column["peak strict"]),
        tolerant=_mean(column["peak tolerant"]),
        random=(_mean(column["random strict"]), _mean(column["random tolerant"])),
        centre=(_mean(column["centre strict"]), _mean(column["centre tolerant"])),
    )


def _area_rows(records: Records) -> tuple[AreaRow, ...]:
    cells = records.columns["cells"]
    rows = []
    for least, below in zip(AREAS, (*AREAS[1:], None), strict=True):
        chosen = (cells >= least) & (cells < (np.inf if below is None else below))
        fell, strict, tolerant = (
            _mean(records.columns[name][chosen]) for name in ("fell", "peak strict", "peak tolerant")
        )
        rows.append(AreaRow(least, below, int(chosen.sum()), fell, strict, tolerant))
    return tuple(rows)


def _provenance(validity: Validity) -> str:
    digest = f" ({validity.weights_sha256[:12]})" if validity.weights_sha256 else ""
    return (
        f"{validity.model}{digest} on {validity.n} unseen phantoms of {validity.size} x {validity.size} "
        f"pixels,\nseeds {validity.seed} to {validity.seed + validity.n - 1}; "
        f"cxr_explain {validity.package_version}. A dash is not estimable."
    )


def _headline_table(validity: Validity) -> PlainTable:
    rows = [[name, _number(found.value), _interval(found)] for name, found in validity.headlines.items()]
    return PlainTable(
        "Over all findings",
        ("measure", "value", "95 % interval"),
        rows,
        "Intervals: percentile bootstrap over phantoms.",
    )


def _discrimination_table(validity: Validity) -> PlainTable:
    rows = [
        [
            *(row.pathology, str(row.positives), str(row.negatives)),
            *map(_number, (row.auroc, row.brier, row.calibration_error)),
            *map(_number, _operation(row.operation)),
        ]
        for row in validity.findings
    ]
    aurocs = [row.auroc for row in validity.findings if row.auroc is not None]
    rows.append(["mean", "", "", _number(_mean(aurocs)), *[""] * 5])
    threshold = (
        "the classifier's operating point"
        if validity.own_operating_points
        else "Youden's on these very phantoms, which flatters"
    )
    return PlainTable(
        "Discrimination and calibration",
        ("finding", "with", "without", "AUROC", "Brier", "ECE", "threshold", "sens.", "spec."),
        rows,
        f"Threshold: {threshold}. Hidden findings count on neither side.",
    )


def _counterfactual_table(validity: Validity) -> PlainTable:
    rows = [
        [row.pathology, str(row.positives), *map(_number, (row.fell, row.fall, row.others))]
        for row in validity.findings
    ]
    heads = [validity.headlines[name] for name in (FELL, FALL, OTHERS)]
    total = sum(row.positives for row in validity.findings)
    rows.append(["all", str(total), *(_number(found.value) for found in heads)])
    return PlainTable(
        "The same phantom without the finding",
        ("finding", "pairs", "logit falls", "median fall", "others' change"),
        rows,
        "Others' change: mean absolute change of the logits of all other findings.",
    )


def _pointing_table(validity: Validity) -> PlainTable:
    scores = [
        (row, (row.strict, row.random[0], row.centre[0], row.tolerant, row.random[1], row.centre[1]))
        for row in validity.findings
    ]
    rows = [[row.pathology, str(row.positives), *map(_number, found)] for row, found in scores]
    means = [
        _mean([v for v in column if v is not None])
        for column in zip(*(found for _, found in scores), strict=True)
    ]
    rows.append(["mean", "", *map(_number, means)])
    return PlainTable(
        "Pointing game of Grad-CAM",
        ("finding", "n", "in mask", "random", "centre", "half a cell", "random", "centre"),
        rows,
        "Three columns: the peak in the mask; three: within half a cell of the map of it.",
    )


def _area_table(validity: Validity) -> PlainTable:
    rows = [
        [
            f"{row.least:g} to {row.below:g}" if row.below is not None else f"{row.least:g} and more",
            str(row.findings),
            *map(_number, (row.fell, row.strict, row.tolerant)),
        ]
        for row in validity.areas
    ]
    return PlainTable(
        "By area of the finding",
        ("cells of the map", "n", "logit falls", "peak in mask", "half a cell"),
        rows,
    )


def _share_table(validity: Validity) -> PlainTable:
    rows = [
        [
            *(row.classes, row.normalisation, str(row.findings)),
            *(_number(row.whole.value), _interval(row.whole)),
            *(_number(row.own.value), _interval(row.own), _number(row.chance)),
        ]
        for row in validity.shares
    ]
    return PlainTable(
        "Class share of FM-G-CAM, in phantoms with two findings or more",
        ("classes", "normalisation", "n", "in mask", "95 %", "own pixels", "95 %", "1 / K"),
        rows,
        "Share of the saliency within a finding's mask that has its own colour; none at all counts as 0.\n"
        "Own pixels belong to no other finding's mask. A map that filled every mask evenly, overlaps in all\n"
        f"their colours alike, would have {_number(validity.even_share)} in mask and 1 in own pixels.",
    )


def _operation(operation: Operation | None) -> Sequence[float | None]:
    if operation is None:
        return None, None, None
    return operation.threshold, operation.sensitivity, operation.specificity


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(found: Estimate) -> str:
    return "-" if found.low is None else f"{found.low:.3f} to {found.high:.3f}"
