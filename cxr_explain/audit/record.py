"""What an audit is: everything that its results depend on, so that two runs are never mixed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from cxr_explain._version import __version__
from cxr_explain.errors import AuditError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.options import RankBy, Uncertain
from cxr_explain.reference.csv_file import csv_bytes
from cxr_explain.reference.manifest import Manifest

SCHEMA = "cxr-explain/audit/1"

_FREE_TO_DIFFER = frozenset({"torch_version"})  # scores agree to rounding; what else differs is refused


@dataclass(frozen=True)
class Ask:
    """What is asked of each radiograph.

    Args:
        top_k: K.
        rank_by: see `Explainer.explain`.
        pathologies: consider these alone; all with None.
        above_operating_point: see `Explainer.explain`.
        read_options: passed on to `read_radiograph`.
        uncertain: what an uncertain reference label counts as in the statistics.
    """

    top_k: int = 5
    rank_by: RankBy = "probability"
    pathologies: tuple[str, ...] | None = None
    above_operating_point: bool = False
    read_options: Mapping[str, Any] = field(default_factory=dict)
    uncertain: Uncertain = "ignore"

    @property
    def ranking_options(self) -> dict[str, Any]:
        """As `Explainer.explain_batch` takes them."""
        return {
            "top_k": self.top_k,
            "rank_by": self.rank_by,
            "pathologies": self.pathologies,
            "above_operating_point": self.above_operating_point,
        }


@dataclass(frozen=True)
class Record:
    """The identity of an audit, as RUN/run.json keeps it.

    Args:
        package_version: of cxr_explain.
        torch_version: of torch, at the beginning.
        model: the classifier's name.
        weights_sha256: hexadecimal digest of the weights file.
        training_sets: data sets the weights were trained on, where known.
        phantom_only: the model has seen phantoms and no radiograph.
        outputs: names of the head's outputs, in its order; '' for those never trained.
        operating_points: one for each output; None without.
        input_size: side of the model's input in pixels.
        target_layer: the layer whose activations carry the maps.
        method: the rule's name.
        method_title: as its paper writes it.
        method_settings: the rule's options.
        fused: see `Explainer`.
        normalisation: of the fusion.
        activation: of the fusion.
        fit: see `Explainer`.
        xrv_compatible: see `Explainer`.
        dtype: arithmetic of the forward pass.
        ask: what is asked of each radiograph.
        manifest_sha256: of the manifest's bytes.
        manifest_source: the data set and what was read of it, in words.
        rows: of the manifest.
    """

    package_version: str
    torch_version: str
    model: str
    weights_sha256: str | None
    training_sets: tuple[str, ...]
    phantom_only: bool
    outputs: tuple[str, ...]
    operating_points: tuple[float | None, ...]
    input_size: int
    target_layer: str
    method: str
    method_title: str
    method_settings: str
    fused: bool
    normalisation: str
    activation: str
    fit: str
    xrv_compatible: bool
    dtype: str
    ask: Ask
    manifest_sha256: str
    manifest_source: str
    rows: int

    @classmethod
    def of(cls, explainer: Explainer, ask: Ask, manifest: Manifest) -> Self:
        """Describe an audit before it begins.

        Args:
            explainer: with a rule that has a name.
            ask: what is asked of each radiograph.
            manifest: of the data set; its digest is of what `write_manifest` would write.
        """
        import hashlib

        import torch

        classifier, rule = explainer.classifier, explainer.rule
        return cls(
            package_version=__version__,
            torch_version=torch.__version__,
            model=classifier.name,
            weights_sha256=classifier.weights_sha256,
            training_sets=tuple(classifier.training_sets),
            phantom_only=classifier.phantom_only,
            outputs=tuple(classifier.pathologies),
            operating_points=tuple(map(_number, classifier.operating_points)),
            input_size=classifier.input_size,
            target_layer=", ".join(explainer.target_layers) or classifier.target_layer,
            method=str(explainer.method),
            method_title=rule.title,
            method_settings=rule.settings,
            fused=explainer.fused,
            normalisation=explainer.normalisation,
            activation=explainer.activation,
            fit=explainer.fit,
            xrv_compatible=explainer.xrv_compatible,
            dtype=explainer.dtype,
            ask=ask,
            manifest_sha256=hashlib.sha256(csv_bytes(manifest)).hexdigest(),
            manifest_source=manifest.source,
            rows=len(manifest),
        )

    @property
    def pathologies(self) -> tuple[str, ...]:
        """The trained outputs, in the head's order."""
        return tuple(name for name in self.outputs if name)

    @property
    def points(self) -> dict[str, float | None]:
        """The operating point of each trained output."""
        named = zip(self.outputs, self.operating_points, strict=True)
        return {name: point for name, point in named if name}

    def to_json(self) -> bytes:
        """As RUN/run.json has it."""
        document = {"schema": SCHEMA, **asdict(self)}
        return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read it back.

        Raises:
            AuditError: something else.
        """
        try:
            document = json.loads(text)
            if document.pop("schema") != SCHEMA:
                raise ValueError
            ask = document.pop("ask")
            return cls(**_tuples(document), ask=Ask(**_tuples(ask)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AuditError("something else than the record of an audit", expected=SCHEMA) from error

    def check_same(self, before: Record) -> None:
        """Refuse to go on with another audit's folder.

        Raises:
            AuditError: names each difference.

        Source:
            A table whose rows come from two models, or two ways of preprocessing, has no meaning.
        """
        differences = [*_differences(before, self), *_differences(before.ask, self.ask)]
        if differences:
            raise AuditError(
                f"an audit that differs in {'; in '.join(differences)}",
                expected="the options with which it began",
                remedy="Choose another --out, or give the options of the run that is there.",
            )


def _differences(before: Any, now: Any) -> list[str]:
    """In words, the fields in which two records differ."""
    found = []
    for item in fields(before):
        old, new = getattr(before, item.name), getattr(now, item.name)
        if old != new and item.name not in _FREE_TO_DIFFER and item.name != "ask":
            found.append(f"{item.name.replace('_', ' ')} ({_short(old)} there, {_short(new)} now)")
    return found


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(point: float | None) -> float | None:
    return None if point is None or math.isnan(point) else float(point)


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
