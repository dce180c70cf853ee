"""Pictures in rows and columns on a page of a given width, with letters, titles, captions, key and notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase, ascii_uppercase
from typing import Literal, TypeVar, cast

from cxr_explain.errors import OptionError
from cxr_explain.figures import key_entries
from cxr_explain.figures.content import Content
from cxr_explain.figures.fitting import fitted
from cxr_explain.figures.lettering import Face
from cxr_explain.figures.marks import DrawMark, Marks
from cxr_explain.figures.output import ExplanationFigure, own_style
from cxr_explain.figures.page import HEADING, Block, Page
from cxr_explain.figures.pieces import HATCH_PERIOD, Pieces, ShownPart
from cxr_explain.figures.style import BODY, Style, small_size

F = TypeVar("F", bound=ExplanationFigure)

PanelLetters = bool | Literal["a", "A"]
"""How pictures are named: a, b, c or A, B, C; or not at all."""

WIDTH_MM = 180.0
"""The width of a page of most journals."""

DPI = 300
"""Pixels in an inch of the images of a figure with a given width."""

MARGIN = 0.02
"""Inches around everything: a journal sets its own margins."""

_MM = 25.4  # in an inch
_DPI_RANGE = (150, 1200)  # below, half a pixel would be more than 0.08 mm
_WIDTHS = (20.0, 1000.0)
_COLUMN_GAP = 0.08
_ROW_GAP = 0.07
_STRIP = 0.17
_ANY = 1000  # number of lines
_TITLE_LINES = 2
_TITLE_LINE = 0.135
_NAME_STRIP = 0.2
_NAME_LINE = 0.135
_NAME_LINES = 3
_NAME_SHARE = 0.5  # of a name, that fits on one of three lines
_LONGEST_WORD = 1.2  # of a name for which a low row is made higher
_KEY_GAP = 0.1


@dataclass(frozen=True)
class Cell:
    """One picture, and what stands around it.

    Args:
        content: what the picture shows.
        paint: draws a picture of the radiograph; None for a cell of signs and words.
        window: the part of the radiograph that is shown; None for all of it.
        mark: draws signs and words in a cell without a picture.
        height: height of such a cell where no picture stands beside it.
        title: text above.
        caption: text below.
    """

    content: Content
    paint: Callable[[Pieces], None] | None = None
    window: ShownPart | None = None
    mark: DrawMark | None = None
    height: float = 0.0
    title: str = ""
    caption: str = ""

    @property
    def shown(self) -> ShownPart:
        """The part of the radiograph that is shown."""
        height, width = self.content.radiograph.shape
        return self.window or (0, 0, width, height)

    def picture_height(self, width: float) -> float:
        """Height of the picture at a width; 0 for a cell without one."""
        left, top, right, bottom = self.shown
        return width * (bottom - top) / (right - left) if self.paint else 0.0


@dataclass(frozen=True)
class Note:
    """A line below the key.

    Args:
        text: what it says.
        colour: colour of the letters; quiet by default.
        face: face of the letters.
    """

    text: str
    colour: str | None = None
    face: Face = "regular"


@dataclass
class PictureGrid:
    """The layout, in inches of a page whose ordinary text has 7.4 points.

    Args:
        look: how the figure looks.
        rows: the cells, row by row; each has as many.
        width_mm: width of the figure.
        dpi: pixels in an inch of the images.
        letters: how the pictures are named.
        names: a name at the left of each row; none without.
        key: groups of entries of the key.
        notes: what is said below the key.
        blocks: what stands between the pictures and the key, for a width.
    """

    look: Style
    rows: Sequence[Sequence[Cell]]
    width_mm: float
    dpi: float
    letters: PanelLetters = True
    names: Sequence[str | None] | None = None
    key: Sequence[Sequence[key_entries.KeyEntry]] = ()
    notes: Sequence[Note] = ()
    blocks: Sequence[Callable[[float], Block]] = field(default=())

    def __post_init__(self) -> None:
        """Refuse what has no place on a page; `panel` says what is raised."""
        if not _WIDTHS[0] <= self.width_mm <= _WIDTHS[1]:
            raise OptionError(f"width_mm={self.width_mm!r}", expected=f"{_WIDTHS[0]:g} to {_WIDTHS[1]:g}")
        if not _DPI_RANGE[0] <= self.dpi <= _DPI_RANGE[1]:
            raise OptionError(f"dpi={self.dpi!r}", expected=f"{_DPI_RANGE[0]} to {_DPI_RANGE[1]}")
        if self.letters not in (True, False, "a", "A"):
            raise OptionError(f"letters={self.letters!r}", expected="True, False, 'a' or 'A'")
        # To the nearest pixel: rounded up, a page of 180.0 mm might have 180.1.
        self.width = round(self.width_mm / _MM * self.dpi) / (self.dpi * self.look.scale)
        self.room = self.width - 2 * MARGIN
        self.small = small_size(self.look) / self.look.scale
        self.line = self.small / 72 * 1.3
        for lines in range(1, _NAME_LINES + 1):
            self._divide(lines)
            self.caption_size = self._caption_size()
            self.name_lines = [self._name(at, lines) for at in range(len(self.rows))]
            if max(map(len, self.name_lines)) <= lines:
                break
        else:
            self.name_lines = [names[:_NAME_LINES] for names in self.name_lines]
        self.titles = [self._titles(at) for at in range(len(self.rows))]

    def _divide(self, name_lines: int) -> None:
        """Share the width out between names and columns."""
        columns = len(self.rows[0])
        strip = _NAME_STRIP + _NAME_LINE * (name_lines - 1) if self.names else 0.0
        self.left = MARGIN + strip
        self.column = (self.width - MARGIN - self.left - _COLUMN_GAP * (columns - 1)) / columns
        if self.column < 0.2:
            raise OptionError(
                f"{columns} columns on {self.width_mm:g} mm", expected="a wider figure, or fewer columns"
            )

    def _caption_size(self) -> float:
        """The size of all captions: the largest at which no word of them breaks."""
        captions = [cell.caption for row in self.rows for cell in row if cell.caption]
        sizes = (fitted(self.look, text, self.column, self.small, lines=_ANY)[1] for text in captions)
        return min(sizes, default=self.small)

    def _name(self, at: int, lines: int) -> list[str]:
        """The name of a row, in lines as long as it is high; the last of all may end in an ellipsis."""
        name = (self.names[at] if self.names else None) or ""
        room = self._body_height(at)
        found = self.look.typeface.wrap(name, room, BODY)
        if lines < _NAME_LINES:
            return found
        return self.look.typeface.wrap(name, room, BODY, lines=_NAME_LINES)

    def _titles(self, at: int) -> tuple[list[list[str]], float]:
        """The titles of a row in lines, and the one size that all of them have."""
        row = self.rows[at]
        rooms = [self.column - self._letter_room(at * len(row) + number) for number in range(len(row))]
        wanted = [
            fitted(self.look, cell.title, room, BODY, lines=_TITLE_LINES)
            for cell, room in zip(row, rooms, strict=True)
        ]
        size = min(size for _, size in wanted)
        wrap = self.look.typeface.wrap
        return [wrap(cell.title, room, size) for cell, room in zip(row, rooms, strict=True)], size

    def _letter_room(self, number: int) -> float:
        if not self.letters:
            return 0.0
        letter = _letter(number, capital=self.letters == "A")
        return 0.06 + self.look.typeface.width(letter, HEADING, "bold")

    def draw(self, kind: type[F]) -> F:
        """Draw all of it on one page, a figure of a kind."""
        blocks = [make(self.room) for make in self.blocks]
        key_height = key_entries.key_height(self.key, self.room, self.look)
        notes = [
            (line, note)
            for note in self.notes
            for line in self.look.typeface.wrap(note.text, self.room, self.small, note.face)
        ]
        heights = [self._row_height(at) for at in range(len(self.rows))]
        height = sum(heights) + _ROW_GAP * (len(heights) - 1)
        height += sum(_KEY_GAP + block.height for block in blocks)
        height += _KEY_GAP + key_height if self.key else 0.0
        height += 0.05 + self.line * len(notes) if notes else 0.0
        with own_style():
            page = Page(self.width, height + 2 * MARGIN, self.dpi, self.look, kind)
            y = MARGIN
            for at, row_height in enumerate(heights):
                self._draw_row(page, y, at)
                y += row_height + _ROW_GAP
            y -= _ROW_GAP
            for block in blocks:
                block.draw(page, MARGIN, y + _KEY_GAP)
                y += _KEY_GAP + block.height
            if self.key:
                axes = page.blank(MARGIN, y + _KEY_GAP, self.room, key_height)
                Marks(axes, self.look).add(key_entries.key, groups=self.key, ink=self.look.ink)
                y += _KEY_GAP + key_height
            y += 0.05
            for text, note in notes:
                y += self.line
                colour = note.colour or self.look.quiet
                page.text(MARGIN, y - 0.03, text, size=self.small, colour=colour, face=note.face)
        page.figure.svg_text = "fonts"  # what a journal asks for; its typesetters edit text
        return cast(F, page.figure)

    def _strip(self, at: int) -> float:
        """Height of the letters and titles above a row."""
        titles, size = self.titles[at]
        lines = max(map(len, titles))
        return _STRIP + _TITLE_LINE * size / BODY * max(0, lines - 1) if self.letters or lines else 0.0

    def _picture_height(self, row: Sequence[Cell]) -> float:
        return max(max(cell.picture_height(self.column), cell.height) for cell in row)

    def _body_height(self, at: int) -> float:
        """Height of a row's pictures with their captions, and of the row's name in three lines."""
        row = self.rows[at]
        body = max(max(cell.height, self._captioned_height(cell)) for cell in row)
        name = (self.names[at] if self.names else None) or ""
        line = self.look.typeface.clean(name)
        longest = max(self.look.typeface.width(word, BODY) for word in line.split() or [""])
        longest = max(longest, _NAME_SHARE * self.look.typeface.width(line, BODY))
        return max(body, min(longest, _LONGEST_WORD))

    def _captioned_height(self, cell: Cell) -> float:
        lines = len(self._caption(cell))
        return cell.picture_height(self.column) + (0.02 + self._caption_line * lines if lines else 0.0)

    def _row_height(self, at: int) -> float:
        return self._strip(at) + self._body_height(at)

    def _caption(self, cell: Cell) -> list[str]:
        return self.look.typeface.wrap(cell.caption, self.column, self.caption_size)

    @property
    def _caption_line(self) -> float:
        return self.caption_size / 72 * 1.3

    def _draw_row(self, page: Page, y: float, at: int) -> None:
        row = self.rows[at]
        top, height = y + self._strip(at), self._picture_height(row)
        like: Pieces | None = None
        for number, cell in enumerate(row):
            x = self.left + number * (self.column + _COLUMN_GAP)
            self._draw_title(page, x, y, at, number)
            if cell.paint is None:
                marks = Marks(page.blank(x, top, self.column, self._body_height(at)), self.look)
                if cell.mark is not None:
                    marks.add(cell.mark)
            else:
                pieces = self._pieces(page, x, top, cell, like)
                cell.paint(pieces)
                pieces.frame()
                like = pieces
            for line, text in enumerate(self._caption(cell)):
                under = cell.picture_height(self.column) or height
                baseline = top + under + 0.02 + self._caption_line * (line + 1) - 0.03
                page.text(x, baseline, text, size=self.caption_size, colour=self.look.quiet)
        lines, body = self.name_lines[at], self._body_height(at)
        fits = all(self.look.typeface.width(line, BODY) <= height for line in lines)
        middle = top + (height if fits else body) / 2
        for line, text in enumerate(lines):
            x = self.left - _NAME_STRIP / 2 - 0.03 - _NAME_LINE * (len(lines) - 1 - line)
            page.upright(x, middle, text, room=body)

    def _draw_title(self, page: Page, x: float, y: float, at: int, number: int) -> None:
        place = at * len(self.rows[at]) + number
        if self.letters:
            letter = _letter(place, capital=self.letters == "A")
            page.text(x, y + 0.12, letter, size=HEADING, face="bold")
        titles, size = self.titles[at]
        for line, text in enumerate(titles[number]):
            page.text(
                x + self._letter_room(place), y + 0.12 + _TITLE_LINE * size / BODY * line, text, size=size
            )

    def _pieces(self, page: Page, x: float, y: float, cell: Cell, like: Pieces | None) -> Pieces:
        left, top, right, bottom = cell.shown
        height = cell.picture_height(self.column)
        axes = page.panel(x, y, self.column, height, (left, right, bottom, top))
        shape = (page.samples(height), page.samples(self.column))
        pieces = Pieces(axes, cell.content, shape, page.samples(HATCH_PERIOD), cell.window)
        if like is not None and like.content.radiograph is cell.content.radiograph and like.shape == shape:
            pieces.background = like.background
        return pieces


def _letter(number: int, *, capital: bool) -> str:
    """A to z, then aa to az and so on.

    >>> _letter(0, capital=False), _letter(27, capital=True)
    ('a', 'AB')
    """
    letters = ascii_uppercase if capital else ascii_lowercase
    turn, at = divmod(number, len(letters))
    return (letters[turn - 1] if turn else "") + letters[at]
