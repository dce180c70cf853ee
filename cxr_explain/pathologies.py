"""Pathology names: the 18 targets of TorchXRayVision, their other names, and reference-label states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from cxr_explain.errors import ReferenceLabelError

PATHOLOGIES: tuple[str, ...] = (
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
    "Lung Lesion",
    "Fracture",
    "Lung Opacity",
    "Enlarged Cardiomediastinum",
)
"""TorchXRayVision's 18 targets, in its order."""

NIH_PATHOLOGIES: tuple[str, ...] = PATHOLOGIES[:14]
"""The 14 labels of NIH ChestX-ray14, under TorchXRayVision's names."""

_ALIASES = {
    "pleural effusion": "Effusion",
    "airspace opacity": "Lung Opacity",
    "infiltrate": "Infiltration",
    "pleural thickening": "Pleural_Thickening",
    "pulmonary fibrosis": "Fibrosis",
    "rib fracture": "Fracture",
}
_BY_FOLDED_NAME = {name.casefold().replace("_", " "): name for name in PATHOLOGIES}


def canonical_pathology(name: str) -> str:
    """The TorchXRayVision name of a pathology; a name without one comes back stripped.

    >>> canonical_pathology("Pleural Effusion")
    'Effusion'
    >>> canonical_pathology(" Support Devices")
    'Support Devices'
    """
    stripped = " ".join(name.split())
    folded = stripped.casefold().replace("_", " ")
    return _BY_FOLDED_NAME.get(folded) or _ALIASES.get(folded) or stripped


class LabelState(StrEnum):
    """What a reference standard says of one pathology in one image.

    "Not mentioned" (a blank in CheXpert) and "not labelled" (a pathology that the data set does not know)
    are neither positive nor negative, and are never counted as either.

    >>> labels = ReferenceLabels.from_text("Effusion|Mass=uncertain")
    >>> labels["Mass"], labels["Hernia"]
    (<LabelState.UNCERTAIN: 'uncertain'>, <LabelState.NOT_LABELLED: 'not labelled'>)
    """

    POSITIVE = "positive"
    NEGATIVE = "negative"
    UNCERTAIN = "uncertain"
    NOT_MENTIONED = "not mentioned"
    NOT_LABELLED = "not labelled"


@dataclass(frozen=True)
class ReferenceBox:
    """A box of the reference standard, in the radiograph's pixels (edges, not pixel centres).

    Args:
        pathology: name of the pathology inside the box.
        x: left edge, in pixels from the radiograph's left edge.
        y: top edge, in pixels from the radiograph's top edge.
        width: extent to the right, in pixels.
        height: extent downwards, in pixels.

    >>> box = ReferenceBox("Effusion", x=10, y=20, width=30, height=40)
    >>> ReferenceLabels({"Effusion": LabelState.POSITIVE}, boxes=(box,)).boxes[0].width
    30
    """

    pathology: str
    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "pathology", canonical_pathology(self.pathology))


@dataclass(frozen=True)
class ReferenceLabels:
    """Reference labels of one image: a state for each pathology, boxes, and where they come from.

    A pathology that is not named is "not labelled".

    Args:
        states: state of each pathology by name.
        boxes: boxes of the reference standard.
        source: where the labels come from, in a few words.

    Raises:
        ReferenceLabelError: two states for one pathology, or an unknown state.

    >>> labels = ReferenceLabels.from_text("Pleural Effusion|Edema=negative|Mass=uncertain")
    >>> str(labels["Effusion"]), str(labels["Mass"]), str(labels["Hernia"])
    ('positive', 'uncertain', 'not labelled')
    """

    states: Mapping[str, LabelState] = field(default_factory=dict)
    boxes: tuple[ReferenceBox, ...] = ()
    source: str = "given by the caller"

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", MappingProxyType(_settled(self.states.items())))
        object.__setattr__(self, "boxes", tuple(self.boxes))

    def __reduce__(self) -> tuple[object, ...]:  # a mapping proxy cannot be pickled
        return ReferenceLabels, (dict(self.states), self.boxes, self.source)

    def __getitem__(self, pathology: str) -> LabelState:
        return self.states.get(canonical_pathology(pathology), LabelState.NOT_LABELLED)

    @classmethod
    def from_text(cls, text: str, *, source: str = "given by the caller") -> ReferenceLabels:
        """Read `A|B=negative|C=uncertain`; a bare name is positive.

        Raises:
            ReferenceLabelError: an empty name, an unknown state, or two states for one pathology.
        """
        parts = [part.partition("=") for part in text.split("|") if part.strip()]
        if not all(name.strip() for name, _, _ in parts):
            raise ReferenceLabelError(
                f"a label without a name in {text!r}", expected="'Effusion|Mass=negative'"
            )
        return cls(_settled((name, state.strip() or "positive") for name, _, state in parts), source=source)

    @classmethod
    def coerce(cls, labels: ReferenceLabelsLike) -> ReferenceLabels:
        """Accept what people have: None, text, a list of positive names, or a mapping to states.

        In a mapping, 1, 0 and -1 are CheXpert's positive, negative and uncertain; None is not mentioned.

        >>> ReferenceLabels.coerce({"Edema": -1})["Edema"]
        <LabelState.UNCERTAIN: 'uncertain'>
        """
        if labels is None:
            return cls(source="none given")
        if isinstance(labels, ReferenceLabels):
            return labels
        if isinstance(labels, str):
            return cls.from_text(labels)
        if isinstance(labels, Mapping):
            return cls(_settled(labels.items()))
        return cls(dict.fromkeys(labels, LabelState.POSITIVE))


def _settled(given: Iterable[tuple[str, object]]) -> dict[str, LabelState]:
    """One state for each pathology, whatever other names it was given by."""
    states: dict[str, LabelState] = {}
    for name, value in given:
        state = _parse_state(value)
        if states.setdefault(canonical_pathology(name), state) is not state:
            raise ReferenceLabelError(
                f"two states for {canonical_pathology(name)!r}", expected="one state for each pathology"
            )
    return states


ReferenceLabelsLike = ReferenceLabels | str | Mapping[str, object] | Iterable[str] | None

_STATE_VALUES: dict[object, LabelState] = {
    1: LabelState.POSITIVE,
    0: LabelState.NEGATIVE,
    -1: LabelState.UNCERTAIN,
    None: LabelState.NOT_MENTIONED,
}


def _parse_state(value: object) -> LabelState:
    value = value.item() if hasattr(value, "item") else value  # a scalar of numpy, pandas or torch
    if isinstance(value, str):
        try:
            return LabelState(value.casefold())
        except ValueError:
            pass
    elif value is None or isinstance(value, (int, float)):
        if value != value:  # NaN: a blank cell read by pandas
            return LabelState.NOT_MENTIONED
        if value in _STATE_VALUES:
            return _STATE_VALUES[value]
    raise ReferenceLabelError(
        f"the label state {value!r}", expected=f"1, 0, -1, None or one of {', '.join(LabelState)}"
    )
