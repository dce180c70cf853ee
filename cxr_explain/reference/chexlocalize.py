"""Read and write CheXlocalize's files.

Two kinds of JSON files hold outlines of ten pathologies, in the radiograph's own pixels:

- annotations, `{id: {"img_size": [h, w], pathology: [[[x, y], ...], ...]}}`: polygons; what is not named is
  not there;
- segmentations, `{id: {pathology: {"size": [h, w], "counts": text}}}`: COCO's run lengths, all ten
  pathologies of each id, empty masks included. Predictions are written in this form as well.

Files are read as if an enemy had written them. Masks are drawn one at a time, when they are asked for: those
of the whole validation set would not fit into memory.

The data may not be passed on: personal, non-commercial use only. No file of theirs is part of this package.

Source:
    Saporta et al., Benchmarking saliency methods for chest X-ray interpretation, Nature Machine Intelligence
    4 (2022) 867; https://github.com/rajpurkarlab/cheXlocalize.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import ArrayLike

from cxr_explain.errors import OptionError, ReferenceLabelError, naming
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.reference.outlines import Outline, Point, Polygons, RunLengths, checked_point, checked_shape
from cxr_explain.reference.problems import quoted
from cxr_explain.support.arrays import Mask, Shape
from cxr_explain.support.bounded import open_regular, parse_json
from cxr_explain.support.whole_file import write_output

CHEXLOCALIZE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        canonical_pathology(name): name
        for name in (
            "Enlarged Cardiomediastinum",
            "Cardiomegaly",
            "Lung Lesion",
            "Airspace Opacity",
            "Edema",
            "Consolidation",
            "Atelectasis",
            "Pneumothorax",
            "Pleural Effusion",
            "Support Devices",
        )
    }
)
"""The ten pathologies that are outlined: this package's name, and the one in CheXlocalize's files."""

MostRepresentativePoints = Mapping[str, Mapping[str, tuple[Point, ...]]]
"""Points (x, y) by the radiograph's id, then by pathology (this package's names)."""

_SIZE = "img_size"
_LARGEST_FILE = 128 * 2**20  # bytes; CheXlocalize's own files are far below
_SPLIT = "Split the file: each radiograph is an entry by itself."
_MOST_VALUES = 5_000_000  # lists and what is in them, some hundred bytes each once they are read
_OF_AN_OBJECT = 10  # values that an object counts for: a radiograph, or an outline


@dataclass(frozen=True)
class OutlineSet:
    """Outlines of the ten pathologies in some radiographs.

    Args:
        outlines: outline by the radiograph's id, then by pathology (this package's names); all ten for each.
        source: where the outlines come from, for messages.

    >>> masks = OutlineSet.of_masks({"patient1_study1_view1_frontal": {"Pleural Effusion": [[True, False]]}})
    >>> masks.ids, masks.mask("patient1_study1_view1_frontal", "Effusion").tolist()
    (('patient1_study1_view1_frontal',), [[True, False]])
    >>> masks.mask("patient1_study1_view1_frontal", "Edema").any()
    np.False_
    """

    outlines: Mapping[str, Mapping[str, Outline]]
    source: str = "given by the caller"

    @classmethod
    def of_masks(
        cls, masks: Mapping[str, Mapping[str, ArrayLike]], *, source: str = "given by the caller"
    ) -> OutlineSet:
        """Make outlines of masks, for example of a model's predictions.

        Args:
            masks: (H, W) bool by the radiograph's id, then by pathology; at least one for each id, and
                pathologies that are not named get an empty mask.
            source: where the masks come from, for messages.

        Raises:
            ReferenceLabelError: no mask, masks of several sizes in one radiograph, or a pathology that
                CheXlocalize does not outline.
            OptionError: an array that is no mask.
            MissingExtraError: pycocotools is not installed.
        """
        outlines = {
            image_id: {name: RunLengths.of(mask) for name, mask in named.items()}
            for image_id, named in masks.items()
        }
        return cls.of_some(outlines, source=source)

    @classmethod
    def of_some(
        cls, outlines: Mapping[str, Mapping[str, Outline]], *, source: str = "given by the caller"
    ) -> OutlineSet:
        """The same with an empty outline for each pathology that is not named.

        Args:
            outlines: outline by the radiograph's id, then by pathology; at least one for each id.
            source: where they come from, for messages.

        Raises:
            ReferenceLabelError: no outline, outlines of several sizes in one radiograph, or a pathology that
                CheXlocalize does not outline.

        >>> some = OutlineSet.of_some({"patient1_study1_view1_frontal": {"Edema": RunLengths((1, 2), "11")}})
        >>> some.mask("patient1_study1_view1_frontal", "Effusion").tolist()
        [[False, False]]
        """
        return cls({image_id: _completed(image_id, named) for image_id, named in outlines.items()}, source)

    @property
    def ids(self) -> tuple[str, ...]:
        """The radiographs' ids, sorted."""
        return tuple(sorted(self.outlines))

    def outline(self, image_id: str, pathology: str) -> Outline:
        """The outline of a pathology in a radiograph; it is not drawn.

        Args:
            image_id: the radiograph's id.
            pathology: the pathology, under any name that it has.

        Raises:
            ReferenceLabelError: an unknown id or pathology.
        """
        with naming(self.source):
            if image_id not in self.outlines:
                raise ReferenceLabelError(
                    f"no radiograph {quoted(image_id)}", expected=f"one of {len(self.outlines)}"
                )
            return self.outlines[image_id][chexlocalize_pathology(pathology)]

    def mask(self, image_id: str, pathology: str) -> Mask:
        """Draw the mask of a pathology in a radiograph.

        Args:
            image_id: the radiograph's id.
            pathology: the pathology, under any name that it has.

        Returns:
            (H, W) bool; empty where the pathology is not outlined.

        Raises:
            ReferenceLabelError: an unknown id or pathology.
        """
        return self.outline(image_id, pathology).mask()

    def shape(self, image_id: str) -> Shape:
        """Size (H, W) of a radiograph in pixels.

        Args:
            image_id: the radiograph's id.

        Raises:
            ReferenceLabelError: an unknown id.
        """
        return self.outline(image_id, next(iter(CHEXLOCALIZE_NAMES))).shape


