"""A figure that writes the same bytes for the same content, whole or not at all, without personal data."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any, Literal, get_args

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.cbook import open_file_cm
from matplotlib.figure import Figure
from PIL import Image

from cxr_explain.errors import OptionError
from cxr_explain.figures.compact_png import compact_png
from cxr_explain.figures.pdf_fonts import truetype_outlines
from cxr_explain.figures.quick_png import quick_png
from cxr_explain.figures.texts import DISCLAIMER
from cxr_explain.options import FigureFormat, check_option
from cxr_explain.support.collection import without_collection
from cxr_explain.support.whole_file import output_errors, write_output, write_whole

FORMATS = get_args(FigureFormat)

SvgText = Literal["paths", "fonts"]
"""How text stands in an SVG: as shapes, the same in every program; or as text that can be selected, in fonts
that the file brings along."""

# Matplotlib would write its version and the date. Nothing here names the radiograph.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "cxr-explain", "Disclaimer": DISCLAIMER},
    "pdf": {"Creator": "cxr-explain", "Producer": None, "CreationDate": None, "Subject": DISCLAIMER},
    "svg": {"Creator": "cxr-explain", "Date": None, "Description": DISCLAIMER},
}
_STYLE: dict[str, Any] = {
    "text.hinting": "no_hinting",  # letters as wide as they were measured, at any resolution
    "svg.hashsalt": "cxr-explain",  # ids in the SVG are otherwise drawn at random
    "svg.fonttype": "path",  # the same picture where DejaVu Sans is not installed
    "pdf.fonttype": 42,  # text that can be selected and edited
    "image.composite_image": False,  # in a PDF or SVG, each image by itself and not one as large as the page
}
_NOT_STYLE = ("backend", "interactive", "toolbar", "webagg", "date", "timezone", "tk", "macosx")
_LOCK = threading.RLock()


@contextmanager
def own_style() -> Iterator[None]:
    """Matplotlib's defaults and nothing of the caller's style, for the time of a block.

    The settings are global to the process: the lock keeps two threads from restoring each other's. A figure
    is ten thousand objects: the search for garbage among those of torch would take a seventh of the time.
    """
    settings: Any = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith(_NOT_STYLE)
    }
    settings.update(_STYLE)
    with _LOCK, matplotlib.rc_context(settings), without_collection():
        yield


NOTEBOOK_DPI = 100
"""Pixels in an inch of a figure in a notebook."""


class _Canvas(FigureCanvasAgg):
    """Agg's canvas with another writer of opaque PNGs: a quarter of the time of Matplotlib's."""

    def print_png(
        self,
        filename_or_obj: Any,
        *,
        metadata: dict[str, Any] | None = None,
        pil_kwargs: dict[str, Any] | None = None,
        **_: Any,  # what `savefig` passes for other formats
    ) -> None:
        """Write the figure; an opaque one without its alpha channel."""
        # Not the canvas's own, which would stay with the figure: 20 MB at 200 dpi.
        renderer = RendererAgg(*self.get_width_height(physical=True), self.figure.dpi)
        self.figure.draw(renderer)
        pixels = np.asarray(renderer.buffer_rgba())
        if pil_kwargs or pixels[..., 3].min() < 255:
            super().print_png(filename_or_obj, metadata=metadata, pil_kwargs=pil_kwargs)  # type: ignore[no-untyped-call]
            return
        with open_file_cm(filename_or_obj, "wb") as file:
            file.write(quick_png(pixels, self.figure.dpi, metadata or {}))


class ExplanationFigure(Figure):
    """A Matplotlib figure without pyplot; `savefig` is deterministic and takes png, pdf and svg.

    >>> figure = ExplanationFigure(figsize=(1, 1))
    >>> figure.to_bytes("png") == figure.to_bytes("png")
    True
    """

    svg_text: SvgText = "paths"
    """How text stands in an SVG, unless `savefig` is told otherwise."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _Canvas(self)

    def savefig(self, fname: str | PathLike[str] | IO[bytes], **options: Any) -> None:
        """Write the figure; the same figure gives the same bytes.

        A path is written whole or not at all. The `metadata` start without a date or a version.

        Args:
            fname: a path or a binary file; the path's ending says the format, png without one.
            **options: options of Matplotlib's `savefig`, for example `dpi` or `format`; and `svg_text`.

        Raises:
            OptionError: a format other than png, pdf or svg.
            OutputError: a folder that cannot be written to.
        """
        if isinstance(fname, (str, PathLike)):
            path, kind = _path_and_format(fname, options.pop("format", None))
            content = self.to_bytes(kind, **options)
            with output_errors("a figure", path):
                write_whole(path, content)
        else:
            fname.write(self.to_bytes(options.pop("format", "png"), **options))

    def save(self, path: str | PathLike[str], **options: Any) -> Path:
        """Write the figure whole or not at all, and make its folder.

        Args:
            path: where to save; its ending says the format, png without one.
            **options: options of `savefig`.

        Returns:
            The path written.

        Raises:
            OptionError: a format other than png, pdf or svg.
            OutputError: a folder that cannot be written to.
        """
        target, kind = _path_and_format(path, options.pop("format", None))
        return write_output(target, self.to_bytes(kind, **options), "a figure")

    def to_bytes(self, format: str = "png", **options: Any) -> bytes:  # noqa: A002 - Matplotlib's name
        """The file's content, as `savefig` writes it.

        Args:
            format: "png", "pdf" or "svg".
            **options: options of `savefig`.

        Raises:
            OptionError: another format, or another `svg_text`.
        """
        svg_text = options.pop("svg_text", self.svg_text)
        check_option("svg_text", svg_text, SvgText)
        kind = str(format).lower()
        if kind not in FORMATS:
            raise OptionError(f"the figure format {format!r}", expected=f"one of {', '.join(FORMATS)}")
        metadata = {**_METADATA[kind], **(options.pop("metadata", None) or {})}
        options.setdefault("dpi", self.dpi)
        if kind == "svg" and svg_text == "fonts":
            options["backend"] = "module://cxr_explain.figures.svg_text"
        buffer = io.BytesIO()
        with own_style(), truetype_outlines() if kind == "pdf" else nullcontext():
            super().savefig(buffer, format=kind, metadata=metadata, **options)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        """What a notebook shows: on a screen, and stored, fewer pixels do than on paper."""
        with Image.open(io.BytesIO(self.to_bytes("png", dpi=min(self.dpi, NOTEBOOK_DPI)))) as image:
            return compact_png(image)

    def _ipython_display_(self) -> None:
        """Show it as it is drawn: IPython draws any other Matplotlib figure with its own settings."""
        from IPython.display import display

        display({"image/png": self._repr_png_(), "text/plain": repr(self)}, raw=True)


def _path_and_format(path: str | PathLike[str], kind: str | None) -> tuple[Path, str]:
    """The path with its ending, and the format: the one asked for, else the ending's, else png."""
    target = Path(fspath(path))
    kind = kind or target.suffix.lstrip(".").lower() or "png"
    return (target if target.suffix else target.with_name(f"{target.name}.{kind}")), kind
