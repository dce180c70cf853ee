"""How objects show themselves: the one place that reaches up from what is explained to figures and pages.

`Explanation.figure`, `Explanation.to_dicom` and what a notebook shows of an object call these functions;
everything else goes from the radiograph to the page in one direction. Nothing is imported before something is
drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes as Axes
    from numpy.typing import NDArray

    from cxr_explain.dicom.objects import DicomObjects as DicomObjects
    from cxr_explain.figures.methods import Methods
    from cxr_explain.figures.output import ExplanationFigure as ExplanationFigure
    from cxr_explain.figures.style import Style as Style
    from cxr_explain.pages.explorer import Explorer as Explorer


def html_of(shown: object) -> str:
    """What a notebook shows of a radiograph, ranking, explanation, manifest or audit.

    >>> from cxr_explain import rank
    >>> "Edema" in html_of(rank([0.0, 2.0], ["Mass", "Edema"]))
    True
    """
    from cxr_explain.pages.displays import card_of

    return card_of(shown).to_html()


def png_of(shown: object) -> bytes:
    """A small picture of a radiograph or an explanation."""
    from cxr_explain.pages.displays import picture_of

    return picture_of(shown)


def explorer_of(explanation: Any, radiograph: Any, **options: Any) -> Explorer:
    """Widgets over an explanation; see `Explanation.explore`."""
    from cxr_explain.pages.explorer import Explorer

    return Explorer(explanation, radiograph, **options)


def figure_of(explanation: Any, radiograph: Any, **options: Any) -> ExplanationFigure:
    """The annotated figure; see `cxr_explain.figures.draw_explanation`."""
    from cxr_explain.figures.figure import draw_explanation

    return draw_explanation(explanation, radiograph, **options)


def caption_of(explanation: Any, reference_labels: Any, **options: Any) -> str:
    """The caption of the figure; see `cxr_explain.figures.caption.caption_of`."""
    from cxr_explain.figures import caption

    return caption.caption_of(explanation, reference_labels, **options)


def places_of(explanation: Any, radiograph: Any, **options: Any) -> dict[str, str]:
    """Where the class maps have their peaks, in words; see `cxr_explain.chest.places`."""
    from cxr_explain.chest.places import peak_places
    from cxr_explain.chest.regions import regions_of

    regions, orientation = regions_of(radiograph, **options), explanation.provenance.patient_orientation
    places = peak_places(explanation.class_maps, explanation.geometry, regions, orientation=orientation)
    named = zip(explanation.ranking.pathologies, places, strict=True)
    return {name: str(place) for name, place in named if place}


def methods_of(explanation: Any) -> Methods:
    """How it was made, in sentences; see `cxr_explain.figures.methods.methods_of`."""
    from cxr_explain.figures import methods

    return methods.methods_of(explanation)


def html_file_of(path: Any, explanation: Any, radiograph: Any, labels: Any, **options: Any) -> Path:
    """One page in one file; see `Explanation.to_html`."""
    from cxr_explain.pages.one_file import write_html

    return write_html(path, explanation, radiograph, labels, **options)


def dicom_of(explanation: Any, source: Any, labels: Any, **options: Any) -> DicomObjects:
    """DICOM objects; see `Explanation.to_dicom`."""
    from cxr_explain.dicom.objects import dicom_objects

    return dicom_objects(explanation, source, labels, **options)


def animation_of(path: Any, explanation: Any, radiograph: Any, **options: Any) -> Path:
    """A picture that fades; see `Explanation.animation`."""
    from cxr_explain.figures.animation import write_animation

    return write_animation(path, explanation, radiograph, **options)


def overlay_of(explanation: Any, radiograph: Any, **options: Any) -> NDArray[np.uint8]:
    """The fused map over the radiograph; see `cxr_explain.figures.overlay.fused_overlay`."""
    from cxr_explain.figures.overlay import fused_overlay

    return fused_overlay(explanation, radiograph, **options)


def overlays_of(batch: Any, inputs: Any) -> NDArray[np.uint8]:
    """The fused maps of a batch over its inputs; see `cxr_explain.figures.overlay.batch_overlays`."""
    from cxr_explain.figures.overlay import batch_overlays

    return batch_overlays(batch, inputs)


def draw_on(axes: Any, piece: str, explanation: Any, *arguments: Any, **options: Any) -> Axes:
    """A piece of a figure on given axes; see `cxr_explain.figures.on_axes`."""
    from cxr_explain.figures import on_axes

    drawn: Axes = getattr(on_axes, f"draw_{piece}")(axes, explanation, *arguments, **options)
    return drawn
