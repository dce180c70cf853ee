"""How far apart the pathologies' colours are, for readers with any colour vision; and how they were chosen.

    python -m benchmarks.colour_distances            # measures the colours as they are
    python -m benchmarks.colour_distances --choose   # chooses them anew, in half a minute

The tables of NIH ChestX-ray14 and CheXpert that TorchXRayVision ships say which pathologies occur together.
See benchmarks/README.md for what each number means.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from cxr_explain.figures.colour_vision import VISIONS, distances, least_distances, through
from cxr_explain.figures.palette import NEAR, OKABE_ITO, PREFERRED, UNKNOWN_BOX
from cxr_explain.figures.style import DARK, LIGHT
from cxr_explain.pathologies import PATHOLOGIES, canonical_pathology

Floats = NDArray[np.float64]
Pair = tuple[int, int]

FAR = 30.0
"""Distance beyond which a pair gains nothing by being farther apart."""

EVEN = 0.2
"""Share of all weight that is spread evenly over the pairs: a model ranks together what no label does."""

LIGHTNESS, CHROMA = (50.0, 91.0), (33.0, 80.0)
"""Of CIELAB: light enough for a dark lung and for a dark page, dark enough for paper, and no grey."""

AVOIDED = (LIGHT.paper, DARK.paper, LIGHT.alert, UNKNOWN_BOX)
AWAY, OFF_GREY = 12.0, 3.0
"""Least distance from what is avoided, and from any grey."""

GREYS = [(level, level, level) for level in np.linspace(0, 1, 64)]
VIENOT = {
    "deuteranopia": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
    "protanopia": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
}
"""Matrices of Viénot, Brettel and Mollon (1999), as a second opinion."""

FINDINGS = "Finding Labels"
TABLES = Path(str(distribution("torchxrayvision").locate_file("torchxrayvision/data")))
PAIRS: list[Pair] = list(itertools.combinations(range(len(PATHOLOGIES)), 2))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Distances between the colours of pathologies.")
    parser.add_argument("--choose", action="store_true", help="choose the colours anew")
    parser.add_argument("--pairs", type=int, default=25, help="how many frequent pairs to list")
    asked = parser.parse_args(arguments)
    nih, chexpert = co_occurrence("Data_Entry_2017_v2020.csv.gz"), co_occurrence("chexpert_train.csv.gz")
    weights, shares = pair_weights(nih, chexpert)
    colours = choose(weights, shares) if asked.choose else PREFERRED
    if asked.choose:
        print(*(f'"{name}": "{colours[name]}",' for name in PATHOLOGIES), "", sep="\n")
    print(markdown(colours, weights, asked.pairs))


def co_occurrence(table: str) -> Floats:
    """(18, 18) share of a table's images that have both pathologies; the diagonal has each one's share."""
    with gzip.open(TABLES / table, "rt") as file:
        header, *rows = csv.reader(file)
    if FINDINGS in header:  # NIH names what is positive in one column
        at = header.index(FINDINGS)
        counts = Counter(tuple(row[at].split("|")) for row in rows)
    else:  # CheXpert has a column for each
        columns = [at for at, name in enumerate(header) if canonical_pathology(name) in PATHOLOGIES]
        counts = Counter(tuple(header[at] for at in columns if row[at] == "1.0") for row in rows)
    found = np.zeros((len(PATHOLOGIES),) * 2)
    for names, images in counts.items():
        known = [canonical_pathology(name) for name in names]
        there = [PATHOLOGIES.index(name) for name in known if name in PATHOLOGIES]
        found[np.ix_(there, there)] += images
    return found / len(rows)


def pair_weights(*tables: Floats) -> tuple[Floats, Floats]:
    """How often two pathologies are expected together, with sum 1 over the pairs; and each one's share.

    The mean over the tables that label both; the product of their shares where no table does.
    """
    shares = np.max([np.diag(table) for table in tables], axis=0)
    weights = np.outer(shares, shares)
    for i, j in PAIRS:
        both = [table[i, j] for table in tables if table[i, i] and table[j, j]]
        weights[i, j] = weights[j, i] = np.mean(both) if both else weights[i, j]
    np.fill_diagonal(weights, 0)
    return weights / weights.sum() * 2, shares


def choose(weights: Floats, shares: Floats) -> dict[str, str]:
    """Okabe and Ito's colours for the most frequent pathologies, and new ones for the others.

    Least is the sum over the pairs of weight times max(0, FAR - distance) squared: over all orders of the
    seven colours, then by simulated annealing over a grid of colours, none nearer than NEAR to another.
    """
    order = np.argsort(-shares, kind="stable")
    weights = (1 - EVEN) * weights + EVEN / len(PAIRS) * (1 - np.eye(len(PATHOLOGIES)))
    weights = weights[np.ix_(order, order)]
    first = ordered_anchors(weights)
    found = min((annealed(weights, first, seed) for seed in range(6)), key=lambda tried: tried[0])
    return {PATHOLOGIES[at]: colour for at, colour in zip(order, found[1], strict=True)}


def cost(weights: Floats, apart: Floats) -> float:
    return float((weights * np.maximum(0, FAR - apart) ** 2).sum()) / 2


def ordered_anchors(weights: Floats) -> list[str]:
    n = len(OKABE_ITO)
    apart = least_distances(rgb(OKABE_ITO), rgb(OKABE_ITO))
    orders = itertools.permutations(range(n))
    best = min(orders, key=lambda order: cost(weights[:n, :n], apart[np.ix_(order, order)]))
    return [OKABE_ITO[at] for at in best]


def candidates(anchors: Sequence[str]) -> list[str]:
    """Colours that read on black, on grey and on paper, and that no alert has."""
    axis = np.arange(-100.0, 101, 5)
    lab = np.stack(np.meshgrid(np.arange(*LIGHTNESS, 3), axis, axis, indexing="ij"), -1).reshape(-1, 3)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    lab = lab[(chroma >= CHROMA[0]) & (chroma <= CHROMA[1])]
    light = lab2rgb(lab)
    light = light[np.abs(rgb2lab(light) - lab).max(axis=1) < 0.5]  # what a screen has
    kept = (least_distances(light, rgb(AVOIDED)).min(axis=1) >= AWAY) & (
        least_distances(light, GREYS).min(axis=1) >= OFF_GREY
    )
    light = light[kept & (least_distances(light, rgb(anchors)).min(axis=1) >= NEAR)]
    return ["#{:02X}{:02X}{:02X}".format(*np.round(colour * 255).astype(int)) for colour in light]


def annealed(weights: Floats, anchors: list[str], seed: int, steps: int = 40_000) -> tuple[float, list[str]]:
    rng = np.random.default_rng(seed)
    colours = [*anchors, *candidates(anchors)]
    apart = least_distances(rgb(colours), rgb(colours))
    n, fixed = len(weights), len(anchors)
    nearest = np.argsort(apart[:, fixed:], axis=1)[:, 1:60] + fixed
    upper = np.triu_indices(n, 1)

    def energy(chosen: NDArray[np.int64]) -> float:
        between = apart[np.ix_(chosen, chosen)]
        return cost(weights, between) + 50 * float((np.maximum(0, NEAR + 0.1 - between[upper]) ** 2).sum())

    now = np.concatenate(
        [np.arange(fixed), fixed + rng.choice(len(colours) - fixed, n - fixed, replace=False)]
    )
    height = energy(now)
    best = (height, now)
    for step in range(steps):
        heat = 5 * (1 - step / steps) ** 3 + 1e-3
        turned, place, kind = now.copy(), fixed + rng.integers(n - fixed), rng.random()
        if kind < 0.25:
            other = fixed + rng.integers(n - fixed)
            turned[place], turned[other] = turned[other], turned[place]
        elif kind < 0.7:
            turned[place] = rng.choice(nearest[now[place]])
        else:
            turned[place] = fixed + rng.integers(len(colours) - fixed)
        tried = energy(turned)
        if tried <= height or rng.random() < np.exp((height - tried) / heat):
            now, height = turned, tried
            best = min(best, (height, now), key=lambda found: found[0])
    return best[0], [colours[at] for at in best[1]]


@dataclass
class Seen:
    """Distances between the same colours, in each vision and in the worst of them."""

    by_vision: dict[str, Floats]

    @classmethod
    def of(cls, colours: Sequence[str]) -> Self:
        return cls({vision: distances(rgb(colours), rgb(colours), vision) for vision in VISIONS})

    @property
    def least(self) -> Floats:
        return np.minimum.reduce(list(self.by_vision.values()))

    def worst(self, pairs: Iterable[Pair]) -> Pair:
        return min(pairs, key=lambda pair: self.least[pair])

    def row(self, *heads: str, pair: Pair) -> str:
        values = (*(apart[pair] for apart in self.by_vision.values()), self.least[pair])
        return "| " + " | ".join((*heads, *(f"{value:.1f}" for value in values))) + " |"


def markdown(colours: dict[str, str], weights: Floats, most: int) -> str:
    seen = Seen.of([colours[name] for name in PATHOLOGIES])
    frequent = sorted(PAIRS, key=lambda pair: -weights[pair])[:most]
    lines = [
        head("pair", "weight"),
        *(seen.row(named(*pair), f"{weights[pair]:.3f}", pair=pair) for pair in frequent),
        "",
        head("colours", "worst pair of"),
        *before(),
        *after(seen, weights),
        "",
        *limits(rgb([colours[name] for name in PATHOLOGIES])),
    ]
    return "\n".join(lines)


def head(*names: str) -> str:
    titles = " | ".join((*names, *VISIONS, "least"))
    return f"| {titles} |\n{'|---' * len(names)}|{'---:|' * (len(VISIONS) + 1)}"


def before() -> Iterator[str]:
    """Colours by rank: any two pathologies could have any two of them."""
    ranks = Seen.of([*OKABE_ITO, *OKABE_ITO])
    for what, pairs in (
        ("neighbours in rank, up to 7", itertools.pairwise(range(7))),
        ("ranks 1 to 5", itertools.combinations(range(5), 2)),
        ("ranks 1 to 7", itertools.combinations(range(7), 2)),
        ("ranks 1 to 10", itertools.combinations(range(10), 2)),
    ):
        pair = ranks.worst(pairs)
        yield ranks.row("by rank, before", f"{what}: {pair[0] + 1} and {pair[1] + 1}", pair=pair)


def after(seen: Seen, weights: Floats) -> Iterator[str]:
    for lowest in (0.02, 0.005, 0):
        pair = seen.worst(pair for pair in PAIRS if weights[pair] >= lowest)
        what = f"weight {lowest} or more" if lowest else f"all {len(PAIRS)}"
        yield seen.row("by pathology", f"{what}: {named(*pair)}", pair=pair)


def limits(own: Floats) -> Iterator[str]:
    def least(apart: Floats) -> str:
        return f"{min(apart[pair] for pair in PAIRS):.1f}"

    drawn = 0.6 * own + 0.4 * 0.45
    yield f"- as drawn at full opacity over mid grey: {least(least_distances(drawn, drawn))}"
    for vision, matrix in VIENOT.items():
        simulated = through(own, matrix)
        yield f"- {vision} as Viénot simulates it: {least(distances(simulated, simulated))}"
    yield f"- from paper, an alert and a box without a colour: {least_distances(own, rgb(AVOIDED)).min():.1f}"
    yield f"- from a grey: {least_distances(own, GREYS).min():.1f}"


def named(first: int, second: int) -> str:
    return f"{PATHOLOGIES[first]} and {PATHOLOGIES[second]}".replace("_", " ")


def rgb(colours: Sequence[str]) -> Floats:
    return np.array([list(bytes.fromhex(colour[1:])) for colour in colours]) / 255


if __name__ == "__main__":
    main()
