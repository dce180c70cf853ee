"""The first page: what was audited, by which model, what must be known first, and the statistics.

Tables, curves and facts are put into words here, once, for the HTML page and for the PDF.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from cxr_explain.audit.document import NOT_ESTIMABLE
from cxr_explain.audit.notes import training_overlap
from cxr_explain.audit.record import Record
from cxr_explain.audit.store import AuditRun
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.texts import (
    Fact,
    format_probability,
    fusion_text,
    phantom_texts,
    ranked_by_text,
    software_text,
    tally,
    training_text,
    weights_text,
)
from cxr_explain.pages.audit_report.listing import Listing

ESTIMATES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier score",
    "ece": "ECE",
    "peak_hit": "Peak inside",
    "random_hit": "Random point inside",
    "centre_hit": "Image centre inside",
    "energy": "Energy inside",
    "iobb_0.1": "IoBB ≥ 0.1",
    "iobb_0.5": "IoBB ≥ 0.5",
    "mean": "Mean",
}
"""Keys of an estimate in the statistics, and the heads of their columns."""

IN_PERFORMANCE = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier", "ece")
IN_SUBGROUPS = ("auroc", "sensitivity", "specificity")
IN_POLICIES = IN_PERFORMANCE[:4]
IN_LOCALISATION = ("peak_hit", "random_hit", "centre_hit", "energy", "iobb_0.1", "iobb_0.5")
REGION_WORDS = {
    "outside_thorax": "outside the thorax",
    "outside_lungs": "outside the lungs",
    "border": "on the image's border",
    "markers": "on markers or text",
}
"""Keys of a share of the saliency, in words."""

QUANTILES = {"0.05": "5 %", "0.25": "25 %", "0.5": "Median", "0.75": "75 %", "0.95": "95 %"}
COUNTS = {"images": "Images", "patients": "Patients", "positive": "n⁺", "negative": "n⁻"}
"""Keys of counts, and the heads of their columns."""

CurvePoint = Sequence[float]
"""A point (x, y) of a curve in the unit square."""


@dataclass(frozen=True)
class ShownEstimate:
    """An estimate in words, and as numbers to draw.

    Args:
        value: the estimate; None where it is not estimable.
        low: lower end of its interval; None without an interval.
        high: upper end of its interval; None without an interval.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Self:
        """Read one estimate of the statistics."""
        return cls(*((found or {}).get(key) for key in ("value", "low", "high")))

    @property
    def text(self) -> str:
        """The value in words.

        >>> ShownEstimate(0.81234).text, ShownEstimate().text
        ('0.812', 'not estimable')
        """
        return NOT_ESTIMABLE if self.value is None else f"{self.value:.3f}"

    @property
    def spread(self) -> str:
        """The interval in words; '' without one.

        >>> ShownEstimate(0.81234, 0.7, 0.9).spread
        '0.700–0.900'
        """
        return "" if self.low is None or self.high is None else f"{self.low:.3f}–{self.high:.3f}"


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Args:
        heads: words and counts, first of all.
        estimates: the estimates that follow.
        few: it rests on few images, and is not to be relied on.
    """

    heads: tuple[str, ...]
    estimates: tuple[ShownEstimate, ...]
    few: bool = False


@dataclass(frozen=True)
class EstimateTable:
    """Words and counts, then estimates.

    Args:
        title: what the table is about.
        heads: heads of the columns with words and counts.
        estimates: keys of the estimates, as in `ESTIMATES`.
        rows: rows of the table.
        words: how many of the first columns hold words; the others hold numbers.
        plotted: the first estimate is also drawn, on a line from 0 to 1.
    """

    title: str
    heads: Sequence[str]
    estimates: Sequence[str]
    rows: Sequence[TableRow]
    words: int = 1
    plotted: bool = True

    @property
    def estimate_heads(self) -> tuple[str, ...]:
        """Heads of the columns with estimates."""
        return tuple(ESTIMATES[key] for key in self.estimates)


@dataclass(frozen=True)
class Section:
    """A part of the first page.

    Args:
        key: address of the section within the page.
        title: heading of the section.
        basis: paragraphs: what a reader must know of the tables.
        tables: the tables; one whose title is not the section's gets a heading of its own.
        notes: further remarks, shown as a list.
    """

    key: str
    title: str
    basis: Sequence[str]
    tables: Sequence[EstimateTable] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Curves:
    """The curves of one pathology, in the unit square.

    Args:
        pathology: name of the pathology, as a reader expects it.
        about: how many images they rest on, in words.
        roc: (1 - specificity, sensitivity); () where there is no curve.
        pr: (recall, precision), with a corner at each step; () where there is no curve.
        calibration: the bins that hold any image, as the statistics have them.
        prevalence: share of positives; None without images.
        texts: AUROC, AUPRC and ECE in words, by their keys.
    """

    pathology: str
    about: str
    roc: Sequence[CurvePoint]
    pr: Sequence[CurvePoint]
    calibration: Sequence[Mapping[str, Any]]
    prevalence: float | None
    texts: Mapping[str, str]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Read the curves of one pathology of the statistics."""
        curves, positive, negative = found["curves"], found["positive"], found["negative"]
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in found["excluded"].items() if count)
        about = f"{positive:,} positive, {negative:,} negative; left out: {left_out or 'none'}"
        if found["operating_point"] is not None:
            about += f"; operating point {format_probability(found['operating_point'])}"
        return cls(
            pathology=display_name(found["pathology"]),
            about=about,
            roc=curves["roc"],
            pr=with_corners(curves["pr"]),
            calibration=curves["calibration"],
            prevalence=positive / (positive + negative) if positive + negative else None,
            texts={key: ShownEstimate.of(found["estimates"][key]).text for key in ("auroc", "auprc", "ece")},
        )

    @property
    def are_there(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.roc or self.pr or self.calibration)


