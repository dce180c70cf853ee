"""What is known of an image file, found by the file's name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from os import PathLike
from pathlib import Path

from cxr_explain.errors import ManifestError, ReferenceLabelError, naming
from cxr_explain.loaders.formats import ENDINGS
from cxr_explain.pathologies import ReferenceLabels, known_pathology
from cxr_explain.reference.csv_file import is_manifest, manifest_in
from cxr_explain.reference.data_sets.nih import LABELS, manifest_of_nih_boxes, nih_manifest
from cxr_explain.reference.data_sets.plain import by_name, has_labels
from cxr_explain.reference.entry import Entry
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.masks import MaskReference, outline_kind, outlined_in
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.table import reading
from cxr_explain.support.arrays import Mask

_CHEXPERT = re.compile(r"(?:^|/)(patient\d+)/(study\d+)/(view\d+_\w+)\.\w+$", re.ASCII)


@dataclass(frozen=True)
class ReferenceStandard:
    """The reference labels, boxes and masks of image files.

    A file is looked up by its name; then without the extension, so that a copy in another format is found as
    well; then, since CheXpert's images share a few names, by the folders of patient and study before it.
    Where several rows have the same name, the folders before it decide.

    Args:
        manifest: what is known, a row for each image.
        folder: the folder that the masks' paths are relative to.
        source: what was read, for messages, such as "the table labels.csv".
        parts: what this was put together from, where it has several sources.

    >>> from cxr_explain.pathologies import ReferenceBox
    >>> box = ReferenceBox("Mass", 256, 512, 128, 64)
    >>> manifest = Manifest(["a"], ["a.png"], boxes={0: (box,)}, box_spaces={0: (1024, 1024)})
    >>> standard = ReferenceStandard(manifest)
    >>> standard.labels_for("copies/a.dcm", (512, 512)).boxes
    (ReferenceBox(pathology='Mass', x=128.0, y=256.0, width=64.0, height=32.0),)
    >>> standard.masks("copies/a.dcm", (512, 512))["Mass"].sum()
    np.int64(2048)
    """

    manifest: Manifest
    folder: Path = field(default_factory=Path)
    source: str = "the manifest"
    parts: tuple[ReferenceStandard, ...] = ()

    @cached_property
    def kind(self) -> str:
        """What shows where the findings are: boxes, masks, or outlines (CheXlocalize's files)."""
        kinds = {mask.kind for masks in self.manifest.masks.values() for mask in masks.values()}
        return "boxes" if not kinds else "masks" if kinds == {"png"} else "outlines"

    def entry(self, path: str | PathLike[str]) -> Entry | None:
        """What is known of an image file; None where it is not listed.

        Raises:
            ReferenceLabelError: several images of this name.
        """
        row = self.row(path)
        return None if row is None else self.manifest[row]

    def row(self, path: str | PathLike[str]) -> int | None:
        """The row of an image file in the manifest; None where it is not listed.

        Raises:
            ReferenceLabelError: several images of this name.
        """
        rows = self.rows(path)
        if len(rows) > 1:
            lines = " and ".join(str(self.manifest.lines[row]) for row in rows[:2])
            raise ReferenceLabelError(
                f"{len(rows)} images of this name, such as those in lines {lines}",
                expected="a name for each image",
                source=path,
            )
        return rows[0] if rows else None

    def covers(self, path: str | PathLike[str]) -> bool:
        """Whether a finding is outlined in an image file; the file is not read."""
        return any(row in self.manifest.boxes or row in self.manifest.masks for row in self.rows(path))

    def rows(self, path: str | PathLike[str]) -> Sequence[int]:
        """The rows that an image file's name may stand for; several where only their folders differ.

        Args:
            path: the image file; its folders decide between rows of the same name.
        """
        file = Path(path).as_posix()
        names = (*_names(file), _chexpert_name(file), *map(_in_any_case, _names(file)))
        rows = next((self._rows[name] for name in names if name in self._rows), ())
        if len(rows) < 2:
            return rows
        alike = [_shared_parts(file, self.manifest.paths[row]) for row in rows]
        return [row for row, shared in zip(rows, alike, strict=True) if shared == max(alike)]

    def labels_for(self, path: str | PathLike[str], shape: tuple[int, int]) -> ReferenceLabels | None:
        """The labels of an image file, with the boxes in its pixels; None where the file is not listed.

        Args:
            path: the image file.
            shape: the radiograph's height and width (H, W) in pixels.

        Raises:
            ReferenceLabelError: boxes that do not fit the radiograph, or several images of this name.
        """
        entry = self.entry(path)
        return None if entry is None else entry.labels_in(shape)

    def masks(self, path: str | PathLike[str], shape: tuple[int, int]) -> dict[str, Mask]:
        """Where the findings of an image file are; no mask where the file is not listed.

        Args:
            path: the image file.
            shape: the radiograph's height and width (H, W) in pixels.

        Returns:
            (H, W) bool by pathology.

        Raises:
            ReferenceLabelError: boxes or masks that do not fit the radiograph, or several images of this
                name.
            CxrExplainError: a file that holds no mask.
        """
        entry = self.entry(path)
        return {} if entry is None else entry.masks_in(shape, self.folder)

    @cached_property
    def _rows(self) -> Mapping[str | None, Sequence[int]]:
        """Rows by every name that a file may be found under."""
        rows = defaultdict[str | None, list[int]](list)
        for row, path in enumerate(self.manifest.paths):
            chexpert = _chexpert_name(path)  # the file's own name would say nothing of the patient
            names = _names(path)
            for name in {*names, *map(_in_any_case, names)} if chexpert is None else {chexpert}:
                rows[name].append(row)
        return dict(rows)


def read_references(
    *,
    labels: str | PathLike[str] | None = None,
    boxes: str | PathLike[str] | None = None,
    masks: str | PathLike[str] | None = None,
    segmentations: str | PathLike[str] | None = None,
    pathologies: Sequence[str] = (),
) -> ReferenceStandard:
    r"""Read what is known of image files.

    Args:
        labels: a CSV with `Image Index` and `Finding Labels` (NIH's Data_Entry_2017 in any variant;
            labels that are not listed are negative), a plain CSV as `make_manifest("csv", ...)` takes it
            (`image` and `labels`, such as `Mass|Edema=uncertain`), or a manifest.
        boxes: NIH's BBox_List_2017.csv; may be given beside `labels`.
        masks: a folder of masks, `IMAGE-pathology.png` each, as `cxr-explain phantom` writes them.
        segmentations: either of CheXlocalize's two kinds of JSON.
        pathologies: names of pathologies that are known besides this package's, such as those of a model.

    Raises:
        ManifestError: a table that cannot be read; the first 20 bad rows are listed by line. An unknown
            pathology is named with the nearest known one.
        ReferenceLabelError: no mask in the folder, or no file of CheXlocalize's.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     table = Path(folder, "mine.csv")
    ...     _ = table.write_text("image,labels\na.png,Effusion|Mass=negative\n")
    ...     references = read_references(labels=table)
    >>> str(references.labels_for("images/a.dcm", (512, 512))["Effusion"])
    'positive'
    """
    if masks is not None:
        return _mask_folder(Path(masks), pathologies)
    if segmentations is not None:
        return _outlined(Path(segmentations))
    parts = []
    if labels is not None:
        source = f"the table {Path(labels).name}"
        parts.append(ReferenceStandard(_labelled(Path(labels), pathologies), source=source))
    if boxes is not None:
        source = f"the table {Path(boxes).name}"
        parts.append(ReferenceStandard(manifest_of_nih_boxes(Path(boxes)), source=source))
    if len(parts) == 2:
        return _with_boxes(*parts)
    return parts[0] if parts else ReferenceStandard(Manifest((), ()))


def _labelled(path: Path, further: Sequence[str]) -> Manifest:
    with reading(path) as table:
        if LABELS in table.columns:
            return nih_manifest(table, f"{table.source}, in NIH ChestX-ray14's layout")
        if is_manifest(table):
            return _checked(manifest_in(table), further)
        if not has_labels(table, further):
            raise ManifestError(
                f"no labels in the columns {table.shown_header}",
                expected="NIH's 'Image Index' and 'Finding Labels', or 'image' and 'labels'",
            )
        return by_name(table, further)


def _checked(manifest: Manifest, further: Sequence[str]) -> Manifest:
    """A manifest whose label columns, boxes and masks name known pathologies."""
    boxed = (box.pathology for boxes in manifest.boxes.values() for box in boxes)
    masked = (name for masks in manifest.masks.values() for name in masks)
    try:
        for name in dict.fromkeys((*manifest.pathologies, *boxed, *masked)):
            known_pathology(name, further)
    except ReferenceLabelError as error:
        raise ManifestError(error.found) from None
    return manifest


def _with_boxes(known: ReferenceStandard, boxed: ReferenceStandard) -> ReferenceStandard:
    """Boxes go to the images of their names; what is not known yet follows."""
    given = boxed.manifest
    rows = {at: row for at, path in enumerate(given.paths) if (row := known.row(path)) is not None}
    boxes = {row: given.boxes[at] for at, row in rows.items()}
    spaces = {row: given.box_spaces[at] for at, row in rows.items()}
    manifest = replace(
        known.manifest,
        boxes={**known.manifest.boxes, **boxes},
        box_spaces={**known.manifest.box_spaces, **spaces},
    )
    further = [at for at in range(len(given)) if at not in rows]
    whole = manifest.followed_by(given.select(further)) if further else manifest
    return ReferenceStandard(whole, parts=(known, boxed))


def _mask_folder(folder: Path, further: Sequence[str]) -> ReferenceStandard:
    """What is not zero in a file is the finding."""
    found = defaultdict[str, dict[str, MaskReference]](dict)
    others: list[str] = []
    for path in sorted(folder.glob("*.*")):
        image, _, name = path.stem.rpartition("-")
        if path.suffix.lower() not in ENDINGS:
            continue  # a README, a table
        try:
            pathology = _masked_in(path, name, further)
        except ReferenceLabelError as error:
            others.append(f"{quoted(path.name)} ({error.found})")
            continue
        if pathology in found[image]:
            raise ReferenceLabelError(f"two masks of {pathology!r} for {quoted(image)}", source=folder)
        found[image][pathology] = MaskReference("png", path.name)
    if not found:
        raise ReferenceLabelError(
            f"no mask{f', but {others[0]}' if others else ''}",
            expected="files named IMAGE-pathology.png, such as a-mass.png",
            source=folder,
        )
    notes = [f"{len(others)} files that are named after no pathology left out: {others[0]}"] if others else []
    return _masked(found, folder, folder, notes=notes)


def _masked_in(path: Path, name: str, further: Sequence[str]) -> str:
    """The pathology of a mask's file.

    Raises:
        ReferenceLabelError: no PNG, or no known pathology.
    """
    if path.suffix.lower() != ".png":
        raise ReferenceLabelError(f"no PNG, but {path.suffix}")
    return known_pathology(name, further)


def _outlined(path: Path) -> ReferenceStandard:
    file = path.resolve()  # so that a link may be given
    return _masked(outlined_in(file, outline_kind(file), file.parent), file.parent, path)


def _masked(
    found: Mapping[str, Mapping[str, MaskReference]], folder: Path, source: Path, notes: Sequence[str] = ()
) -> ReferenceStandard:
    """Images of which nothing is known but their masks and their names without the extension."""
    with naming(source):
        paths = [f"{image}.png" for image in found]
        manifest = Manifest(found, paths, masks=dict(enumerate(found.values())), notes=notes)
    kind = "folder" if source.is_dir() else "file"
    return ReferenceStandard(manifest, folder, f"the {kind} {source.name or source}")


def _names(path: str) -> tuple[str, str]:
    """The name of a file, with its extension and without.

    Only an image's extension counts: the last number of a UID, by which DICOM files are called, is none.
    """
    name = path.rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    return name, stem if stem and dot + ending.lower() in ENDINGS else name


def _in_any_case(name: str) -> str:
    """A name where capitals do not count, as on Windows; marked, so that it is none of the others."""
    return f"\0{name.casefold()}"


def _shared_parts(one: str, other: str) -> int:
    """How many folders two paths share, counted from the file on."""
    pairs = zip(reversed(one.split("/")[:-1]), reversed(other.split("/")[:-1]), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _chexpert_name(path: str) -> str | None:
    """patient1/study1/view1_frontal.jpg has the id patient1_study1_view1_frontal."""
    found = _CHEXPERT.search(path)
    return found and "_".join(found.groups())
