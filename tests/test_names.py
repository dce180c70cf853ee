"""A name means one thing: no public class or type is defined in two modules of the package.

What is defined twice all the same stands in `EXCEPTIONS`, with its reason, and the table must equal what is
there.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import cxr_explain

PACKAGE = Path(cxr_explain.__file__).parent

EXCEPTIONS: dict[str, str] = {
    "Agreement": "to be mended: of a prediction with its label (figures), of two maps (measures)",
    "Baseline": "to be mended: what replaces the perturbed pixels, with other choices in cam and measures",
    "Boxes": "to be mended: an array (measures), what a finding's masks give (reference)",
    "Column": "to be mended: a column of a manifest (audit), a column of tissue (phantom)",
    "Device": "to be mended: an option (cli), an implant (phantom)",
    "Entry": "a type variable of look-up tables (loaders), an entry of a manifest (reference)",
    "Field": "to be mended: what the model saw of a radiograph, in audit and study",
    "Geometry": "to be mended: where maps lie on a radiograph, how pixels lie in a file (loaders)",
    "Grid": "to be mended: a function from tokens to a grid (models), a grid of rays (phantom)",
    "Mask": "to be mended: its home is support.arrays",
    "Masks": "to be mended: two files' types of many masks (reference)",
    "Progress": "to be mended: a batch of an audit, functions that are told how far something is",
    "Row": "to be mended: rows of three tables",
    "Rule": "to be mended: a function (cam), an option (cli)",
    "Sex": "of a phantom, with more than its letter; as a manifest has it",
    "Shape": "to be mended: its home is support.arrays",
    "Threshold": "to be mended: measures, twice, with other choices",
    "Voi": "to be mended: an option (cli), what a header has (loaders)",
    "Weights": "to be mended: an option (cli), how often a group was drawn (measures), a file of weights",
}
"""Names that more than one module defines, and why."""


def names_in(source: str) -> Iterator[str]:
    """The public classes and types that a module defines: what begins with a capital and is no constant."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found = [node.name]
        elif isinstance(node, ast.Assign):
            found = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found = [node.target.id]
        else:
            found = []
        yield from (name for name in found if name[0].isupper() and not name.isupper())


def defined_twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """Names, and the modules that define them, where these are two or more."""
    where: dict[str, list[str]] = defaultdict(list)
    for module, source in sources.items():
        for name in dict.fromkeys(names_in(source)):
            where[name].append(module)
    return {name: modules for name, modules in where.items() if len(modules) > 1}


def test_a_name_is_defined_in_one_module() -> None:
    sources = {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    found = defined_twice(sources)
    assert set(found) == set(EXCEPTIONS), {name: found.get(name) for name in set(found) ^ set(EXCEPTIONS)}
    assert all(EXCEPTIONS.values()), "an exception without a reason"


@pytest.mark.parametrize(
    "second", ["class Card: ...", "Card = tuple[str, int]", "Card: type = tuple[str, int]"]
)
def test_a_second_definition_is_seen(second: str) -> None:
    assert defined_twice({"a.py": "class Card: ...\nSIZE = 3", "b.py": f"{second}\nSIZE = 4"}) == {
        "Card": ["a.py", "b.py"]
    }
