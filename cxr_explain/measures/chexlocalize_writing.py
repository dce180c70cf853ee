"""Explanations as CheXlocalize's files, so that its own code, or this package, scores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np

from cxr_explain.errors import OutputError, ReferenceLabelError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.measures.chexlocalize_eval import predicted_outlines
from cxr_explain.pathologies import LabelState, ReferenceLabels, canonical_pathology
from cxr_explain.reference.chexlocalize import CHEXLOCALIZE_NAMES, OutlineSet, write_segmentations
from cxr_explain.reference.outlines import Outline, Polygons, RunLengths
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.saliency_maps import SaliencyMap, write_saliency_map
from cxr_explain.support.arrays import Mask, Shape
from cxr_explain.support.prose import counted

MAPS = "maps"
"""Folder of the saliency maps."""

SEGMENTATIONS = "segmentations.json"
"""The maps' masks by Otsu's threshold."""

REFERENCES = "gt_segmentations.json"
"""The reference masks, under the name that CheXlocalize's own file begins with."""

LONGEST = 512
"""Samples of a written map along the radiograph's longer side, at most; CheXlocalize's own maps have 320."""

_GT = {LabelState.POSITIVE: 1, LabelState.NEGATIVE: 0}


@dataclass(frozen=True, eq=False)
class CaseToWrite:
    """What is written of one radiograph.

    Args:
        explanations: explanations of it; of a pathology in several, the first one counts.
        labels: reference labels; None where nothing is known.
        masks: (H, W) reference mask by pathology; a pathology that is not named has none. None where nobody
            outlined anything.
    """

    explanations: tuple[Explanation, ...]
    labels: ReferenceLabels | None = None
    masks: Mapping[str, Mask] | None = None


@dataclass
class WrittenFiles:
    """What was written.

    Args:
        maps: number of saliency maps by pathology.
        radiographs: number of radiographs.
        segmentations: the file of the maps' masks.
        references: the file of the reference masks; None where there are none.
    """

    segmentations: Path
    maps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHEXLOCALIZE_NAMES, 0))
    radiographs: int = 0
    references: Path | None = None

    def notes(self) -> tuple[str, ...]:
        """What a person should know: pathologies of which radiographs have no map."""
        return tuple(
            f"{name}: {counted(self.radiographs - count, 'radiograph')} of {self.radiographs} without a map"
            for name, count in self.maps.items()
            if count < self.radiographs
        )


def saliency_maps_of(
    explanation: Explanation, labels: ReferenceLabels | None = None, *, longest: int = LONGEST
) -> Iterator[SaliencyMap]:
    """The class maps of an explanation that CheXlocalize has outlines for, over the whole radiograph.

    A map there says nothing of what the model saw: here the part that it did not see is 0, as is evidence
    against a pathology. A class map without evidence is 0 everywhere.

    Args:
        explanation: the explanation.
        labels: reference labels of the radiograph.
        longest: samples along the radiograph's longer side, at most.

    Yields:
        A map for each ranked pathology that a gradient reaches.

    >>> import cxr_explain as cxr
    >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
    >>> explainer = cxr.Explainer.from_pretrained("phantom", device="cpu")
    >>> explanation = explainer.explain(to_radiograph(render(sample_patient(42), size=96)), top_k=8)
    >>> sorted(each.pathology for each in saliency_maps_of(explanation))
    ['Atelectasis', 'Cardiomegaly', 'Consolidation', 'Effusion']
    """
    height, width = shape = explanation.geometry.radiograph_shape
    scale = min(1.0, longest / max(shape))
    samples = (max(1, round(scale * height)), max(1, round(scale * width)))
    for prediction, class_map in zip(explanation.ranking.top, explanation.class_maps, strict=True):
        name = canonical_pathology(prediction.pathology)
        if name not in CHEXLOCALIZE_NAMES or prediction.pathology in explanation.without_gradient:
            continue
        values = explanation.geometry.maps_to_radiograph(np.maximum(class_map, 0), samples)
        label = None if labels is None else _GT.get(labels[name])
        yield SaliencyMap(explanation.id, name, values, (height, width), prediction.probability, label)


