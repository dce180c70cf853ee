"""A case in which two audits part: its radiograph, and the map of each over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from cxr_explain.audit.comparison.matching import Pair
from cxr_explain.audit.results import position_of
from cxr_explain.audit.store import AuditRun, StoredCase
from cxr_explain.errors import CxrExplainError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.ranking import Prediction
from cxr_explain.figures.overlay import fused_overlay, grey_or_plain, shape_within, to_bytes
from cxr_explain.figures.palette import ClassStyle, class_styles
from cxr_explain.pages.templating import image_url
from cxr_explain.pages.viewer.images import jpeg_within
from cxr_explain.radiograph import Radiograph

_SIDE = 448  # pixels: a third of a page, and two pixels for each of a small screen's
_QUALITY = 85
_MOST_BYTES = 60_000


@dataclass(frozen=True)
class ShownExplanation:
    """What one audit shows of a case.

    Args:
        picture: URL of the fused map over the radiograph.
        ranked: the pathologies that the map is of, each with its colour.
    """

    picture: Markup
    ranked: tuple[tuple[Prediction, ClassStyle], ...]

    @classmethod
    def of(cls, explanation: Explanation, radiograph: Radiograph | None) -> Self:
        """Draw it; over plain grey without a radiograph."""
        drawn = fused_overlay(explanation, radiograph, longest=_SIDE)
        styles = class_styles(explanation.ranking.pathologies)
        return cls(_url(drawn), tuple(zip(explanation.ranking.top, styles, strict=True)))


@dataclass(frozen=True)
class CasePictures:
    """The pictures of one case.

    Args:
        radiograph: URL of the radiograph; None where it cannot be read again.
        shown: what each audit shows.
        problem: why there is no radiograph; '' where there is one.
    """

    radiograph: Markup | None
    shown: Pair[ShownExplanation]
    problem: str = ""

    @classmethod
    def of(cls, runs: Pair[AuditRun], image_id: Mapping[str, Any]) -> Self:
        """Draw a case from the maps that are stored, over the radiograph that A explained.

        Args:
            runs: the two audits.
            image_id: the name of the image in each.

        Raises:
            AuditError: maps that no audit writes.
        """
        cases = [run.case(position_of(run, image_id[name])) for name, run in runs._asdict().items()]
        radiograph, problem = _radiograph(cases[0])
        shown = Pair(*(ShownExplanation.of(case.explanation, radiograph) for case in cases))
        if radiograph is None:
            return cls(None, shown, problem)
        grey = to_bytes(grey_or_plain(radiograph, shape_within(radiograph.shape, _SIDE)))
        return cls(_url(grey), shown)


def _radiograph(case: StoredCase) -> tuple[Radiograph | None, str]:
    """The radiograph, or why there is none, without the path of a file."""
    try:
        return case.radiograph(), ""
    except CxrExplainError as error:
        return None, str(type(error)(error.found, expected=error.expected))


def _url(pixels: NDArray[np.uint8]) -> Markup:
    return image_url(jpeg_within(Image.fromarray(pixels), _MOST_BYTES, best=_QUALITY), "jpeg")
