"""The rooms of the package, in the order in which they may know each other.

A module imports from its own room and from rooms above it. Imports inside functions count, and those for
type checkers alone: whoever names a type knows it. What goes against the direction stands in `EXCEPTIONS`,
with its reason, and the table must equal what is there.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import cxr_explain

PACKAGE = Path(cxr_explain.__file__).parent

NOUNS = ("_version", "errors", "options", "pathologies", "display", "radiograph", "geometry")
"""Modules that are rooms of their own, before all others."""

ROOMS = (
    *NOUNS,
    "support",
    "loaders",
    "dicomweb",
    "weights",
    "models",
    "engines",
    "reference",
    "cam",
    "explaining",
    "measures",
    "chest",
    "figures",
    "dicom",
    "phantom",
    "study",
    "audit",
    "pages",
    "integrations",
    "cli",
)
"""From what knows nothing to what knows everything."""

DOORS = ("cxr_explain", "cxr_explain.__main__")
"""Public names, and `python -m cxr_explain`: they open every room, and no room imports them."""

EXCEPTIONS: dict[tuple[str, str], str] = {
    (
        "cxr_explain.display",
        "chest",
    ): "`Explanation.with_places`: whoever has an explanation wants to read where its evidence lies",
    (
        "cxr_explain.display",
        "dicom",
    ): "`Explanation.to_dicom`: whoever has an explanation wants it in a PACS",
    ("cxr_explain.display", "figures"): "`Explanation.figure`: whoever has an explanation wants its figure",
    ("cxr_explain.display", "pages"): "what a notebook shows of an object, asked of the object itself",
}
"""(importing module, room it imports from) against the direction, and why."""

MODULES = sorted(
    {"cxr_explain"} | {info.name for info in pkgutil.walk_packages([str(PACKAGE)], "cxr_explain.")}
)


def room_of(module: str) -> int:
    """The place of a module's room in `ROOMS`."""
    return ROOMS.index(module.split(".")[1])


def source_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_in(source: str) -> Iterator[str]:
    """Every module of the package that a source imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "cxr_explain")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import, which this test cannot follow"
            if (node.module or "").split(".")[0] == "cxr_explain":
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    yield name if name in MODULES else str(node.module)


@cache
def imports_of(module: str) -> tuple[str, ...]:
    """`imports_in` the source of a module, which is read once."""
    return tuple(imports_in(source_of(module).read_text(encoding="utf-8")))


def against_the_direction(module: str, imports: Iterable[str]) -> set[tuple[str, str]]:
    """The rooms further down the list, or the front door, of a module's imports."""
    if module in DOORS:
        return set()
    return {
        (module, name if name in DOORS else ROOMS[room_of(name)])
        for name in imports
        if name in DOORS or room_of(name) > room_of(module)
    }


def rooms_and_imports() -> tuple[tuple[str, ...], Counter[tuple[str, str]]]:
    """The rooms, the nouns as one, and how many modules of one import from another; for the picture."""
    rooms = ("nouns", *ROOMS[len(NOUNS) :])

    def shown(module: str) -> str:
        name = module.split(".")[1]
        return "nouns" if name in NOUNS else name

    pairs = {
        (module, shown(module), shown(name))
        for module in MODULES
        if module not in DOORS
        for name in imports_of(module)
    }
    return rooms, Counter((room, other) for _, room, other in pairs if room != other)


def graph() -> dict[str, set[str]]:
    """What each module imports, but for the exceptions."""
    return {
        module: {
            name
            for name in imports_of(module)
            if name not in DOORS and (module, ROOMS[room_of(name)]) not in EXCEPTIONS
        }
        for module in MODULES
        if module not in DOORS
    }


def test_every_module_is_in_a_room_and_every_room_is_there() -> None:
    found = {module.split(".")[1] for module in MODULES if module not in DOORS}
    assert found == set(ROOMS)


def test_what_goes_against_the_direction_is_the_table_of_exceptions() -> None:
    found = set[tuple[str, str]]()
    for module in MODULES:
        found |= against_the_direction(module, imports_of(module))
    assert found == set(EXCEPTIONS)
    assert all(EXCEPTIONS.values()), "an exception without a reason"


@pytest.mark.parametrize(
    "planted",
    [
        "def late():\n    from cxr_explain.figures.figure import draw_explanation\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import cxr_explain.audit.run\n",
        "class Late:\n    @property\n    def of(self):\n        from cxr_explain.cli import main\n",
        "def late():\n    from cxr_explain import Explainer\n",
    ],
)
def test_an_import_against_the_direction_is_seen_wherever_it_stands(planted: str) -> None:
    assert against_the_direction("cxr_explain.explaining.ranking", imports_in(planted))


def test_rooms_have_no_circle_and_neither_have_modules() -> None:
    edges = graph()
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in sorted(edges.get(module, ())):
                if not module.startswith(name + "."):  # a package that is being imported already
                    visit(name, (*path, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def test_the_picture_of_the_rooms_is_of_the_imports_that_are_there() -> None:
    sys.path.insert(0, str(PACKAGE.parent / "docs" / "_ext"))
    import architecture

    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.draw(), (
        "draw it anew: python docs/_ext/architecture.py"
    )


def test_the_page_on_the_architecture_names_the_rooms_in_their_order() -> None:
    page = (PACKAGE.parent / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE) == list(ROOMS[len(NOUNS) :])
