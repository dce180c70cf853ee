"""Table 3 from the records, with intervals over photographs, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.photographs.maps import FUSED, OWN, K, Part
from benchmarks.photographs.measuring import Record
from benchmarks.photographs.pointing import BEST, Pointed
from cxr_explain.measures.statistics.bootstrap import MeanEstimate, mean_estimates

MEASURES = ("IAUC", "IC", "DAUC", "DC")
_BETTER = {"IAUC": "↑", "IC": "↑", "DAUC": "↓", "DC": "↑"}
_RESAMPLES = 1000

PUBLISHED: Mapping[str, tuple[tuple[float, ...], ...]] = {
    FUSED: (
        (0.000345, -0.165391, 0.000394, 0.062597),
        (0.001115, -0.156412, 0.001328, 0.080689),
        (0.000330, -0.266839, 0.000401, 0.207409),
        (0.000278, -0.260717, 0.000285, 0.185348),
        (0.000283, -0.244950, 0.000291, 0.165731),
    ),
    OWN: (
        (0.000342, -0.184408, 0.000394, 0.056323),
        (0.001119, -0.174904, 0.001316, 0.068046),
        (0.000323, -0.278517, 0.000397, 0.196147),
        (0.000277, -0.275418, 0.000286, 0.161246),
        (0.000280, -0.269593, 0.000292, 0.151876),
    ),
}
"""The paper's table 3, by rank and measure, whose scores are those of the classes 0 to 4."""


@dataclass(frozen=True)
class Column:
    """One number of each photograph.

    Args:
        label: the row that its mean stands in.
        rank: from 1.
        measure: one of `MEASURES`.
        values: (n,), NaN where it is not estimable.
    """

    label: str
    rank: int
    measure: str
    values: NDArray[np.float64]


def values_of(records: Sequence[Record], name: str, measure: str, row: int, rank: int) -> NDArray[np.float64]:
    """(n,): a measure of one map in the class of one rank, both counted from 0."""
    found = (record["measures"][name][measure][row][rank] for record in records)
    return np.array([np.nan if each is None else each for each in found], np.float64)


def own_values(records: Sequence[Record], name: str) -> dict[tuple[int, str], NDArray[np.float64]]:
    """The maps of K ranks, each in the rank's own class, by rank from 0 and measure."""
    return {(k, m): values_of(records, name, m, k, k) for k in range(K) for m in MEASURES}


def first_values(records: Sequence[Record], name: str) -> dict[tuple[int, str], NDArray[np.float64]]:
    """The first map of a name, in the classes of all ranks: Grad-CAM of rank 1, or a map of all classes."""
    return {(k, m): values_of(records, name, m, 0, k) for k in range(K) for m in MEASURES}


def estimates(columns: Sequence[Column]) -> list[MeanEstimate]:
    """Means over photographs with 95 % intervals, on the same resamples for all columns."""
    return mean_estimates(np.stack([each.values for each in columns], 1), resamples=_RESAMPLES)


def table_three(records: Sequence[Record]) -> Iterator[str]:
    """The measures by rank, and the paired differences, as lines of Markdown."""
    fused, own = own_values(records, FUSED), own_values(records, OWN)
    best = first_values(records, OWN)
    yield from _rows({FUSED: fused, f"{OWN} of the rank": own, BEST: best}, "map")
    yield ""
    differences = {
        f"{FUSED} less {OWN} of the rank": _less(fused, own),
        f"{FUSED} less {BEST}": _less(fused, best),
        f"{OWN} of the rank less of rank 1": _less(own, best),
    }
    yield from _rows(differences, "difference")


