"""The first page: what was audited, by which model, what must be known first, and the statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from cxr_explain.audit.notes import training_overlap
from cxr_explain.audit.record import Record
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.audit_report.plots import Bin, Interval, bins, interval, polyline, steps
from cxr_explain.pages.audit_report.source import AuditSource

NOT_ESTIMABLE = "not estimable"

ESTIMATES = (
    ("auroc", "AUROC"),
    ("auprc", "AUPRC"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
    ("ppv", "PPV"),
    ("npv", "NPV"),
    ("brier", "Brier score"),
    ("ece", "ECE"),
)
"""Keys of an estimate, and the heads of their columns."""

IN_SUBGROUPS = ESTIMATES[:1] + ESTIMATES[2:4]
IN_POLICIES = ESTIMATES[:4]
WHERE_NAMES = {
    "outside_thorax": "outside the thorax",
    "outside_lungs": "outside the lungs",
    "border": "on the image's border",
    "markers": "on markers or text",
}
LOCALISATION = (
    ("peak_hit", "Peak inside"),
    ("random_hit", "Random point inside"),
    ("centre_hit", "Image centre inside"),
    ("energy", "Energy inside"),
    ("iobb_0.1", "IoBB ≥ 0.1"),
    ("iobb_0.5", "IoBB ≥ 0.5"),
)
_QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")

Fact = tuple[str, str]
Estimate = Mapping[str, float | None]


@dataclass(frozen=True)
class Cell:
    """An estimate in words, and on a line.

    Args:
        text: the value.
        spread: its interval; '' without one.
        interval: for the plot; None where it is not estimable.
    """

    text: str
    spread: str
    interval: Interval | None

    @classmethod
    def of(cls, estimate: Estimate | None) -> Self:
        """Of one estimate of the statistics.

        >>> Cell.of({"value": 0.81234, "low": 0.7, "high": 0.9}).text
        '0.812'
        >>> Cell.of({"value": None, "low": None, "high": None}).text
        'not estimable'
        """
        value, low, high = ((estimate or {}).get(key) for key in ("value", "low", "high"))
        if value is None:
            return cls(NOT_ESTIMABLE, "", None)
        spread = "" if low is None or high is None else f"{low:.3f}–{high:.3f}"
        return cls(f"{value:.3f}", spread, interval(estimate))


@dataclass(frozen=True)
class PathologyStatistics:
    """One pathology of the statistics, ready to be shown.

    Args:
        name: of the pathology.
        positive: images with a positive reference label.
        negative: likewise.
        excluded: images left out, by reason, in words.
        operating_point: None without one.
        cells: as `ESTIMATES`.
        roc: points for SVG; '' where there is no curve.
        pr: likewise.
        calibration: its bins.
        prevalence: share of positives, in SVG's units from the top; None without images.
    """

    name: str
    positive: int
    negative: int
    excluded: str
    operating_point: float | None
    cells: tuple[Cell, ...]
    roc: str
    pr: str
    calibration: tuple[Bin, ...]
    prevalence: float | None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Of one entry of the statistics."""
        curves = found.get("curves") or {}
        positive, negative = int(found["positive"]), int(found["negative"])
        total = positive + negative
        left_out = (found.get("excluded") or {}).items()
        return cls(
            name=found["pathology"],
            positive=positive,
            negative=negative,
            excluded=", ".join(f"{count:,} {reason}" for reason, count in left_out if count) or "none",
            operating_point=found.get("operating_point"),
            cells=_cells(found, ESTIMATES),
            roc=polyline(curves.get("roc") or ()),
            pr=steps(curves.get("pr") or ()),
            calibration=tuple(bins(curves.get("calibration") or ())),
            prevalence=None if not total else 1 - positive / total,
        )

    @property
    def has_curves(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.roc or self.pr or self.calibration)


@dataclass(frozen=True)
class Row:
    """A line of a table: heads first, then estimates.

    Args:
        heads: texts.
        cells: estimates.
        small: a cell with few images, not to be relied on.
    """

    heads: tuple[str, ...]
    cells: tuple[Cell, ...]
    small: bool = False


