"""The statistics of an audit as a JSON document, and as tables to read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from cxr_explain.audit.sections import sections_of
from cxr_explain.errors import AuditError
from cxr_explain.support.plain_table import PlainTable

STATISTICS_SCHEMA = "cxr-explain/statistics/1"


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
        """What there is to read, as plain tables; see `cxr_explain.audit.sections`."""
        for section in sections_of(self.document):
            yield from section.plain()

    def to_text(self) -> str:
        """For a terminal."""
        return "\n\n".join([*(table.to_text() for table in self.tables()), self._notes()]).rstrip()

    def to_markdown(self) -> str:
        """As GitHub renders it."""
        tables = [table.to_markdown() for table in self.tables()]
        return "\n\n".join([*tables, self._notes()]).rstrip() + "\n"

    def _notes(self) -> str:
        return "\n".join(f"- {note}" for note in self.document["notes"])


def _refuse(constant: str) -> float:
    raise AuditError(f"{constant} in statistics", expected="finite numbers, or null")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)
