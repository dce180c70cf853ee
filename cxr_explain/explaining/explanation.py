"""An Explanation: what the model predicts, where its evidence lies, and how both came about."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cxr_explain.display import (
    animation_of,
    caption_of,
    dicom_of,
    draw_on,
    explorer_of,
    figure_of,
    html_file_of,
    html_of,
    methods_of,
    overlay_of,
    places_of,
    png_of,
)
from cxr_explain.errors import CxrExplainWarning, OutputError
from cxr_explain.explaining.provenance import Provenance, other_schema
from cxr_explain.explaining.ranking import Prediction, Ranking
from cxr_explain.explaining.stability import Stability
from cxr_explain.explaining.stored_maps import MOST_VALUES, packed_maps, unpacked_maps
from cxr_explain.geometry import Geometry
from cxr_explain.options import RankBy, StyleName
from cxr_explain.pathologies import ReferenceLabelsLike
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.bounded import LONGEST_JSON, read_bounded
from cxr_explain.support.strict_json import from_plain, read_json
from cxr_explain.support.whole_file import output_errors, staged

if TYPE_CHECKING:
    from cxr_explain.display import Axes, DicomObjects, ExplanationFigure, Explorer, Style
    from cxr_explain.explaining.samples import SampleReference

_SCHEMA = "cxr-explain/explanation/3"
_LONGEST_NPZ = 8 * MOST_VALUES + 2**20  # bytes: two arrays and what is around them
_DAMAGE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError, BadZipFile, struct.error, zlib.error,
)  # fmt: skip
"""What is raised of a file that something else wrote."""

_STABILITIES = ("stability", "stability_across_models")
"""What is in the file only where it was asked for."""

_MOST_PIXELS = 2**31
"""Of a radiograph whose explanation is read back: eight times what most readers of images take."""


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The result for one radiograph; frozen, with everything that traces it.

    Args:
        id: the radiograph's name for output files.
        ranking: the K ranked pathologies among all predictions.
        class_maps: (K, I, J) float32, raw and signed, best rank first (equation 3).
        maps: (K, I, J) float32, the fused map by class (equation 6).
        geometry: where the maps lie in the radiograph.
        provenance: how all of this came about.
        radiograph: the radiograph itself; None after `load`, which does not store pixels.
        reference: what a sample of a data set brought with it: labels and masks; None after `load`.
        places: where in the chest the class map of a ranked pathology has its peak, in words, by pathology;
            empty unless asked for with `with_places`, or stored by an audit.
        stability: how far each class map stays under small shifts and noise; None unless asked for.
        stability_across_models: how far each class map is that of other models; None unless asked for.

    >>> import cxr_explain as cxr
    >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
    >>> explainer = cxr.Explainer.from_pretrained("phantom", device="cpu")
    >>> explanation = explainer.explain(to_radiograph(render(sample_patient(42), size=96)), top_k=3)
    >>> explanation.class_maps.shape, explanation.maps_in_radiograph().shape
    ((3, 28, 28), (3, 96, 96))
    >>> explanation.provenance.method, explanation.provenance.model
    ('FM-G-CAM', 'densenet-res224-phantom')
    """

    id: str
    ranking: Ranking
    class_maps: NDArray[np.float32] = field(repr=False)
    maps: NDArray[np.float32] = field(repr=False)
    geometry: Geometry
    provenance: Provenance = field(repr=False)
    radiograph: Radiograph | None = field(default=None, repr=False)
    reference: SampleReference | None = field(default=None, repr=False)
    places: Mapping[str, str] = field(default_factory=dict, repr=False)
    stability: Stability | None = field(default=None, repr=False)
    stability_across_models: Stability | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.class_maps.setflags(write=False)
        self.maps.setflags(write=False)

    def __repr__(self) -> str:
        top = ", ".join(f"{each.pathology} {each.probability:.3f}" for each in self.ranking.top)
        return f"<Explanation of {self.id} by {self.provenance.method}: {top or 'no pathology'}>"

    @property
    def winner(self) -> NDArray[np.intp]:
        """(I, J): the rank whose class map is largest at each position; -1 where K is 0."""
        if self.ranking.k == 0:
            return np.full(self.class_maps.shape[1:], -1)
        return np.asarray(self.class_maps.argmax(axis=0))

    @property
    def without_gradient(self) -> tuple[str, ...]:
        """Ranked pathologies without a map, because no gradient of their scores reaches the layer."""
        return self.provenance.without_gradient

    @property
    def without_evidence(self) -> tuple[str, ...]:
        """Ranked pathologies that have a map, and win nowhere with positive evidence."""
        return tuple(name for name in self.shown_nowhere if name not in self.without_gradient)

    @property
    def shown_nowhere(self) -> tuple[str, ...]:
        """Ranked pathologies that the fused map shows nowhere, for one reason or the other."""
        shown = [bool((of_class > 0).any()) for of_class in self.maps]
        return tuple(name for name, there in zip(self.ranking.pathologies, shown, strict=True) if not there)

    def maps_in_radiograph(
        self, shape: tuple[int, int] | None = None, *, outside: float = 0.0
    ) -> NDArray[np.float32]:
        """The fused map by class in the radiograph's pixels, (K, H, W); `outside` where nothing was seen."""
        return self.geometry.maps_to_radiograph(self.maps, shape, outside=outside)

    def with_places(self, radiograph: Radiograph | None = None, **options: Any) -> Explanation:
        """The same with the places of the peaks in words: lung, heart or outside, side and zone.

        They follow from an estimate of the anatomy, and stand in `caption` and in the JSON file from then on.
        A class map without a single peak has none, and nor has a radiograph whose lungs are not recognised.

        Args:
            radiograph: needed after `load`, which does not store pixels; its SHA-256 must match.
            **options: `segment=`, a segmentation that takes the place of the fixed rules; see
                `cxr_explain.chest.regions.regions_of`.

        Raises:
            OutputError: no radiograph, or not the one that was explained.

        >>> import cxr_explain as cxr
        >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
        >>> explainer = cxr.Explainer.from_pretrained("phantom", device="cpu")
        >>> explanation = explainer.explain(to_radiograph(render(sample_patient(42), size=96)), top_k=1)
        >>> explanation.with_places().places
        {...}
        """
        return replace(self, places=places_of(self, self.own_radiograph(radiograph), **options))

    def figure(
        self,
        reference_labels: ReferenceLabelsLike = None,
        *,
        radiograph: Radiograph | None = None,
        **options: Any,
    ) -> ExplanationFigure:
        """Draw the annotated figure; see `cxr_explain.figures.draw_explanation` for the options.

        Args:
            reference_labels: reference labels and boxes, in any form `ReferenceLabels.coerce` takes; by
                default those of the `reference`.
            radiograph: needed after `load`, which does not store pixels; its SHA-256 must match.
            **options: passed on.

        Raises:
            OutputError: no radiograph, or not the one that was explained.
        """
        labels = self._labels_or(reference_labels)
        return figure_of(self, self.own_radiograph(radiograph), reference_labels=labels, **options)

    def caption(
        self,
        reference_labels: ReferenceLabelsLike = None,
        *,
        colours: Mapping[str, str] | None = None,
        with_id: bool = False,
    ) -> str:
        """Describe the annotated figure, for the line below it in a paper: plain English on one line.

        It says what each part shows, what colours and opacities mean, the pathologies with their
        probabilities, method and model, and what must not be left out. The radiograph's pixels are not
        needed, and its id is not named unless asked for.

        Args:
            reference_labels: reference labels and boxes that the figure was given, in any form
                `ReferenceLabels.coerce` takes; by default those of the `reference`.
            colours: colours that the figure was given, if any.
            with_id: begin with the `id`, which may be a file's name.

        Raises:
            OptionError: a colour that is none.
            ReferenceLabelError: labels that are in none of these forms.
        """
        return caption_of(self, self._labels_or(reference_labels), colours=colours, with_id=with_id)

    def methods_text(self) -> str:
        """How it was made, for a paper's methods section: one paragraph of plain text.

        Every statement is one of the `provenance`, the `ranking` or the `geometry`; what they do not hold,
        such as training sets that nobody named, is said to be unknown. `bibtex` has what it cites.
        """
        return methods_of(self).text

    def bibtex(self) -> str:
        """The entries that `methods_text` cites, and this software's, as a BibTeX file holds them."""
        return methods_of(self).bibtex

    def overlay(
        self,
        *,
        radiograph: Radiograph | None = None,
        max_opacity: float = 0.6,
        longest: int | None = None,
        colours: Mapping[str, str] | None = None,
    ) -> NDArray[np.uint8]:
        """The fused map over the radiograph, hatched where the model did not see: to lay out by oneself.

        A pathology has the same colour wherever it ranks; opacities are relative within the image. After
        `load`, which does not store pixels, the maps lie on plain grey.

        Args:
            radiograph: wanted after `load`; its SHA-256 must match.
            max_opacity: opacity of the strongest evidence.
            longest: pixels along the longer side, no more than the radiograph has; by default all.
            colours: colour of a pathology by name, where it is not the package's own; see
                `cxr_explain.figures.palette.class_styles`.

        Returns:
            (h, w, 3).

        Raises:
            OptionError: a colour that is none.
            OutputError: not the radiograph that was explained.
        """
        below = None if radiograph is None else self.own_radiograph(radiograph)
        return overlay_of(self, below, max_opacity=max_opacity, longest=longest, colours=colours)

    def draw_radiograph(self, axes: Axes, **options: Any) -> Axes:
        """Draw the radiograph on given axes; see `cxr_explain.figures.on_axes.draw_radiograph`."""
        return draw_on(axes, "radiograph", self, **options)

    def draw_overlay(self, axes: Axes, **options: Any) -> Axes:
        """Draw the fused overlay on given axes; see `cxr_explain.figures.on_axes.draw_overlay`."""
        return draw_on(axes, "overlay", self, **options)

    def draw_class_map(self, axes: Axes, pathology: str, **options: Any) -> Axes:
        """Draw one class map on given axes; see `cxr_explain.figures.on_axes.draw_class_map`."""
        return draw_on(axes, "class_map", self, pathology, **options)

    def draw_winners(self, axes: Axes, **options: Any) -> Axes:
        """Draw which class map wins where on given axes; see `cxr_explain.figures.on_axes.draw_winners`."""
        return draw_on(axes, "winners", self, **options)

    def draw_boxes(self, axes: Axes, reference_labels: ReferenceLabelsLike = None, **options: Any) -> Axes:
        """Draw reference boxes on given axes; see `cxr_explain.figures.on_axes.draw_boxes`."""
        return draw_on(axes, "boxes", self, reference_labels, **options)

    def draw_key(self, axes: Axes, **options: Any) -> Axes:
        """Draw the colour key on given axes; see `cxr_explain.figures.on_axes.draw_key`."""
        return draw_on(axes, "key", self, **options)

    def draw_predictions(self, axes: Axes, **options: Any) -> Axes:
        """Draw predictions as bars on given axes; see `cxr_explain.figures.on_axes.draw_predictions`."""
        return draw_on(axes, "predictions", self, **options)

    def explore(
        self, radiograph: Radiograph | None = None, *, colours: Mapping[str, str] | None = None
    ) -> Explorer:
        """Show it in a notebook with sliders for opacity and K, and a switch for each pathology.

        Needs the extra `notebook` (ipywidgets) and a kernel; without them it shows a picture and its key.

        Args:
            radiograph: wanted after `load`, which does not store pixels; its SHA-256 must match.
            colours: as for `overlay`.

        Raises:
            OptionError: a colour that is none.
            OutputError: not the radiograph that was explained.
        """
        below = None if radiograph is None else self.own_radiograph(radiograph)
        return explorer_of(self, below, colours=colours)

    def to_html(
        self,
        path: str | PathLike[str],
        reference_labels: ReferenceLabelsLike = None,
        *,
        radiograph: Radiograph | None = None,
        max_opacity: float = 0.6,
        colours: Mapping[str, str] | None = None,
    ) -> Path:
        """Write one HTML file to send to somebody: opened from a disk, without a network or a server.

        It has the radiograph, reduced to 1024 pixels and, where noise would take the file beyond 1 MB, in
        quality, and sliders for opacity, K, window and level; switches for each pathology, boxes and peaks;
        each class map; predictions beside reference labels; and what the provenance says. It names the
        explanation's id and the source of the reference labels, which may be the name of their table, and
        no path. After `load`, which does not store pixels, the maps lie on plain grey, and the page says so.

        Args:
            path: the file to write, whole or not at all.
            reference_labels: reference labels and boxes, in any form `ReferenceLabels.coerce` takes; by
                default those of the `reference`.
            radiograph: wanted after `load`; its SHA-256 must match.
            max_opacity: opacity of the strongest evidence when the page opens, in (0, 1].
            colours: as for `overlay`.

        Returns:
            The path written.

        Raises:
            OptionError: an opacity out of range, or a colour that is none.
            OutputError: not the radiograph that was explained, or a folder that cannot be written to.
            ReferenceLabelError: labels that cannot be read.
        """
        below = None if radiograph is None else self.own_radiograph(radiograph)
        labels = self._labels_or(reference_labels)
        return html_file_of(path, self, below, labels, max_opacity=max_opacity, colours=colours)

    def to_dicom(
        self,
        folder: str | PathLike[str],
        source: str | PathLike[str] | bytes,
        reference_labels: ReferenceLabelsLike = None,
        *,
        radiograph: Radiograph | None = None,
        **options: Any,
    ) -> DicomObjects:
        """Write DICOM objects for a PACS, in the study of the radiograph: captures, a report, a segmentation.

        Needs the extra `dicom`. The same explanation and options give the same unique identifiers. What the
        standard makes impossible for one kind of object is told in what is returned, and in a warning; the
        others are written.

        Args:
            folder: where each object is written whole, as `<kind>.dcm`; made if missing.
            source: the DICOM file that was explained, its path or its bytes; its SHA-256 must match.
            reference_labels: reference labels and boxes, in any form `ReferenceLabels.coerce` takes; by
                default those of the `reference`.
            radiograph: needed after `load`, which does not store pixels; its SHA-256 must match.
            **options: which objects, such as `kinds=("report", "segmentation")`, and how; see
                `cxr_explain.dicom.settings.ObjectSettings`.

        Returns:
            The objects that were written.

        Raises:
            DicomObjectError: a source that no object can refer to.
            MissingExtraError: highdicom is not installed.
            OptionError: an option with a value that it may not have.
            OutputError: another source or radiograph than was explained, or a folder that cannot be written
                to.

        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import cxr_explain as cxr
        >>> from cxr_explain.phantom import render, sample_patient
        >>> from cxr_explain.phantom.dicom import to_dicom
        >>> explainer = cxr.Explainer.from_pretrained("phantom", device="cpu")
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "chest.dcm")
        ...     _ = file.write_bytes(to_dicom(render(sample_patient(42), size=96)))
        ...     explanation = explainer.explain(file, top_k=3)
        ...     made = explanation.to_dicom(f"{folder}/objects", file, kinds=("figure", "overlay"))
        ...     sorted(path.name for path in Path(folder, "objects").iterdir())
        ['figure.dcm', 'overlay.dcm']
        """
        labels = self._labels_or(reference_labels)
        made = dicom_of(self, source, labels, radiograph=radiograph, **options)
        for kind, error in made.not_made.items():
            warnings.warn(f"no {kind}: {error}", CxrExplainWarning, stacklevel=2)
        made.save(folder)
        return made

    def animation(
        self,
        path: str | PathLike[str],
        *,
        radiograph: Radiograph | None = None,
        seconds: float = 4.0,
        longest: int = 512,
        max_opacity: float = 0.6,
        key: bool = True,
        notice: bool = True,
        colours: Mapping[str, str] | None = None,
        style: Style | StyleName = "dark",
    ) -> Path:
        """Write a picture that fades from the radiograph to the fused map and back, for ever, for a slide.

        Below it stand the colours of the pathologies and what the picture may be used for. After `load`,
        which does not store pixels, the maps lie on plain grey.

        Args:
            path: the file to write, whole or not at all; `.gif`, or `.png` for an animated PNG, which keeps
                all colours.
            radiograph: wanted after `load`; its SHA-256 must match.
            seconds: length of one round, 1 to 20.
            longest: pixels along the longer side, 64 to 2048, no more than the radiograph has.
            max_opacity: opacity of the strongest evidence, in (0, 1].
            key: the names of the pathologies beside their colours.
            notice: "research use only", and that it is a phantom where it is one.
            colours: as for `overlay`.
            style: how what is below the picture looks, and its language: "light", "dark", "print", or a
                `Style`.

        Returns:
            The path written.

        Raises:
            OptionError: another ending, a number out of range, or a colour that is none.
            OutputError: not the radiograph that was explained, or a folder that cannot be written to.
        """
        below = None if radiograph is None else self.own_radiograph(radiograph)
        return animation_of(
            path,
            self,
            below,
            seconds=seconds,
            longest=longest,
            max_opacity=max_opacity,
            key=key,
            notice=notice,
            colours=colours,
            style=style,
        )

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_png_(self) -> bytes:
        return png_of(self)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write `<path>.json` and `<path>.npz`, all or nothing; pixels are not stored.

        Both are written in full beside their places first, so that a full disk leaves what was there before.
        The JSON file is the seal: it holds the digest of the arrays, is removed first and put in place last,
        so that a kill in between leaves no explanation rather than a torn one.

        Args:
            path: where to save, without an ending; a `.json` or `.npz` ending is dropped.

        Returns:
            The path of the JSON file.

        Raises:
            OutputError: a folder that cannot be written to.
        """
        json_path, npz_path = _paths(path)
        packed = packed_maps(self.class_maps, self.maps)
        document = self._document(hashlib.sha256(packed).hexdigest())
        # backslashreplace: a name that is no valid Unicode becomes JSON's own escape.
        text = f"{json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)}\n".encode(
            errors="backslashreplace"
        )
        with output_errors("an output folder", json_path.parent):
            json_path.parent.mkdir(parents=True, exist_ok=True)
            with staged(npz_path, packed) as new_npz, staged(json_path, text) as new_json:
                json_path.unlink(missing_ok=True)
                os.replace(new_npz, npz_path)
                os.replace(new_json, json_path)
        return json_path

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Explanation:
        """Read back what `save` wrote; `radiograph` is None.

        Raises:
            OutputError: files that are missing, torn, or of another kind.
        """
        json_path, npz_path = _paths(path)
        try:
            document = read_json(read_bounded(json_path, LONGEST_JSON))
            packed = read_bounded(npz_path, _LONGEST_NPZ)
        except (OSError, ValueError) as error:
            raise OutputError(
                f"no readable explanation ({error.__class__.__name__})",
                expected="a .json and a .npz file written by Explanation.save",
                source=json_path,
            ) from error
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            raise OutputError(
                f"another JSON file{other_schema(document)}",
                expected=f"one of schema {_SCHEMA}",
                remedy="Explain the radiograph again, with this version.",
                source=json_path,
            )
        try:
            if hashlib.sha256(packed).hexdigest() != document["arrays_sha256"]:
                raise OutputError("other arrays than were saved", expected="a matching pair", source=npz_path)
            return _from_document(document, packed)
        except _DAMAGE as error:
            raise OutputError(
                f"a damaged explanation ({_said(error)})",
                source=json_path,
                remedy="Explain the radiograph again.",
            ) from error

    def _document(self, arrays_sha256: str) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "id": self.id,
            "ranking": {
                "by": self.ranking.by,
                "probability": self.provenance.probability_kind,
                "top": [prediction.index for prediction in self.ranking.top],
                "notes": self.ranking.notes,
                "predictions": [
                    {**asdict(prediction), "above": prediction.above}
                    for prediction in self.ranking.predictions
                ],
            },
            "geometry": asdict(self.geometry),
            "provenance": asdict(self.provenance),
            "places": dict(self.places),
            **{key: found.to_document() for key in _STABILITIES if (found := getattr(self, key)) is not None},
            "arrays_sha256": arrays_sha256,
        }

    def _labels_or(self, given: ReferenceLabelsLike) -> ReferenceLabelsLike:
        return self.reference.labels if given is None and self.reference is not None else given

    def own_radiograph(self, given: Radiograph | None = None) -> Radiograph:
        """The radiograph that was explained.

        Args:
            given: wanted after `load`, which does not store pixels; its SHA-256 must match.

        Raises:
            OutputError: no radiograph, or not the one that was explained.
        """
        radiograph = given or self.radiograph
        if radiograph is None:
            raise OutputError(
                "an explanation that was loaded without its radiograph",
                remedy="Pass it: radiograph=read_radiograph(path), or radiographs=[...] for a panel.",
                source=self.id,
            )
        if radiograph.sha256 != self.provenance.radiograph_sha256:
            raise OutputError(
                f"a radiograph with SHA-256 {radiograph.sha256[:12]}",
                expected=f"the one that was explained, {self.provenance.radiograph_sha256[:12]}",
                source=self.id,
            )
        return radiograph


def _paths(path: str | PathLike[str]) -> tuple[Path, Path]:
    stem = Path(path)
    if stem.suffix in (".json", ".npz"):
        stem = stem.with_suffix("")
    if not stem.name:
        raise OutputError(f"the path {fspath(path)!r}", expected="a path that ends in a file name")
    return stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".npz")


def _said(error: Exception) -> str:
    """An error's text as a message may quote it: what the file says may stand in it."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error)[:100])
    return text.strip() or type(error).__name__