@dataclass(frozen=True)
class Overview:
    """Everything that the first page says.

    Args:
        alerts: what a reader must know before anything else, on every page of the report.
        notes: what else limits the statistics.
        data: of the data set.
        model: of the model.
        record: of the run.
        counts: texts such as "1,000 explained".
        pathologies: one for each in the statistics.
        subgroups: rows by the column's name.
        policies: rows, where uncertain labels can be counted in more than one way.
        where: rows of the saliency by region.
        localisation: rows of the maps against reference boxes and masks.
        basis: how the statistics were made, in a sentence.
        small: below how many images a subgroup is called small.
    """

    alerts: tuple[str, ...]
    notes: tuple[str, ...]
    data: tuple[Fact, ...]
    model: tuple[Fact, ...]
    record: tuple[Fact, ...]
    counts: tuple[str, ...]
    pathologies: tuple[PathologyStatistics, ...] = field(repr=False)
    subgroups: Mapping[str, tuple[Row, ...]] = field(repr=False)
    policies: tuple[Row, ...] = field(repr=False)
    where: tuple[Row, ...] = field(repr=False)
    localisation: tuple[Row, ...] = field(repr=False)
    basis: str = ""
    small: int = 0

    @classmethod
    def of(cls, run: AuditSource, listing: Listing, statistics: Mapping[str, Any]) -> Self:
        """Gather it from an audit and its statistics."""
        alerts = _alerts(run, listing)
        notes = tuple(note for note in map(str, statistics.get("notes") or ()) if note not in alerts)
        return cls(
            alerts=alerts,
            notes=notes,
            data=_data(run, listing),
            model=_model(run.record),
            record=_record(run.record),
            counts=_counts(run, listing),
            pathologies=tuple(map(PathologyStatistics.of, statistics.get("pathologies") or ())),
            subgroups=_subgroups(statistics),
            policies=tuple(map(_policy, statistics.get("policies") or ())),
            where=tuple(map(_where, statistics.get("where") or ())),
            localisation=tuple(map(_localised, statistics.get("localisation") or ())),
            basis=_basis(statistics),
            small=int(statistics.get("small") or 0),
        )


def _alerts(run: AuditSource, listing: Listing) -> tuple[str, ...]:
    """Possible training overlap first."""
    notes = training_overlap(run.record.training_sets, run.manifest.source)
    explained = int(listing.explained.sum())
    if listing.phantoms:
        which = "These images are" if listing.phantoms == explained else f"{listing.phantoms} images are"
        notes.append(f"{which} computed chest phantoms with known findings. No patient is in them.")
    if run.record.phantom_only:
        notes.append(
            "The model was trained on computed phantoms alone and has never seen a radiograph. What it "
            "predicts, and how often it agrees, says nothing about patients."
        )
    if not run.is_complete:
        notes.append(
            f"This audit is not complete: {len(listing):,} of {run.record.rows:,} images are in it. Run the "
            "same command again to go on."
        )
    return tuple(notes)


def _counts(run: AuditSource, listing: Listing) -> tuple[str, ...]:
    explained = int(listing.explained.sum())
    patients = len({run.manifest.patients[row] for row in listing.rows.tolist()} - {None})
    known = [f"{patients:,} patients"] if patients else []
    return (f"{explained:,} images explained", f"{len(listing) - explained:,} failed", *known)


def _data(run: AuditSource, listing: Listing) -> tuple[Fact, ...]:
    ages = [int(age.rstrip("+")) for age in listing.facts["age"] if age]
    return (
        ("Data set", run.manifest.source),
        ("Manifest", f"SHA-256 {run.record.manifest_sha256[:12]}, {run.record.rows:,} rows"),
        ("Views", _tally(listing.facts["view"])),
        ("Sex", _tally(listing.facts["sex"])),
        ("Age", f"median {np.median(ages):.0f} years ({len(ages):,} known)" if ages else "unknown"),
        ("Split", _tally(listing.facts["split"])),
        ("Reference labels for", ", ".join(listing.labelled) or "none"),
    )


def _tally(values: Sequence[str], most: int = 6) -> str:
    """Each value and how many images have it, the most frequent first.

    >>> _tally(["PA", "PA", ""])
    'PA 2, unknown 1'
    """
    counts = Counter(value or "unknown" for value in values).most_common()
    shown = [f"{value} {count:,}" for value, count in counts[:most]]
    rest = sum(count for _, count in counts[most:])
    return ", ".join([*shown, *([f"others {rest:,}"] if rest else [])])