def chexlocalize_pathology(pathology: str) -> str:
    """This package's name of one of the ten pathologies that CheXlocalize outlines.

    Args:
        pathology: the pathology, under any name that it has.

    Raises:
        ReferenceLabelError: another pathology.

    >>> chexlocalize_pathology("Airspace Opacity")
    'Lung Opacity'
    """
    name = canonical_pathology(pathology)
    if name not in CHEXLOCALIZE_NAMES:
        raise ReferenceLabelError(
            f"the pathology {quoted(pathology)}",
            expected=f"one of {', '.join(CHEXLOCALIZE_NAMES.values())}",
        )
    return name


def read_annotations(path: str | PathLike[str]) -> OutlineSet:
    """Read polygons, `gt_annotations_*.json`.

    Raises:
        ReferenceLabelError: no such file, or anything in it that is not as it should be.

    >>> import json
    >>> from tempfile import TemporaryDirectory
    >>> square = {"img_size": [3, 3], "Edema": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "some.json").write_text(json.dumps({"patient1_study1_view1_frontal": square}))
    ...     outlines = read_annotations(Path(folder, "some.json"))
    >>> outlines.mask("patient1_study1_view1_frontal", "Edema").sum()
    np.int64(4)
    """
    return _read(path, _annotated)


def read_segmentations(path: str | PathLike[str]) -> OutlineSet:
    """Read run lengths, `gt_segmentations_*.json` or predictions.

    Raises:
        ReferenceLabelError: no such file, or anything in it that is not as it should be; also where an id
            lacks one of the ten pathologies.

    >>> from tempfile import TemporaryDirectory
    >>> masks = OutlineSet.of_masks({"patient1_study1_view1_frontal": {"Edema": [[True, False]]}})
    >>> with TemporaryDirectory() as folder:
    ...     read = read_segmentations(write_segmentations(Path(folder, "masks.json"), masks))
    >>> read.mask("patient1_study1_view1_frontal", "Edema").tolist()
    [[True, False]]
    """
    return _read(path, _segmented)


