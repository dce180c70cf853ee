"""The kinds of DICOM objects that an explanation becomes, in the order of their worth.

A further kind is one module with a function that takes an `ObjectContent` and gives a data set, and one line
in `OBJECT_KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class ObjectKind:
    """A kind of DICOM object.

    Args:
        title: what it is, in a few words.
        home: module beside this one and function in it, "module:function".
        series: objects of one name share a series, which has one modality (PS3.3 C.7.3.1).
        series_number: number of the series in the study; high, so that a viewer shows it after the images.
        description: what a viewer shows of the series, at most 64 letters.
        instance_number: number of the object in the series.
    """

    title: str
    home: str
    series: str
    series_number: int
    description: str
    instance_number: int = 1

    @property
    def make(self) -> Callable[[Any], Dataset]:
        """The function that makes it of an `ObjectContent`."""
        found: Callable[[Any], Dataset] = resolve_name(f"cxr_explain.dicom.{self.home}")
        return found


_USE = "research use only"

OBJECT_KINDS: Mapping[str, ObjectKind] = MappingProxyType(
    {
        "figure": ObjectKind(
            "the record figure, a Secondary Capture", "capture:figure_capture", "captures", 9101,
            f"FM-G-CAM figures, {_USE}",
        ),
        "overlay": ObjectKind(
            "the overlay at the radiograph's resolution, a Secondary Capture", "capture:overlay_capture",
            "captures", 9101, f"FM-G-CAM figures, {_USE}", 2,
        ),
        "report": ObjectKind(
            "probabilities and regions, a structured report (TID 1500)", "report:report", "report", 9102,
            f"FM-G-CAM report, {_USE}",
        ),
        "segmentation": ObjectKind(
            "the regions as pixels, a Segmentation", "segmentation:segmentation", "segmentation", 9103,
            f"FM-G-CAM regions, {_USE}",
        ),
        "presentation": ObjectKind(
            "the outlines over the radiograph, a presentation state", "presentation:presentation",
            "presentation", 9104, f"FM-G-CAM outlines, {_USE}",
        ),
        "pdf": ObjectKind(
            "the record figure, an encapsulated PDF", "encapsulated_pdf:encapsulated_pdf", "pdf", 9105,
            f"FM-G-CAM document, {_USE}",
        ),
    }
)  # fmt: skip
"""All kinds by name."""
