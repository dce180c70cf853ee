"""Whether an unstable class map misses more often: stability against hits on phantoms nobody trained on.

    python -m benchmarks.map_stability [--phantoms 300] [--weights phantom] [--method grad-cam]

Of each finding that a phantom shows, its pathology's class map is made whatever the rank. Each score is asked
how well it tells maps whose peak hits from maps whose peak misses (AUROC), beside what costs nothing: the
probability, the share of the evidence in the largest cell, and the area of the region at half the peak; and
whether probability times stability tells more than the probability does. Again for the findings that the
model calls, by the operating point: only of these would anybody look at a map.
Intervals are of the bootstrap over phantoms. See docs/explanation/how_sure.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxr_explain import Explainer, Explanation
from cxr_explain.measures.ruler import Ruler
from cxr_explain.measures.statistics.bootstrap import Estimate, bootstrap, numbered
from cxr_explain.measures.statistics.discrimination import auroc
from cxr_explain.phantom.findings import FINDINGS
from cxr_explain.study.cases import Case, phantom_cases
from cxr_explain.study.session import UNSEEN

SCORES = (
    "stability",
    "peak stays",
    "probability",
    "probability x stability",
    "share of the peak",
    "area of the region",
)
HITS = ("strict", "tolerant")
FEWEST = 5
"""Hits and misses that a finding needs for a row."""


@dataclass(frozen=True)
class Row:
    """One class map of a finding that is there: its scores, and whether its peak hits."""

    phantom: str
    pathology: str
    called: bool
    scores: tuple[float, ...]
    hits: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """Class maps as columns."""

    rows: Sequence[Row]

    def estimate(self, statistic: Callable[[NDArray[np.intp]], float | None]) -> Estimate:
        """A statistic of indices of rows, with its interval over phantoms."""
        groups = numbered(row.phantom for row in self.rows)
        return bootstrap(statistic, len(self.rows), groups=groups)

    def auroc_of(self, score: str, hit: str) -> Callable[[NDArray[np.intp]], float | None]:
        """How well a score tells hits from misses."""
        scores = np.array([row.scores[SCORES.index(score)] for row in self.rows])
        hits = self.hits(hit)
        return lambda index: auroc(scores[index], hits[index])

    def hits(self, hit: str) -> NDArray[np.bool_]:
        """(n,) bool."""
        return np.array([row.hits[HITS.index(hit)] for row in self.rows], bool)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Stability of class maps against hits, on phantoms.")
    parser.add_argument("--phantoms", type=int, default=300)
    parser.add_argument("--seed", type=int, default=UNSEEN, help="of the first phantom")
    parser.add_argument("--size", type=int, default=256, help="pixels a side of a phantom")
    parser.add_argument("--weights", default="phantom")
    parser.add_argument("--method", default="grad-cam")
    asked = parser.parse_args(arguments)
    explainer = Explainer.from_pretrained(asked.weights, device="cpu", method=asked.method)
    cases = phantom_cases(asked.phantoms, seed=asked.seed, size=asked.size)
    found = [row for case in cases for row in rows_of(explainer, case)]
    rows = [row for row in found if row is not None]
    print(
        f"{asked.phantoms} phantoms from seed {asked.seed}, {explainer.classifier.name}, {asked.method}: "
        f"{len(rows)} class maps of findings; {len(found) - len(rows)} without a single positive peak.\n"
    )
    called = [row for row in rows if row.called]
    print(_by_score({"all": Rows(rows), "called": Rows(called)}))
    print(_by_finding(rows))
    print(_by_third({"all": Rows(rows), "called": Rows(called)}))


def rows_of(explainer: Explainer, case: Case) -> Iterator[Row | None]:
    """A row for each finding that the model predicts; None where the map has no single positive peak."""
    names = [name for name in case.masks if name in explainer.classifier.pathologies]
    if not names:
        return
    asked = {"pathologies": names, "top_k": len(names)}
    explanation = explainer.explain(case.radiograph, stability=True, **asked)
    ruler = Ruler.of(explanation.geometry, masks=case.masks)
    for k in range(explanation.ranking.k):
        yield _row(case, explanation, ruler, k)


def _row(case: Case, explanation: Explanation, ruler: Ruler, k: int) -> Row | None:
    prediction, values = explanation.ranking.top[k], explanation.class_maps[k]
    measured = ruler.class_map(prediction.pathology, values)
    sure = explanation.stability.maps.get(prediction.pathology) if explanation.stability else None
    hits = (measured.peak_hit, measured.tolerant_hit)
    if sure is None or sure.peak_stays is None or None in hits:
        return None
    peak = values.max()
    free = (
        prediction.probability,
        prediction.probability * sure.stability,
        float(peak / np.maximum(values, 0).sum()),
        float((values >= peak / 2).mean()),
    )
    return Row(
        case.id,
        prediction.pathology,
        prediction.above if prediction.above is not None else prediction.probability >= 0.5,
        (sure.stability, sure.peak_stays, *free),
        tuple(hit is not None and hit >= 0.5 for hit in hits),
    )


def _by_score(parts: dict[str, Rows]) -> str:
    head = [f"{hit}: {what}" for hit in HITS for what in ("AUROC (95 %)", "less the probability's")]
    lines = [f"| findings | score | {' | '.join(head)} |", f"|:--|:--|{':--|' * len(head)}"]
    for part, rows in parts.items():
        for score in SCORES:
            cells = [part, score]
            for hit in HITS:
                cells.append(_said(rows.estimate(rows.auroc_of(score, hit))))
                own = score == "probability"
                cells.append("" if own else _said(rows.estimate(_difference(rows, score, hit))))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _difference(rows: Rows, score: str, hit: str) -> Callable[[NDArray[np.intp]], float | None]:
    one, other = rows.auroc_of(score, hit), rows.auroc_of("probability", hit)

    def of(index: NDArray[np.intp]) -> float | None:
        a, b = one(index), other(index)
        return None if a is None or b is None else a - b

    return of


def _by_finding(rows: Sequence[Row]) -> str:
    scores = ("stability", "probability")
    head = [f"{hit}: {what}" for hit in HITS for what in ("misses", *scores)]
    lines = [f"| finding | n | {' | '.join(head)} |", f"|:--|--:|{'--:|:--|:--|' * len(HITS)}"]
    for name in FINDINGS:
        chosen = Rows([row for row in rows if row.pathology == name])
        if not chosen.rows:
            continue
        cells = [name, str(len(chosen.rows))]
        for hit in HITS:
            missed = int((~chosen.hits(hit)).sum())
            enough = FEWEST <= missed <= len(chosen.rows) - FEWEST
            cells.append(str(missed))
            cells += [
                _said(chosen.estimate(chosen.auroc_of(score, hit))) if enough else "too few"
                for score in scores
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_third(parts: dict[str, Rows]) -> str:
    lines = ["| findings | stability | n | hit, strict | hit, tolerant |", "|:--|:--|--:|:--|:--|"]
    for part, rows in parts.items():
        values = np.array([row.scores[0] for row in rows.rows])
        edges = [-np.inf, *np.quantile(values, (1 / 3, 2 / 3)), np.inf]
        for low, high in pairwise(edges):
            inside = (values > low) & (values <= high)
            if not inside.any():
                continue
            third = Rows([row for row, kept in zip(rows.rows, inside, strict=True) if kept])
            span = f"{values[inside].min():.2f} to {values[inside].max():.2f}"
            shares = [_said(third.estimate(_share(third.hits(hit)))) for hit in HITS]
            lines.append(f"| {part} | {span} | {inside.sum()} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def _share(hits: NDArray[np.bool_]) -> Callable[[NDArray[np.intp]], float | None]:
    return lambda index: float(hits[index].mean()) if len(index) else None


def _said(found: Estimate) -> str:
    if found.value is None:
        return "not estimable"
    interval = "" if found.low is None else f" ({found.low:.3f} to {found.high:.3f})"
    return f"{found.value:.3f}{interval}"


if __name__ == "__main__":
    main()
