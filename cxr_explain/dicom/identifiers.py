"""Unique identifiers that are the same for the same explanation and settings, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydicom.uid import UID

from cxr_explain.dicom.settings import ObjectSettings
from cxr_explain.dicom.source import Source
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.pathologies import ReferenceLabels

_BITS_OF_A_UUID = 128
_OF_A_PATH = frozenset("/\\")  # which no object says


def uid_of(*what: str) -> UID:
    """A unique identifier derived from texts (PS3.5 B.2: 2.25 and a number of 128 bits).

    >>> uid_of("a") == uid_of("a"), uid_of("a") == uid_of("b"), uid_of("a")[:5]
    (True, False, '2.25.')
    """
    digest = hashlib.sha256("\0".join(what).encode(errors="backslashreplace")).digest()
    return UID(f"2.25.{int.from_bytes(digest[: _BITS_OF_A_UUID // 8])}")


def fingerprint(
    explanation: Explanation, source: Source, labels: ReferenceLabels, settings: ObjectSettings
) -> str:
    """What tells the objects of one explanation from those of any other.

    That is the source, how it was read and explained, by which weights and engine, in which precision, and
    how the objects are made; not when, on which device, by which version of torch or of the engine, or the
    last bits of the scores. Without the digest of a weights file, the numbers
    stand for the model.

    Args:
        explanation: the explanation.
        source: the file that was explained.
        labels: reference labels that the objects show.
        settings: how the objects are made.
    """
    made = {
        key: value
        for key, value in asdict(explanation.provenance).items()
        if key not in ("device", "torch_version", "engine_version")
    }
    said: dict[str, Any] = {
        "source": [str(source.dataset.StudyInstanceUID), str(source.dataset.SOPInstanceUID)],
        "provenance": made,
        "labels": {name: str(state) for name, state in labels.states.items()},
        "labels from": labels.source if labels.states and not set(labels.source) & _OF_A_PATH else None,
        "boxes": [asdict(box) for box in labels.boxes],
        "threshold": settings.threshold,
        "colours": dict(settings.colours or {}),
        "style": _plain(settings.style),
    }
    if explanation.provenance.weights_sha256 is None:
        said["scores"] = [each.probability for each in explanation.ranking.predictions]
        said["maps"] = hashlib.sha256(explanation.class_maps.tobytes()).hexdigest()
    text = json.dumps(said, sort_keys=True, default=_plain, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value if value is None or isinstance(value, str) else repr(value)
