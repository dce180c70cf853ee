"""What the package offers: the names, their docstrings, a cheap import, and stages in one direction."""

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

# Stages of the one path; a module imports only from stages to its left (or from its own).
STAGES = (
    ("_version", "errors", "whole_file"),
    ("_torchvision", "extras", "options", "pathologies", "plain_table", "radiograph", "spreadsheet"),
    ("loaders", "geometry", "reference", "samples", "phantom"),
    ("manifests",),
    ("preprocessing",),
    ("models.weights",),
    ("models",),
    ("ranking",),
    ("cam",),
    ("explanation", "batch_maps"),
    ("explainer",),
    ("evaluation",),
    ("phantom.train", "phantom.validity"),
    ("report",),
    ("study",),
    ("batch",),
    ("audit",),
    ("audit_report",),
    ("integrations",),
    ("terminal",),
    ("commands",),
    ("cli",),
)


def stage(module: str) -> int:
    """Index of the stage of a module of this package; longer names first."""
    name = module.removeprefix("cxr_explain.")
    found = [
        (len(room), index)
        for index, rooms in enumerate(STAGES)
        for room in rooms
        if name == room or name.startswith(room + ".")
    ]
    assert found, f"{module} has no stage"
    return max(found)[1]


def source_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(module: str) -> set[str]:
    """Modules of this package that are imported when `module` is, without those only for type checkers."""
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                visit(node.orelse)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxr_explain"):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    found.add(name if name in MODULES else str(node.module))
            elif isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names if alias.name.startswith("cxr_explain"))
            elif isinstance(node, ast.If | ast.Try | ast.With):
                visit(node.body)

    visit(tree.body)
    return found - {"cxr_explain", module}


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


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_stages_to_its_left(module: str) -> None:
    here = stage(module)
    right = {name for name in imports_of(module) if stage(name) > here}
    assert not right, f"{module} imports {right}, which are to its right"


def test_there_is_no_import_cycle() -> None:
    graph = {module: imports_of(module) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in sorted(graph.get(module, ())):
                if not module.startswith(name + "."):  # a package that is being imported already
                    visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


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
