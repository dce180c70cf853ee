"""Which algorithm made the objects, as DICOM says it (PS3.16 TID 4019 and TID 1004)."""

from __future__ import annotations

from collections.abc import Iterator

from highdicom.sr import AlgorithmIdentification, DeviceObserverIdentifyingAttributes
from pydicom.sr.codedict import codes

from cxr_explain.dicom.codes import plain
from cxr_explain.dicom.content import MANUFACTURER, MODEL_NAME, ObjectContent
from cxr_explain.dicom.equipment import device_uid
from cxr_explain.figures.texts import (
    engine_text,
    fusion_text,
    probability_text,
    ranked_by_text,
    training_text,
)


def algorithm(content: ObjectContent, *, is_brief: bool = False) -> AlgorithmIdentification:
    """Name, version and parameters of the algorithm (PS3.16 TID 4019).

    Args:
        content: what the objects are made from.
        is_brief: no more parameters than the weights, K and the rule.
    """
    made = content.explanation.provenance
    parameters = [*_essentials(content), *(() if is_brief else _further(content))]
    return AlgorithmIdentification(
        name=plain(f"{made.method}, {made.model}"),
        version=plain(f"cxr-explain {made.package_version}"),
        parameters=[plain(text) for text in parameters],
        family=codes.cid7162.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )


def device_observer(content: ObjectContent) -> DeviceObserverIdentifyingAttributes:
    """The device that observed: the model, whose identifier changes with its weights (PS3.16 TID 1004).

    Args:
        content: what the objects are made from.
    """
    made = content.explanation.provenance
    return DeviceObserverIdentifyingAttributes(
        uid=device_uid(content),
        name=plain(made.model),
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
        serial_number=content.serial_number,
    )


def _essentials(content: ObjectContent) -> Iterator[str]:
    explanation = content.explanation
    made, ranking = explanation.provenance, explanation.ranking
    yield f"weights {made.model}, SHA-256 {made.weights_sha256 or 'unknown: given as an object'}"
    yield f"K = {ranking.k}, ranked by {ranked_by_text(ranking.by, made.probability_kind)}"
    rule = f"{made.rule_title} ({made.rule_settings})" if made.rule_settings else made.rule_title
    yield f"rule: {rule}; fusion: {fusion_text(made.map_settings, ranking.k)}"


def _further(content: ObjectContent) -> Iterator[str]:
    made = content.explanation.provenance
    yield f"target layer: {made.target_layer}; gradient: {made.gradient}"
    yield f"threshold of regions: {100 * content.settings.threshold:g} % of a pathology's peak"
    yield f"probability: {probability_text(made.probability_kind)}"
    yield f"trained on: {training_text(made.training_sets, phantom_only=made.phantom_only)}"
    engine = engine_text(made) or f"torch {made.torch_version}"
    yield f"forward pass: {made.map_settings.dtype}, by {engine}"
    yield f"fit: {made.map_settings.fit}; preprocessing: {'; '.join(made.steps)}"
    if not content.source.is_deidentified:
        yield f"radiograph: SHA-256 {made.radiograph_sha256}"
