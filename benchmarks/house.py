"""How large the package is, and how often it repeats itself: lines, modules, functions, passages.

    python -m benchmarks.house [FOLDER]

A line of code is one that is neither blank nor part of a docstring. A function's length is counted in such
lines. A repeated passage is a run of six or more lines of code that stands, the same but for white space, in
two places.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "cxr_explain"
SHORTEST_PASSAGE = 6


def docstring_lines(tree: ast.AST) -> set[int]:
    """Lines of bare strings: docstrings of modules, classes, functions, and of names below them."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
        for line in range(statement.lineno, (statement.end_lineno or 0) + 1)
    }


def code_of(path: Path) -> tuple[dict[int, str], ast.Module]:
    """Line numbers and stripped text of the lines of code, and the tree."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    strings = docstring_lines(tree)
    lines = enumerate(text.splitlines(), start=1)
    return {at: line.strip() for at, line in lines if line.strip() and at not in strings}, tree


def function_lengths(code: dict[int, str], tree: ast.Module) -> Iterator[int]:
    """Lines of code of every function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield sum(line in code for line in range(node.lineno, (node.end_lineno or 0) + 1))


def passages(files: dict[Path, dict[int, str]]) -> int:
    """How many runs of lines stand in two places; a longer run counts once."""
    places: dict[tuple[str, ...], list[tuple[Path, int]]] = defaultdict(list)
    for path, code in files.items():
        lines = [
            line for line in code.values() if len(line) > 2 and not line.startswith(("#", "from ", "import "))
        ]
        for at in range(len(lines) - SHORTEST_PASSAGE + 1):
            places[tuple(lines[at : at + SHORTEST_PASSAGE])].append((path, at))
    pairs = {
        (one, other)
        for found in places.values()
        for number, one in enumerate(found)
        for other in found[number + 1 :]
    }
    return sum(((a, i - 1), (b, j - 1)) not in pairs for (a, i), (b, j) in pairs)


def main(package: Path) -> None:
    """Print the figures."""
    files, lengths, rooms = {}, [], defaultdict[str, int](int)
    for path in sorted(package.rglob("*.py")):
        files[path], tree = code_of(path)
        lengths += function_lengths(files[path], tree)
        room = path.relative_to(package).parts[0]
        rooms["the nouns" if room.endswith(".py") else room] += len(files[path])
    lengths.sort()
    print(f"{len(files)} modules, {sum(map(len, files.values()))} lines of code")
    median, most = lengths[len(lengths) // 2], lengths[int(len(lengths) * 0.95)]
    print(f"{len(lengths)} functions: median {median} lines, 95th percentile {most}, longest {lengths[-1]}")
    print(f"{passages(files)} repeated passages of {SHORTEST_PASSAGE} lines or more")
    print(", ".join(f"{room} {count}" for room, count in sorted(rooms.items(), key=lambda item: -item[1])))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
