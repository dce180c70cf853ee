"""Readers of bombs for which a path is not enough: outlines are drawn only when they are asked for."""

from __future__ import annotations

from pathlib import Path

from cxr_explain.loaders import read_radiograph
from cxr_explain.measures.chexlocalize_eval import drawn_mask
from cxr_explain.reference.chexlocalize import CHEXLOCALIZE_NAMES
from cxr_explain.reference.masks import outline_kind, outlined_in, read_outlines
from cxr_explain.reference.saliency_maps import read_saliency_map


def second_frame(path: Path) -> None:
    """Read the second frame of a DICOM file."""
    read_radiograph(path, frame=1)


def outlines(path: Path) -> None:
    """Read a file of outlines as a manifest does, and draw its first radiograph's masks."""
    kind = outline_kind(path)
    outlined_in(path, kind, path.parent)
    read = read_outlines(path, kind)
    for name in CHEXLOCALIZE_NAMES:
        read.mask(read.ids[0], name)


def saliency_map(path: Path) -> None:
    """Read a saliency map, and draw its mask at full size."""
    drawn_mask(read_saliency_map(path).full_size())
