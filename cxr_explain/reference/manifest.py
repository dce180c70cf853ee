"""The images of a data set with what is known of each, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from cxr_explain.display import html_of
from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels, canonical_pathology
from cxr_explain.reference.columns import FIRST, FULL, SPARSE, Columns, Space
from cxr_explain.reference.entry import Entry, Sex
from cxr_explain.reference.masks import MaskReference
from cxr_explain.reference.problems import Problems
from cxr_explain.reference.states import NOT_LABELLED, States, named_states
from cxr_explain.reference.validation import check_content

T = TypeVar("T")
_SOURCES_SHOWN = 3
_NO_SOURCE = "source not stated"


class Manifest(Columns):
    """Images, reference labels and metadata; a row is an `Entry`, `manifest[0]`.

    A column that is left out is unknown in every row, and so is what is empty text.

    Args:
        ids: unique names of the images.
        paths: paths of the image files, POSIX, relative to the image folder.
        pathologies: names of the P label columns, under any name of the pathology.
        states: (n, P) of `STATE_CODES`.
        patients: names of the groups that the bootstrap keeps together.
        views: view of each image, such as PA, AP, LL or lateral.
        sexes: patient's sex in each image, F or M.
        ages: patient's age in each image, in years.
        splits: split of each image, such as train, valid or test.
        label_sources: where the labels come from: one text for each row, or one for all.
        boxes: reference boxes by row, in the pixels of `box_spaces`.
        box_spaces: (width, height) in pixels of the image that the boxes were drawn on, by row; a row that is
            not named has its boxes in its own image's pixels.
        masks: where the reference masks are, by row, then by any of the pathology's names.
        extra: further columns of text, by name.
        lines: the line of the file that each row stands in, from 1; by default as in a CSV with a header.
        notes: what was left out of the data set's tables, for people to read; not written to a CSV.
        problems: what was found wrong while the columns were read, so that all is said at once.

    Raises:
        ManifestError: every row that breaks a rule, with its line.

    >>> manifest = Manifest(["a"], ["a.png"], pathologies=["Pleural Effusion"], states=[[-1]])
    >>> len(manifest), manifest.pathologies, str(manifest[0].labels["Effusion"])
    (1, ('Effusion',), 'uncertain')
    """

    def __init__(
        self,
        ids: Iterable[str],
        paths: Iterable[str],
        *,
        pathologies: Sequence[str] = (),
        states: ArrayLike | None = None,
        patients: Iterable[str | None] | None = None,
        views: Iterable[str | None] | None = None,
        sexes: Iterable[Sex | None] | None = None,
        ages: Iterable[float | None] | None = None,
        splits: Iterable[str | None] | None = None,
        label_sources: Iterable[str] | str = "",
        boxes: Mapping[int, tuple[ReferenceBox, ...]] | None = None,
        box_spaces: Mapping[int, Space] | None = None,
        masks: Mapping[int, Mapping[str, MaskReference]] | None = None,
        extra: Mapping[str, Iterable[str]] | None = None,
        lines: Iterable[int] | None = None,
        notes: Iterable[str] = (),
        problems: Problems | None = None,
    ) -> None:
        ids = tuple(ids)
        n = len(ids)
        super().__init__(
            ids=ids,
            paths=tuple(paths),
            pathologies=tuple(canonical_pathology(name) for name in pathologies),
            states=np.zeros((n, 0), np.int8) if states is None else np.array(states, np.int8),
            patients=_known(patients, n),
            views=_known(views, n),
            sexes=_known(sexes, n),
            ages=(None,) * n if ages is None else tuple(ages),
            splits=_known(splits, n),
            label_sources=(label_sources,) * n if isinstance(label_sources, str) else tuple(label_sources),
            boxes={row: tuple(found) for row, found in (boxes or {}).items() if found},
            box_spaces=dict(box_spaces or {}),
            masks={row: _canonical(found) for row, found in (masks or {}).items() if found},
            extra={name: tuple(column) for name, column in (extra or {}).items()},
            lines=tuple(range(2, n + 2)) if lines is None else tuple(lines),
            notes=tuple(notes),
        )
        self.states.setflags(write=False)
        problems = Problems() if problems is None else problems
        check_content(self, problems)
        problems.raise_any()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Entry]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> Entry:
        row = range(len(self))[row]
        states = named_states(self.states[row].tolist(), self.pathologies)
        source = self.label_sources[row] or _NO_SOURCE
        return Entry(
            **{name: getattr(self, column)[row] for name, column in FIRST.items()},
            labels=ReferenceLabels(states, source=source),
            boxes=self.boxes.get(row, ()),
            box_space=self.box_spaces.get(row),
            masks=self.masks.get(row, {}),
            extra={name: column[row] for name, column in self.extra.items()},
            line=self.lines[row],
        )

    def __eq__(self, other: object) -> bool:
        """Whether both manifests say the same; the lines that their rows had in a file do not count."""
        if not isinstance(other, Manifest):
            return NotImplemented
        return np.array_equal(self.states, other.states) and self._columns == other._columns

    def __hash__(self) -> int:
        return hash((self.ids, self.paths))

    def __repr__(self) -> str:
        return f"<Manifest of {len(self)} images, {len(self.pathologies)} pathologies: {self.source}>"

    def _repr_html_(self) -> str:
        return html_of(self)

    @property
    def source(self) -> str:
        """Where the labels come from, in a few words."""
        distinct = list(dict.fromkeys(filter(None, self.label_sources)))
        more = f" and {len(distinct) - _SOURCES_SHOWN} more" if len(distinct) > _SOURCES_SHOWN else ""
        return ("; ".join(distinct[:_SOURCES_SHOWN]) or _NO_SOURCE) + more

    @property
    def rows_with_boxes(self) -> tuple[int, ...]:
        """Numbers of the rows that have a reference box, in order."""
        return tuple(sorted(self.boxes))

    def select(self, rows: Iterable[int]) -> Manifest:
        """The manifest of some rows.

        Args:
            rows: their numbers from 0, in the order that they are to have.

        Raises:
            ManifestError: a row twice.
            IndexError: a row that is not there.

        >>> Manifest("abc", ["a.png", "b.png", "c.png"]).select([2, 0]).ids
        ('c', 'a')
        """
        kept = [range(len(self))[row] for row in rows]

        full: dict[str, Any] = {name: [getattr(self, name)[row] for row in kept] for name in FULL}
        sparse: dict[str, Any] = {
            name: {at: by_row[row] for at, row in enumerate(kept) if row in by_row}
            for name, by_row in ((name, getattr(self, name)) for name in SPARSE)
        }
        return Manifest(
            pathologies=self.pathologies,
            states=self.states[kept],
            extra={name: [column[row] for row in kept] for name, column in self.extra.items()},
            notes=self.notes,
            **full,
            **sparse,
        )

    def in_split(self, split: str | None) -> Manifest:
        """The rows of one split; all rows where no split is named.

        Raises:
            ManifestError: no row of that split.
        """
        if split is None:
            return self
        rows = [row for row, each in enumerate(self.splits) if each == split]
        if not rows:
            there = ", ".join(dict.fromkeys(filter(None, self.splits))) or "none"
            raise ManifestError(
                f"0 of {len(self)} images in the split {split!r}",
                expected=f"a split that images are in: {there}",
            )
        return self.select(rows)

    def followed_by(self, *others: Manifest) -> Manifest:
        """This manifest's rows, then those of other manifests.

        A pathology that one of the manifests has no column for is not labelled there.

        Raises:
            ManifestError: an image_id in two of them.

        >>> first = Manifest(["a"], ["a.png"], pathologies=["Mass"], states=[[1]])
        >>> first.followed_by(Manifest(["b"], ["b.png"])).states.tolist()
        [[1], [-3]]
        """
        if not others:
            return self
        parts = (self, *others)
        starts = np.cumsum([0, *map(len, parts)]).tolist()
        pathologies = list(dict.fromkeys(name for part in parts for name in part.pathologies))
        names = list(dict.fromkeys(name for part in parts for name in part.extra))

        extra = {
            name: [cell for part in parts for cell in part.extra.get(name, ("",) * len(part))]
            for name in names
        }
        full: dict[str, Any] = {
            name: [cell for part in parts for cell in getattr(part, name)] for name in FULL
        }
        sparse: dict[str, Any] = {
            name: {
                start + row: found
                for start, part in zip(starts, parts, strict=False)
                for row, found in getattr(part, name).items()
            }
            for name in SPARSE
        }
        states = np.concatenate([part.states_of(pathologies) for part in parts])
        notes = dict.fromkeys(note for part in parts for note in part.notes)
        return Manifest(pathologies=pathologies, states=states, extra=extra, notes=notes, **full, **sparse)

    def states_of(self, pathologies: Sequence[str]) -> States:
        """Label states of some pathologies, in that order.

        Args:
            pathologies: the pathologies, under any name that they have.

        Returns:
            (n, P) int8 of `STATE_CODES`; a pathology without a column is not labelled.
        """
        names = [canonical_pathology(name) for name in pathologies]
        found = np.full((len(self), len(names)), NOT_LABELLED, np.int8)
        for at, name in enumerate(names):
            if name in self.pathologies:
                found[:, at] = self.states[:, self.pathologies.index(name)]
        return found

    def with_masks(self, masks: Mapping[str, Mapping[str, MaskReference]]) -> Manifest:
        """This manifest with other masks.

        Args:
            masks: where the masks are, by image_id, then by pathology; images that the manifest does not
                have are left out.
        """
        by_row = {row: masks[name] for row, name in enumerate(self.ids) if masks.get(name)}
        return replace(self, masks=by_row)

    @property
    def _columns(self) -> tuple[object, ...]:
        return (*(getattr(self, name) for name in (*FULL, *SPARSE)), self.pathologies, self.extra)


def _known(column: Iterable[T | None] | None, n: int) -> tuple[T | None, ...]:
    """A column; what is empty is not known."""
    return (None,) * n if column is None else tuple(cell or None for cell in column)


def _canonical(masks: Mapping[str, MaskReference]) -> dict[str, MaskReference]:
    found = {canonical_pathology(name): mask for name, mask in masks.items()}
    if len(found) < len(masks):
        raise ManifestError("masks of one pathology under two names", expected="one mask for each pathology")
    return found
