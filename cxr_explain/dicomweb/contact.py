"""How often in a row a server has failed, so that one that is gone is not asked a thousand times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cxr_explain.errors import DicomWebError

MOST_FAILURES = 3
"""Times in a row that a server may fail before it is taken for gone."""


@dataclass
class Contact:
    """What is known of a server's failures in a run.

    Args:
        failures: how often in a row it has failed.
        gone: the last failure, once there were as many as may be.

    >>> contact = Contact(failures=2)
    >>> with contact.asking():
    ...     raise DicomWebError("no answer")
    Traceback (most recent call last):
    cxr_explain.errors.DicomWebError: no answer.
    >>> str(contact.gone)
    'no answer.'
    """

    failures: int = 0
    gone: DicomWebError | None = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count what fails while a server is asked.

        Raises:
            DicomWebError: as it comes.
        """
        try:
            yield
        except DicomWebError as error:
            self.failures += 1
            if self.failures >= MOST_FAILURES:
                self.gone = error
            raise
        self.failures = 0
