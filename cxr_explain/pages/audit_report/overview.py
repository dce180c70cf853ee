"""The first page: what was audited, by which model, what must be known first, and the statistics.

Curves and facts are put into words here, once, for the HTML page and for the PDF; the tables of the
statistics come from `cxr_explain.audit.sections`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from cxr_explain.audit.notices import not_complete, training_overlap
from cxr_explain.audit.operating_points.notes import tuning_notes
from cxr_explain.audit.record import Record
from cxr_explain.audit.sections import sections_of
from cxr_explain.audit.sections.headline import Headline
from cxr_explain.audit.sections.performance import PERFORMANCE
from cxr_explain.audit.sections.tables import Section, ShownEstimate
from cxr_explain.audit.store import AuditRun
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.texts import (
    Fact,
    format_probability,
    fusion_text,
    operating_point_text,
    phantom_texts,
    probability_text,
    ranked_by_text,
    software_text,
    tally,
    training_text,
    tuning_lines,
    weights_text,
)
from cxr_explain.models.loaded import TRAINED_UNKNOWN
from cxr_explain.options import RULES
from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.templating import spoken_list

_NO_STATISTICS = Section(
    "performance",
    PERFORMANCE,
    ["No statistics were made: the manifest has no positive or negative reference labels."],
)

CurvePoint = Sequence[float]
"""A point (x, y) of a curve in the unit square."""


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
        headline: what was found; None without statistics.
        operating_point: what an operating point is.
        facts: titles, and the facts below each: of the data set, the model and the run.
        performance: the estimates of each pathology; None in a report of marked cases.
        curves: the curves of each pathology.
        sections: the other tables, those that have a row.
    """

    alerts: tuple[str, ...]
    model: str
    source: str
    counts: str
    headline: Headline | None
    operating_point: str
    facts: tuple[tuple[str, tuple[Fact, ...]], ...]
    performance: Section | None
    curves: tuple[Curves, ...] = field(repr=False)
    sections: tuple[Section, ...] = field(repr=False)

    @classmethod
    def of(
        cls, run: AuditRun, listing: Listing, statistics: Mapping[str, Any], *, marked: bool = False
    ) -> Self:
        """Gather it from an audit and its statistics; {} where none were made, or for marked cases alone."""
        alerts = _alerts(run, listing)
        performance, *others = sections_of(statistics) if statistics else [_NO_STATISTICS]
        shown = replace(performance, notes=[note for note in performance.notes if note not in alerts])
        return cls(
            alerts=alerts,
            model=run.record.model,
            source=run.manifest.source,
            counts=_counts(run, listing),
            headline=Headline.of(statistics) if statistics else None,
            operating_point=operating_point_text(run.record.tuning),
            facts=(
                ("Data set", _data(run, listing)),
                ("Model card", _model(run.record)),
                ("Run record", _record(run.record)),
            ),
            performance=shown if statistics or not marked else None,
            curves=tuple(map(Curves.of, statistics.get("pathologies", ()))),
            sections=tuple(each for each in others if any(table.rows for table in each.tables)),
        )


def _alerts(run: AuditRun, listing: Listing) -> tuple[str, ...]:
    """Possible training overlap first."""
    record = run.record
    alerts = training_overlap(record.training_sets, run.manifest.source)
    alerts += phantom_texts(listing.phantoms, int(listing.explained.sum()), phantom_only=record.phantom_only)
    alerts += record.model_notes
    alerts += not_complete(len(listing), record.rows)
    alerts += tuning_notes(run)
    return tuple(alerts)


def _counts(run: AuditRun, listing: Listing) -> str:
    explained = int(listing.explained.sum())
    patients = len({run.manifest.patients[row] for row in listing.rows.tolist()} - {None})
    counts = [f"{explained:,} images explained", f"{len(listing) - explained:,} failed"]
    return ", ".join([*counts, *([f"{patients:,} patients"] if patients else [])])


def _data(run: AuditRun, listing: Listing) -> tuple[Fact, ...]:
    ages = listing.ages[listing.ages >= 0]
    return (
        ("Source", run.manifest.source),
        ("Manifest", f"SHA-256 {run.record.manifest_sha256[:12]}, {run.record.rows:,} rows"),
        ("Views", tally(listing.facts["view"])),
        ("Sex", tally(listing.facts["sex"])),
        ("Age", f"median {np.median(ages):.0f} years ({len(ages):,} known)" if len(ages) else "unknown"),
        ("Split", tally(listing.facts["split"])),
        ("Reference labels", ", ".join(listing.labelled) or "none"),
    )


def _model(record: Record) -> tuple[Fact, ...]:
    return (
        ("Model", record.model),
        ("Weights", weights_text(record.weights_sha256)),
        ("Trained on", training_text(record.training_sets, phantom_only=record.phantom_only)),
        (_outputs_title(record), f"{len(record.pathologies)}: {spoken_list(record.pathologies)}"),
        ("Probability", probability_text(record.probability_kind)),
        ("Operating points", _points(record)),
        ("Input", f"{record.input_size} × {record.input_size} pixels, fit: {record.map_settings.fit}"),
    )


def _points(record: Record) -> str:
    """Who set the operating points; of those that were fitted, on what."""
    points = sum(point is not None for point in record.points.values())
    if record.tuning is None:
        return f"{points} of {len(record.pathologies)}, as the weights' authors set them"
    return "; ".join(tuning_lines(record.tuning, record.operating_points_sha256))


def _record(record: Record) -> tuple[Fact, ...]:
    asked, maps = record.ranking_settings, record.map_settings
    settings = f" ({record.rule_settings})" if record.rule_settings else ""
    fusion = fusion_text(maps, asked.top_k)
    above = ", only those at or above their operating point" if asked.above_operating_point else ""
    reading = record.read_settings
    how_read = f"voi: {reading.voi}" + (", as torchxrayvision" if reading.xrv_compatible else "")
    how_read += "; the model sees it equalised" if reading.rendering == "equalised" else ""
    ranked_by = ranked_by_text(asked.rank_by, record.probability_kind)
    return (
        ("Class maps", f"{record.rule_title}{settings} at {record.target_layer}"),
        (
            "Explained",
            f"K = {asked.top_k}, ranked by {ranked_by}{above}",
        ),
        ("Fusion", f"FM-G-CAM, {fusion}" if maps.fused else fusion),
        ("Labels count as", f"{record.policy.name}: {record.policy.words()}"),
        ("Reading", how_read),
        ("Lungs and thorax", _regions(record)),
        ("Software", f"{software_text(record)}, {maps.dtype}"),
    )


def _regions(record: Record) -> str:
    """What found them."""
    if record.regions == RULES:
        return "by fixed rules"
    return f"by the network {record.regions}, {weights_text(record.regions_sha256)}"


def _outputs_title(record: Record) -> str:
    """Whether the outputs that are named are known to be trained."""
    return "Named outputs" if TRAINED_UNKNOWN in record.model_notes else "Trained outputs"
