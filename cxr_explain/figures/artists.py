"""Matplotlib's text and images where they need no layout and no resampling: the same pixels, sooner."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from cxr_explain.figures.letter_shapes import line_shape
from cxr_explain.figures.lettering import DEJAVU, Face, Typeface, isolates
from cxr_explain.figures.palette import INK

Align = Literal["left", "center", "right"]
"""Which end of a line of text is at its place."""

_SHARE_LEFT = {"left": 0.0, "center": 0.5, "right": 1.0}
_WHOLE = 0.01  # of a pixel


class TextLine(Text):
    """One line of clean text, never read as mathematics, whatever signs it has.

    On the baseline it is drawn where it stands: Matplotlib would measure it first, several times. On pixels
    it is filled as one outline. A name in an isolate is drawn by itself: within one text, Matplotlib's PDF
    misplaces what follows its mark.

    Args:
        x: place from the left, in the coordinates of the axes it is added to.
        y: place of the line, in the coordinates of the axes it is added to.
        text: one line of text.
        size: size of the letters in points.
        face: face of the letters.
        colour: colour of the letters.
        align: which end of the line is at x, or "center".
        vertical: which height of the line is at y.
        halo: colour of an outline around the letters; None without one.
        typeface: fonts of the letters.
        **style: options of Matplotlib's `Text`.
    """

    def __init__(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        face: Face = "regular",
        colour: str = INK,
        align: Align = "left",
        vertical: Literal["baseline", "center", "center_baseline"] = "baseline",
        halo: str | None = None,
        typeface: Typeface = DEJAVU,
        **style: Any,
    ) -> None:
        # Those of Matplotlib's settings, such as xkcd's white outlines, hide white letters on a dark plate.
        style["path_effects"] = [withStroke(linewidth=1.6, foreground=halo)] if halo else []
        pieces = isolates(text)
        shown = pieces[0] if len(pieces) == 1 else text
        super().__init__(
            x, y, shown, fontproperties=typeface.font(face, size, text), color=colour,
            horizontalalignment=align, verticalalignment=vertical, parse_math=False, usetex=False,
            clip_on=False, **style,
        )  # fmt: skip

    def set_clip_path(self, path: Any, transform: Any = None) -> None:
        """Leave it whole: nothing clips a line of text, and its axes need not work out how they would."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, by Matplotlib's layout where it is not on the baseline."""
        plain = self.get_verticalalignment() == "baseline" and not self.get_path_effects()
        if not plain or self.get_rotation() or not self.get_visible():
            super().draw(renderer)
            return
        pieces, face = isolates(self.get_text()), self.get_fontproperties()
        x, y = self.get_transform().transform(self.get_position())
        share = _SHARE_LEFT[self.get_horizontalalignment()]
        graphics = renderer.new_gc()
        graphics.set_foreground(to_rgba(self.get_color()), isRGBA=True)
        if isinstance(renderer, RendererAgg) and (shape := line_shape(face.get_file(), self.get_text())):
            outline, advance = shape
            size = face.get_size_in_points() * renderer.dpi / 72
            graphics.set_linewidth(0)
            graphics.set_snap(False)
            place = Affine2D.from_values(size, 0, 0, size, x - share * size * advance, y)
            renderer.draw_path(graphics, outline, place, graphics.get_rgb())
        else:
            widths = [0.0]
            if share or len(pieces) > 1:
                widths = [renderer.get_text_width_height_descent(piece, face, False)[0] for piece in pieces]
                x -= share * sum(widths)
            if renderer.flipy():
                y = renderer.get_canvas_width_height()[1] - y
            renderer.open_group("text", self.get_gid())
            for piece, width in zip(pieces, widths, strict=True):
                renderer.draw_text(graphics, x, y, piece, face, 0.0, ismath=False, mtext=self)
                x += width
            renderer.close_group("text")
        graphics.restore()
        self.stale = False


class Samples(AxesImage):
    """An image that is not resampled where each sample is one pixel of the page, nor in a PDF or SVG.

    Args:
        axes: the axes that the image is drawn in and clipped to.
        pixels: (h, w, 3) red, green and blue.
        extent: left, right, bottom and top in the coordinates of the axes.
    """

    def __init__(
        self, axes: Axes, pixels: NDArray[np.uint8], extent: tuple[float, float, float, float]
    ) -> None:
        super().__init__(axes, extent=extent, origin="upper")
        self.set_data(pixels)
        self.set_clip_path(axes.patch)

    def _check_unsampled_image(self) -> bool:
        return True  # in a PDF or SVG the samples stand as they are

    def make_image(
        self, renderer: RendererBase, magnification: float = 1.0, unsampled: bool = False
    ) -> tuple[Any, float, float, Any]:
        """The samples as they are where they fit the pixels, else as Matplotlib resamples them."""
        left, right, bottom, top = self.get_extent()
        ends = self.get_transform().transform([(left, bottom), (right, top)])
        pixels = np.asarray(self.get_array())
        start, end = ends * magnification
        fits = np.abs(end - start - pixels.shape[1::-1]).max() < _WHOLE
        if unsampled or not fits or np.abs(start - start.round()).max() > _WHOLE:
            return super().make_image(renderer, magnification, unsampled)
        opaque = np.full((*pixels.shape[:2], 4), 255, np.uint8)
        for channel in range(3):  # one by one: four times as fast
            opaque[..., channel] = pixels[::-1, :, channel]  # Matplotlib's images start at the bottom
        x, y = start.round() / magnification
        return opaque, x, y, None
