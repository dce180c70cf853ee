"""The reference has every public name and every option, and every name it has an example that runs."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from blocks import blocks_of, pages

import cxr_explain

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import command_line  # noqa: E402 - from docs/_ext

_DIRECTIVE = re.compile(
    r"^\.\. (currentmodule|autofunction|autoclass|autodata|automodule):: (\S+)", re.MULTILINE
)


def documented() -> Iterator[tuple[str, str, str]]:
    """Kind, module and name of every object in the pages of the reference."""
    for page in sorted((DOCS / "reference").rglob("*.md")):
        module = ""
        for kind, name in _DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            if kind in {"currentmodule", "automodule"}:
                module = name
            else:
                yield kind, module, name


DOCUMENTED = sorted(set(documented()))
PACKAGES = (
    "cxr_explain",
    "cxr_explain.pages.audit_report",
    "cxr_explain.integrations.monai",
    "cxr_explain.reference",
    "cxr_explain.phantom",
    "cxr_explain.figures",
)
"""Packages whose `__all__` says what is public."""


def test_every_public_name_is_in_the_reference() -> None:
    there = {name for _, module, name in DOCUMENTED if module == "cxr_explain"} | {"CxrExplainError"}
    assert set(cxr_explain.__all__) - {"__version__"} - there == set()


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_every_public_name_of_a_subpackage_is_in_the_reference(package: str) -> None:
    public = importlib.import_module(package)
    there = {_object(module, name) for kind, module, name in DOCUMENTED if kind != "autodata"}
    missing = [
        name
        for name in public.__all__
        if callable(getattr(public, name)) and getattr(public, name) not in there
    ]
    assert missing == []


def used() -> Iterator[tuple[str, str, str]]:
    """Where notebooks and pages take a name of this package from: the place, the module and the name."""
    for path in sorted((DOCS.parent / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                yield from _names_in(path.name, "".join(cell["source"]))
    for page in pages():
        for block in blocks_of(page):
            if block.language.startswith(("python", "{code-cell}")):
                yield from _names_in(page, block.text)


def _names_in(place: str, code: str) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(ast.parse(re.sub(r"^[%!:].*$", "", code, flags=re.MULTILINE))):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "cxr_explain":
            yield from ((place, str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in ("cxr", "cxr_explain"):
            yield place, "cxr_explain", node.attr


def test_every_name_that_a_notebook_or_a_page_uses_is_in_the_reference() -> None:
    there = [_object(module, name) for _, module, name in DOCUMENTED]
    texts = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").rglob("*.md"))
    whole = re.findall(r"automodule:: (\S+)\n(?!   :no-members:)", texts)
    missing = set()
    for place, module, name in used():
        found = _object(module, name)
        is_there = any(found is each for each in there) or getattr(found, "__module__", module) in whole
        if not is_there and not inspect.ismodule(found) and name != "__version__":
            missing.add((place, f"{module}.{name}"))
    assert missing == set()


@pytest.mark.parametrize(
    ("kind", "module", "name"), DOCUMENTED, ids=lambda part: part.removeprefix("cxr_explain.")
)
def test_what_is_in_the_reference_exists_and_has_an_example(kind: str, module: str, name: str) -> None:
    found = _object(module, name)
    if kind == "autodata" or (inspect.isclass(found) and module not in PACKAGES):
        return  # a result: the function that gives it has the example
    assert ">>>" in _texts(found), f"{module}.{name} has no example in its docstring"


def _object(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _texts(found: Any) -> str:
    """The docstring; of a class, those of its own public methods as well."""
    texts = [found.__doc__ or ""]
    if inspect.isclass(found):
        texts += [
            inspect.getdoc(getattr(found, name)) or "" for name in vars(found) if not name.startswith("_")
        ]
    return "\n".join(texts)


def test_the_page_of_the_command_line_has_every_command_and_every_option() -> None:
    from cxr_explain.cli.app import app

    page = command_line.page_of(app)
    for path, command in _commands(typer.main.get_command(app), "cxr-explain"):
        section = _section(page, path)
        for parameter in command.params:
            if parameter.hidden:
                continue
            for name in (*parameter.opts, *parameter.secondary_opts):
                shown = name if name.startswith("-") else (parameter.metavar or name.upper())
                assert re.search(rf"\{{option\}} .*(?<![\w-]){re.escape(shown)}(?![\w-])", section), (
                    f"{path} {shown}"
                )
            help_text = parameter.help.replace("$", r"\$").replace("`", "")
            assert help_text in section.replace("`", ""), f"{path} {parameter.name}"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every leaf, found in another way than the page finds it."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    for name, child in (inner or {}).items():
        yield from _commands(child, f"{path} {name}")


def _section(page: str, path: str) -> str:
    found = re.search(rf"^#+ `{re.escape(path)}`$(.*?)(?=^#+ `|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"the page has no section on {path}"
    return found[1]


def test_the_page_of_the_command_line_names_defaults_and_choices() -> None:
    from cxr_explain.cli.app import app

    section = _section(command_line.page_of(app), "cxr-explain explain")
    assert "Default: `densenet121-res224-all`." in section
    assert "`joint`, `per-class`, `released`" in section
    assert "At least 1. Default: `5`." in section


def test_the_page_of_the_command_line_is_made_without_torch() -> None:
    import subprocess

    code = (
        f"import sys; sys.path.insert(0, {str(DOCS / '_ext')!r}); import command_line; "
        "from cxr_explain.cli.app import app; command_line.page_of(app); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
