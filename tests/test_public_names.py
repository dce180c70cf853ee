"""What the package offers: the names, their docstrings, and a cheap import."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import cxr_explain

PACKAGE = Path(cxr_explain.__file__).parent
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages([str(PACKAGE)], "cxr_explain.")
    if not info.name.endswith("__main__")
)


def test_all_is_sorted_and_importable() -> None:
    names = cxr_explain.__all__

    def kind(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2), name

    assert list(names) == sorted(names, key=kind)
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(cxr_explain, name) is not None
    assert set(names) <= set(dir(cxr_explain))
    assert set(cxr_explain._HOMES) == set(names) - {"__version__"}
    with pytest.raises(AttributeError, match="'cxr_explain' has no attribute 'nothing'"):
        cxr_explain.nothing  # noqa: B018


def test_lazy_names_are_the_ones_type_checkers_see() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: str(node.module).removeprefix("cxr_explain.")
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == cxr_explain._HOMES


def test_the_import_is_cheap() -> None:
    heavy = (
        "torch torchvision torchxrayvision monai numpy matplotlib skimage scipy pandas pydicom PIL requests"
    )
    code = f"import sys, cxr_explain; print([m for m in {heavy.split()} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_has_a_docstring() -> None:
    missing = []
    for name in cxr_explain.__all__:
        value = getattr(cxr_explain, name)
        if inspect.isclass(value) or callable(value):
            missing += [] if inspect.getdoc(value) else [name]
        if inspect.isclass(value):
            missing += [
                f"{name}.{attribute}"
                for attribute, member in vars(value).items()
                if not attribute.startswith("_")
                and (callable(member) or isinstance(member, property | classmethod | staticmethod))
                and not inspect.getdoc(member)
            ]
    assert missing == []


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_each_module_can_be_imported_first(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, capture_output=True)


@pytest.mark.parametrize("module", ["cxr_explain", *MODULES])
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    import torch

    loaded = importlib.import_module(module)
    torch.manual_seed(0)
    results = doctest.testmod(loaded, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
