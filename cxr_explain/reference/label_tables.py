"""Reference labels and boxes from the tables that people have: NIH ChestX-ray14's, or a plain CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path

from cxr_explain.errors import ReferenceLabelError
from cxr_explain.pathologies import (
    NIH_PATHOLOGIES,
    LabelState,
    ReferenceBox,
    ReferenceLabels,
    canonical_pathology,
)

NIH_PIXELS = 1024
"""NIH's boxes are in the 1024 x 1024 PNGs."""

_IMAGE_COLUMNS = ("Image Index", "image", "id", "path")
_LABEL_COLUMNS = ("Finding Labels", "labels")
_NO_FINDING = "No Finding"


@dataclass(frozen=True)
class ReferenceTable:
    """Reference labels by image file name.

    >>> table = ReferenceTable({"a.png": ReferenceLabels.from_text("Mass")})
    >>> str(table.labels_for("images/a.png", (512, 512))["Mass"])
    'positive'
    """

    labels: Mapping[str, ReferenceLabels] = field(default_factory=dict)
    boxes: Mapping[str, tuple[ReferenceBox, ...]] = field(default_factory=dict)

    @cached_property
    def _labels_by_stem(self) -> dict[str, ReferenceLabels]:
        return {Path(name).stem: labels for name, labels in self.labels.items()}

    @cached_property
    def _boxes_by_stem(self) -> dict[str, tuple[ReferenceBox, ...]]:
        return {Path(name).stem: boxes for name, boxes in self.boxes.items()}

    def has_boxes(self, path: str | PathLike[str]) -> bool:
        """Whether an image has a reference box, by its name as `labels_for` looks it up."""
        return Path(path).name in self.boxes or Path(path).stem in self._boxes_by_stem

    def labels_for(self, path: str | PathLike[str], shape: tuple[int, int]) -> ReferenceLabels | None:
        """Labels of one image, NIH's boxes scaled from 1024 x 1024 to its pixels; None if not listed.

        Args:
            path: of the image; looked up by its name, then without its extension, so that a copy in another
                format is found as well.
            shape: (H, W) of the radiograph.

        Raises:
            ReferenceLabelError: boxes for an image that is not square, so that they cannot be scaled.
        """
        name = Path(path).name
        labels = self.labels.get(name) or self._labels_by_stem.get(Path(path).stem)
        boxes = self.boxes.get(name) or self._boxes_by_stem.get(Path(path).stem) or ()
        if not boxes:
            return labels
        height, width = shape
        if height != width:
            raise ReferenceLabelError(
                f"NIH boxes for an image of {width} x {height} pixels",
                expected=f"a square copy of the {NIH_PIXELS} x {NIH_PIXELS} original",
                source=name,
            )
        base = labels or ReferenceLabels(
            {box.pathology: LabelState.POSITIVE for box in boxes}, source="reference boxes"
        )
        return replace(base, boxes=tuple(_scaled(box, width / NIH_PIXELS) for box in boxes))


def read_reference_table(
    labels: str | PathLike[str] | None = None, boxes: str | PathLike[str] | None = None
) -> ReferenceTable:
    """Read a label table and a box table.

    Args:
        labels: a CSV with `Image Index` and `Finding Labels` (NIH's Data_Entry_2017 in any of its variants;
            labels that are not listed are negative), or with `image` and `labels` (what is not named is
            not labelled; `Mass=negative` and `Mass=uncertain` are understood).
        boxes: NIH's BBox_List_2017.csv.

    Raises:
        ReferenceLabelError: a table that cannot be read; every bad row is listed with its line number.
    """
    return ReferenceTable(
        {} if labels is None else _read_labels(Path(labels)),
        {} if boxes is None else _read_boxes(Path(boxes)),
    )


