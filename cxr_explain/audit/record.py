"""What an audit is: everything that its results depend on, so that two runs are never mixed."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, Self

from cxr_explain.chest.segmentation import Segmenter
from cxr_explain.errors import AuditError
from cxr_explain.explaining.calibration import Calibration
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.provenance import ExplainerFacts, other_schema
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.options import RULES, Blanks, LabelPolicy, LabelPolicyLike, NoFinding, Uncertain
from cxr_explain.reference.csv_file import csv_bytes
from cxr_explain.reference.manifest import Manifest
from cxr_explain.support.strict_json import DIGEST, from_plain, is_as_written, read_json, with_digest

SCHEMA = "cxr-explain/audit/5"

_MOST_ROWS = 2**31 - 1  # as the tables number them
_SHA256 = re.compile(r"[0-9a-f]{64}")

REMOVE_AND_RUN_AGAIN = "Remove the file, and run the same `cxr-explain audit` command again."

_FREE_TO_DIFFER = frozenset({"torch version", "engine version", "allow phantom weights"})
"""Scores agree to rounding between versions of the same engine; and what is allowed decides on failures,
which may be tried again."""

_TOLD_BY_DIGEST = frozenset({"tuning", "calibrations"})
"""How operating points came about: two records differ in it where the digest of these differs."""


@dataclass(frozen=True, kw_only=True)
class Record(ExplainerFacts):
    """The identity of an audit, as RUN/run.json keeps it; see `ExplainerFacts` for the explainer's part.

    Args:
        outputs: names of the head's outputs, in its order; '' for those never trained.
        operating_points: one for each output; None without.
        calibrations: one for each output, None without; () where there is none at all.
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
        blanks: what a reference label that is not mentioned counts as in the statistics.
        no_finding: what a positive "No Finding" says of the other pathologies in the statistics.
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
    blanks: Blanks = "ignore"
    no_finding: NoFinding = "ignore"
    calibrations: tuple[Calibration | None, ...] = ()

    @classmethod
    def of(
        cls,
        explainer: Explainer,
        manifest: Manifest,
        asked: RankingSettings | None = None,
        reading: ReadSettings | None = None,
        policy: LabelPolicyLike = "strict",
        segmenter: Segmenter | None = None,
    ) -> Self:
        """Describe an audit before it begins.

        Args:
            explainer: the model and a rule that has a name.
            manifest: the images and their labels; its digest is that of what `write_manifest` would write.
            asked: which pathologies to explain.
            reading: how to read the images; by default as the explainer prepares them.
            policy: what reference labels count as in the statistics.
            segmenter: what finds lungs and thorax; by default the fixed rules.

        Raises:
            OptionError: images that would be read in another way than they are prepared in, or than those on
                which operating points were fitted.
        """
        classifier, facts = explainer.classifier, explainer.facts
        reading = reading or ReadSettings(xrv_compatible=facts.map_settings.xrv_compatible)
        facts.map_settings.check_read_alike(reading.xrv_compatible)
        if explainer.fitted is not None:
            explainer.fitted.check_read_alike(reading)
        return cls(
            **vars(facts),
            outputs=tuple(classifier.pathologies),
            operating_points=tuple(map(_number, explainer.points)),
            calibrations=explainer.calibrations,
            input_size=classifier.input_size,
            ranking_settings=asked or RankingSettings(),
            read_settings=reading,
            **vars(LabelPolicy.of(policy)),
            manifest_sha256=hashlib.sha256(csv_bytes(manifest)).hexdigest(),
            manifest_source=manifest.source,
            rows=len(manifest),
            model_notes=classifier.notes,
            regions=segmenter.name if segmenter else RULES,
            regions_sha256=segmenter.sha256 if segmenter else None,
        )

    @property
    def policy(self) -> LabelPolicy:
        """What reference labels count as in the statistics."""
        return LabelPolicy(self.uncertain, self.blanks, self.no_finding)

    @property
    def pathologies(self) -> tuple[str, ...]:
        """The trained outputs, in the head's order."""
        return tuple(name for name in self.outputs if name)

    @property
    def points(self) -> dict[str, float | None]:
        """The operating point of each trained output."""
        named = zip(self.outputs, self.operating_points, strict=True)
        return {name: point for name, point in named if name}

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of all that it says, by which a part knows the record that it belongs to."""
        return str(self._document[DIGEST])

    @property
    def _document(self) -> dict[str, Any]:
        return with_digest({"schema": SCHEMA, **asdict(self)})

    def to_json(self) -> bytes:
        """As RUN/run.json has it, with a digest of what it says."""
        return (json.dumps(self._document, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read it back.

        Raises:
            AuditError: something else, or a record that was changed since it was written.
        """
        document = None
        try:
            document = read_json(text)
            if not is_as_written(document):
                raise ValueError
            record = from_plain(cls, _fields_of(document), Rule=str)
            _check(record)
            if record.digest != document[DIGEST]:  # a field was left out, or 1 stands for 1.0
                raise ValueError
            return record
        except (AttributeError, ValueError) as error:
            other = other_schema(document)
            is_ours = other == other_schema({"schema": SCHEMA})
            raise AuditError(
                "the record of an audit, changed since it was written"
                if is_ours
                else f"something else than the record of an audit{other}",
                expected=SCHEMA,
                remedy="Run the audit again in a new folder, with this version."
                if other and not is_ours
                else REMOVE_AND_RUN_AGAIN,
            ) from error

    def differing(self, other: Record) -> Iterator[tuple[str, str, str]]:
        """What two audits do not have alike: its name, and the value of this one and of the other, in words.

        Args:
            other: another audit.
        """
        mine, theirs = dict(_flat(self)), dict(_flat(other))
        for name in {**mine, **theirs}:
            if mine.get(name) != theirs.get(name):
                yield name.replace("_", " "), _short(mine.get(name)), _short(theirs.get(name))

    def check_same(self, before: Record) -> None:
        """Refuse to go on with another audit's folder.

        A table whose rows come from two models, or two ways of preprocessing, has no meaning.

        Raises:
            AuditError: names each difference.
        """
        differences = [
            f"{name} ({there} there, {now} now)"
            for name, there, now in before.differing(self)
            if name not in _FREE_TO_DIFFER
        ]
        if differences:
            raise AuditError(
                f"an audit that differs in {'; in '.join(differences)}",
                expected="the options with which it began",
                remedy="Choose another --out, or give the options of the run that is there.",
            )


