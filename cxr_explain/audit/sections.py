"""The statistics of an audit in words: the same tables for a terminal, Markdown, HTML and PDF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from cxr_explain.figures.lettering import display_name
from cxr_explain.support.plain_table import PlainTable

NOT_ESTIMABLE = "not estimable"
PERFORMANCE = "Performance by pathology"

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
    "iobb_0.1": "IoBB > 0.1",
    "iobb_0.5": "IoBB > 0.5",
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

_BESIDE = 4  # estimates side by side in plain text


@dataclass(frozen=True)
class ShownEstimate:
    """An estimate in words, and as numbers to draw.

    Args:
        value: the estimate; None where it is not estimable.
        low: lower end of the interval; None without an interval.
        high: upper end of the interval; None without an interval.
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

    @property
    def line(self) -> str:
        """The value and its interval in one line of plain text.

        >>> ShownEstimate(0.5, 0.25, 0.75).line, ShownEstimate(1.0).line
        ('0.500 (0.250 to 0.750)', '1.000 (no interval)')
        """
        if self.value is None:
            return self.text
        return f"{self.text} ({self.spread.replace('–', ' to ') or 'no interval'})"


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

    @property
    def plain_heads(self) -> tuple[str, ...]:
        """The heads where no colour can say that a row rests on few images."""
        first, second, *others = self.heads
        return first, f"{second} (few)" if self.few else second, *others


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

    def plain(self) -> Iterator[PlainTable]:
        """The table as plain text: as many tables as it takes with four estimates in each."""
        for first in range(0, len(self.estimates), _BESIDE):
            part = slice(first, first + _BESIDE)
            rows = [[*row.plain_heads, *(each.line for each in row.estimates[part])] for row in self.rows]
            yield PlainTable(self.title, (*self.heads, *self.estimate_heads[part]), rows)


@dataclass(frozen=True)
class Section:
    """A part of the first page.

    Args:
        key: address of the section within the page.
        title: heading of the section.
        basis: paragraphs: what a reader must know of the tables.
        tables: the tables; one with another title than the section gets a heading.
        notes: further remarks, shown as a list.
    """

    key: str
    title: str
    basis: Sequence[str]
    tables: Sequence[EstimateTable] = ()
    notes: Sequence[str] = ()

    def plain(self) -> Iterator[PlainTable]:
        """The tables that have a row as plain text, with the basis below the last."""
        tables = [part for table in self.tables if table.rows for part in table.plain()]
        yield from tables[:-1]
        yield from (replace(last, note=" ".join(self.basis)) for last in tables[-1:])


def sections_of(statistics: Mapping[str, Any]) -> list[Section]:
    """The statistics by section: performance by pathology, subgroups, policies, regions, localisation.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    parts = (_performance, _subgroups, _policies, _where, _localisation)
    return [part(statistics) for part in parts]


def _performance(statistics: Mapping[str, Any]) -> Section:
    rows = [
        _row(found, ["pathology"], ["positive", "negative"], IN_PERFORMANCE)
        for found in statistics["pathologies"]
    ]
    basis = (
        f"{statistics['images']:,} images of {statistics['patients']:,} patients, "
        f"{statistics['failures']:,} failed. Values with "
        f"{100 * statistics['level']:g} % intervals from {statistics['resamples']:,} resamples of patients "
        f"(seed {statistics['seed']}). Uncertain reference labels: policy “{statistics['policy']}”. "
        "Pathologies that are not mentioned or not labelled count as neither positive nor negative.",
        "n⁺ and n⁻: images with a positive and with a negative reference label. Sensitivity, specificity, "
        "PPV and NPV at the operating point: positive from it on. Brier score and ECE (calibration error, 10 "
        "bins of equal width) of the raw probability: low is good.",
        *_excluded(statistics["pathologies"]),
    )
    table = EstimateTable(PERFORMANCE, ("Pathology", "n⁺", "n⁻"), IN_PERFORMANCE, rows)
    return Section("performance", PERFORMANCE, basis, [table], statistics["notes"])


def _excluded(pathologies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How many reference labels are neither positive nor negative, by reason."""
    reasons: Counter[str] = Counter()
    for found in pathologies:
        reasons.update(found["excluded"])
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    if told:
        yield f"Reference labels that count as neither: {told}."


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
            f"Subgroups by {column}",
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
