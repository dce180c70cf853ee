"""Which authorities' certificates are trusted."""

from __future__ import annotations

import os
import ssl
from os import PathLike

from cxr_explain.errors import DicomWebError, legible


def check_authorities(file: str | PathLike[str]) -> str:
    """Refuse a file of certificates that cannot be used.

    Args:
        file: in PEM, one certificate or several.

    Raises:
        DicomWebError: no such file, or no certificate in it.

    >>> check_authorities("/dev/null")
    Traceback (most recent call last):
    cxr_explain.errors.DicomWebError: /dev/null: found no certificate that can be read; expected PEM.
    """
    path = os.path.abspath(os.path.expanduser(file))
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise DicomWebError("no certificate that can be read", expected="PEM", source=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DicomWebError(f"no file of certificates ({legible(reason)})", source=path) from None
    return path
