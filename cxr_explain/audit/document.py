"""The statistics of an audit as a JSON document, and as tables to read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cxr_explain.errors import AuditError
from cxr_explain.support.plain_table import PlainTable

STATISTICS_SCHEMA = "cxr-explain/statistics/1"

NOT_ESTIMABLE = "not estimable"

_AGREEMENT = {
    "auroc": "AUROC", "auprc": "AUPRC", "sensitivity": "sensitivity", "specificity": "specificity",
    "ppv": "PPV", "npv": "NPV", "brier": "Brier", "ece": "ECE",
}  # fmt: skip
_LOCALISATION = {
    "peak_hit": "peak hit", "random_hit": "random peak", "centre_hit": "centre peak",
    "energy": "energy inside", "iobb_0.1": "IoBB > 0.1", "iobb_0.5": "IoBB > 0.5",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics of an audit.

    Args:
        document: as statistics.json has it; all numbers are finite, and None is "not estimable".
    """

    document: Mapping[str, Any]

    def to_json(self) -> bytes:
        """As RUN/statistics.json has it.

        Raises:
            ValueError: a number that is not finite.
        """
        return (json.dumps(self.document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read it back.

        Raises:
            AuditError: something else, or numbers that are not finite.

        >>> Statistics.from_json(b'{"schema": "cxr-explain/statistics/1", "images": NaN}')
        Traceback (most recent call last):
        cxr_explain.errors.AuditError: found NaN in statistics; expected finite numbers, or null.
        """
        try:
            document = json.loads(text, parse_constant=_refuse, parse_float=_finite)
            if document["schema"] != STATISTICS_SCHEMA:
                raise ValueError
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, AuditError):
                raise
            raise AuditError(
                "something else than the statistics of an audit",
                expected=STATISTICS_SCHEMA,
                remedy="Write them again with `cxr-explain stats`.",
            ) from error
        return cls(document)

    def tables(self) -> Iterator[PlainTable]:
        """What there is to read, a table for each section that has a line."""
        yield self._agreement("Discrimination", ("auroc", "auprc"), self._labels_note())
        yield self._agreement(
            "At the operating point",
            ("sensitivity", "specificity", "ppv", "npv"),
            "Positive from it on (>=).",
        )
        yield self._agreement(
            "Calibration of raw sigmoids", ("brier", "ece"), "ECE: 10 bins of equal width. Low is good."
        )
        sections = (self._subgroups(), self._policies(), self._where(), self._localisation())
        yield from (table for table in sections if table.rows)

    def to_text(self) -> str:
        """For a terminal."""
        tables = [table.to_text() for table in self.tables()]
        return "\n\n".join([self._head(), *tables, self._notes()]).rstrip()

    def to_markdown(self) -> str:
        """As GitHub renders it."""
        tables = [table.to_markdown() for table in self.tables()]
        return "\n\n".join([self._head(), *tables, self._notes()]).rstrip() + "\n"

    def _head(self) -> str:
        found = self.document
        return (
            f"{found['images']} images of {found['patients']} patients, {found['failures']} failed. "
            f"In brackets {100 * found['level']:g} % intervals from {found['resamples']} resamples "
            f"of patients, seed {found['seed']}. Uncertain reference labels: {found['policy']}."
        )

    def _notes(self) -> str:
        return "\n".join(f"- {note}" for note in self.document["notes"])

    def _labels_note(self) -> str:
        reasons: dict[str, int] = {}
        for each in self.document["pathologies"]:
            for reason, count in each["excluded"].items():
                reasons[reason] = reasons.get(reason, 0) + count
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        return f"Reference labels that count as neither: {told}." if told else ""

    def _agreement(self, title: str, names: Sequence[str], note: str) -> PlainTable:
        rows = [
            [each["pathology"], str(each["positive"]), str(each["negative"]), *_texts(each, names)]
            for each in self.document["pathologies"]
        ]
        header = ("pathology", "positive", "negative", *(_AGREEMENT[name] for name in names))
        return PlainTable(title, header, rows, note)

    def _subgroups(self) -> PlainTable:
        names = ("auroc", "sensitivity", "specificity")
        rows = [
            [
                f"{each['column']}: {each['value']}",
                each["pathology"],
                f"{each['positive']}{' *' if each['small'] else ''}",
                str(each["negative"]),
                *_texts(each, names),
            ]
            for each in self.document["subgroups"]
        ]
        header = ("subgroup", "pathology", "positive", "negative", *(_AGREEMENT[name] for name in names))
        small = self.document["small"]
        return PlainTable(
            "Subgroups", header, rows, f"* fewer than {small} positives, or negatives: not to rely on."
        )

    def _policies(self) -> PlainTable:
        names = ("auroc", "auprc", "sensitivity", "specificity")
        rows = [
            [
                each["pathology"],
                each["policy"],
                str(each["positive"]),
                str(each["negative"]),
                *_texts(each, names),
            ]
            for each in self.document["policies"]
        ]
        header = ("pathology", "uncertain", "positive", "negative", *(_AGREEMENT[name] for name in names))
        return PlainTable("What uncertain reference labels count as", header, rows)

    def _where(self) -> PlainTable:
        rows = [
            [
                each["share"].replace("_", " "),
                str(each["images"]),
                str(each["missing"]),
                estimate_text(each["estimate"]),
                *(_number(each["quantiles"][level]) for level in ("0.05", "0.5", "0.95")),
                f"{each['flagged']} (>= {each['threshold']:g})",
            ]
            for each in self.document["where"]
        ]
        header = ("share of the saliency", "images", "missing", "mean", "5 %", "median", "95 %", "flagged")
        return PlainTable("Where the model looks", header, rows)

    def _localisation(self) -> PlainTable:
        rows = [
            [each["pathology"], str(each["images"]), *_texts(each, tuple(_LOCALISATION))]
            for each in self.document["localisation"]
        ]
        note = "Class maps of the outlined pathologies; a random peak and the centre are for comparison."
        return PlainTable("Localisation", ("pathology", "images", *_LOCALISATION.values()), rows, note)


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """One estimate with its interval.

    >>> estimate_text({"value": 0.5, "low": 0.25, "high": 0.75})
    '0.500 (0.250 to 0.750)'
    >>> estimate_text({"value": 1.0, "low": None, "high": None})
    '1.000 (no interval)'
    >>> estimate_text({"value": None, "low": None, "high": None})
    'not estimable'
    """
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return NOT_ESTIMABLE
    return f"{value:.3f} ({'no interval' if low is None else f'{low:.3f} to {high:.3f}'})"


def _texts(each: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [estimate_text(each["estimates"][name]) for name in names]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _refuse(constant: str) -> float:
    raise AuditError(f"{constant} in statistics", expected="finite numbers, or null")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)
