"""The record figure, as objects hold it: with nothing in it that a de-identified source no longer says."""

from __future__ import annotations

from dataclasses import replace

from cxr_explain.dicom.content import ObjectContent
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.options import StyleName

_REMOVED = "removed"
_NOT_NAMED = "not named"


def record_figure(content: ObjectContent, style: StyleName) -> ExplanationFigure:
    """Draw the record figure.

    It names the radiograph's id, which may be its file's name, the first digits of the file's SHA-256, and
    where reference labels come from unless that is a path. Of a de-identified source it names neither digits
    nor where labels come from, and for the id the source's own new instance UID.

    Args:
        content: what the object is made from.
        style: how it looks where the settings do not say.
    """
    explanation, radiograph, labels = content.explanation, content.radiograph, content.labels
    if content.source.is_deidentified:
        radiograph = replace(radiograph, sha256=_REMOVED)
        provenance = replace(explanation.provenance, radiograph_sha256=_REMOVED)
        explanation = replace(
            explanation, id=str(content.source.dataset.SOPInstanceUID), provenance=provenance, radiograph=None
        )
    if content.source.is_deidentified or set(labels.source) & set("/\\"):
        labels = replace(labels, source=_NOT_NAMED)
    return explanation.figure(
        labels,
        radiograph=radiograph,
        style=content.settings.style or style,
        colours=content.settings.colours,
    )
