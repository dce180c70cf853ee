"""Optional dependencies, each of which belongs to an extra of this package."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from cxr_explain.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import a module that an extra brings.

    Args:
        module: name of the module, for example "pycocotools.mask".
        extra: name of the extra in pyproject.toml, for example "evaluation".

    Raises:
        MissingExtraError: it is not installed; says what to install.

    >>> require("not_there", "evaluation")
    Traceback (most recent call last):
    cxr_explain.errors.MissingExtraError: found no module not_there; expected the packages ... evaluation...
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"no module {module}",
            expected=f"the packages of the extra {extra}",
            remedy=f"Install them: pip install 'cxr-explain[{extra}]', or '.[{extra}]' in a clone.",
        ) from error