def read_points(path: str | PathLike[str]) -> MostRepresentativePoints:
    """Read readers' most representative points, `{id: {pathology: [[x, y], ...]}}`.

    Raises:
        ReferenceLabelError: no such file, or anything in it that is not as it should be.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "points.json")
    ...     _ = path.write_text('{"patient1_study1_view1_frontal": {"Pleural Effusion": [[12.5, 3]]}}')
    ...     read_points(path)
    {'patient1_study1_view1_frontal': {'Effusion': ((12.5, 3),)}}
    """
    source = Path(path)
    found: dict[str, dict[str, tuple[Point, ...]]] = {}
    with naming(source):
        for image_id, entry in _load(source).items():
            named = _by_pathology(_mapping(entry))
            found[image_id] = {name: _polygons([points])[0] for name, points in named.items()}
            for points in found[image_id].values():
                for point in points:
                    checked_point(point)
    return found


def write_segmentations(path: str | PathLike[str], outlines: OutlineSet) -> Path:
    """Write run lengths of all ten pathologies for every id; the file is written whole or not at all.

    Args:
        path: where to write the JSON file.
        outlines: outlines of the findings in each radiograph.

    Returns:
        The path written.

    Raises:
        OutputError: a folder that cannot be written to.
        MissingExtraError: pycocotools is not installed, and the outlines are polygons.

    >>> from tempfile import TemporaryDirectory
    >>> masks = OutlineSet.of_masks({"patient1_study1_view1_frontal": {"Edema": [[True, False]]}})
    >>> with TemporaryDirectory() as folder:
    ...     write_segmentations(Path(folder, "masks.json"), masks).name
    'masks.json'
    """
    document = {image_id: _as_segmented(outlines.outlines[image_id]) for image_id in outlines.ids}
    return write_output(path, json.dumps(document).encode(), "outlines")


def write_annotations(path: str | PathLike[str], outlines: OutlineSet) -> Path:
    """Write the polygons that are not empty; the file is written whole or not at all.

    Args:
        path: where to write the JSON file.
        outlines: outlines of the findings in each radiograph, all of them polygons.

    Returns:
        The path written.

    Raises:
        OptionError: outlines that are no polygons.
        OutputError: a folder that cannot be written to.

    >>> import json
    >>> from tempfile import TemporaryDirectory
    >>> square = {"img_size": [3, 3], "Edema": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "some.json").write_text(json.dumps({"patient1_study1_view1_frontal": square}))
    ...     outlines = read_annotations(Path(folder, "some.json"))
    ...     again = read_annotations(write_annotations(Path(folder, "again.json"), outlines))
    >>> again.outlines == outlines.outlines
    True
    """
    document = {image_id: _as_annotated(outlines.outlines[image_id]) for image_id in outlines.ids}
    return write_output(path, json.dumps(document).encode(), "outlines")


def _completed(image_id: str, outlines: Mapping[str, Outline]) -> dict[str, Outline]:
    named = {chexlocalize_pathology(name): outline for name, outline in outlines.items()}
    shapes = {outline.shape for outline in named.values()}
    if len(shapes) != 1:
        raise ReferenceLabelError(
            f"masks of {len(shapes)} sizes for {quoted(image_id)}",
            expected="one mask or more, of one size",
        )
    (shape,) = shapes
    return {name: named.get(name, Polygons(shape, ())) for name in CHEXLOCALIZE_NAMES}


def _read(
    path: str | PathLike[str], outlines_of: Callable[[Mapping[str, Any]], dict[str, Outline]]
) -> OutlineSet:
    source = fspath(path)
    found: dict[str, Mapping[str, Outline]] = {}
    for image_id, entry in _load(Path(path)).items():
        try:
            found[image_id] = outlines_of(_mapping(entry))
        except ReferenceLabelError as error:
            raise ReferenceLabelError(
                f"for {quoted(image_id)} {error.found}", expected=error.expected, source=source
            ) from error
    if not found:
        raise ReferenceLabelError("no radiograph", expected="one or more", source=source)
    return OutlineSet(found, source)


def _load(path: Path) -> Mapping[str, Any]:
    expected = "one of CheXlocalize's JSON files"
    with naming(path):
        try:
            text = _bytes_of(path)
            return _mapping(parse_json(text, most=_LARGEST_FILE, pairs=_without_repeats))
        except OSError as error:
            raise ReferenceLabelError(f"no readable file ({error.strerror})", expected=expected) from error
        except ValueError as error:
            raise ReferenceLabelError(f"no JSON ({quoted(str(error))})", expected=expected) from error


