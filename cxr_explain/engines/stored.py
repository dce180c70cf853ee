"""Compiled classifiers of weights files, kept on disk: to explain with one, its module is not built.

What is kept says whose weights they are: by the SHA-256 of the file, which is read each time. It was written
after the engine's logits were compared with torch's, and those with what calling the module gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from os import PathLike
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from cxr_explain.engines.cache import find, keep, versions
from cxr_explain.engines.compiled import CompiledClassifier, EngineBody, noise
from cxr_explain.engines.fingerprint import fingerprint
from cxr_explain.engines.registry import ENGINES, candidates
from cxr_explain.errors import CxrExplainError, ModelError, WeightsIntegrityError
from cxr_explain.models.base import Classifier, Outputs
from cxr_explain.models.families import family_named
from cxr_explain.models.loaded import Loaded
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.options import Dtype, Engine
from cxr_explain.weights import Weights, identify, remember
from cxr_explain.weights.facts import safetensors_header


def compiled_from_pretrained(
    weights: str | PathLike[str],
    *,
    weights_dir: str | PathLike[str] | None = None,
    fetch: bool = True,
    engine: Engine,
    dtype: Dtype,
) -> Classifier:
    """What `from_pretrained` gives, on an engine; from what is kept on disk where it was compiled before.

    Args:
        weights: as for `from_pretrained`.
        weights_dir: as for `from_pretrained`.
        fetch: as for `from_pretrained`.
        engine: name of the engine; "auto" takes the fastest that is installed.
        dtype: the engine's arithmetic.

    Returns:
        The classifier on the engine; in torch, where the engine cannot run it: `on_engine` says why.

    Raises:
        WeightsError: see `from_pretrained`.
        OptionError: an engine that does not compute in this way.
        MissingExtraError: an engine that is not installed.

    >>> compiled_from_pretrained("phantom", engine="torch", dtype="float32").name
    'densenet-res224-phantom'
    """
    name, options = candidates(engine, dtype)[0], {"weights_dir": weights_dir, "fetch": fetch}
    if name == "torch":
        return from_pretrained(weights, **options)  # type: ignore[arg-type]
    try:
        identified = identify(weights, **options)  # type: ignore[arg-type]
    except CxrExplainError:
        return from_pretrained(weights, **options)  # type: ignore[arg-type]  # says what is wrong
    key = f"{identified.sha256} {identified.name} {identified.entry} {name} {ENGINES[name].version} {dtype} "
    key += versions("torch", "torchvision", "torchxrayvision")
    load = partial(_loaded, identified, weights, **options)
    if (stored := _stored(key, load, name, dtype)) is not None:
        remember(identified)
        return stored
    original = cast(PooledLinearClassifier, from_pretrained(weights, **options))  # type: ignore[arg-type]
    try:
        compiled = CompiledClassifier(original, name, dtype)
    except ModelError:
        return original
    if (facts := StoredFacts.of(original)) is not None:
        keep(key, facts.to_bytes())
    return compiled


def _loaded(identified: Weights, weights: str | PathLike[str], **options: Any) -> PooledLinearClassifier:
    classifier = from_pretrained(weights, **options)
    if classifier.weights_sha256 != identified.sha256:
        raise WeightsIntegrityError(
            f"SHA-256 {classifier.weights_sha256}",
            expected=f"{identified.sha256}, as when it was first read",
            remedy="Start anew: the file has changed meanwhile.",
            source=identified.path,
        )
    return cast(PooledLinearClassifier, classifier)


@dataclass(frozen=True, eq=False)
class StoredFacts:
    """What is known of a classifier without its module.

    Args:
        architecture: the family's name.
        body: the key of the graph.
        head: the linear layer.
        outputs: what its outputs mean.
        description: the other arguments of `Classifier`.
    """

    architecture: str
    body: str
    head: nn.Linear
    outputs: Outputs
    description: dict[str, Any]

    @classmethod
    def of(cls, classifier: PooledLinearClassifier) -> Self | None:
        """What is known of a classifier that was just loaded; None where its scores are not its module's."""
        loaded, body = Loaded.of(classifier.module), fingerprint(classifier)
        if loaded is None or body is None or classifier.as_called(noise(classifier, 2)) is not classifier:
            return None
        description = classifier.description | {"target_layer": classifier.target_layer}
        return cls(loaded.architecture, body, classifier.head, classifier.outputs, description)

    def to_bytes(self) -> bytes:
        """A safetensors file of the head, and the rest as text."""
        from safetensors.torch import save

        outputs = vars(self.outputs)
        facts = {"architecture": self.architecture, "body": self.body, "outputs": outputs, **self.description}
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.head.state_dict().items()}
        return save(tensors, {"facts": json.dumps(facts)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What `to_bytes` wrote."""
        from safetensors.torch import load

        facts = json.loads(safetensors_header(content)["__metadata__"]["facts"])
        tensors = load(content)
        outputs, channels = tensors["weight"].shape
        head = nn.Linear(channels, outputs, bias="bias" in tensors, device="meta")
        head.load_state_dict(tensors, assign=True)
        said = facts.pop("outputs")
        meant = Outputs(tuple(said["pathologies"]), tuple(said["operating_points"]), said["kind"])
        return cls(facts.pop("architecture"), facts.pop("body"), head.requires_grad_(False), meant, facts)


class StoredClassifier(CompiledClassifier):
    """A compiled classifier that was kept on disk; its module is loaded when somebody asks for it.

    Args:
        facts: what is known of it.
        graph: its body.
        load: loads the classifier in torch.
        engine: name of the engine.
        dtype: the engine's arithmetic.

    Raises:
        ModelError: facts or a graph that are no good.
    """

    def __init__(
        self,
        facts: StoredFacts,
        graph: bytes,
        load: Callable[[], PooledLinearClassifier],
        engine: Engine,
        dtype: Dtype,
    ) -> None:
        self._compiled_body = EngineBody(engine, dtype, None, graph)
        PooledLinearClassifier.__init__(
            self, nn.Module(), self._compiled_body, facts.head, facts.outputs, **facts.description
        )
        del self.module  # see below
        self._family: Any = family_named(facts.architecture).load()
        self._load = load
        self.engine, self.dtype = engine, dtype

    @cached_property
    def original(self) -> PooledLinearClassifier:  # type: ignore[override]
        """The classifier in torch; loaded at the first use, and followed from then on."""
        original = self._load()
        original.outputs = self.outputs
        self._head = original.head
        self._compiled_body.follow(original, compiled=True)
        return original

    @cached_property
    def module(self) -> nn.Module:  # type: ignore[override]
        """The module; see `original`."""
        return self.original.module

    @property
    def device(self) -> torch.device:
        """The CPU, where engines compute."""
        return torch.device("cpu")

    def check_inputs(self, inputs: Tensor) -> None:
        """See `Classifier.check_inputs`; what the family takes."""
        self._family.check_inputs(self, inputs)

    def as_called(self, inputs: Tensor, logits: Tensor | None = None) -> Classifier:
        """See `Classifier.as_called`; of weights as they were read it is known already."""
        return super().as_called(inputs, logits) if "original" in vars(self) else self


def _stored(
    key: str, load: Callable[[], PooledLinearClassifier], engine: Engine, dtype: Dtype
) -> StoredClassifier | None:
    """The classifier that is kept under a key; None where there is none, or it is no good."""
    if (content := find(key)) is None:
        return None
    try:
        facts = StoredFacts.from_bytes(content)
        graph = find(facts.body)
        return None if graph is None else StoredClassifier(facts, graph, load, engine, dtype)
    except Exception:  # a file of somebody else's making may be whole, and no good
        return None