def write_for_chexlocalize(
    folder: str | PathLike[str], cases: Iterable[CaseToWrite], *, longest: int = LONGEST
) -> WrittenFiles:
    """Write the files that CheXlocalize's `heatmap_to_segmentation.py` and `eval.py` read.

    - `maps/<id>_<pathology>_map.pkl`: the saliency maps;
    - `segmentations.json`: their masks by Otsu's threshold, as `heatmap_to_segmentation.py` makes them of
      these files, and empty ones where there is no map;
    - `gt_segmentations.json`: the reference masks, where there are any.

    They hold no pixel of a radiograph, and no path; ids are those of the explanations.

    Args:
        folder: where to; made if it is missing.
        cases: the radiographs, each once.
        longest: samples of a map along the radiograph's longer side, at most.

    Raises:
        OptionError: an id that no file's name should have.
        ReferenceLabelError: no saliency map at all, or a radiograph twice.
        OutputError: a folder that cannot be written to, or that holds maps of another run; what was begun and
            did not come to its end is finished.
        MissingExtraError: pycocotools is not installed.

    >>> import cxr_explain as cxr
    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
    >>> explainer = cxr.Explainer.from_pretrained("phantom", device="cpu")
    >>> phantom = render(sample_patient(42), size=96)
    >>> explanation = explainer.explain(to_radiograph(phantom), top_k=8)
    >>> with TemporaryDirectory() as out:
    ...     written = write_for_chexlocalize(out, [CaseToWrite((explanation,), masks=phantom.masks)])
    ...     sorted(path.name for path in Path(out).iterdir())
    ['gt_segmentations.json', 'maps', 'segmentations.json']
    """
    target = Path(folder)
    written = WrittenFiles(target / SEGMENTATIONS)
    if written.segmentations.exists():
        raise _of_another_run(written.segmentations)
    paths: set[Path] = set()
    predictions: dict[str, Mapping[str, Outline]] = {}
    references: dict[str, Mapping[str, Outline]] = {}
    for case in cases:
        maps = _maps_of(case, longest)
        first = case.explanations[0]
        _check_new(first.id, predictions)
        for each in maps.values():
            paths.add(write_saliency_map(target / MAPS, each))
            written.maps[each.pathology] += 1
        written.radiographs += 1
        shape = first.geometry.radiograph_shape
        predictions[first.id] = _outlines_of(maps, shape)
        if case.masks is not None:
            references[first.id] = _references_of(case.masks, shape)
    if not any(written.maps.values()):
        raise ReferenceLabelError(
            "no map of one of CheXlocalize's ten pathologies", expected="explanations with one or more"
        )
    others = sorted({*(target / MAPS).iterdir()} - paths)
    if others:
        raise _of_another_run(others[0])
    write_segmentations(written.segmentations, OutlineSet.of_some(predictions))
    if references:
        written.references = write_segmentations(target / REFERENCES, OutlineSet.of_some(references))
    return written


def _maps_of(case: CaseToWrite, longest: int) -> dict[str, SaliencyMap]:
    found: dict[str, SaliencyMap] = {}
    for explanation in case.explanations:
        for each in saliency_maps_of(explanation, case.labels, longest=longest):
            found.setdefault(each.pathology, each)
    return found


def _of_another_run(path: Path) -> OutputError:
    return OutputError(
        "a file of another run", expected="a folder without any", remedy="Give a new folder.", source=path
    )


def _check_new(image_id: str, known: Mapping[str, object]) -> None:
    if image_id in known:
        raise ReferenceLabelError(f"the id {quoted(image_id)} twice", expected="an id for each radiograph")


def _outlines_of(maps: Mapping[str, SaliencyMap], shape: Shape) -> Mapping[str, Outline]:
    empty: dict[str, Outline] = dict.fromkeys(CHEXLOCALIZE_NAMES, Polygons(shape, ()))
    if not maps:
        return empty
    (found,) = predicted_outlines(maps.values()).outlines.values()
    return found


def _references_of(masks: Mapping[str, Mask], shape: Shape) -> Mapping[str, Outline]:
    empty: dict[str, Outline] = dict.fromkeys(CHEXLOCALIZE_NAMES, Polygons(shape, ()))
    named = {canonical_pathology(name): mask for name, mask in masks.items()}
    return empty | {name: RunLengths.of(named[name]) for name in CHEXLOCALIZE_NAMES if name in named}
