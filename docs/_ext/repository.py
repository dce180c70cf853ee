"""Pages of the site whose source lies elsewhere in the repository.

The notebooks, the changelog and the READMEs of folders have one home each; the site shows copies that are
made at each build. A link that leaves `docs/` leads to the copy, where there is one, and to the file itself
as a download where there is none.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent

PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "cxr_explain/weights/bundled/densenet-res224-phantom.md": "reference/phantom_model.md",
    "data_manifests/README.md": "reference/manifest_files.md",
    "notebooks/README.md": "tutorials/index.md",
}
"""Files of the repository, and where the site has them; those that `docs/` has itself are not copied."""

OWN = {"index.md", "tutorials/index.md"}

_LINK = re.compile(r"(?<!`)(\]\()([^()\s]+)(\))")
_CODE = re.compile(r"(^ {0,3}(?:```|~~~).*?^ {0,3}(?:```|~~~)\s*?$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


def bring_in() -> None:
    """Copy what lies outside of `docs/`, with the links that the copy needs."""
    for origin, page in PAGES.items():
        if page not in OWN:
            text = (ROOT / origin).read_text(encoding="utf-8")
            write_if_changed(DOCS / page, with_links(text, ROOT / origin, DOCS / page))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = DOCS / "tutorials" / notebook.name
        write_if_changed(page, notebook_with_links(notebook.read_text(encoding="utf-8"), notebook, page))


def notebook_with_links(text: str, origin: Path, page: Path) -> str:
    """The same for a notebook: its Markdown cells. Its language is IPython, for the lines with a `!`."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = with_links("".join(cell["source"]), origin, page)
    notebook["metadata"].setdefault("language_info", {"name": "python"})["pygments_lexer"] = "ipython3"
    return json.dumps(notebook, ensure_ascii=False, indent=1)


def with_links(text: str, origin: Path, page: Path) -> str:
    """The text of `origin`, as it is to stand in `page`: each relative link leads where it led.

    Code, in fences or within a line, is left as it is.
    """
    parts = _CODE.split(text)
    return "".join(
        part if number % 2 else _LINK.sub(lambda link: _moved(link, origin, page), part)
        for number, part in enumerate(parts)
    )


def _moved(link: re.Match[str], origin: Path, page: Path) -> str:
    target, hash_, anchor = link[2].partition("#")
    if not target or "://" in target or target.startswith("mailto:"):
        return link[0]
    file = (origin.parent / target).resolve()
    name = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else ""
    there = _shown(name) or file
    path = os.path.relpath(there, page.parent.resolve()).replace(os.sep, "/")
    return f"{link[1]}{path}{hash_}{anchor}{link[3]}"


def _shown(name: str) -> Path | None:
    """Where the site shows a file of the repository that lies outside of `docs/`."""
    if name.startswith("notebooks/") and name.endswith(".ipynb"):
        return DOCS / "tutorials" / Path(name).name
    return DOCS / PAGES[name] if name in PAGES else None


def write_if_changed(path: Path, text: str) -> None:
    """Write a page, unless it is there already as it is to be: Sphinx reads again what is newer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
