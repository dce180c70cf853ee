"""What a safetensors file says about its model: outputs, operating points, training sets, input size.

safetensors keeps text by name. Each name below holds JSON:

- `pathologies`: `["Mass", "", "Edema"]`, one name for each output, `""` where it was never trained;
- `operating_points`: `[0.12, null, 0.5]`, one probability for each output, null where there is none;
- `training_sets`: `["NIH", "CheXpert"]`;
- `input_size`: `224`, the side of the square input;
- `trained_on`: `"radiographs"` or `"phantoms"`, with the quotes.

Each may be missing, and other names are left alone. What the names may be made of: see
`cxr_explain.support.names`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from cxr_explain.errors import WeightsMetadataError
from cxr_explain.support.bounded import LONGEST_JSON, parse_json, quoted
from cxr_explain.support.names import MOST_NAMES, NAME_RULE, first_flaw

TrainedOn = Literal["radiographs", "phantoms"]
"""What the training images were; "phantoms" means that the model has seen nothing else."""

MODULE_FACTS = "cxr_explain_facts"
"""Attribute of a module that this package has loaded: the same text; see `cxr_explain.models.loaded`."""

INPUT_SIZES = (16, 8192)
_NAMES = frozenset({"pathologies", "training_sets"})
_RENAME = "Save the weights with another name; `CheckpointFacts` writes what a safetensors file says."


@dataclass(frozen=True)
class CheckpointFacts:
    """What a weights file says about itself; None where it says nothing.

    Args:
        pathologies: name of each output; `""` is an output that was never trained.
        operating_points: operating point of each output, a probability from 0 to 1; None where there is none.
        training_sets: names of the data sets that the model was trained on.
        input_size: side of the square input, in pixels.
        trained_on: what the training images were, "radiographs" or "phantoms".

    >>> facts = CheckpointFacts(("Mass", ""), (0.25, None), trained_on="phantoms")
    >>> facts.to_metadata()
    {'pathologies': '["Mass", ""]', 'operating_points': '[0.25, null]', 'trained_on': '"phantoms"'}
    >>> CheckpointFacts.from_metadata(facts.to_metadata()) == facts
    True
    """

    pathologies: tuple[str, ...] | None = None
    operating_points: tuple[float | None, ...] | None = None
    training_sets: tuple[str, ...] | None = None
    input_size: int | None = None
    trained_on: TrainedOn | None = None

    def to_metadata(self) -> dict[str, str]:
        """The facts as safetensors stores them: `save_file(state_dict, path, facts.to_metadata())`."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: json.dumps(value, ensure_ascii=False) for name, value in known.items() if value is not None
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None) -> CheckpointFacts:
        """Read and check what `to_metadata` writes.

        Raises:
            WeightsMetadataError: a name that this package reads, with another value than it may have.

        >>> CheckpointFacts.from_metadata({"trained_on": "phantoms"})
        Traceback (most recent call last):
        cxr_explain.errors.WeightsMetadataError: found the metadata 'trained_on' = 'phantoms'; expected...
        """
        told = (metadata or {}).items()
        return cls.from_values({name: _parsed(name, text) for name, text in told if name in _RULES})

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> CheckpointFacts:
        """Check what a file says, once it is parsed; None where it says nothing.

        Raises:
            WeightsMetadataError: a name that this package reads, with another value than it may have.

        >>> CheckpointFacts.from_values({"pathologies": ["$exit()"]})
        Traceback (most recent call last):
        cxr_explain.errors.WeightsMetadataError: found the name '$exit()' in 'pathologies'; expected a...
        """
        facts = cls(**{name: _checked(name, value) for name, value in values.items() if name in _RULES})
        points, names = facts.operating_points, facts.pathologies
        if points is not None and len(points) != len(names or ()):
            raise WeightsMetadataError(
                f"{len(points)} operating points for {len(names or ())} pathologies in the metadata",
                expected="one for each",
            )
        return facts

    @classmethod
    def of_attributes(cls, attributes: Mapping[str, Any]) -> CheckpointFacts:
        """Read what this package kept on a module that it had loaded; of any other module, nothing.

        Args:
            attributes: the module's attributes by name.

        Raises:
            WeightsMetadataError: an attribute that this package has not written.

        >>> CheckpointFacts.of_attributes({"training": True}) == CheckpointFacts()
        True
        """
        kept = attributes.get(MODULE_FACTS)
        text = kept if isinstance(kept, dict) else {}
        return cls.from_metadata({name: value for name, value in text.items() if isinstance(value, str)})

    @classmethod
    def of_file(cls, path: Path) -> CheckpointFacts:
        """Read them from the head of a safetensors file, without its tensors and without torch.

        Raises:
            OSError: a file that cannot be read.
            ValueError: no safetensors file.
            WeightsMetadataError: a name that this package reads, with another value than it may have.
        """
        with path.open("rb") as stream:
            start = stream.read(8)
            header = safetensors_header(start + stream.read(min(_length_of(start), LONGEST_JSON)))
            return cls.from_metadata(header.get("__metadata__"))


