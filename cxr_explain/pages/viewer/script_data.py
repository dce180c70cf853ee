"""Data for scripts: a page that was opened from a disk may not fetch files, but may load scripts.

A script holds one call with JSON text in it; a page by itself holds the text. All that is not ASCII, and the
signs that HTML reads, are written as escapes: no name can end the script, open a tag or break a line,
whatever it holds.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u007f": "\\u007f"}
_TYPES = {"int8": "i1", "uint8": "u1", "int16": "i2", "int32": "i4", "float32": "f4"}


def safe_json(value: Any) -> str:
    r"""A value as JSON that may stand within a script's element.

    Args:
        value: a value of JSON's types, with finite numbers only.

    >>> safe_json(["</script>\u2028", None])
    '["\\u003c/script\\u003e\\u2028",null]'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign, escape in _ESCAPED.items():
        text = text.replace(sign, escape)
    return text


def as_script(name: str, value: Any) -> bytes:
    r"""A script that hands a value to the report's page.

    Args:
        name: name of the value, of letters, digits and hyphens.
        value: a value of JSON's types, with finite numbers only.

    >>> as_script("a", [1, None]).decode()
    'CXR.receive("a",[1,null]);\n'
    """
    return f'CXR.receive("{name}",{safe_json(value)});\n'.encode("ascii")


def column(values: ArrayLike, kind: str) -> dict[str, str]:
    """An array as the page reads it into a typed array: little-endian bytes in base64.

    Args:
        values: numbers in row-major order; NaN is allowed here, and is "no value" to the page.
        kind: the type of the numbers: "int8", "uint8", "int16", "int32" or "float32".

    >>> column([1, 2], "int8")
    {'type': 'i1', 'data': 'AQI='}
    """
    array = np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<"))
    return {"type": _TYPES[kind], "data": base64.b64encode(array.tobytes()).decode("ascii")}
