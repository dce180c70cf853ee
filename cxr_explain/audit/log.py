"""The log of an audit: a line for each thing that happened, with its time; no paths, nothing of a header."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from cxr_explain.audit.place import LocalPlace, Place, as_output_error

LOG = "audit.log"


class Log:
    """Writes RUN/audit.log line by line; in an object store, a separate file for each run, when it ends.

    Args:
        place: the run's folder.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines and not isinstance(self._place, LocalPlace):
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
            self._place.write(f"logs/{stamp}.log", "".join(self._lines).encode())

    def __call__(self, text: str) -> None:
        """Write one line."""
        line = f"{datetime.now(UTC).isoformat(timespec='seconds')} {' '.join(text.split())}\n"
        if isinstance(self._place, LocalPlace):
            path = self._place.path(LOG)
            with as_output_error(path), path.open("a", encoding="utf-8") as file:
                file.write(line)
        else:
            self._lines.append(line)