def safetensors_header(content: bytes) -> dict[str, Any]:
    r"""What a safetensors file says about each tensor: 8 bytes say how long the JSON header is that follows.

    Raises:
        ValueError: no such header, or one that is longer than any model's.

    >>> safetensors_header(b'\x25\0\0\0\0\0\0\0{"__metadata__":{"input_size":"224"}}')
    {'__metadata__': {'input_size': '224'}}
    """
    length = _length_of(content)
    if length > LONGEST_JSON:
        raise ValueError(f"a header of {length:,} bytes")
    header = parse_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("a header that is no JSON object")
    metadata = header.get("__metadata__") or {}
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("metadata that are no text by name")
    return header


def _length_of(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


def _parsed(name: str, text: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, TypeError) as error:
        raise _unclear(name, text) from error


def _checked(name: str, value: Any) -> Any:
    if not _RULES[name][1](value):
        raise _unclear(name, json.dumps(value, ensure_ascii=False))
    if name in _NAMES:
        check_names(value, f"in {name!r}")
    return tuple(value) if isinstance(value, list) else value


def _unclear(name: str, text: str) -> WeightsMetadataError:
    return WeightsMetadataError(
        f"the metadata {name!r} = {quoted(text)}", expected=f"JSON: {_RULES[name][0]}"
    )


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse names that a file gives and that are none; `""`, an output that was never trained, may stand.

    Args:
        names: the names.
        where: where they stand, in a few words, for the error message.

    Raises:
        WeightsMetadataError: a name that breaks `NAME_RULE`, or too many names.

    >>> check_names(("Mass", ""), "in the file")
    """
    flaw = first_flaw(filter(None, names))
    if flaw is not None:
        raise WeightsMetadataError(f"the name {flaw} {where}", expected=NAME_RULE, remedy=_RENAME)
    if len(names) > MOST_NAMES:
        raise WeightsMetadataError(f"{len(names):,} names {where}", expected=f"at most {MOST_NAMES:,}")


def _are_pathologies(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(name, str) and name == name.strip() for name in value)
        and any(value)
        and len({name for name in value if name}) == sum(map(bool, value))
    )


def _are_operating_points(value: Any) -> bool:
    return isinstance(value, list) and all(point is None or _is_probability(point) for point in value)


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _are_training_sets(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value)


def _is_input_size(value: Any) -> bool:
    low, high = INPUT_SIZES
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "pathologies": ('a list of different names, "" for outputs that were never trained', _are_pathologies),
    "operating_points": ("a list of probabilities, null where there is none", _are_operating_points),
    "training_sets": ("a list of names", _are_training_sets),
    "input_size": (f"a whole number from {INPUT_SIZES[0]} to {INPUT_SIZES[1]}", _is_input_size),
    "trained_on": ('"radiographs" or "phantoms", in quotes', lambda value: value in get_args(TrainedOn)),
}
