"""From line integrals to pixels: Beer-Lambert, blur, scatter, quantum noise, display curve, shutters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_explain.phantom.patient import Patient, Projection
from cxr_explain.phantom.seeds import generator
from cxr_explain.phantom.solids import Image
from cxr_explain.phantom.tubes import blurred, interpolated

BLUR_RADIUS = 4
"""No blur that a finding passes through reaches further than this many pixels."""

SCATTER_SPREAD = 38.0
"""Standard deviation of the scatter's spread, in mm."""


def primary(integral: Image) -> Image:
    """Beer-Lambert: the share of the beam that passes unscattered, exp(-integral of mu).

    >>> primary(np.float32([[0.0, np.log(2.0)]])).round(3).tolist()
    [[1.0, 0.5]]
    """
    return np.exp(-integral)


@dataclass(frozen=True, eq=False)
class Exposure:
    """What the detector and the display do to one patient's image, whatever is found in it.

    Scatter, noise, display window and large-area equalisation are those of the chest without findings:
    so a counterfactual shares them, and differs only where the finding is.

    Args:
        patient: whose exposure.
        scatter: (H, W) scattered signal, relative to the open beam.
        noise: (H, W) standard normal field.
        quanta: mean quanta a pixel in the open beam.
        blur: standard deviation of the detector's blur, in pixels.
        base: (H, W) smooth part of the log signal, of which the display takes away a share.
        window: log signals that become black and white.
    """

    patient: Patient
    scatter: Image
    noise: Image
    quanta: float
    blur: float
    base: Image
    window: tuple[float, float]

    def pixels(self, integral: Image, *, bits: int) -> NDArray[np.uint16]:
        """(H, W) MONOCHROME2 pixels, air dark, from line integrals.

        Args:
            integral: (H, W) line integral of the attenuation.
            bits: bits stored.
        """
        counts = noisy(self._signal(integral) * np.float32(self.quanta), self.noise)
        log = -np.log(counts / np.float32(self.quanta))
        shown = self._shuttered(_display(log - self.base, self.window, self.patient))
        return np.asarray(np.rint(shown * (2**bits - 1)), np.uint16)

    def _signal(self, integral: Image) -> Image:
        radius = min(BLUR_RADIUS, int(np.ceil(3 * self.blur)))
        return blurred(primary(integral), self.blur, edge="edge", reach=radius) + self.scatter

    def _shuttered(self, shown: Image) -> Image:
        """The collimator's blades: white as unexposed film, or blackened by the display."""
        size, pitch = len(shown), self.patient.field_of_view / len(shown)
        left, top, right, bottom = (round(width / pitch) for width in self.patient.collimation)
        value = 0.0 if generator(self.patient.seed, "shutter").random() < 0.5 else 0.97
        shown[:top], shown[size - bottom :] = value, value
        shown[:, :left], shown[:, size - right :] = value, value
        return shown


def noisy(counts: Image, normal: Image) -> Image:
    """Quantum noise: the variance equals the mean, from a field that does not depend on the mean.

    >>> noisy(np.float32([100.0]), np.float32([2.0])).tolist()
    [120.0]
    """
    return np.maximum(counts + np.sqrt(counts) * normal, 0.5).astype(np.float32)


def expose(patient: Patient, integral: Image) -> Exposure:
    """Set the exposure for a patient from the line integrals of the chest without findings."""
    size = len(integral)
    pitch = patient.field_of_view / size
    passed = primary(integral)
    scatter = _scatter(patient, passed, SCATTER_SPREAD / pitch)
    log = -np.log(passed + scatter)
    base = _base(log, 14.0 / pitch)
    normal = generator(patient.seed, "noise").standard_normal((size, size), dtype=np.float32)
    return Exposure(
        patient=patient,
        scatter=scatter,
        noise=normal,
        quanta=patient.exposure * pitch**2,
        blur=max(0.6, 0.3 / pitch),
        base=base,
        window=_window(log - base),
    )


def _scatter(patient: Patient, passed: Image, spread: float) -> Image:
    """Scatter follows the smoothed primary; the grid takes most of it away."""
    ratio = 4.0 * (1 - 0.75 * patient.grid_ratio) * (1.25 if patient.projection is Projection.AP else 1.0)
    tissue = np.minimum(passed, 0.4)  # the open beam beside the patient scatters nothing
    return np.float32(ratio) * wide_blur(tissue, spread) * np.float32(0.5) + np.float32(0.002)


def wide_blur(image: Image, sigma: float) -> Image:
    """A Gaussian of many pixels, at a resolution that is enough for it."""
    small = min(len(image), max(16, int(len(image) / sigma * 3)))
    edges = np.linspace(0, len(image), small + 1).astype(int)
    reduced = _mean_of_rows(_mean_of_rows(image, edges).T, edges).T
    smooth = blurred(reduced, sigma * small / len(image), edge="edge")
    middles = (edges[1:] + edges[:-1] - 1) / 2
    place = np.interp(np.arange(len(image)), middles, np.arange(small)).astype(np.float32)
    return interpolated(smooth, place, place)


def _mean_of_rows(image: Image, edges: NDArray[np.intp]) -> Image:
    """Means of the rows from each edge to the next."""
    return (np.add.reduceat(image, edges[:-1], axis=0) / np.diff(edges)[:, None]).astype(np.float32)


def _base(log: Image, sigma: float) -> Image:
    """Large-area equalisation, as every digital system does to its chest images."""
    return np.float32(0.76) * wide_blur(np.clip(log, 0.5, None), sigma)


def _window(log: Image) -> tuple[float, float]:
    inner = log[len(log) // 8 : -len(log) // 8 : 3, len(log) // 8 : -len(log) // 8 : 3]
    low, high = np.percentile(inner, (1.0, 97.0))
    return float(low) - 0.05, float(high) - 0.03


def _display(log: Image, window: tuple[float, float], patient: Patient) -> Image:
    """The display curve: straight in the middle, a toe in the air and a shoulder in the bones."""
    middle, width = (window[0] + window[1]) / 2, window[1] - window[0]
    v = (log - np.float32(middle)) / np.float32(width) + np.float32(patient.brightness)
    return np.asarray(1 / (1 + np.exp(np.clip(v, -1.5, 1.5) * np.float32(-3.3 * patient.contrast))))
