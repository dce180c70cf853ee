"""The page that the gallery shows beside its pictures: an explanation in one file, written by the build."""

from __future__ import annotations

from pathlib import Path

import cxr_explain as cxr
from cxr_explain.phantom import render, sample_patient, to_radiograph

PAGE = "gallery_page.html"


def write_page(folder: Path) -> None:
    """Write the page of one phantom into a folder, where it is not there yet."""
    if not (folder / PAGE).exists():
        phantom = render(sample_patient(10_000_189), size=512)
        explainer = cxr.Explainer.from_pretrained("phantom", device="cpu")
        labels = cxr.ReferenceLabels({box.pathology: 1 for box in phantom.boxes}, boxes=tuple(phantom.boxes))
        explainer.explain(to_radiograph(phantom), top_k=3).to_html(folder / PAGE, labels)
