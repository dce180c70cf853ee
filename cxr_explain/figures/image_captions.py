"""What stands below the two large images: view and size, and evidence that a reader would miss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_explain.figures.content import Content
from cxr_explain.figures.texts import from_header, view_text
from cxr_explain.support.shares import percent

_ENLARGED = 0.25  # mm: a pixel that is wider on paper shows
_MM_PER_INCH = 25.4
_MOST = 0.9  # of the evidence
_FEW = 0.03  # of the cells
_NAMED = 0.0005  # of the evidence: less is "0.0 %"


def radiograph_caption(content: Content, width: float) -> str:
    """View, laterality and orientation, reference boxes outside of it, and that a small one is enlarged.

    Args:
        content: the content of the figure.
        width: width of the image on the page, in the page's units.
    """
    radiograph, words = content.radiograph, content.words
    text = words(
        "view, laterality, orientation",
        view=view_text(radiograph.view, content.labels.view, words),
        laterality=from_header(radiograph.laterality, words),
        orientation=from_header(" | ".join(content.sides or ()), words),
    )
    texts = [text]
    if outside := dict.fromkeys(content.look.name_of(box.pathology) for box in content.boxes_outside):
        texts.append(words("reference boxes outside", pathologies=", ".join(outside)))
    pixel = width * content.look.scale * _MM_PER_INCH / radiograph.shape[1]
    if pixel > _ENLARGED:
        texts.append(words("enlarged", width=f"{pixel:.2g}"))
    return " · ".join(texts)


def overlay_caption(content: Content) -> str:
    """What the model did not see, and evidence in the margin, or in so few cells that it is overlooked."""
    words, geometry = content.words, content.explanation.geometry
    texts = []
    if not geometry.sees_everything:
        texts.append(words("hatched share", share=percent(geometry.unseen_share)))
    if (share := margin_share(content)) >= _NAMED:
        texts.append(words("evidence in the margin", share=percent(share)))
    if ranks := ranks_in_margin(content):
        texts.append(words("strongest in the margin", ranks=", ".join(map(str, ranks))))
    if found := _few_cells(content):
        share, few, every = found
        texts.append(words("few cells", share=percent(share), cells=few, all=every))
    return " · ".join(texts)


def margin_share(content: Content) -> float:
    """Share of the evidence that lies in the black margin of `fit="pad"`, beyond the radiograph."""
    evidence = _evidence(content)
    total = float(evidence.sum())
    if not total:
        return 0.0
    seen = content.explanation.geometry.seen_shares((evidence.shape[0], evidence.shape[1]))
    return float((evidence * (1 - seen)).sum()) / total


def ranks_in_margin(content: Content) -> tuple[int, ...]:
    """Ranks of the pathologies whose strongest cell lies in the margin."""
    geometry = content.explanation.geometry
    peaks = enumerate(map(geometry.peak_of, content.explanation.maps), start=1)
    return tuple(rank for rank, peak in peaks if peak is not None and not geometry.sees(peak))


def _few_cells(content: Content) -> tuple[float, int, int] | None:
    """The share of the evidence that lies in few cells, how few, and of how many; None without such."""
    strongest = np.sort(_evidence(content), axis=None)[::-1]
    if strongest.size == 1 or not strongest.sum(initial=0):
        return None
    shares = np.cumsum(strongest) / strongest.sum()
    few = 1 + int(np.searchsorted(shares, _MOST))
    return (float(shares[few - 1]), few, strongest.size) if few <= max(1, _FEW * strongest.size) else None


def _evidence(content: Content) -> NDArray[np.float64]:
    """(I, J): the fused evidence of all K pathologies."""
    return np.asarray(np.maximum(content.explanation.maps, 0).sum(axis=0), np.float64)
