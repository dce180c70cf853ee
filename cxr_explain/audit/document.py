"""The statistics of an audit as a JSON document, and as tables to read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from cxr_explain.audit.sections import sections_of
from cxr_explain.audit.sections.headline import Headline
from cxr_explain.display import html_of
from cxr_explain.errors import AuditError
from cxr_explain.support.markdown import as_text
from cxr_explain.support.plain_table import PlainTable
from cxr_explain.support.strict_json import DIGEST, is_as_written, read_json, with_digest

STATISTICS = "statistics.json"
"""Its name in the folder of a run."""

STATISTICS_SCHEMA = "cxr-explain/statistics/4"


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics of an audit.

    Args:
        document: as statistics.json has it; all numbers are finite, and None is "not estimable".
    """

    document: Mapping[str, Any]

    def to_json(self) -> bytes:
        """As RUN/statistics.json has it, with a digest of what it says as the last entry.

        Raises:
            ValueError: a number that is not finite.
        """
        document = with_digest(self.document)
        text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        return text.encode(errors="backslashreplace")  # a name that is no valid Unicode becomes JSON's escape

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read it back.

        Raises:
            AuditError: something else, or statistics that were changed since they were written.

        >>> Statistics.from_json(b'{"schema": "cxr-explain/statistics/4", "images": 3}')
        Traceback (most recent call last):
        cxr_explain.errors.AuditError: found something else than the statistics of an audit (changed since...
        """
        try:
            document = read_json(text)
            if document["schema"] != STATISTICS_SCHEMA:
                raise ValueError("another schema")
            if not is_as_written(document):
                raise ValueError("changed since they were written")
            document.pop(DIGEST)
            found = cls(document)
            found.to_text()
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            said = str(error) if type(error) is ValueError else "other entries"
            raise AuditError(
                f"something else than the statistics of an audit ({said})",
                expected=STATISTICS_SCHEMA,
                remedy="Write them again with `cxr-explain stats`.",
            ) from error
        return found

    @property
    def headline(self) -> Headline:
        """What the audit found."""
        return Headline.of(self.document)

    def tables(self) -> Iterator[PlainTable]:
        """What there is to read, as plain tables; see `cxr_explain.audit.sections`."""
        for section in sections_of(self.document):
            yield from section.plain()

    def brief(self) -> str:
        """The headline and what must be known of it, for a terminal."""
        return "\n\n".join([self.headline.to_text(), self._notes()]).rstrip()

    def to_text(self) -> str:
        """For a terminal, the headline first."""
        tables = (table.to_text() for table in self.tables())
        return "\n\n".join([self.headline.to_text(), *tables, self._notes()]).rstrip()

    def to_markdown(self) -> str:
        """As GitHub renders it, the headline first."""
        tables = [table.to_markdown() for table in self.tables()]
        return "\n\n".join([self.headline.to_markdown(), *tables, as_text(self._notes())]).rstrip() + "\n"

    def _repr_html_(self) -> str:
        return html_of(self)

    def _notes(self) -> str:
        return "\n".join(f"- {note}" for note in self.document["notes"])