def _from_document(document: Mapping[str, Any], packed: bytes) -> Explanation:
    ranking = _ranking_in(document["ranking"])
    geometry = _geometry_in(document["geometry"])
    class_maps, maps = unpacked_maps(packed, ranking.k, geometry.model_size)
    if not (np.isfinite(class_maps).all() and np.isfinite(maps).all()):
        raise ValueError("maps with NaN or infinite values")
    provenance = from_plain(Provenance, document["provenance"], Rule=str)
    if not set(provenance.without_gradient) <= set(ranking.pathologies):
        raise ValueError("pathologies without a gradient that are not ranked")
    if not isinstance(document["id"], str):
        raise ValueError("an id that is no text")
    places = document.get("places", {})  # which files of earlier versions do not have
    said = all(isinstance(words, str) for words in places.values())
    if not said or not set(places) <= set(ranking.pathologies):
        raise ValueError("places of pathologies that are not ranked")
    return Explanation(
        id=document["id"],
        ranking=ranking,
        class_maps=class_maps,
        maps=maps,
        geometry=geometry,
        provenance=provenance,
        places=places,
        stability=_stability_in(document, "stability", ranking),
        stability_across_models=_stability_in(document, "stability_across_models", ranking),
    )


def _stability_in(document: Mapping[str, Any], key: str, ranking: Ranking) -> Stability | None:
    """The stability of the maps of ranked pathologies; None where it was not asked for."""
    if key not in document:
        return None
    found = Stability.from_document(document[key])
    if not set(found.maps) <= set(ranking.pathologies):
        raise ValueError("the stability of maps of pathologies that are not ranked")
    return found