def normalisations(records: Mapping[Part, Mapping[str, Record]]) -> Iterator[str]:
    """What normalisation and activation change, as lines of Markdown.

    Args:
        records: by part and photograph; maps are compared on the photographs that have both.
    """
    joint = own_values(list(records["table"].values()), FUSED)
    for name in ("per-class", "elu", "gelu"):
        less = _less(own_values(list(records["table"].values()), name), joint)
        largest = {m: max(_largest(less[k, m]) for k in range(K)) for m in MEASURES}
        texts = ", ".join(f"{m} {value:.2g}" for m, value in largest.items())
        yield f"- {name} less joint with ReLU, largest difference in any photograph and rank: {texts}."
    both = [name for name in records["released"] if name in records["table"]]
    if both:
        released = own_values([records["released"][name] for name in both], "released")
        joint = own_values([records["table"][name] for name in both], FUSED)
        yield from ("", f"{len(both)} photographs:", "")
        yield from _rows({"released less joint": _less(released, joint)}, "difference")
    whole = list(records["whole"].values())
    if whole:
        maps = {name: first_values(whole, f"whole, {name}") for name in ("joint", "per-class", "released")}
        yield from ("", f"{len(whole)} photographs:", "")
        yield from _rows({f"fused map as a whole, {name}": each for name, each in maps.items()}, "map")
        yield ""
        others = {
            f"{name} less joint": _less(maps[name], maps["joint"]) for name in ("per-class", "released")
        }
        yield from _rows(others, "difference")


def pointing_table(cases: Sequence[Pointed]) -> Iterator[str]:
    """Pointing game and energy, photographs resampled whole, as lines of Markdown."""
    random, centre = (np.array([getattr(case, each) for case in cases]) for each in ("random", "centre"))
    maps = {
        name: [
            np.array([np.nan if (one := each[name]) is None else one for each in found])
            for found in ([case.hits for case in cases], [case.energies for case in cases])
        ]
        for name in cases[0].hits
    }
    rows = {
        **maps,
        "even map": [random, random],
        "centre": [centre, np.full(len(cases), np.nan)],
        **{f"{name} less {OWN}": _both(maps[name], maps[OWN]) for name in maps if name != OWN},
    }
    flat = np.stack([values for pair in rows.values() for values in pair], 1)
    groups = [case.photograph for case in cases]
    found = mean_estimates(flat, groups=groups, resamples=_RESAMPLES)
    yield "| map | n | peak in the mask | energy |"
    yield "|---|--:|--:|--:|"
    for number, name in enumerate(rows):
        hit, energy = found[2 * number : 2 * number + 2]
        yield f"| {name} | {hit.cases} | {_text(hit)} | {_text(energy)} |"


def _both(
    one: Sequence[NDArray[np.float64]], other: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    return [a - b for a, b in zip(one, other, strict=True)]


def published() -> Iterator[str]:
    """The paper's table, as lines of Markdown."""
    yield "| map | rank | " + " | ".join(f"{m} {_BETTER[m]}" for m in MEASURES) + " |"
    yield "|---|--:|" + "--:|" * len(MEASURES)
    for name, ranks in PUBLISHED.items():
        for rank, values in enumerate(ranks, 1):
            yield f"| {name} | {rank} | " + " | ".join(f"{value:.6f}" for value in values) + " |"


def _rows(maps: Mapping[str, Mapping[tuple[int, str], NDArray[np.float64]]], title: str) -> Iterator[str]:
    columns = [Column(label, k, m, each[k, m]) for label, each in maps.items() for k, m in each]
    found = iter(estimates(columns))
    yield f"| {title} | rank | " + " | ".join(f"{m} {_BETTER[m]}" for m in MEASURES) + " |"
    yield "|---|--:|" + "--:|" * len(MEASURES)
    for label in maps:
        for rank in range(1, K + 1):
            yield f"| {label} | {rank} | " + " | ".join(_text(next(found)) for _ in MEASURES) + " |"


def _less(
    one: Mapping[tuple[int, str], NDArray[np.float64]], other: Mapping[tuple[int, str], NDArray[np.float64]]
) -> dict[tuple[int, str], NDArray[np.float64]]:
    """Pair by pair; NaN where one of both is."""
    return {key: one[key] - other[key] for key in one}


def _largest(values: NDArray[np.float64]) -> float:
    return float(np.nanmax(np.abs(values), initial=0))


def _text(found: MeanEstimate) -> str:
    if found.value is None:
        return "–"
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
