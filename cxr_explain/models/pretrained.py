"""From the name of weights, or a checkpoint file, to a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike

import torch
from torch import Tensor, nn

from cxr_explain.errors import ArchitectureError
from cxr_explain.models.base import Classifier, Outputs
from cxr_explain.models.families import FAMILIES, Family, family_of_tensors
from cxr_explain.models.loaded import Loaded
from cxr_explain.weights import (
    Checkpoint,
    CheckpointFacts,
    Weights,
    WeightsEntry,
    check_fit,
    known_entry,
    load_into,
    open_weights,
)


def from_pretrained(
    weights: str | PathLike[str],
    *,
    weights_dir: str | PathLike[str] | None = None,
    fetch: bool = True,
) -> Classifier:
    """Build the classifier of a set of weights with a name, or of a checkpoint file.

    A file may hold TorchXRayVision's DenseNet of any depth and width, told by the tensors' shapes, or its
    ResNet-50. From a safetensors file the names of the outputs, their operating points, the training sets and
    the input size are read too, where the metadata say them: see `cxr_explain.weights.facts`.

    Args:
        weights: a name of the registry ("densenet121-res224-nih"), or the path of a checkpoint.
        weights_dir: folder of the weights with a name; by default TorchXRayVision's own folder.
        fetch: whether missing weights are downloaded.

    Raises:
        WeightsError: unknown, missing, unsafe, changed, or of another architecture.

    >>> from_pretrained("phantom").target_layer
    'features (post-ReLU)'
    """
    _refuse_segmentations(weights)
    opened, checkpoint = open_weights(weights, weights_dir, fetch=fetch)
    tensors = checkpoint.state_dict
    name = family_of_tensors(tensors, source=opened.path)
    if opened.entry is not None and opened.entry.architecture != name:
        raise ArchitectureError(
            f"tensors of the architecture {name}", expected=opened.entry.architecture, source=opened.path
        )
    family = FAMILIES[name]
    found = Loaded(name, opened.name, _facts(opened.entry, checkpoint))
    outputs = _outputs(opened, found, len(tensors[str(family.head)]))
    module = _module(family, opened, tensors, len(outputs.pathologies))
    load_into(module, tensors, name=opened.name)
    module.eval().requires_grad_(False)
    # Weights that this package owns may be laid out for speed; a user's model is never touched.
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    found.keep_on(module)
    return family.load()(module, outputs, weights_sha256=opened.sha256, **found.description)


def _module(family: Family, opened: Weights, tensors: Mapping[str, Tensor], outputs: int) -> nn.Module:
    """An empty module for these tensors, built only once it is known that they fit.

    The published models have their library's usual shape. For any other file the shapes are the file's word,
    so they are tried on a model without memory first: nothing larger than the file itself is ever allocated.
    """
    adapter = family.load()
    if opened.entry is not None and not opened.entry.bundled:
        return adapter.empty(num_classes=outputs)
    configuration = adapter.configuration(tensors, source=opened.name)
    with torch.device("meta"):
        check_fit(adapter.empty(**configuration), tensors, name=opened.name)
    return adapter.empty(**configuration)


def _refuse_segmentations(weights: str | PathLike[str]) -> None:
    """Before anything is fetched."""
    entry = known_entry(weights) if isinstance(weights, str) else None
    if entry is not None and entry.structures:
        raise ArchitectureError(
            f"the weights of a segmentation network: masks of {entry.structures} structures, no scores",
            expected="those of a classifier",
            remedy=f"Find lungs and thorax with it: cxr-explain audit --regions {entry.name}.",
            source=entry.name,
        )


def _facts(entry: WeightsEntry | None, checkpoint: Checkpoint) -> CheckpointFacts:
    """The registry's word, else the file's; a file is taken at its word that it knows phantoms alone."""
    said = replace(checkpoint.facts, pathologies=checkpoint.pathologies)
    if entry is None:
        return said
    return CheckpointFacts(
        pathologies=entry.pathologies,
        operating_points=entry.operating_points,
        training_sets=entry.training_sets,
        input_size=entry.input_size,
        trained_on="phantoms" if said.trained_on == "phantoms" else entry.trained_on,
    )


def _outputs(opened: Weights, found: Loaded, count: int) -> Outputs:
    entry, outputs = opened.entry, found.outputs
    names = len(outputs.pathologies)
    if names != count and (entry is None or entry.bundled):
        named = found.facts.pathologies is not None
        raise ArchitectureError(
            f"{count} outputs and {names} names" if named else f"{count} outputs without names",
            expected="a name for each output" if named else f"TorchXRayVision's {names} outputs",
            remedy="Name them in the metadata of a safetensors file, as in cxr_explain.weights.facts, "
            "or build the model yourself and pass XRVDenseNet(model, Outputs(names)).",
            source=opened.path,
        )
    # Of a published file of another size `load_into` says which tensors do not fit.
    return outputs
