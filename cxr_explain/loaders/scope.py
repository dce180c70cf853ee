"""Keep decoders from talking past the Radiograph: no Python warnings, no log lines, no half images."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from PIL import ImageFile

_DECODERS = r"(PIL|pydicom|pylibjpeg|openjpeg|jpeg_ls|gdcm|cxr_explain\.loaders)\b"
_lock = threading.Lock()
_depth = 0
_stack = ExitStack()


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence the decoders while at least one thread is reading.

    pydicom quotes attribute values in warnings and log lines, so they may carry patient data; whatever a
    reviewer should know is recorded on the Radiograph instead. Pillow's switch to accept truncated files,
    which notebooks like to set, is off meanwhile. The state is shared by all reading threads and counted,
    because `warnings.catch_warnings` alone is not safe with threads.
    """
    global _depth
    with _lock:
        if _depth == 0:
            _enter()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _stack.close()


def _enter() -> None:
    _stack.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", module=_DECODERS)
    logger = logging.getLogger("pydicom")
    logger.addFilter(_drop)
    _stack.callback(logger.removeFilter, _drop)
    _stack.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def _drop(_: logging.LogRecord) -> bool:
    return False
