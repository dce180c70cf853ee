"""Pictures of a section side by side in the PDF."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cxr_explain.audit.sections.tables import SectionPicture
from cxr_explain.figures.page import SMALL, Page
from cxr_explain.figures.style import LIGHT

_BESIDE = 6
_GAP, _LINE = 0.1, 0.12  # inches


@dataclass(frozen=True, eq=False)
class PictureRow:
    """A few pictures with their titles below.

    Args:
        pictures: as many as fit beside one another.
        width: width of the block in inches.
    """

    pictures: Sequence[SectionPicture]
    width: float

    @property
    def height(self) -> float:
        """Height in inches."""
        return self._side + 2 * _LINE + _GAP

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for number, picture in enumerate(self.pictures):
            left = x + number * (self._side + _GAP)
            with Image.open(io.BytesIO(picture.png)) as image:
                page.image(np.asarray(image.convert("RGB")), left, y, self._side, self._side)
            lines = LIGHT.typeface.wrap(picture.title, self._side, SMALL, lines=2)
            for line, text in enumerate(lines, start=1):
                page.text(left, y + self._side + _LINE * line, text, size=SMALL)

    @property
    def _side(self) -> float:
        return (self.width + _GAP) / _BESIDE - _GAP


def picture_rows(pictures: Sequence[SectionPicture], width: float) -> Iterator[PictureRow]:
    """All pictures, in as many rows as they take."""
    for first in range(0, len(pictures), _BESIDE):
        yield PictureRow(pictures[first : first + _BESIDE], width)