def _read_labels(path: Path) -> dict[str, ReferenceLabels]:
    rows = _rows(path)
    header = next(rows, (0, []))[1]
    image = _column(header, _IMAGE_COLUMNS, path)
    finding = _column(header, _LABEL_COLUMNS, path)
    is_nih = header[finding] == _LABEL_COLUMNS[0]
    table: dict[str, ReferenceLabels] = {}
    problems: list[str] = []
    for line, row in rows:
        try:
            name = row[image].strip()
            labels = (
                ReferenceLabels(nih_states(row[finding]), source=f"{path.name}, in NIH ChestX-ray14's layout")
                if is_nih
                else ReferenceLabels.from_text(row[finding], source=path.name)
            )
        except IndexError:
            problems.append(f"line {line}: {len(row)} columns")
            continue
        except ReferenceLabelError as error:
            problems.append(f"line {line}: {error.found}")
            continue
        if table.get(name, labels) != labels:
            problems.append(f"line {line}: {name!r} a second time, with other labels")
        table[name] = labels
    _raise_all(problems, path)
    return table


def nih_states(text: str) -> dict[str, LabelState]:
    """States of NIH's 14 labels from a cell of `Finding Labels`.

    NIH names what it found among its labels, or "No Finding": the others are negative.

    Raises:
        ReferenceLabelError: an empty cell, or a name that is none of the 14.

    >>> states = nih_states("Effusion|Pleural_Thickening")
    >>> len(states), str(states["Effusion"]), str(states["Mass"])
    (14, 'positive', 'negative')
    """
    if not text.strip():
        raise ReferenceLabelError("no label at all")
    states = dict.fromkeys(NIH_PATHOLOGIES, LabelState.NEGATIVE)
    for name in filter(None, (piece.strip() for piece in text.split("|"))):
        if name == _NO_FINDING:
            continue
        pathology = canonical_pathology(name)
        if pathology not in NIH_PATHOLOGIES:
            raise ReferenceLabelError(f"{name!r}, which is none of NIH's 14 labels")
        states[pathology] = LabelState.POSITIVE
    return states


def nih_box(pathology: str, cells: Sequence[str]) -> ReferenceBox:
    """A box from the cells x, y, width and height of NIH's BBox_List_2017.csv, in its 1024 x 1024 pixels.

    Raises:
        ReferenceLabelError: something else than four numbers of a box in the image.

    >>> nih_box("Infiltrate", ["10.5", "20", "30", "40"])
    ReferenceBox(pathology='Infiltration', x=10.5, y=20.0, width=30.0, height=40.0)
    """
    try:
        x, y, width, height = (float(value) for value in cells)
        if not (0 <= x < x + width <= NIH_PIXELS + 1 and 0 <= y < y + height <= NIH_PIXELS + 1):
            raise ValueError
    except ValueError:
        raise ReferenceLabelError(f"the box {list(cells)}") from None
    return ReferenceBox(canonical_pathology(pathology), x, y, width, height)


def _read_boxes(path: Path) -> dict[str, tuple[ReferenceBox, ...]]:
    rows = _rows(path)
    header = next(rows, (0, []))[1]
    if len(header) < 6 or header[:2] != ["Image Index", "Finding Label"]:
        raise ReferenceLabelError(
            f"the columns {header[:6]}",
            expected="NIH's 'Image Index, Finding Label, Bbox [x, y, w, h]'",
            source=path,
        )
    table: dict[str, tuple[ReferenceBox, ...]] = {}
    problems: list[str] = []
    for line, row in rows:
        try:
            box = nih_box(row[1], row[2:6])
        except ReferenceLabelError as error:
            problems.append(f"line {line}: {error.found}")
            continue
        table[row[0]] = (*table.get(row[0], ()), box)
    _raise_all(problems, path)
    return table


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
    except OSError as error:
        raise ReferenceLabelError(
            f"no readable file ({error.strerror})", expected="a CSV file", source=path
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReferenceLabelError(
            f"something else than CSV text ({error})", expected="a CSV file in UTF-8", source=path
        ) from error


def _column(header: list[str], names: tuple[str, ...], path: Path) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise ReferenceLabelError(
        f"the columns {[cell[:40] for cell in header[:12]]}",
        expected=f"a column {' or '.join(map(repr, names))}",
        source=path,
    )


def _raise_all(problems: list[str], path: Path) -> None:
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ReferenceLabelError("; ".join(problems[:5]) + more, source=path)


def _scaled(box: ReferenceBox, factor: float) -> ReferenceBox:
    return ReferenceBox(
        box.pathology, box.x * factor, box.y * factor, box.width * factor, box.height * factor
    )
