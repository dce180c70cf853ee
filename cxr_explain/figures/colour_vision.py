"""How far apart two colours are for readers with any colour vision.

What a dichromat sees of a colour is simulated by the matrices of Machado, Oliveira and Fernandes (IEEE TVCG
15(6), 2009) at full severity, on linear red, green and blue. Distances are CIEDE2000; about 2 is just
noticeable in large patches side by side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

VISIONS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "normal": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
"""What red, green and blue light become, by the name of the vision."""


def as_seen(rgb: ArrayLike, vision: str) -> NDArray[np.float64]:
    """Colours, or an image, as readers with one kind of colour vision see them.

    Args:
        rgb: (..., 3) sRGB in [0, 1].
        vision: one of `VISIONS`.

    Returns:
        (..., 3) in [0, 1].

    >>> as_seen([0.5, 0.5, 0.5], "deuteranopia").round(3).tolist()  # grey stays grey
    [0.5, 0.5, 0.5]
    """
    return through(rgb, VISIONS[vision])


def through(rgb: ArrayLike, matrix: ArrayLike) -> NDArray[np.float64]:
    """Colours whose linear red, green and blue went through a matrix, cut to what a screen has.

    Args:
        rgb: (..., 3) sRGB in [0, 1].
        matrix: (3, 3), rows for red, green and blue.
    """
    values = np.asarray(rgb, np.float64)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = np.clip(linear @ np.asarray(matrix, np.float64).T, 0, 1)
    seen: NDArray[np.float64] = np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    )
    return seen


def distances(first: ArrayLike, second: ArrayLike, vision: str = "normal") -> NDArray[np.float64]:
    """CIEDE2000 between each two colours, as seen with one kind of colour vision.

    Args:
        first: (n, 3) sRGB in [0, 1].
        second: (m, 3) sRGB in [0, 1].
        vision: one of `VISIONS`.

    Returns:
        (n, m).
    """
    # Imported here: scikit-image costs 0.2 s that a caller without colours need not pay.
    from skimage.color import deltaE_ciede2000, rgb2lab

    a, b = (rgb2lab(as_seen(colours, vision)) for colours in (first, second))
    return np.asarray(deltaE_ciede2000(a[:, None], b[None, :]), np.float64)


def least_distances(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """CIEDE2000 between each two colours for the readers who tell them apart worst: (n, m).

    >>> orange, purple = (0.902, 0.624, 0.0), (0.8, 0.475, 0.655)
    >>> least_distances([orange], [purple]).round(0).tolist(), distances([orange], [purple]).round(0).tolist()
    ([[11.0]], [[49.0]])
    """
    least: NDArray[np.float64] = np.minimum.reduce([distances(first, second, each) for each in VISIONS])
    return least