def _bytes_of(path: Path) -> bytes:
    """The bytes of a file that is neither too large nor made of too many pieces to be taken apart."""
    with open_regular(path) as file:
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ReferenceLabelError(
            f"a file of more than {_LARGEST_FILE // 2**20} MiB",
            expected="one of CheXlocalize's JSON files",
            remedy=_SPLIT,
        )
    # In a text of run lengths there may be brackets, and no comma.
    values = data.count(b",") + data.count(b"[") + _OF_AN_OBJECT * data.count(b"{")
    if values > _MOST_VALUES:
        raise ReferenceLabelError(
            f"{values:,} values", expected=f"at most {_MOST_VALUES:,} in one file", remedy=_SPLIT
        )
    return data


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python's JSON reader would keep the last of several entries of one name, and say nothing."""
    found = dict(pairs)
    if len(found) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ReferenceLabelError(f"{quoted(twice)} twice", expected="each name once")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ReferenceLabelError(quoted(value), expected="a JSON object")
    return value


def _by_pathology(entry: Mapping[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in entry.items():
        known = chexlocalize_pathology(name)
        if known in named:
            raise ReferenceLabelError(f"{known} under two names", expected="each pathology once")
        named[known] = value
    return named


def _annotated(entry: Mapping[str, Any]) -> dict[str, Outline]:
    if _SIZE not in entry:
        raise ReferenceLabelError(f"no {_SIZE}", expected="[height, width]")
    shape = checked_shape(entry[_SIZE])
    named = _by_pathology({name: value for name, value in entry.items() if name != _SIZE})
    return {name: Polygons(shape, _polygons(named.get(name, []))) for name in CHEXLOCALIZE_NAMES}


def _polygons(value: Any) -> tuple[tuple[Any, ...], ...]:
    """Lists as tuples; `Polygons` checks what is in them."""
    if not isinstance(value, list) or not all(isinstance(polygon, list) for polygon in value):
        raise ReferenceLabelError(quoted(value), expected="a list of polygons [[x, y], ...]")
    return tuple(
        tuple(tuple(point) if isinstance(point, list) else point for point in polygon) for polygon in value
    )


def _segmented(entry: Mapping[str, Any]) -> dict[str, Outline]:
    named = _by_pathology(entry)
    missing = [CHEXLOCALIZE_NAMES[name] for name in CHEXLOCALIZE_NAMES if name not in named]
    if missing:
        raise ReferenceLabelError(f"no {', '.join(missing)}", expected="all ten pathologies, also empty ones")
    outlines: dict[str, Outline] = {name: _run_lengths(named[name]) for name in CHEXLOCALIZE_NAMES}
    if len({outline.shape for outline in outlines.values()}) > 1:
        raise ReferenceLabelError("masks of several sizes", expected="one size for a radiograph")
    return outlines


def _run_lengths(value: Any) -> RunLengths:
    entry = _mapping(value)
    if not {"size", "counts"} <= set(entry):
        raise ReferenceLabelError(quoted(value), expected='{"size": [h, w], "counts": text}')
    return RunLengths(checked_shape(entry["size"]), entry["counts"])


def _as_segmented(outlines: Mapping[str, Outline]) -> dict[str, Any]:
    entry = {}
    for name, written in CHEXLOCALIZE_NAMES.items():
        outline = outlines[name]
        runs = outline if isinstance(outline, RunLengths) else RunLengths.of(outline.mask())
        entry[written] = {"size": list(runs.shape), "counts": runs.counts}
    return entry


def _as_annotated(outlines: Mapping[str, Outline]) -> dict[str, Any]:
    first = next(iter(outlines.values()))
    entry: dict[str, Any] = {_SIZE: list(first.shape)}
    for name, written in CHEXLOCALIZE_NAMES.items():
        outline = outlines[name]
        if outline.is_empty:
            continue
        if not isinstance(outline, Polygons):
            raise OptionError(
                f"run lengths of {name}", expected="polygons", remedy="Write them as segmentations."
            )
        entry[written] = [[list(point) for point in polygon] for polygon in outline.polygons]
    return entry
