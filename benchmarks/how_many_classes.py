"""What K follows from: how many labels an image has, and how much of it a pathology takes.

The paper (arXiv 2312.05975) names three things to choose K by: the use case, the mean area of interest of a
class, and the mean number of distinct labels of an image. The last two are counted here, in NIH's and
CheXpert's whole tables, which come with TorchXRayVision, and in NIH's boxes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_explain.reference.data_sets.chexpert import manifest_of_chexpert
from cxr_explain.reference.data_sets.nih import NIH_PIXELS, manifest_of_nih
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.states import POSITIVE, UNCERTAIN

NO_PATHOLOGY = ("Support Devices",)
"""Labels of what is no pathology, and has no output in the models."""

CELLS = 7 * 7
"""Of the class maps of TorchXRayVision's DenseNets."""


@dataclass(frozen=True)
class LabelCount:
    """How many pathologies the images of a data set have.

    Args:
        name: the data set, and what counts.
        images: number of images with at least one.
        of: number of all images.
        mean: mean number in images with at least one.
        shares: share of these images that have at most k, by k.
    """

    name: str
    images: int
    of: int
    mean: float
    shares: Mapping[int, float]


@dataclass(frozen=True)
class Area:
    """How much of an image the boxes of a pathology take.

    Args:
        name: the pathology.
        boxes: number of boxes.
        mean: mean share of the image's area.
        median: median share.
    """

    name: str
    boxes: int
    mean: float
    median: float


def label_count(name: str, manifest: Manifest, *, uncertain: bool = False) -> LabelCount:
    """Count the positive labels of each image.

    Args:
        name: the data set.
        manifest: the images.
        uncertain: count uncertain labels as positive.
    """
    there = manifest.states == POSITIVE
    if uncertain:
        there |= manifest.states == UNCERTAIN
    pathologies = [each not in NO_PATHOLOGY for each in manifest.pathologies]
    counts = there[:, pathologies].sum(axis=1)
    some = counts[counts > 0]
    shares = {k: float((some <= k).mean()) for k in range(1, 7)}
    return LabelCount(name, len(some), len(counts), float(some.mean()), shares)


def areas(manifest: Manifest) -> list[Area]:
    """The boxes' shares of the image by pathology, the largest first, and those of all boxes last."""
    found: dict[str, list[float]] = {}
    for boxes in manifest.boxes.values():
        for box in boxes:
            found.setdefault(box.pathology, []).append(box.width * box.height / NIH_PIXELS**2)
    by_pathology = sorted((_area(name, each) for name, each in found.items()), key=lambda each: -each.mean)
    return [*by_pathology, _area("all boxes", [share for each in found.values() for share in each])]


def as_markdown(counts: Sequence[LabelCount], boxes: Sequence[Area]) -> Iterator[str]:
    """Both tables."""
    ks = tuple(counts[0].shares)
    yield f"| labels | images with one | of | mean | {' | '.join(f'at most {k}' for k in ks)} |"
    yield f"|---|--:|--:|--:|{'--:|' * len(ks)}"
    for each in counts:
        shares = " | ".join(f"{100 * each.shares[k]:.1f} %" for k in ks)
        yield f"| {each.name} | {each.images:,} | {each.of:,} | {each.mean:.2f} | {shares} |"
    yield ""
    yield f"| NIH's boxes | n | mean area | median | cells of {CELLS}, mean |"
    yield "|---|--:|--:|--:|--:|"
    for area in boxes:
        mean, median = (f"{100 * share:.1f} %" for share in (area.mean, area.median))
        yield f"| {area.name} | {area.boxes} | {mean} | {median} | {area.mean * CELLS:.1f} |"


def _area(name: str, shares: Sequence[float]) -> Area:
    values: NDArray[np.float64] = np.array(shares)
    return Area(name, len(values), float(values.mean()), float(np.median(values)))


def _tables_of_xrv() -> Path:
    """The folder of tables within TorchXRayVision; the package itself is not imported."""
    spec = find_spec("torchxrayvision")
    if spec is None or spec.origin is None:
        raise SystemExit("torchxrayvision is not installed")
    return Path(spec.origin).parent / "data"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.how_many_classes", description=__doc__)
    parser.add_argument("--nih", type=Path, help="folder of NIH's tables; by default TorchXRayVision's")
    parser.add_argument("--chexpert", type=Path, help="CheXpert's table; by default TorchXRayVision's")
    options = parser.parse_args()
    nih = manifest_of_nih(options.nih or _tables_of_xrv())
    chexpert = manifest_of_chexpert(options.chexpert or _tables_of_xrv() / "chexpert_train.csv.gz")
    counts = [
        label_count("NIH, positive", nih),
        label_count("CheXpert, positive", chexpert),
        label_count("CheXpert, positive or uncertain", chexpert, uncertain=True),
    ]
    print("\n".join(as_markdown(counts, areas(nih))))


if __name__ == "__main__":
    main()
