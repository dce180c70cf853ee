"""The network of a bundle: first empty, as MONAI's tools want it, then with its weights, as an Explainer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cxr_explain.errors import WeightsError, WeightsIntegrityError, WeightsMetadataError, naming
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.models.base import Classifier, Outputs
from cxr_explain.models.families import FAMILIES, family_named, family_of_tensors
from cxr_explain.models.loaded import TRAINED_UNKNOWN, Loaded
from cxr_explain.support.names import visible
from cxr_explain.weights import CheckpointFacts, load_into, read_checkpoint


def configuration_of(classifier: Classifier) -> dict[str, Any]:
    """The arguments of `empty_network` for a classifier of `from_pretrained`.

    >>> from cxr_explain.models.pretrained import from_pretrained
    >>> configuration_of(from_pretrained("phantom"))["architecture"]
    'xrv-densenet'
    """
    tensors = classifier.module.state_dict()
    architecture = family_of_tensors(tensors, source=classifier.name)
    shape = FAMILIES[architecture].load().configuration(tensors, source=classifier.name)
    return {"architecture": architecture, **shape}


def empty_network(*, architecture: str, **configuration: Any) -> nn.Module:
    """A network without its weights; it gives logits.

    Args:
        architecture: name of a family in `cxr_explain.models.families` that is read from files.
        **configuration: keyword arguments of the family's `empty`.

    Raises:
        OptionError: another architecture.

    >>> empty_network(architecture="xrv-densenet", block_config=[1], num_classes=3).classifier.out_features
    3
    """
    return family_named(architecture).load().empty(**configuration)


def facts_of(classifier: Classifier, *, sha256: str, from_sha256: str) -> dict[str, Any]:
    """What `bundled_explainer` must be told of a network: the bundle's file `models/model.json`."""
    return {
        "name": classifier.name,
        "pathologies": list(classifier.pathologies),
        "operating_points": list(classifier.operating_points),
        "training_sets": list(classifier.training_sets),
        "input_size": classifier.input_size,
        "phantom_only": classifier.phantom_only,
        "notes": list(classifier.notes),
        "weights_sha256": sha256,
        "weights_from_sha256": from_sha256,
    }


def bundled_explainer(
    network: nn.Module,
    weights: str | PathLike[str],
    facts: Mapping[str, Any] | str | PathLike[str],
    **options: Any,
) -> Explainer:
    """Give an empty network its weights, and explain with it.

    Args:
        network: what `empty_network` gave; what is explained is this very object.
        weights: the bundle's weights file, tensors alone.
        facts: what `facts_of` gave, or the JSON file that holds it. A configuration names the file: MONAI
            evaluates the texts that a configuration refers to, and a name is to stay a name.
        **options: how maps are made, such as `method="layercam"`; see `MapSettings`.

    Raises:
        WeightsIntegrityError: another file than the bundle was written with.
        WeightsMetadataError: facts that `facts_of` has not written, or names that are none.
        WeightsError: no file, or tensors that do not fit.
    """
    if isinstance(facts, Mapping):
        told = _Facts.of(facts)
    else:
        with naming(facts):
            told = _Facts.of(_parsed(_read(Path(facts))))
    content = _read(Path(weights))
    digest = hashlib.sha256(content).hexdigest()
    if digest != told.sha256:
        raise WeightsIntegrityError(
            f"weights with SHA-256 {digest[:12]}",
            expected=f"{told.sha256[:12]}, as in the bundle's facts",
            remedy="Write the bundle again: cxr-explain bundle.",
            source=weights,
        )
    with naming(weights):
        tensors = read_checkpoint(content).state_dict
    load_into(network, tensors, name=told.name)
    network.eval().requires_grad_(False)
    return Explainer(_classifier(network, told), **options)


@dataclass(frozen=True)
class _Facts:
    """What a bundle says of the network, checked: whoever wrote the bundle may be anybody."""

    name: str
    sha256: str
    outputs: Outputs
    facts: CheckpointFacts

    @classmethod
    def of(cls, said: Any) -> _Facts:
        try:
            name, digest, phantom_only = (said[key] for key in ("name", "weights_sha256", "phantom_only"))
            values = {key: said[key] for key in _OF_CHECKPOINTS}
        except (KeyError, TypeError) as error:
            raise _unclear("a part missing") from error
        if not (isinstance(name, str) and isinstance(digest, str) and isinstance(phantom_only, bool)):
            raise _unclear("a name, a digest or a phantom_only of another type")
        trained_on = "phantoms" if phantom_only else "radiographs"
        facts = CheckpointFacts.from_values({**values, "trained_on": trained_on})
        outputs = Outputs(facts.pathologies or (), facts.operating_points or ())
        if TRAINED_UNKNOWN in said.get("notes", ()):
            facts = replace(facts, pathologies=None, operating_points=None)
        return cls(visible(name), digest, outputs, facts)


_OF_CHECKPOINTS = ("pathologies", "operating_points", "training_sets", "input_size")


def _unclear(found: str) -> WeightsMetadataError:
    return WeightsMetadataError(
        f"facts of a bundle with {found}",
        expected="those that cxr-explain writes",
        remedy="Write the bundle again: cxr-explain bundle.",
    )


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unclear("no JSON") from error


def _classifier(network: nn.Module, told: _Facts) -> Classifier:
    architecture = family_of_tensors(network.state_dict())
    found = Loaded(architecture, told.name, told.facts)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    found.keep_on(network)
    return FAMILIES[architecture].load()(
        network, told.outputs, weights_sha256=told.sha256, **found.description
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"no weights that can be read ({error.strerror})",
            remedy="Say where the bundle is: --bundle_root FOLDER.",
            source=path,
        ) from error
