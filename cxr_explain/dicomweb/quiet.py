"""Keep the libraries beneath from logging what they send: queries name patients, and addresses hold UIDs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("dicomweb_client.web", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")


@contextmanager
def quiet_clients() -> Iterator[None]:
    """Drop what dicomweb-client and urllib3 log in this thread; what else uses them logs as before."""
    this = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != this

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(others)
