"""Samples and batches of data sets: TorchXRayVision's dictionaries, and bare tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.errors import OptionError
from cxr_explain.pathologies import (
    LabelState,
    ReferenceBox,
    ReferenceLabels,
    canonical_pathology,
    says_no_finding,
)
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Mask

Sample = Mapping[str, Any]
"""What `dataset[i]` of TorchXRayVision gives: "img" (1, H, W) in [-1024, 1024], "idx", "lab", masks."""

_STATES = {1.0: LabelState.POSITIVE, 0.0: LabelState.NEGATIVE}


@dataclass(frozen=True, eq=False)
class SampleReference:
    """What a sample says is there.

    Args:
        labels: the states in "lab"; boxes where a mask is made of rectangles.
        masks: (H, W) bool by pathology, from "pathology_masks"; none of them empty.
    """

    labels: ReferenceLabels
    masks: Mapping[str, Mask] = field(default_factory=dict)


def reference_of(sample: Sample, data_set: Any = None) -> SampleReference | None:
    """The reference labels and masks of a sample of a TorchXRayVision data set.

    1 and 0 are positive and negative; NaN, by which TorchXRayVision says that there is no information, is not
    labelled. A sample has no names of pathologies: its data set does.

    Args:
        sample: what `dataset[i]` gives.
        data_set: the data set, or what it has as `pathologies`.

    Returns:
        None where the sample has no labels. Without the data set, no label is read; `labels.source` says so.

    Raises:
        OptionError: labels that are no numbers, another number of names than of labels, or a mask of another
            size than the image or of no pathology.

    >>> sample = {"img": torch.zeros(1, 4, 5), "lab": np.array([1.0, np.nan])}
    >>> reference_of(sample, ["Pleural Effusion", "Mass"]).labels.states
    mappingproxy({'Effusion': <LabelState.POSITIVE: 'positive'>})
    >>> reference_of(sample).labels.source
    'not read: 2 labels without names; give data_set'
    """
    if not isinstance(sample, Mapping) or "lab" not in sample:
        return None
    values = _values(sample["lab"])
    given = sample.get("pathologies") if data_set is None else _names_of(data_set)
    if given is None:
        return SampleReference(
            ReferenceLabels(source=f"not read: {len(values)} labels without names; give data_set")
        )
    names = [str(name) for name in given]
    if len(names) != len(values):
        raise OptionError(
            f"{len(names)} names for {len(values)} labels", expected="the data set that the sample is of"
        )
    masks = _masks(sample, names)
    labels = ReferenceLabels(
        _states(names, values.tolist()),
        boxes=tuple(box for name, mask in masks.items() for box in _rectangles(name, mask)),
        source="the sample's"
        + (f", of {type(data_set).__name__}" if hasattr(data_set, "pathologies") else ""),
        view=_view_of(sample, data_set),
    )
    return SampleReference(labels, masks)


def _values(labels: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(labels, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise OptionError(
            f'"lab" of type {type(labels).__name__} without numbers',
            expected="1, 0 or NaN for each pathology",
        ) from None


def _names_of(data_set: Any) -> Any:
    """The names that a data set has, or the one that it is a subset of (PyTorch's `Subset`)."""
    while not hasattr(data_set, "pathologies") and hasattr(data_set, "dataset"):
        data_set = data_set.dataset
    return getattr(data_set, "pathologies", data_set)


def _view_of(sample: Sample, data_set: Any) -> str | None:
    """The view in the table of TorchXRayVision's data set; None where that has none for the sample."""
    while hasattr(data_set, "dataset"):  # a subset, whose samples have their numbers in the whole
        data_set = data_set.dataset
    table: Any = getattr(data_set, "csv", None)
    at = np.asarray(sample.get("idx", ""))
    if "view" not in getattr(table, "columns", ()) or at.size != 1 or at.dtype.kind not in "iu":
        return None
    if hasattr(data_set, "datasets") or not 0 <= at.item() < len(table):  # merged ones number each their own
        return None
    view = table["view"].iloc[at.item()]
    return view if isinstance(view, str) and view != "UNKNOWN" else None


def _states(names: Sequence[str], values: Sequence[float]) -> dict[str, LabelState]:
    """What is neither 1 nor 0 is not labelled; "No Finding" is no pathology."""
    given = zip(names, values, strict=True)
    return {name: _STATES[value] for name, value in given if value in _STATES and not says_no_finding(name)}


def _masks(sample: Sample, names: Sequence[str]) -> dict[str, Mask]:
    """The masks that are not empty; TorchXRayVision has them by the number of the pathology."""
    shape = tuple(_image(sample).shape[-2:])
    found: dict[str, Mask] = {}
    all_given = sample.get("pathology_masks", {})
    if not isinstance(all_given, Mapping):
        raise OptionError(f'"pathology_masks" as a {type(all_given).__name__}', expected="masks by pathology")
    for at, given in all_given.items():
        mask = np.asarray(given).squeeze() > 0.5  # transforms may have smoothed it
        if mask.shape != shape:
            raise OptionError(f"a mask of shape {mask.shape}", expected=f"that of the image, {shape}")
        if mask.any():
            found[_pathology(at, names)] = mask
    return found


def _pathology(at: Any, names: Sequence[str]) -> str:
    """The pathology of a mask, by its number or its name."""
    if isinstance(at, str):
        return canonical_pathology(at)
    if not hasattr(at, "__index__") or not 0 <= int(at) < len(names):
        raise OptionError(f"a mask of the pathology {at!r}", expected=f"a number from 0 to {len(names) - 1}")
    return canonical_pathology(names[int(at)])


def _rectangles(name: str, mask: Mask) -> list[ReferenceBox]:
    """The boxes that a mask is made of; none where a part of it has another shape."""
    from scipy import ndimage  # here, as it takes as long as a quarter of `import torch`

    parts = ndimage.find_objects(ndimage.label(mask)[0])
    if not all(mask[part].all() for part in parts):
        return []
    return [
        ReferenceBox(name, across.start, down.start, across.stop - across.start, down.stop - down.start)
        for down, across in parts
    ]


def radiograph_of(sample: Sample) -> Radiograph:
    """The radiograph of one sample of a TorchXRayVision data set, at whatever size its transforms left it.

    Args:
        sample: a mapping with "img", (1, H, W) or (H, W) in [-1024, 1024]; "idx" names it.

    Raises:
        OptionError: no image, several channels, or another range of values.

    >>> radiograph_of({"img": torch.zeros(1, 4, 5), "idx": 7}).id
    'sample-7'
    """
    pixels = _image(sample)
    if pixels.ndim == 3 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim != 2:
        raise OptionError(f'"img" of shape {tuple(pixels.shape)}', expected="(1, H, W) or (H, W)")
    at = np.asarray(sample.get("idx", ""))  # a number, or a one-element tensor
    name = f"sample-{at.item()}" if at.size == 1 and at.item() != "" else "sample"
    return Radiograph.from_array(pixels.detach().cpu().numpy(), id=name)


def inputs_of(batch: Tensor | Sample) -> Tensor:
    """The model inputs of a batch, (B, C, H, W): the batch itself, or "img" of a collated dictionary.

    A single sample becomes a batch of one.

    Raises:
        OptionError: no image.

    >>> inputs_of({"img": torch.zeros(1, 4, 5)}).shape
    torch.Size([1, 1, 4, 5])
    """
    if isinstance(batch, Tensor):
        return batch
    image = _image(batch)
    return image[None] if image.ndim == 3 else image


def _image(sample: Sample) -> Tensor:
    if not isinstance(sample, Mapping):
        raise OptionError(
            f"a {type(sample).__name__}",
            expected='a tensor, or a mapping with "img"',
            remedy="Radiographs, and files by their paths, go into Explainer(model).explain(...); arrays go "
            "into Radiograph.from_array(...) before that.",
        )
    if "img" not in sample:
        raise OptionError(
            f"the keys {', '.join(map(str, sample))}", expected='"img", as samples of TorchXRayVision have it'
        )
    try:
        return torch.as_tensor(sample["img"])
    except (TypeError, ValueError, RuntimeError):
        raise OptionError(
            f'"img" of type {type(sample["img"]).__name__}', expected="a tensor or an array of numbers"
        ) from None