def _fields_of(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("schema", DIGEST)}


def _check(record: Record) -> None:
    """See that the fields of a record that was read fit one another.

    Raises:
        ValueError: they do not.
    """
    named = record.pathologies
    digests = (
        record.manifest_sha256,
        record.weights_sha256,
        record.regions_sha256,
        record.operating_points_sha256,
    )
    if (record.tuning is None) != (record.operating_points_sha256 is None):
        raise ValueError("operating points of which it is not said how they were fitted")
    fitting = {len(record.operating_points), len(record.calibrations) or len(record.outputs)}
    if fitting != {len(record.outputs)} or len(set(named)) < len(named):
        raise ValueError("outputs that do not fit their operating points, or one another")
    if not 0 <= record.rows <= _MOST_ROWS or not 1 <= record.input_size <= _MOST_ROWS:
        raise ValueError("a number that is out of range")
    if not all(digest is None or _SHA256.fullmatch(digest) for digest in digests):
        raise ValueError("something else than a SHA-256")


def _flat(record: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a record and of the settings in it, under their own names."""
    for item in fields(record):
        value = getattr(record, item.name)
        if is_dataclass(value) and item.name not in _TOLD_BY_DIGEST:
            yield from _flat(value)
        elif item.name not in _TOLD_BY_DIGEST:
            yield item.name, value


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    if _SHA256.fullmatch(text):
        return text[:12]
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(point: float | None) -> float | None:
    return None if point is None or math.isnan(point) else float(point)
