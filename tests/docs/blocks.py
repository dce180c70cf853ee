"""The fenced blocks of the Markdown pages, and what each of their lines is."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MADE_BY_THE_BUILD = {
    "docs/benchmarks.md",
    "docs/changelog.md",
    "docs/contributing.md",
    "docs/reference/command_line.md",
    "docs/reference/manifest_files.md",
    "docs/reference/phantom_model.md",
}
"""Pages that `make docs` writes, and that are not in the repository: their sources are checked."""

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*(.*?)\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it is, its language, and its text without the fence's indent."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell block; `text` is as written, on one line and without its comment."""

    place: str
    text: str

    @property
    def words(self) -> list[str]:
        """Without leading assignments of variables."""
        words = shlex.split(self.text)
        while words and re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", words[0]):
            words = words[1:]
        return words


def pages() -> list[str]:
    """Every Markdown page that people read: of the repository's root, its folders, and the site."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    found += [ROOT / folder / "README.md" for folder in ("data_manifests", "notebooks", "benchmarks")]
    found += (ROOT / "cxr_explain").rglob("*.md")
    found += [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    names = {path.relative_to(ROOT).as_posix() for path in found if path.is_file()}
    return sorted(names - MADE_BY_THE_BUILD)


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order; fences within a longer fence belong to it."""
    found: list[Block] = []
    opened: tuple[str, str, str, int] | None = None
    inside: list[str] = []
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, inside = (fence[1], fence[2], fence[3], number), []
        elif fence and not fence[3] and fence[2].startswith(opened[1]):
            found.append(Block(page, opened[3], opened[2], "\n".join(inside) + "\n"))
            opened = None
        else:
            inside.append(line.removeprefix(opened[0]))
    assert opened is None, f"{page}:{opened[3] if opened else 0}: a fence that is not closed"
    return found


def commands_of(block: Block) -> list[Command]:
    """The commands of a shell block, their lines joined and their comments left out."""
    found, text, begun = [], "", block.line
    for number, line in enumerate(block.text.splitlines(), start=block.line + 1):
        begun = begun if text else number
        text += line.strip()
        if text.endswith("\\"):
            text = text[:-1]
            continue
        words = shlex.split(text, comments=True)
        if words:
            found.append(Command(f"{block.page}:{begun}", _without_comment(text)))
        text = ""
    return found


def _without_comment(text: str) -> str:
    """The command as written, up to a `#` that the shell would take for a comment."""
    for match in re.finditer(r"(?:^|\s)#", text):
        head = text[: match.start()]
        if shlex.split(text, comments=True) == _split(head):
            return " ".join(head.split())
    return " ".join(text.split())


def _split(text: str) -> list[str] | None:
    try:
        return shlex.split(text)
    except ValueError:
        return None
