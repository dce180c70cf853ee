"""How well nodules of each size can be seen in phantoms: `python -m benchmarks.nodule_visibility`.

Each nodule is rendered alone, with the same chest without it. The observer is a channelised Hotelling
observer with ten difference-of-Gaussian channels, a usual stand-in for a reader who knows what to look for
(Abbey and Barrett, Human- and model-observer performance in ramp-spectrum noise, J. Opt. Soc. Am. A 2001; 18:
473-488): it knows how its channels answer to ribs, vessels and noise at all places in the lungs of the same
chest without the nodule. d' is its answer to the nodule in standard deviations of its answers there. At d' =
2 it tells 92 % of pairs of places apart (the normal distribution function of d' / sqrt 2). CNR: what the
nodule adds on average, over the standard deviation of the pixels around it.

Sizes are diameters of the disc as large as the nodule's mask, on the detector.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated

import numpy as np
import typer
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_dilation, binary_erosion, center_of_mass

from cxr_explain.phantom import Finding, Patient, Side, render, sample_patient
from cxr_explain.phantom.chest import chest_of
from cxr_explain.support.plain_table import PlainTable

ENDS = (0, 6, 8, 9, 10, 12, 15, 20, 30, np.inf)
UNSEEN = 20_000_000


def nodule(patient: Patient, seed: int, size: int) -> tuple[float, float, float] | None:
    """Diameter in mm, d' and CNR of one nodule; None where nothing of it can be seen."""
    draw = np.random.default_rng(seed)
    side = Side.LEFT if draw.random() < 0.5 else Side.RIGHT
    finding = Finding("Nodule", seed, side, size=float(draw.random() ** 2), contrast=float(draw.random()))
    whole, healthy = render(patient, (finding,), size=size), render(patient, (), size=size)
    mask = whole.masks["Nodule"]
    if not mask.any():
        return None
    reach = max(3, round(np.sqrt(mask.sum() / np.pi)))
    added = whole.pixels.astype(float) - healthy.pixels
    inside = binary_erosion(chest_of(patient, size).lung > 60, iterations=reach)  # mm
    centre = tuple(round(at) for at in center_of_mass(added))
    signal = np.array([image[centre] for image in answers(added)])
    noise = np.stack([image[inside] for image in answers(healthy.pixels)])
    seen = float(np.sqrt(signal @ np.linalg.solve(np.cov(noise), signal)))
    around = binary_dilation(mask, iterations=reach) & ~mask
    diameter = 2 * np.sqrt(mask.sum() / np.pi) * whole.pixel_spacing
    contrast = added[mask].mean() / healthy.pixels[around].std()
    return diameter, seen, float(contrast)


def answers(image: ArrayLike) -> Iterator[NDArray[np.float64]]:
    """How each channel answers at each pixel."""
    pixels = np.asarray(image, float)
    there = np.fft.rfft2(pixels - pixels.mean())
    radius = np.hypot(np.fft.fftfreq(pixels.shape[0])[:, None], np.fft.rfftfreq(pixels.shape[1]))
    for number in range(10):
        width = 0.005 * 1.4**number  # cycles a pixel
        channel = np.exp(-0.5 * (radius / (1.67 * width)) ** 2) - np.exp(-0.5 * (radius / width) ** 2)
        yield np.fft.irfft2(there * channel, pixels.shape)


def table(rows: NDArray[np.float64]) -> PlainTable:
    """The rows (diameter, d', CNR) by bands of the diameter."""
    lines = []
    for least, below in pairwise(ENDS):
        some = rows[(rows[:, 0] >= least) & (rows[:, 0] < below)]
        if len(some):
            low, middle = np.percentile(some[:, 1], [10, 50])
            numbers = (low, middle, (some[:, 1] >= 2).mean(), np.median(some[:, 2]))
            lines.append(
                [f"{least:g} to {below:g}", str(len(some)), *(f"{number:.2f}" for number in numbers)]
            )
    heads = ("diameter in mm", "nodules", "d', lowest tenth", "d', median", "d' of 2 and more", "CNR, median")
    return PlainTable("How well nodules can be seen", heads, lines)


def main(
    patients: Annotated[int, typer.Option(min=1)] = 60,
    each: Annotated[int, typer.Option(min=1, help="Nodules a patient.")] = 12,
    size: Annotated[int, typer.Option(min=64, help="Pixels a side.")] = 512,
) -> None:
    """Print d' and the contrast-to-noise ratio of nodules by their size."""
    rows = []
    for seed in range(UNSEEN, UNSEEN + patients):
        patient = sample_patient(seed)
        rows += [nodule(patient, each * seed + number, size) for number in range(each)]
    print(table(np.array([row for row in rows if row is not None])).to_text())
    print(f"{sum(row is None for row in rows)} of {len(rows)} cannot be seen at all.")


if __name__ == "__main__":
    typer.run(main)
