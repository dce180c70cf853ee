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


LAZY = ("cxr_explain", "cxr_explain.reference")
"""Packages whose names are loaded at their first use."""


@pytest.mark.parametrize("package", LAZY)
def test_every_lazy_name_is_importable(package: str) -> None:
    public = importlib.import_module(package)
    assert len(set(public.__all__)) == len(public.__all__) > 10
    for name in public.__all__:
        assert getattr(public, name) is not None
    assert set(public.__all__) <= set(dir(public))
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'nothing'"):
        public.nothing  # noqa: B018


@pytest.mark.parametrize("package", LAZY)
def test_lazy_names_are_the_ones_type_checkers_see(package: str) -> None:
    public = importlib.import_module(package)
    tree = ast.parse(Path(public.__file__ or "").read_text(encoding="utf-8"))
    seen = {
        (str(node.module).removeprefix(f"{package}."), alias.asname)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == {(module, name) for module, names in public._HOMES.items() for name in names}


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
