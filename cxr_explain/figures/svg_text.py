"""SVG whose text is text, in fonts that the file brings along: a backend of Matplotlib.

Matplotlib draws letters as paths, or names fonts that the reader need not have. Here each font that is used
is embedded as a subset of the letters that are, so that text can be selected, searched and read aloud. It
looks the same wherever such fonts are shown: browsers do, some editors for vector graphics do not.
"""

from __future__ import annotations

import base64
import codecs
import io
from functools import lru_cache
from typing import IO, Any

from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.colors import rgb2hex
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

BACKEND = f"module://{__name__}"
"""What `savefig` takes as its backend."""


class _Renderer(RendererSVG):
    """Matplotlib's, which writes text as text and remembers its letters."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._letters: dict[Any, set[str]] = {}
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,
        mtext: Text | None = None,
    ) -> None:
        """Write one line of text, each letter in the first font that has it."""
        if ismath:  # a formula of somebody who drew into the figure
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]
            return
        red, green, blue, alpha = gc.get_rgb()
        look = {"font-size": f"{prop.get_size_in_points():g}px", "fill": rgb2hex((red, green, blue))}
        if alpha != 1:
            look["opacity"] = f"{alpha:g}"
        look["font-family"] = ", ".join(self._families(s, prop))
        turned = f" rotate({-angle:g})" if angle else ""
        style = "; ".join(f"{name}: {value}" for name, value in look.items())
        place = {"transform": f"translate({x:.4f} {y:.4f}){turned}", "style": style, "xml:space": "preserve"}
        self.writer.element("text", s, attrib=place)

    def finalize(self) -> None:
        """End the file, with the fonts that are used."""
        if self._letters:
            faces = (
                f"@font-face {{ font-family: {self._name(path)}; src: url({_embedded(path, letters)}) "
                'format("woff"); }'
                for path, letters in self._letters.items()
            )
            self.writer.start("defs")
            self.writer.element("style", "\n".join(faces), type="text/css")
            self.writer.end("defs")
        super().finalize()  # type: ignore[no-untyped-call]

    def _name(self, path: Any) -> str:
        return f"font-{list(self._letters).index(path) + 1}"

    def _families(self, text: str, prop: FontProperties) -> list[str]:
        """The embedded fonts of a text, in the order in which each is asked for a letter."""
        # Matplotlib has no public way to the fonts that it falls back to.
        paths: list[Any] = fontManager._find_fonts_by_props(prop)  # noqa: SLF001
        fonts = {path: FT2Font(path, face_index=_face_index(path)) for path in paths}
        for letter in text:
            there = (path for path in paths if fonts[path].get_char_index(ord(letter)))
            self._letters.setdefault(next(there, paths[0]), set()).add(letter)
        return [self._name(path) for path in paths if path in self._letters]


class FigureCanvas(FigureCanvasSVG):
    """The canvas of this backend."""

    def print_svg(
        self,
        filename: IO[bytes],
        *,
        bbox_inches_restore: Any = None,
        metadata: dict[str, Any] | None = None,
        **_: Any,  # what `savefig` passes for other formats
    ) -> None:
        """Write the figure into a binary file."""
        file = codecs.getwriter("utf-8")(filename)
        dpi = self.figure.dpi
        self.figure.dpi = 72
        width, height = self.figure.get_size_inches()
        own = _Renderer(width * 72, height * 72, file, image_dpi=dpi, metadata=metadata)
        renderer: Any = MixedModeRenderer(
            self.figure, width, height, dpi, own, bbox_inches_restore=bbox_inches_restore
        )
        self.figure.draw(renderer)
        renderer.finalize()


def _face_index(path: Any) -> int:
    """Which of a file's fonts is meant; most have one."""
    return int(getattr(path, "face_index", 0))


def _embedded(path: Any, letters: set[str]) -> str:
    """A data URL of the part of a font that has some letters; equal for equal letters."""
    return _subset(str(path), _face_index(path), "".join(sorted(letters)))


@lru_cache(maxsize=32)
def _subset(path: str, face_index: int, letters: str) -> str:
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    options = Options()
    options.hinting = False
    options.notdef_outline = True
    options.drop_tables += ["FFTM"]  # when FontForge made it; fontTools would say that it drops it
    font = TTFont(path, fontNumber=face_index, recalcTimestamp=False)
    subsetter = Subsetter(options)
    subsetter.populate(text=letters)
    subsetter.subset(font)
    font.flavor = "woff"
    buffer = io.BytesIO()
    font.save(buffer)
    return f"data:font/woff;base64,{base64.b64encode(buffer.getvalue()).decode()}"
