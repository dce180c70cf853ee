"""Keep decoders from talking past the Radiograph: no Python warnings, no log lines, no half images.

And keep the process's switches out of the result: a file reads the same, whatever pydicom and Pillow are set
to.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from PIL import ImageFile

_DECODERS = r"(PIL|pydicom|highdicom|pylibjpeg|openjpeg|jpeg_ls|gdcm|cxr_explain\.loaders)\b"
_PYDICOM_CONFIG: Final[dict[str, Any]] = {
    "use_DS_decimal": False,
    "use_DS_numpy": False,
    "use_IS_numpy": False,
    "allow_DS_float": False,
    "enforce_valid_values": False,
    "datetime_conversion": False,
    "convert_wrong_length_to_UN": False,
    "use_none_as_empty_text_VR_value": False,
    "replace_un_with_known_vr": True,
    "assume_implicit_vr_switch": True,
    "INVALID_KEYWORD_BEHAVIOR": "WARN",
    "INVALID_KEY_BEHAVIOR": "WARN",
    "data_element_callback": None,
}
_PYDICOM_SETTINGS: Final[dict[str, Any]] = {"_reading_validation_mode": 1, "_infer_sq_for_un_vr": True}
_lock = threading.Lock()
_depth = 0
_pinned = False
_stack = ExitStack()


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence the decoders while at least one thread is reading.

    pydicom quotes attribute values in warnings and log lines, so they may carry patient data; whatever a
    reviewer should know is recorded on the Radiograph instead. Pillow's switch to accept truncated files,
    which notebooks like to set, is off meanwhile, and pydicom's settings (numbers as NumPy arrays, strict
    reading, hooks) are its defaults. The state is shared by all reading threads and counted, because
    `warnings.catch_warnings` alone is not safe with threads.
    """
    global _depth, _pinned
    with _lock:
        if _depth == 0:
            _enter()
        if not _pinned and hasattr(sys.modules.get("pydicom"), "dcmread"):
            _pin_pydicom()
            _pinned = True
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _stack.close()
                _pinned = False


def _enter() -> None:
    _stack.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", module=_DECODERS)
    logger = logging.getLogger("pydicom")
    logger.addFilter(_drop)
    _stack.callback(logger.removeFilter, _drop)
    _set(ImageFile, "LOAD_TRUNCATED_IMAGES", False)


def _pin_pydicom() -> None:
    """Set what changes pydicom's reading to its defaults, and count; a raster can do without."""
    from pydicom import config, filereader, hooks, valuerep, values

    from cxr_explain.loaders import metered

    for name, value in _PYDICOM_CONFIG.items():
        _set(config, name, value)
    for name, value in _PYDICOM_SETTINGS.items():
        _set(config.settings, name, value)
    _set(valuerep, "DSclass", valuerep.DSfloat)
    _set(hooks.hooks, "raw_element_vr", hooks.raw_element_vr)
    _set(hooks.hooks, "raw_element_value", metered.HOOK)
    _set(hooks.hooks, "raw_element_kwargs", {})
    _set(filereader, "zlib", metered.ZLIB)
    _set(filereader, "DicomBytesIO", metered.MeteredBytes)
    _set(values, "BytesIO", metered.MeteredBytes)


def _set(owner: Any, name: str, value: object) -> None:
    """Set an attribute until the last reader is done."""
    _stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


def _drop(_: logging.LogRecord) -> bool:
    return False
