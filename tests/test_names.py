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
    "Entry": "a type variable of look-up tables (loaders), an entry of a manifest (reference)",
    "Sex": "an enumeration that decides how a phantom is built (phantom); a column of a manifest (reference)",
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