def _model(record: Record) -> tuple[Fact, ...]:
    sha = record.weights_sha256
    points = sum(point is not None for point in record.points.values())
    return (
        ("Model", record.model),
        ("Weights", f"SHA-256 {sha[:12]}" if sha else "no file: the model came as an object"),
        ("Trained on", ", ".join(record.training_sets) or "unknown"),
        ("Trained outputs", f"{len(record.pathologies)}: {', '.join(record.pathologies)}"),
        ("Operating points", f"{points} of {len(record.pathologies)}, as the weights' authors set them"),
        ("Input", f"{record.input_size} × {record.input_size} pixels, fit: {record.map_settings.fit}"),
    )


def _record(record: Record) -> tuple[Fact, ...]:
    asked, maps = record.ranking_settings, record.map_settings
    by = "sigmoid probability" if asked.rank_by == "probability" else "calibrated value"
    settings = f" ({record.rule_settings})" if record.rule_settings else ""
    fusion = f"normalisation {maps.normalisation}, activation {maps.activation}"
    return (
        ("Class maps", f"{record.rule_title}{settings} at {record.target_layer}"),
        ("Explained", f"K = {asked.top_k}, ranked by {by}{_only_above(record)}"),
        ("Fusion", f"FM-G-CAM, {fusion}" if maps.fused else f"none; class maps scaled together, {fusion}"),
        ("Uncertain labels", record.uncertain),
        ("Reading", _reading(record.read_settings)),
        ("Software", f"cxr-explain {record.package_version}, torch {record.torch_version}, {maps.dtype}"),
    )


def _only_above(record: Record) -> str:
    return (
        ", only those at or above their operating point"
        if record.ranking_settings.above_operating_point
        else ""
    )


def _reading(settings: ReadSettings) -> str:
    return f"voi: {settings.voi}" + (", as torchxrayvision" if settings.xrv_compatible else "")


def _basis(statistics: Mapping[str, Any]) -> str:
    if not statistics:
        return ""
    level = 100 * float(statistics.get("level") or 0.95)
    return (
        f"{statistics.get('images', 0):,} images of {statistics.get('patients', 0):,} patients. Values with "
        f"{level:g} % intervals from {statistics.get('resamples', 0):,} resamples of patients (seed "
        f"{statistics.get('seed', 0)}). Uncertain reference labels: policy “{statistics['policy']}”. "
        "Pathologies that are not mentioned or not labelled count as neither positive nor negative."
    )


def _cells(found: Mapping[str, Any], columns: Sequence[tuple[str, str]]) -> tuple[Cell, ...]:
    estimates = found.get("estimates") or {}
    return tuple(Cell.of(estimates.get(key)) for key, _ in columns)


def _subgroups(statistics: Mapping[str, Any]) -> dict[str, tuple[Row, ...]]:
    rows: dict[str, list[Row]] = {}
    for found in statistics.get("subgroups") or ():
        counts = tuple(f"{found[key]:,}" for key in ("images", "patients", "positive", "negative"))
        heads = (str(found["pathology"]), str(found["value"]), *counts)
        row = Row(heads, _cells(found, IN_SUBGROUPS), bool(found.get("small")))
        rows.setdefault(str(found["column"]), []).append(row)
    return {column: tuple(sorted(each, key=lambda row: row.heads[0])) for column, each in rows.items()}


def _policy(found: Mapping[str, Any]) -> Row:
    heads = (found["pathology"], found["policy"], f"{found['positive']:,}", f"{found['negative']:,}")
    return Row(heads, _cells(found, IN_POLICIES))


def _where(found: Mapping[str, Any]) -> Row:
    quantiles = found.get("quantiles") or {}
    spread = [quantiles.get(level) for level in _QUANTILES]
    threshold = found.get("threshold")
    flagged = "–" if found.get("flagged") is None else f"{found['flagged']:,}"
    return Row(
        (
            WHERE_NAMES.get(found["share"], str(found["share"])),
            f"{found['images']:,}",
            f"{found.get('missing', 0):,}",
            *("–" if value is None else f"{value:.3f}" for value in spread),
            flagged if threshold is None else f"{flagged} (≥ {threshold:g})",
        ),
        (Cell.of(found.get("estimate")),),
    )


def _localised(found: Mapping[str, Any]) -> Row:
    heads = (found["pathology"], f"{found['images']:,}", f"{found.get('patients', 0):,}")
    return Row(heads, _cells(found, LOCALISATION))