def _ranking_in(document: Mapping[str, Any]) -> Ranking:
    """The ranking, whose predictions must be finite, and each there once."""
    predictions = tuple(
        from_plain(Prediction, {key: value for key, value in entry.items() if key != "above"})
        for entry in document["predictions"]
    )
    by_index = {prediction.index: prediction for prediction in predictions}
    if len(by_index) < len(predictions) or len({each.pathology for each in predictions}) < len(predictions):
        raise ValueError("a pathology that is predicted twice")
    if not all(0 <= each.probability <= 1 and each.index >= 0 for each in predictions):
        raise ValueError("a prediction that is out of range")
    top = from_plain(_Top, {"indices": document["top"], "by": document["by"], "notes": document["notes"]})
    if len(set(top.indices)) < len(top.indices):
        raise ValueError("a pathology that is ranked twice")
    return Ranking(tuple(by_index[index] for index in top.indices), predictions, top.by, top.notes)


@dataclass(frozen=True)
class _Top:
    """What a saved ranking holds beside the predictions."""

    indices: tuple[int, ...]
    by: RankBy
    notes: tuple[str, ...]


def _geometry_in(document: Any) -> Geometry:
    """The geometry, of a square that shows some of the radiograph."""
    geometry = from_plain(Geometry, document)
    height, width = geometry.radiograph_shape
    left, top, right, bottom = geometry.seen_box
    if min(height, width, geometry.model_size, geometry.side) < 1 or left >= right or top >= bottom:
        raise ValueError("a square without a pixel")
    largest = max(height * width, geometry.model_size**2, geometry.side, -geometry.left, -geometry.top)
    if largest > _MOST_PIXELS:
        raise ValueError(f"a radiograph of more than {_MOST_PIXELS} pixels")
    return geometry
