"""The report's folder: written beside its place, then moved there whole."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import OutputError
from cxr_explain.pages.audit_report.cases import case_data
from cxr_explain.pages.audit_report.contents import Contents
from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.audit_report.page import GENERATOR, render_page
from cxr_explain.pages.audit_report.script_data import as_script
from cxr_explain.support.whole_file import output_errors

INDEX = "index.html"
OURS = frozenset({INDEX, "static", "data", "cases"})
"""What a report consists of; anything else in its folder is the reader's, and stays."""

CASES = 300
"""Images whose pixels a report holds, unless told otherwise."""

_TOLD_EVERY = 50


def build_report(
    run: AuditRun,
    target: str | os.PathLike[str],
    *,
    cases: int | None = CASES,
    statistics: Mapping[str, Any],
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write an audit's report: one folder that opens from a disk, without a server or a network.

    It holds copies of radiographs, with whatever is burnt into their pixels, but no header, path, patient
    name or number; images are called by the manifest's ids. A report that is there is replaced whole; files
    that a reader put beside it stay.

    Args:
        run: the audit.
        target: the folder of the report; the folder above it must exist.
        cases: number of images that come with pixels and maps, those first that the queues put first; None
            for all of them.
        statistics: the statistics of the audit, as `statistics.json` has them; {} without any.
        progress: called with how far it is, in words.

    Returns:
        The path of `index.html`.

    Raises:
        OutputError: a folder that cannot be written to, or one with something else in it.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     build_report(example_audit(folder), f"{folder}/report", statistics={}).name
    'index.html'
    """
    folder = Path(target)
    _check_is_ours(folder)
    contents = Contents.of(run, statistics, cases)
    with _replaced(folder) as new:
        _write_static(new / "static")
        _write(new / "data" / "listing.js", as_script("listing", contents.listing.to_data()))
        _write(new / "data" / "about.js", as_script("about", contents.to_data()))
        for image in contents.cases(_TOLD_EVERY, progress):
            _write_case(new / "cases", run, contents.listing, image)
        _write(new / INDEX, render_page(contents).encode())
    return folder / INDEX


def _write_case(folder: Path, run: AuditRun, listing: Listing, image: int) -> None:
    """The script of one image that comes with pixels; its name is a number."""
    row, position = int(listing.rows[image]), int(listing.positions[image])
    _write(folder / f"{row:06d}.js", as_script(f"case-{row}", case_data(run, position)))


def _write_static(folder: Path) -> None:
    for item in files("cxr_explain.pages.audit_report").joinpath("static").iterdir():
        if item.name.endswith((".js", ".css")):
            _write(folder / item.name, item.read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _check_is_ours(target: Path) -> None:
    """Refuse to replace a folder that no report is in.

    Raises:
        OutputError: it holds something else.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    try:
        head = (target / INDEX).read_bytes()[:4000].decode(errors="replace")
    except OSError:
        head = ""
    if GENERATOR not in head:
        raise OutputError(
            "a folder with something else than a report in it",
            expected="a new or an empty folder, or a report to replace",
            source=target,
        )


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A new folder that takes the target's place when the block ends without an exception."""
    token = secrets.token_hex(4)
    new, old = (target.with_name(f".{target.name}.{kind}-{token}") for kind in ("new", "old"))
    try:
        with output_errors("a report", target):
            new.mkdir()
            yield new
            _swap(target, new, old)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _swap(target: Path, new: Path, old: Path) -> None:
    """Two renames; if the second fails, the first is undone."""
    if not target.exists():
        new.rename(target)
        return
    _keep(_strangers(target), new)
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _strangers(target: Path) -> Sequence[Path]:
    """What a reader put into a report's folder, for example saved verdicts."""
    return [path for path in target.iterdir() if path.name not in OURS]


def _keep(strangers: Sequence[Path], new: Path) -> None:
    for path in strangers:
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)
