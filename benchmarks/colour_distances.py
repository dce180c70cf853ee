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
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from cxr_explain.figures.colour_vision import VISIONS, distances, least_distances
from cxr_explain.figures.palette import NEAR, OKABE_ITO, PREFERRED, UNKNOWN_BOX
from cxr_explain.figures.style import DARK, LIGHT
from cxr_explain.pathologies import PATHOLOGIES, canonical_pathology

Floats = NDArray[np.float64]

FAR = 30.0
"""Distance beyond which a pair gains nothing by being farther apart."""

EVEN = 0.2
"""Share of all weight that is spread evenly over the pairs: a model ranks together what no label does."""

GREYS = [(level, level, level) for level in np.linspace(0, 1, 64)]
LIGHTNESS, CHROMA = (50.0, 91.0), (33.0, 80.0)
AVOIDED = (LIGHT.paper, DARK.paper, LIGHT.alert, UNKNOWN_BOX)
AWAY, OFF_GREY = 12.0, 3.0
VIENOT = {
    "deuteranopia": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
    "protanopia": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
}
FINDINGS = "Finding Labels"
TABLES = Path(str(distribution("torchxrayvision").locate_file("torchxrayvision/data")))
PAIRS = list(zip(*np.triu_indices(len(PATHOLOGIES), 1), strict=True))


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


def markdown(colours: dict[str, str], weights: Floats, most: int) -> str:
    own = rgb([colours[name] for name in PATHOLOGIES])
    seen = {vision: distances(own, own, vision) for vision in VISIONS}
    least = np.min(list(seen.values()), axis=0)
    frequent = sorted(PAIRS, key=lambda pair: -weights[pair])[:most]
    header = ["pair", "weight", *VISIONS, "least"]
    lines = [
        "Frequent pairs, CIEDE2000:",
        "",
        f"| {' | '.join(header)} |",
        f"|---|{'---:|' * (len(header) - 1)}",
        *(
            f"| {named(*pair)} | {weights[pair]:.3f} | "
            + " | ".join(f"{seen[vision][pair]:.1f}" for vision in VISIONS)
            + f" | {least[pair]:.1f} |"
            for pair in frequent
        ),
        "",
        "| colours | worst of | least distance |",
        "|---|---|---:|",
        *(f"| by rank, before | {what} | {value} |" for what, value in before()),
        *(f"| by pathology | {what} | {value} |" for what, value in after(own, weights)),
    ]
    return "\n".join(lines)


def before() -> Iterator[tuple[str, str]]:
    """Colours by rank: any two pathologies could have any two of them."""
    apart = least_distances(rgb(OKABE_ITO), rgb(OKABE_ITO))
    for k in (5, 7):
        pair = min(itertools.combinations(range(k), 2), key=lambda pair: apart[pair])
        yield f"any two of ranks 1 to {k} ({pair[0] + 1} and {pair[1] + 1})", f"{apart[pair]:.1f}"
    at = min(range(len(OKABE_ITO) - 1), key=lambda at: apart[at, at + 1])
    yield f"two neighbours in rank ({at + 1} and {at + 2})", f"{apart[at, at + 1]:.1f}"
    yield "ranks 1 and 8, told apart by dashes", "0.0"


def after(own: Floats, weights: Floats) -> Iterator[tuple[str, str]]:
    least = least_distances(own, own)
    share = {pair: weights[pair] for pair in PAIRS}
    for lowest, what in (
        (0.02, "pairs of weight 0.02 or more"),
        (0.01, "0.01 or more"),
        (0.005, "0.005 or more"),
    ):
        pair = min((pair for pair in PAIRS if share[pair] >= lowest), key=lambda pair: least[pair])
        yield f"{what} ({named(*pair)})", f"{least[pair]:.1f}"
    pair = min(PAIRS, key=lambda pair: least[pair])
    yield f"all {len(PAIRS)} pairs ({named(*pair)}, weight {share[pair]:.4f})", f"{least[pair]:.1f}"
    drawn = 0.6 * own + 0.4 * 0.45
    yield (
        "all pairs, as drawn at full opacity over mid grey",
        f"{least_distances(drawn, drawn)[least > 0].min():.1f}",
    )
    for vision, matrix in VIENOT.items():
        light = np.clip(linear(own) @ np.array(matrix).T, 0, 1)
        apart = distances(encoded(light), encoded(light))
        yield f"all pairs, {vision} by Viénot's matrix instead", f"{apart[least > 0].min():.1f}"
    yield (
        "distance to paper, to a box without a colour, to an alert",
        f"{least_distances(own, rgb(AVOIDED)).min():.1f}",
    )
    yield "distance to a grey", f"{least_distances(own, GREYS).min():.1f}"


def linear(values: Floats) -> Floats:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light: Floats) -> Floats:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def named(first: int, second: int) -> str:
    return f"{PATHOLOGIES[first]} and {PATHOLOGIES[second]}".replace("_", " ")


def rgb(colours: Sequence[str]) -> Floats:
    return np.array([list(bytes.fromhex(colour[1:])) for colour in colours]) / 255


if __name__ == "__main__":
    main()
