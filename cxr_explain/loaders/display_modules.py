"""What the header says about the display and is not followed, by name.

Overlays, annotations and the like are drawn over an image by a viewer; they are no part of what a model is
shown. But a reviewer who misses them has to know that the file has them.
"""

from __future__ import annotations

from typing import Final

import pydicom

from cxr_explain.loaders.header import given, items, number, text

# Modules and macros of PS3.3, by the attribute without which there is none of them.
_BY_ATTRIBUTE: Final = {
    "PresentationLUTSequence": "Presentation LUT Sequence",
    "ICCProfile": "ICC profile",
    "GraphicAnnotationSequence": "graphic annotation",
    "GraphicLayerSequence": "graphic layers",
    "DisplayedAreaSelectionSequence": "displayed area",
    "SoftcopyVOILUTSequence": "Softcopy VOI LUT Sequence",
    "MaskSubtractionSequence": "mask subtraction",
    "PixelIntensityRelationshipLUTSequence": "Pixel Intensity Relationship LUT Sequence",
    "RedPaletteColorLookupTableDescriptor": "supplemental palette color LUT",
    "FrameVOILUTSequence": "Frame VOI LUT Sequence",
    "PixelValueTransformationSequence": "Pixel Value Transformation Sequence",
    "FrameDisplayShutterSequence": "Frame Display Shutter Sequence",
}
_GROUPS: Final = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# Repeating groups (PS3.5 7.6), with the elements that make a plane or curve of one: rows or data, and data.
_OVERLAYS: Final = (range(0x6000, 0x6020, 2), (0x0010, 0x3000))
_CURVES: Final = (range(0x5000, 0x5020, 2), (0x3000,))


def display_warnings(dataset: pydicom.Dataset) -> list[str]:
    """A warning for each display module of the header that is not applied.

    >>> ds = pydicom.Dataset()
    >>> ds.ICCProfile = bytes(2)
    >>> display_warnings(ds)
    ['the ICC profile of the header is not applied']
    """
    groups = [group for keyword in _GROUPS for group in items(dataset, keyword)]
    found = [
        name
        for keyword, name in _BY_ATTRIBUTE.items()
        if any(given(holder, keyword) for holder in (dataset, *groups))
    ]
    if number(dataset, "ImageRotation") or text(dataset, "ImageHorizontalFlip") == "Y":
        found.append("spatial transformation (rotation or flip)")
    warnings = [f"the {name} of the header is not applied" for name in found]
    for name, (among, elements) in (("overlay plane", _OVERLAYS), ("curve", _CURVES)):
        count = sum(any((group, each) in dataset for each in elements) for group in among)
        if count:
            warnings.append(f"{count} {name}{'s' if count > 1 else ''} of the header not shown")
    return warnings
