"""What must be said of an audit before any result: that it is not complete, or that images may be known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

_FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "NIH ChestX-ray14": ("nih", "chestx-ray", "chestxray", "rsna", "siim", "google"),
        "CheXpert": ("chexpert", "chexlocalize"),
        "MIMIC-CXR": ("mimic",),
        "PadChest": ("padchest",),
        "OpenI": ("openi", "indiana"),
        "VinDr-CXR": ("vindr",),
    }
)
"""Names of data sets by whose images they have: RSNA, SIIM and Google relabelled images of NIH's."""


def image_sources(text: str) -> set[str]:
    """Whose images a data set has, by its name or a sentence about it.

    >>> sorted(image_sources("RSNA Pneumonia Detection Challenge, stage_2_train_labels.csv"))
    ['NIH ChestX-ray14']
    """
    folded = text.casefold()
    return {family for family, names in _FAMILIES.items() if any(name in folded for name in names)}


def not_complete(there: int, rows: int) -> list[str]:
    """Whether images of an audit are missing because it is not finished, in a sentence; [] if none are.

    Args:
        there: number of images that were explained, or that failed.
        rows: number of rows of the manifest.

    >>> print(*not_complete(128, 5000))
    This audit is not complete: 128 of 5,000 images are in it. Run the same command again to go on.
    """
    if there >= rows:
        return []
    return [
        f"This audit is not complete: {there:,} of {rows:,} images are in it. Run the same command again to "
        "go on."
    ]


def training_overlap(training_sets: Sequence[str], source: str) -> list[str]:
    """Whether the model may have been trained on what is audited, in a sentence; [] if nothing says so.

    Args:
        training_sets: names of the data sets that the weights were trained on.
        source: what the manifest says of where the images come from.

    >>> print(*training_overlap(["PadChest", "RSNA"], "NIH ChestX-ray14, Data_Entry_2017.csv"))
    Possible training overlap: the weights were trained on RSNA, which shares images with the data set ...
    """
    audited = image_sources(source)
    shared = [name for name in training_sets if image_sources(name) & audited]
    if not shared:
        return []
    return [
        f"Possible training overlap: the weights were trained on {', '.join(shared)}, which shares images "
        f"with the data set audited ({', '.join(sorted(audited))}). Agreement with the reference labels may "
        "be too high."
    ]
