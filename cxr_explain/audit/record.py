"""What an audit is: everything that its results depend on, so that two runs are never mixed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Self

from cxr_explain.chest.segmentation import Segmenter
from cxr_explain.errors import AuditError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.provenance import ExplainerFacts, from_plain, other_schema
from cxr_explain.explaining.settings import MapSettings, RankingSettings
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.options import RULES, Uncertain
from cxr_explain.reference.csv_file import csv_bytes
from cxr_explain.reference.manifest import Manifest

SCHEMA = "cxr-explain/audit/2"

_FREE_TO_DIFFER = frozenset({"torch_version", "allow_phantom_weights"})
"""Scores agree to rounding; and what is allowed decides on failures, which may be tried again."""


@dataclass(frozen=True, kw_only=True)
class Record(ExplainerFacts):
    """The identity of an audit, as RUN/run.json keeps it; see `ExplainerFacts` for the explainer's part.

    Args:
        outputs: names of the head's outputs, in its order; '' for those never trained.
        operating_points: one for each output; None without.
        input_size: side of the model's input in pixels.
        ranking_settings: which pathologies are explained.
        read_settings: how the images are read.
        uncertain: what an uncertain reference label counts as in the statistics.
        manifest_sha256: hexadecimal digest of the manifest's bytes.
        manifest_source: the data set and what was read of it, in words.
        rows: number of rows of the manifest.
        model_notes: what a reader should know of the model.
        regions: what finds lungs and thorax: "rules", or the name of a segmentation network's weights.
        regions_sha256: hexadecimal digest of these weights.
    """

    outputs: tuple[str, ...]
    operating_points: tuple[float | None, ...]
    input_size: int
    ranking_settings: RankingSettings
    read_settings: ReadSettings
    uncertain: Uncertain
    manifest_sha256: str
    manifest_source: str
    rows: int
    model_notes: tuple[str, ...] = ()
    regions: str = RULES
    regions_sha256: str | None = None

    @classmethod
    def of(
        cls,
        explainer: Explainer,
        manifest: Manifest,
        asked: RankingSettings | None = None,
        reading: ReadSettings | None = None,
        uncertain: Uncertain = "ignore",
        segmenter: Segmenter | None = None,
    ) -> Self:
        """Describe an audit before it begins.

        Args:
            explainer: the model and a rule that has a name.
            manifest: the images and their labels; its digest is that of what `write_manifest` would write.
            asked: which pathologies to explain.
            reading: how to read the images; by default as the explainer prepares them.
            uncertain: what an uncertain reference label counts as in the statistics.
            segmenter: what finds lungs and thorax; by default the fixed rules.

        Raises:
            OptionError: images that would be read in another way than they are prepared in.
        """
        classifier, facts = explainer.classifier, explainer.facts
        reading = reading or ReadSettings(xrv_compatible=facts.map_settings.xrv_compatible)
        facts.map_settings.check_read_alike(reading.xrv_compatible)
        return cls(
            **vars(facts),
            outputs=tuple(classifier.pathologies),
            operating_points=tuple(map(_number, classifier.operating_points)),
            input_size=classifier.input_size,
            ranking_settings=asked or RankingSettings(),
            read_settings=reading,
            uncertain=uncertain,
            manifest_sha256=hashlib.sha256(csv_bytes(manifest)).hexdigest(),
            manifest_source=manifest.source,
            rows=len(manifest),
            model_notes=classifier.notes,
            regions=segmenter.name if segmenter else RULES,
            regions_sha256=segmenter.sha256 if segmenter else None,
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
        document = None
        try:
            document = json.loads(text)
            if document.get("schema") != SCHEMA:
                raise ValueError
            document.pop("schema")
            return from_plain(
                cls,
                document,
                map_settings=MapSettings,
                ranking_settings=RankingSettings,
                read_settings=ReadSettings,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AuditError(
                f"something else than the record of an audit{other_schema(document)}",
                expected=SCHEMA,
                remedy="Run the audit again in a new folder, with this version.",
            ) from error

    def check_same(self, before: Record) -> None:
        """Refuse to go on with another audit's folder.

        A table whose rows come from two models, or two ways of preprocessing, has no meaning.

        Raises:
            AuditError: names each difference.
        """
        there, now = dict(_flat(before)), dict(_flat(self))
        differences = [
            f"{name.replace('_', ' ')} ({_short(there[name])} there, {_short(now[name])} now)"
            for name in now
            if there[name] != now[name] and name not in _FREE_TO_DIFFER
        ]
        if differences:
            raise AuditError(
                f"an audit that differs in {'; in '.join(differences)}",
                expected="the options with which it began",
                remedy="Choose another --out, or give the options of the run that is there.",
            )


def _flat(record: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a record and of the settings in it, under their own names."""
    for item in fields(record):
        value = getattr(record, item.name)
        if is_dataclass(value):
            yield from _flat(value)
        else:
            yield item.name, value


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(point: float | None) -> float | None:
    return None if point is None or math.isnan(point) else float(point)
