"""Pathology names: the 18 targets of TorchXRayVision, their other names, and reference-label states."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import pairwise
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

DATA_SET_PATHOLOGIES: tuple[str, ...] = (
    *("Pleural Other", "Support Devices"),  # CheXpert, MIMIC-CXR-JPG, BRAX
    *("Aortic enlargement", "Calcification", "Clavicle fracture", "COPD", "Enlarged PA", "ILD"),  # VinDr-CXR
    *("Lung cavity", "Lung cyst", "Lung tumor", "Mediastinal shift", "Nodule/Mass", "Other disease"),
    *("Other lesion", "Tuberculosis"),
    *("Air Trapping", "Aortic Atheromatosis", "Aortic Elongation", "Bronchiectasis"),  # PadChest
    *("Costophrenic Angle Blunting", "Flattened Diaphragm", "Granuloma", "Hemidiaphragm Elevation"),
    *("Hilar Enlargement", "Scoliosis", "Tube"),
    *(
        "Calcified Granuloma",
        "Foreign Object",
        "COVID-19",
    ),  # OpenI, Object-CXR, COVID-19 Image Data Collection
    *("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis"),  # TBX11K
)
"""What published data sets label beside `PATHOLOGIES`, and no model of TorchXRayVision has an output for."""

NO_FINDING = "No Finding"
"""What data sets write where there is none; it is an absence, and no pathology."""

_ALIASES = {
    "pleural effusion": "Effusion",
    "airspace opacity": "Lung Opacity",
    "infiltrate": "Infiltration",
    "pulmonary fibrosis": "Fibrosis",
    "rib fracture": "Fracture",
    "nodule or mass": "Nodule/Mass",
    "other diseases": "Other disease",
}
_ABSENCES = frozenset({"nofinding", "nofindings", "normal", "healthy", "noabnormality", "noabnormalities"})
_NO_DISEASES = frozenset({"Support Devices", "Tube", "Foreign Object"})
"""What may be in a radiograph without a finding, as in CheXpert."""
_BLANKS = re.compile(r"[\s_\-]+")
_SEPARATORS = re.compile(r"[|;,\n\r\t]")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


def _folded(name: str) -> str:
    """A name without what people write in different ways: capitals, blanks, underscores and hyphens.

    A hyphen before or after a name stays: "Edema -" may well say that there is none.
    """
    bare = name.strip()
    sign = "-" if bare.startswith("-") or bare.endswith("-") else ""
    return sign + _BLANKS.sub("", bare).casefold()


_BY_FOLDED_NAME = {_folded(name): name for name in (*PATHOLOGIES, *DATA_SET_PATHOLOGIES)}
_BY_FOLDED_NAME |= {_folded(alias): name for alias, name in _ALIASES.items()}


def canonical_pathology(name: str) -> str:
    """The name that this package has for a pathology; a name that it does not know comes back stripped.

    Capitals, blanks, underscores and hyphens do not count.

    >>> canonical_pathology("pleural_effusion")
    'Effusion'
    >>> canonical_pathology(" Flu")
    'Flu'
    """
    return _BY_FOLDED_NAME.get(_folded(name)) or " ".join(name.split())


def readable(pathology: str) -> str:
    """A pathology as a reader expects it; its name, as files have it, may have underscores.

    >>> readable("Pleural_Thickening")
    'Pleural Thickening'
    """
    return pathology.replace("_", " ")


def says_no_finding(name: str) -> bool:
    """Whether a name is one of the spellings of "No Finding".

    >>> says_no_finding("no_findings"), says_no_finding("Normal"), says_no_finding("Mass")
    (True, True, False)
    """
    return _folded(name) in _ABSENCES


def known_pathology(name: str, further: Iterable[str] = ()) -> str:
    """The name of a pathology that this package, a data set or a model knows.

    Args:
        name: the name as it was found.
        further: names that are known besides, such as those of a model's outputs.

    Raises:
        ReferenceLabelError: another name; the nearest that is known is in the message.

    >>> known_pathology("pleural effusion"), known_pathology("flu", ["Flu"])
    ('Effusion', 'Flu')
    >>> known_pathology("Efusion")
    Traceback (most recent call last):
    cxr_explain.errors.ReferenceLabelError: the unknown pathology 'Efusion'; the nearest known is 'Effusion'.
    """
    known = _BY_FOLDED_NAME | {_folded(each): canonical_pathology(each) for each in further if each.strip()}
    found = known.get(_folded(name))
    if found is None:
        nearest = known[_nearest(name, known)[0]]
        raise ReferenceLabelError(f"the unknown pathology {_shown(name)}; the nearest known is {nearest!r}")
    return found


def _well_spelt(name: str, further: Iterable[str]) -> str:
    """The name of a pathology, known or not; one that is nearly known is refused."""
    return known_pathology(name, further if near_miss(name) else (*further, name))


def near_miss(name: str) -> str | None:
    """The known pathology that a name seems to stand for, misspelt; None for a known name and other words.

    >>> near_miss("Efusion"), near_miss("Effusion"), near_miss("scanner")
    ('Effusion', None, None)
    """
    if _folded(name) in _BY_FOLDED_NAME:
        return None
    nearest, likeness = _nearest(name, _BY_FOLDED_NAME)
    return _BY_FOLDED_NAME[nearest] if likeness >= _NEAR else None


def _nearest(name: str, known: Iterable[str]) -> tuple[str, float]:
    """The folded name that is most like a name, and how much, from 0 to 1.

    Letters are counted first, and their order is compared for the most alike alone: a table may have a column
    of free text where labels are wanted.
    """
    matcher = SequenceMatcher(None, "", _folded(name)[:_LONGEST_SHOWN], autojunk=False)
    bounds: list[tuple[float, str]] = []
    for each in known:
        matcher.set_seq1(each)
        bounds.append((matcher.quick_ratio(), each))
    best = ("", -1.0)
    for bound, each in sorted(bounds, reverse=True):
        if bound <= best[1]:
            break
        matcher.set_seq1(each)
        best = max(best, (each, matcher.ratio()), key=lambda found: found[1])
    return best


_NEAR = 0.85  # of SequenceMatcher's ratio: one letter wrong, missing or too much in a word of seven
_LONGEST_SHOWN = 60


def _shown(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[: _LONGEST_SHOWN - 3]}..."


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
    """Reference labels of one image: a state for each pathology, boxes, the view, and where they come from.

    A pathology that is not named is "not labelled".

    Args:
        states: state of each pathology by name.
        boxes: boxes of the reference standard.
        source: where the labels come from, in a few words.
        view: the projection as the labels' table has it, such as "PA"; None where it does not say.

    Raises:
        ReferenceLabelError: two states for one pathology, or an unknown state.

    >>> labels = ReferenceLabels.from_text("Pleural Effusion|Edema=negative|Mass=uncertain")
    >>> str(labels["Effusion"]), str(labels["Mass"]), str(labels["Hernia"])
    ('positive', 'uncertain', 'not labelled')
    """

    states: Mapping[str, LabelState] = field(default_factory=dict)
    boxes: tuple[ReferenceBox, ...] = ()
    source: str = "given by the caller"
    view: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", MappingProxyType(_settled(self.states.items())))
        object.__setattr__(self, "boxes", tuple(self.boxes))

    def __reduce__(self) -> tuple[object, ...]:  # a mapping proxy cannot be pickled
        return ReferenceLabels, (dict(self.states), self.boxes, self.source, self.view)

    def __getitem__(self, pathology: str) -> LabelState:
        return self.states.get(canonical_pathology(pathology), LabelState.NOT_LABELLED)

    @classmethod
    def from_text(
        cls, text: str, *, source: str = "given by the caller", further: Iterable[str] = ()
    ) -> ReferenceLabels:
        """Read `A|B=negative|C=uncertain`; a bare name is positive.

        `;`, `,` and `/` separate names as well as `|` does, and a Python list is read. "No Finding", in any
        spelling, says that every pathology is negative.

        Args:
            text: the labels.
            source: where they come from.
            further: names that are known besides this package's, such as those of a model's outputs.

        Raises:
            ReferenceLabelError: an empty or an unknown name, an unknown state, two states for one pathology,
                or no finding beside one.

        >>> sorted(ReferenceLabels.from_text("['pleural effusion', 'Mass']").states)
        ['Effusion', 'Mass']
        >>> str(ReferenceLabels.from_text("no finding")["Mass"])
        'negative'
        """
        further = tuple(further)
        return cls(_with_absences(*labels_in(text, further), further), source=source)

    @classmethod
    def coerce(cls, labels: ReferenceLabelsLike, *, further: Iterable[str] = ()) -> ReferenceLabels:
        """Accept what people have: None or NaN, text, a list of positive names, or a mapping to states.

        In a mapping, 1, 0 and -1 are CheXpert's positive, negative and uncertain; None is not mentioned. Its
        keys are names for sure, where a text may have been cut up wrongly: one that nobody knows is taken.

        Args:
            labels: the labels.
            further: names that are known besides this package's, such as those of a model's outputs.

        Raises:
            ReferenceLabelError: as for `from_text`; in a mapping, a name that seems to be misspelt; anything
                else than these.

        >>> ReferenceLabels.coerce({"Edema": -1})["Edema"]
        <LabelState.UNCERTAIN: 'uncertain'>
        """
        if labels is None or (isinstance(labels, float) and labels != labels):
            return cls(source="none given")
        if isinstance(labels, ReferenceLabels):
            return labels
        if isinstance(labels, str):
            return cls.from_text(labels, further=further)
        further = tuple(further)
        names = _names_in(labels)
        if not isinstance(labels, Mapping):
            return cls(_with_absences(*_read(names, further), further))
        pairs = [(name, _parse_state(state)) for name, state in labels.items()]
        return cls(_with_absences(*_parted(pairs, further, _well_spelt), further))


def _names_in(labels: Iterable[str]) -> tuple[str, ...]:
    """The names in a list, or in the keys of a mapping.

    Raises:
        ReferenceLabelError: anything else, such as a table of pandas, which gives names of columns.
    """
    is_listed = isinstance(labels, Iterable) and not hasattr(labels, "columns")
    names: tuple[object, ...] = tuple(labels) if is_listed else (None,)
    found = tuple(name for name in names if isinstance(name, str))
    if len(found) < len(names):
        raise ReferenceLabelError(
            f"labels of type {type(labels).__name__}, which is no list of names",
            expected="text, a list of names, or a mapping from names to states, such as {'Mass': 1}",
        )
    return found


def labels_in(text: str, further: Sequence[str] = ()) -> tuple[dict[str, LabelState], bool]:
    """What a text of labels says: the state of each pathology it names, and whether it says "No Finding".

    Args:
        text: such as `Mass|Edema=uncertain`, with any of the separators, or a Python list.
        further: names that are known besides this package's.

    Raises:
        ReferenceLabelError: as for `ReferenceLabels.from_text`.

    >>> labels_in("Mass; Edema=0")
    ({'Mass': <LabelState.POSITIVE: 'positive'>, 'Edema': <LabelState.NEGATIVE: 'negative'>}, False)
    """
    return _read(_labels(text, {_folded(each) for each in further}), further)


def _read(labels: Iterable[str], further: Iterable[str]) -> tuple[dict[str, LabelState], bool]:
    return _parted(map(_name_and_state, labels), further, known_pathology)


def _parted(
    labels: Iterable[tuple[str, LabelState]],
    further: Iterable[str],
    called: Callable[[str, Iterable[str]], str],
) -> tuple[dict[str, LabelState], bool]:
    """The states of pathologies, and whether "No Finding" is among the labels."""
    own = {_folded(each) for each in further}  # a model may well have an output named Normal
    named: list[tuple[str, LabelState]] = []
    is_absence = False
    for name, state in labels:
        if says_no_finding(name) and _folded(name) not in own:
            is_absence = is_absence or state is LabelState.POSITIVE
        else:
            named.append((called(name, further), state))
    states = _settled(named)
    _check_absence(states, is_absence)
    return states, is_absence


def _name_and_state(label: str) -> tuple[str, LabelState]:
    name, equals, state = (part.strip() for part in label.partition("="))
    if not name or (equals and not state):
        raise ReferenceLabelError(
            f"the label {_shown(label)} without a {'state' if name else 'name'}",
            expected="a label such as 'Mass' or 'Mass=negative'",
        )
    return name, _parse_state(_NUMBERS.get(state, state) if equals else 1)


def absent_pathologies(further: Iterable[str] = ()) -> tuple[str, ...]:
    """What "No Finding" says is not there: `PATHOLOGIES` and further ones, without devices.

    >>> absent_pathologies(["Support Devices", "Granuloma"])[-2:]
    ('Enlarged Cardiomediastinum', 'Granuloma')
    """
    names = (*PATHOLOGIES, *(canonical_pathology(name) for name in further if name.strip()))
    return tuple(
        name for name in dict.fromkeys(names) if name not in _NO_DISEASES and not says_no_finding(name)
    )


def _with_absences(
    named: Mapping[str, LabelState], is_absence: bool, further: Iterable[str]
) -> dict[str, LabelState]:
    absent = absent_pathologies(further) if is_absence else ()
    return {**dict.fromkeys(absent, LabelState.NEGATIVE), **named}


def _check_absence(states: Mapping[str, LabelState], is_absence: bool) -> None:
    there = (LabelState.POSITIVE, LabelState.UNCERTAIN)
    found = [name for name, state in states.items() if state in there and name not in _NO_DISEASES]
    if is_absence and found:
        raise ReferenceLabelError(f"{NO_FINDING!r} beside {found[0]!r}", expected="one of the two")


def _labels(text: str, own: set[str]) -> Iterator[str]:
    """The labels of a text, each with its state where one is said."""
    body = text.strip()
    if body[:1] in _BRACKETS and body.endswith(_BRACKETS[body[0]]):
        body = re.sub(r"(?<=['\"])\s+(?=['\"])", "|", body[1:-1])  # NumPy has no commas in its lists
    for piece in _SEPARATORS.split(body):
        label = piece.strip()
        if label[:1] in ("'", '"') and label.endswith(label[0]):
            label = label[1:-1].strip()
        if label:
            yield from _at_slashes(label, own)


def _at_slashes(label: str, own: set[str]) -> list[str]:
    """A slash separates labels where it is not a part of a name, as in "Nodule/Mass".

    Raises:
        ReferenceLabelError: a text that can be read in both ways.
    """
    known = own | set(_BY_FOLDED_NAME)
    name, _, state = label.partition("=")
    parts = label.split("/")
    if len(parts) == 1 or (_folded(name) in known and "/" not in state):
        return [label]
    names = [_folded(part.partition("=")[0]) for part in parts]
    if not known.isdisjoint(map("/".join, pairwise(names))):
        raise ReferenceLabelError(
            f"{_shown(label)}, in which a slash may separate names or be a part of one",
            expected="names separated by '|'",
        )
    return parts


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

_NUMBERS: Mapping[str, object] = MappingProxyType({"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1})

_STATE_VALUES: dict[object, LabelState] = {
    1: LabelState.POSITIVE,
    0: LabelState.NEGATIVE,
    -1: LabelState.UNCERTAIN,
    None: LabelState.NOT_MENTIONED,
}


def _parse_state(value: object) -> LabelState:
    with suppress(ValueError, RuntimeError):  # an array of several, which is refused below
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