def with_corners(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Points of a curve that must not be interpolated: each value holds back to the point before.

    Source:
        Davis and Goadrich, ICML 2006, section 2, on precision over recall.

    >>> with_corners([[0.5, 1], [1, 0.5]])
    [(0.0, 1), (0.5, 1), (0.5, 0.5), (1, 0.5)]
    """
    before = [0.0, *(x for x, _ in points)]
    return [corner for at, (x, y) in zip(before, points, strict=False) for corner in ((at, y), (x, y))]


@dataclass(frozen=True)
class Overview:
    """Everything that the first page says.

    Args:
        alerts: what a reader must know before anything else, on every page of the report.
        model: name of the model.
        source: name of the data set.
        counts: how many images, failures and patients, in words.
        facts: titles, and the facts below each: of the data set, the model and the run.
        performance: the estimates of each pathology.
        curves: the curves of each pathology.
        sections: the other tables, those that have a row.
    """

    alerts: tuple[str, ...]
    model: str
    source: str
    counts: str
    facts: tuple[tuple[str, tuple[Fact, ...]], ...]
    performance: Section
    curves: tuple[Curves, ...] = field(repr=False)
    sections: tuple[Section, ...] = field(repr=False)

    @classmethod
    def of(cls, run: AuditRun, listing: Listing, statistics: Mapping[str, Any]) -> Self:
        """Gather it from an audit and its statistics; {} where none were made."""
        alerts = _alerts(run, listing)
        return cls(
            alerts=alerts,
            model=run.record.model,
            source=run.manifest.source,
            counts=_counts(run, listing),
            facts=(
                ("Data set", _data(run, listing)),
                ("Model card", _model(run.record)),
                ("Run record", _record(run.record)),
            ),
            performance=_performance(statistics, alerts),
            curves=tuple(map(Curves.of, statistics.get("pathologies", ()))),
            sections=tuple(
                section for section in _sections(statistics) if any(t.rows for t in section.tables)
            ),
        )


def _alerts(run: AuditRun, listing: Listing) -> tuple[str, ...]:
    """Possible training overlap first."""
    record = run.record
    alerts = training_overlap(record.training_sets, run.manifest.source)
    alerts += phantom_texts(listing.phantoms, int(listing.explained.sum()), phantom_only=record.phantom_only)
    if not run.is_complete:
        alerts.append(
            f"This audit is not complete: {len(listing):,} of {record.rows:,} images are in it. Run the same "
            "command again to go on."
        )
    return tuple(alerts)


def _counts(run: AuditRun, listing: Listing) -> str:
    explained = int(listing.explained.sum())
    patients = len({run.manifest.patients[row] for row in listing.rows.tolist()} - {None})
    counts = [f"{explained:,} images explained", f"{len(listing) - explained:,} failed"]
    return ", ".join([*counts, *([f"{patients:,} patients"] if patients else [])])


def _data(run: AuditRun, listing: Listing) -> tuple[Fact, ...]:
    ages = [int(age.rstrip("+")) for age in listing.facts["age"] if age]
    return (
        ("Source", run.manifest.source),
        ("Manifest", f"SHA-256 {run.record.manifest_sha256[:12]}, {run.record.rows:,} rows"),
        ("Views", tally(listing.facts["view"])),
        ("Sex", tally(listing.facts["sex"])),
        ("Age", f"median {np.median(ages):.0f} years ({len(ages):,} known)" if ages else "unknown"),
        ("Split", tally(listing.facts["split"])),
        ("Reference labels", ", ".join(listing.labelled) or "none"),
    )


def _model(record: Record) -> tuple[Fact, ...]:
    points = sum(point is not None for point in record.points.values())
    return (
        ("Model", record.model),
        ("Weights", weights_text(record.weights_sha256)),
        ("Trained on", training_text(record.training_sets, phantom_only=record.phantom_only)),
        ("Trained outputs", f"{len(record.pathologies)}: {', '.join(record.pathologies)}"),
        ("Operating points", f"{points} of {len(record.pathologies)}, as the weights' authors set them"),
        ("Input", f"{record.input_size} × {record.input_size} pixels, fit: {record.map_settings.fit}"),
    )


def _record(record: Record) -> tuple[Fact, ...]:
    asked, maps = record.ranking_settings, record.map_settings
    settings = f" ({record.rule_settings})" if record.rule_settings else ""
    fusion = fusion_text(maps.normalisation, maps.activation, fused=maps.fused)
    above = ", only those at or above their operating point" if asked.above_operating_point else ""
    reading = record.read_settings
    how_read = f"voi: {reading.voi}" + (", as torchxrayvision" if reading.xrv_compatible else "")
    return (
        ("Class maps", f"{record.rule_title}{settings} at {record.target_layer}"),
        ("Explained", f"K = {asked.top_k}, ranked by {ranked_by_text(asked.rank_by)}{above}"),
        ("Fusion", f"FM-G-CAM, {fusion}" if maps.fused else fusion),
        ("Uncertain labels", record.uncertain),
        ("Reading", how_read),
        ("Software", f"{software_text(record.package_version, record.torch_version)}, {maps.dtype}"),
    )


def _performance(statistics: Mapping[str, Any], alerts: Sequence[str]) -> Section:
    key, title = "performance", "Performance by pathology"
    if not statistics:
        reason = "No statistics were made: the manifest has no positive or negative reference labels."
        return Section(key, title, [reason])
    rows = [
        _row(found, ["pathology"], ["positive", "negative"], IN_PERFORMANCE)
        for found in statistics["pathologies"]
    ]
    basis = (
        f"{statistics['images']:,} images of {statistics['patients']:,} patients. Values with "
        f"{100 * statistics['level']:g} % intervals from {statistics['resamples']:,} resamples of patients "
        f"(seed {statistics['seed']}). Uncertain reference labels: policy “{statistics['policy']}”. "
        "Pathologies that are not mentioned or not labelled count as neither positive nor negative.",
        "n⁺ and n⁻: images with a positive and with a negative reference label. Sensitivity, specificity, "
        "PPV and NPV at the operating point. Brier score and ECE (calibration error) of the raw sigmoid.",
    )
    notes = [note for note in statistics["notes"] if note not in alerts]
    table = EstimateTable(title, ("Pathology", "n⁺", "n⁻"), IN_PERFORMANCE, rows)
    return Section(key, title, basis, [table], notes)


def _sections(statistics: Mapping[str, Any]) -> Iterator[Section]:
    if statistics:
        yield _subgroups(statistics)
        yield _policies(statistics)
        yield _where(statistics)
        yield _localisation(statistics)


def _row(
    found: Mapping[str, Any], words: Sequence[str], counts: Sequence[str], estimates: Sequence[str]
) -> TableRow:
    """A row of an entry of the statistics: its pathology first, then other words, counts and estimates."""
    heads = (display_name(found[words[0]]), *(str(found[key]) for key in words[1:]))
    return TableRow(
        (*heads, *(f"{found[key]:,}" for key in counts)),
        tuple(ShownEstimate.of(found["estimates"].get(key)) for key in estimates),
        found.get("small", False),
    )


def _subgroups(statistics: Mapping[str, Any]) -> Section:
    rows: dict[str, list[TableRow]] = {}
    for found in statistics["subgroups"]:
        row = _row(found, ["pathology", "value"], list(COUNTS), IN_SUBGROUPS)
        rows.setdefault(str(found["column"]), []).append(row)
    tables = [
        EstimateTable(
            f"By {column}",
            ("Pathology", column, *COUNTS.values()),
            IN_SUBGROUPS,
            sorted(each, key=lambda row: row.heads[0]),
            words=2,
        )
        for column, each in rows.items()
    ]
    basis = (
        "A difference between subgroups can come from the model, from the labels, or from who is in them. "
        f"Marked “few”: fewer than {statistics['small']} positives, or fewer than {statistics['small']} "
        "negatives; not to be relied on."
    )
    return Section("subgroups", "Subgroups", [basis], tables)


def _policies(statistics: Mapping[str, Any]) -> Section:
    title = "Uncertain reference labels"
    rows = [
        _row(found, ["pathology", "policy"], ["positive", "negative"], IN_POLICIES)
        for found in statistics["policies"]
    ]
    table = EstimateTable(title, ("Pathology", "Policy", "n⁺", "n⁻"), IN_POLICIES, rows, words=2)
    basis = (
        "The same statistics, with uncertain labels left out (ignore), counted as negative (zeros) or as "
        "positive (ones)."
    )
    return Section("policies", title, [basis], [table])


def _where(statistics: Mapping[str, Any]) -> Section:
    title = "Where the model looks"
    heads = ("Saliency", "Images", NOT_ESTIMABLE.capitalize(), *QUANTILES.values(), "Flagged")
    rows = [
        TableRow(
            (
                REGION_WORDS.get(found["share"], found["share"]),
                f"{found['images']:,}",
                f"{found['missing']:,}",
                *(_share(found["quantiles"][level]) for level in QUANTILES),
                f"{found['flagged']:,} (≥ {found['threshold']:g})",
            ),
            (ShownEstimate.of(found["estimate"]),),
        )
        for found in statistics["where"]
    ]
    basis = (
        "Share of each image's fused saliency, from an estimate of the anatomy. A flag is a question to look "
        "at, not a verdict."
    )
    return Section("where", title, [basis], [EstimateTable(title, heads, ["mean"], rows)])


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _localisation(statistics: Mapping[str, Any]) -> Section:
    title = "Class maps against the reference standard"
    rows = [
        _row(found, ["pathology"], ["images", "patients"], IN_LOCALISATION)
        for found in statistics["localisation"]
    ]
    heads = ("Pathology", "Images", "Patients")
    table = EstimateTable(title, heads, IN_LOCALISATION, rows, plotted=False)
    basis = (
        "Of each pathology's own class map, where the reference standard has a box or a mask. A random point "
        "and the image's centre stand beside the peak: a map must beat them."
    )
    return Section("localisation", title, [basis], [table])
