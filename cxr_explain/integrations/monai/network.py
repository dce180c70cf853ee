"""The network of a bundle: first empty, as MONAI's tools want it, then with its weights, as an Explainer."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cxr_explain.errors import WeightsError, WeightsIntegrityError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.models.base import Classifier, Outputs
from cxr_explain.models.families import FAMILIES, family_named, family_of_tensors
from cxr_explain.models.loaded import TRAINED_UNKNOWN, Loaded
from cxr_explain.weights import CheckpointFacts, load_into


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
    """What `bundled_explainer` must be told of a network, for the bundle's metadata."""
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
    network: nn.Module, weights: str | PathLike[str], facts: Mapping[str, Any], **options: Any
) -> Explainer:
    """Give an empty network its weights, and explain with it.

    Args:
        network: what `empty_network` gave; what is explained is this very object.
        weights: the bundle's weights file, tensors alone.
        facts: what `facts_of` gave.
        **options: how maps are made, such as `method="layercam"`; see `MapSettings`.

    Raises:
        WeightsIntegrityError: another file than the bundle was written with.
        WeightsError: none, or tensors that do not fit.
    """
    content = _read(Path(weights))
    digest = hashlib.sha256(content).hexdigest()
    if digest != facts["weights_sha256"]:
        raise WeightsIntegrityError(
            f"weights with SHA-256 {digest[:12]}",
            expected=f"{facts['weights_sha256'][:12]}, as in the bundle's metadata",
            remedy="Write the bundle again: cxr-explain bundle.",
            source=weights,
        )
    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    load_into(network, tensors, name=facts["name"])
    network.eval().requires_grad_(False)
    return Explainer(_classifier(network, facts), **options)


def _classifier(network: nn.Module, facts: Mapping[str, Any]) -> Classifier:
    architecture = family_of_tensors(network.state_dict())
    outputs = Outputs(tuple(facts["pathologies"]), tuple(facts["operating_points"]))
    unknown = TRAINED_UNKNOWN in facts.get("notes", ())
    said = CheckpointFacts(
        pathologies=None if unknown else outputs.pathologies,
        operating_points=None if unknown else outputs.operating_points,
        training_sets=tuple(facts["training_sets"]),
        input_size=facts["input_size"],
        trained_on="phantoms" if facts["phantom_only"] else "radiographs",
    )
    found = Loaded(architecture, facts["name"], said)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    found.keep_on(network)
    return FAMILIES[architecture].load()(
        network, outputs, weights_sha256=facts["weights_sha256"], **found.description
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
