"""How far operating points that were fitted keep what they promise, by simulation.

    python -m benchmarks.fitted_points --simulations 400

Tuning splits are drawn as `benchmarks.interval_coverage` draws audits, of a model with an AUROC of 0.80 and
one to five images a patient. `cxr-explain thresholds` fits a point on each, and the sensitivity and
specificity at that point, of infinitely many other patients, are known. Printed are how much lower these are
than those on the tuning images, how often the intervals of the tuning images hold them, and how often the
interval of a point holds the point that would have the share that was asked for.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.special import logit, ndtr, ndtri

from benchmarks.interval_coverage import LEAST_GIVEN, SPREAD, Cell, SimulatedAudits
from cxr_explain.audit.measures import Scored
from cxr_explain.audit.operating_points.fitting import TuningSettings, fitted_point
from cxr_explain.audit.operating_points.goals import Goal
from cxr_explain.audit.operating_points.split import TuningPart
from cxr_explain.support.plain_table import PlainTable

DISTANCE = 2 * float(ndtri(0.80))
"""Between the means of scores with and without the finding: an AUROC of 0.80."""

CELLS = tuple(Cell(patients, prevalence, 5) for patients in (30, 100, 300) for prevalence in (0.05, 0.3))
GOALS = ("youden", "sensitivity=0.9", "specificity=0.9")

Counts = defaultdict[str, list[float]]


def sensitivity_at(score: float) -> float:
    """Of infinitely many patients, at an operating point given as a score."""
    return float(ndtr((DISTANCE - score) / SPREAD))


def specificity_at(score: float) -> float:
    """The same of those without the finding."""
    return float(ndtr(score / SPREAD))


def point_of(goal: Goal) -> float | None:
    """The score at which a share is reached; None for a goal that is no share."""
    if goal.name == "sensitivity":
        return DISTANCE - SPREAD * float(ndtri(goal.value))
    return SPREAD * float(ndtri(goal.value)) if goal.name == "specificity" else None


def simulate(cell: Cell, goal: Goal, simulations: int) -> Counts:
    """How many of the drawn splits have a point, and how each statement about it turned out."""
    rng = np.random.default_rng([3, cell.patients, round(1000 * cell.prevalence)])
    settings = TuningSettings(goal, TuningPart(split="valid"))
    found: Counts = defaultdict(list)
    audits = SimulatedAudits.drawn(rng, cell, simulations)
    scores = audits.scores(DISTANCE)
    for images, there, values in zip(audits.images, audits.there, scores, strict=True):
        patients = np.nonzero(images)[0]
        scored = Scored("Mass", values[images], there[images], patients, len(images), None, {})
        fitted = fitted_point(scored, settings)
        found["fitted"].append(not fitted.not_fitted)
        if fitted.not_fitted:
            continue
        at = float(logit(fitted.operating_point))
        for name, share, truth in (
            ("sensitivity", fitted.sensitivity, sensitivity_at(at)),
            ("specificity", fitted.specificity, specificity_at(at)),
        ):
            if share is None:
                continue
            found[f"{name} lower by"].append(share.value - truth)
            if share.low is not None and share.high is not None:
                found[f"{name} held"].append(share.low <= truth <= share.high)
        found["point given"].append(fitted.interval is not None)
        if fitted.interval is not None and (wanted := point_of(goal)) is not None:
            low, high = (float(logit(end)) for end in (fitted.interval.low, fitted.interval.high))
            found["point held"].append(low <= wanted <= high)
    return found


def row_of(cell: Cell, goal: Goal, simulations: int) -> list[str]:
    """A row of the table."""
    found = simulate(cell, goal, simulations)

    def mean(name: str, form: str) -> str:
        values = found[name]
        return format(math.fsum(values) / len(values), form) if len(values) >= LEAST_GIVEN else "-"

    return [
        str(goal), str(cell.patients), f"{cell.prevalence:.0%}", mean("fitted", ".0%"),
        mean("sensitivity lower by", ".3f"), mean("specificity lower by", ".3f"),
        mean("sensitivity held", ".0%"), mean("specificity held", ".0%"),
        mean("point held", ".0%"), mean("point given", ".0%"),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What fitted operating points keep of what they promise.")
    parser.add_argument("--simulations", type=int, default=400, help="tuning splits in each cell")
    options = parser.parse_args(arguments)
    header = (
        "goal", "patients", "positive", "fitted", "sensitivity lower by", "specificity lower by",
        "its 95 % interval held the truth: sensitivity", "specificity", "the point's", "given",
    )  # fmt: skip
    rows = [row_of(cell, Goal.parse(goal), options.simulations) for goal in GOALS for cell in CELLS]
    title = f"Operating points fitted on {options.simulations} tuning splits a row"
    print(PlainTable(title, header, rows).to_markdown())


if __name__ == "__main__":
    main()
