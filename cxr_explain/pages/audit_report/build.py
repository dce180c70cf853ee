"""The report's folder: written in a temporary folder within it, then moved into place piece by piece."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from cxr_explain.audit.store import AuditRun
from cxr_explain.audit.verdicts import Marked
from cxr_explain.errors import OutputError
from cxr_explain.pages.audit_report.cases import case_page
from cxr_explain.pages.audit_report.contents import BUNDLE, Contents
from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.audit_report.page import GENERATOR, render_page
from cxr_explain.pages.viewer.script_data import as_script
from cxr_explain.support.locks import exclusive
from cxr_explain.support.whole_file import is_temporary, output_errors, staging_folder

INDEX = "index.html"
PIECES = ("static", "data", "cases", "thumbnails")
"""What a report consists of beside its index; anything else in its folder is the reader's, and stays."""

LOCK = ".cxr-explain.lock"
"""Held by who writes the report."""

CASES = 300
"""Images whose pixels a report holds, unless told otherwise."""

_TOLD_EVERY = 50

_IN_BETWEEN = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="generator" content="{GENERATOR}">
<title>No report</title>
<p>This report is being replaced. If this page stays, that was stopped: make the report again.</p>
</html>
"""
"""The index while old and new pieces are there: a report that mixes two runs must not open."""


def build_report(
    run: AuditRun,
    target: str | os.PathLike[str],
    *,
    cases: int | None = CASES,
    statistics: Mapping[str, Any],
    marked: Marked | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write an audit's report: one folder that opens from a disk, without a server or a network.

    It holds copies of radiographs, with whatever is burnt into their pixels, but no header, path, patient
    name or number; images are called by the manifest's ids. A report that is there is replaced whole; files
    that a reader put into its folder, such as saved verdicts, are not touched.

    A kill leaves the old report or, within the moment that replacing takes, a page that says there is none.
    A hidden folder within the report's, `.cxr-explain-...`, may hold copies of radiographs then, until the
    report is made again.

    Args:
        run: the audit.
        target: the folder of the report; the folder above it must exist.
        cases: number of images that come with pixels and maps, those first that the queues put first; None
            for all of them.
        statistics: the statistics of the audit, as `statistics.json` has them; {} without any.
        marked: the cases that the report is about; without them, all.
        progress: called with how far it is, in words.

    Returns:
        The path of `index.html`.

    Raises:
        OutputError: a folder that cannot be written to, one with something else in it, one that another
            process is writing a report to, or a link to a folder.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     build_report(example_audit(folder), f"{folder}/report", statistics={}).name
    'index.html'
    """
    folder = Path(target)
    _check_is_ours(folder)
    contents = Contents.of(run, statistics, cases, marked)
    with _alone(folder), _replaced(folder) as new:
        _write_static(new / "static")
        _write(new / "data" / "listing.js", as_script("listing", contents.listing.to_data()))
        _write(new / "data" / "about.js", as_script("about", contents.to_data()))
        chosen = contents.cases(_TOLD_EVERY, progress)
        pictures = [_write_case(new / "cases", run, contents.listing, image) for image in chosen]
        for bundle, first in enumerate(range(0, len(pictures), BUNDLE)):
            script = as_script(f"thumbnails-{bundle}", pictures[first : first + BUNDLE])
            _write(new / "thumbnails" / f"{bundle:06d}.js", script)
        _write(new / INDEX, render_page(contents).encode())
    return folder / INDEX


def _write_case(folder: Path, run: AuditRun, listing: Listing, image: int) -> str | None:
    """Write the script of one image that comes with pixels; gives the picture of it for the list."""
    row, position = int(listing.rows[image]), int(listing.positions[image])
    page = case_page(run, position)
    _write(folder / f"{row:06d}.js", as_script(f"case-{row}", page.data))
    return page.thumbnail


def _write_static(folder: Path) -> None:
    for room in ("viewer", "audit_report"):
        for item in files(f"cxr_explain.pages.{room}").joinpath("static").iterdir():
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
    if target.is_symlink():  # in a run that somebody sent, it may lead to another report
        raise OutputError(
            "a link where the report's folder is to be",
            expected="a folder, or nothing",
            source=target,
            remedy="Name the folder that it leads to with --out, target=.",
        )
    if not target.exists() or (target.is_dir() and not _others(target)):
        return
    if GENERATOR not in _head(target / INDEX):
        raise OutputError(
            "a folder with something else than a report in it",
            expected="a new or an empty folder, or a report to replace",
            source=target,
        )


def _head(index: Path) -> str:
    """The beginning of a file; '' where it cannot be read, or only waited for, as a pipe."""
    try:
        if index.is_file():
            with index.open("rb") as file:
                return file.read(4000).decode(errors="replace")
    except OSError:
        pass
    return ""


def _others(target: Path) -> list[str]:
    """What is in a folder beside what a killed report leaves there."""
    return [name for name in os.listdir(target) if name != LOCK and not is_temporary(name)]


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """No other process writes this report meanwhile; a folder made for it goes if nothing came of it.

    Raises:
        OutputError: another process does.
    """
    with output_errors("a report", target):
        is_new = not target.exists()
        target.mkdir(exist_ok=True)
    try:
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive(target / LOCK))
            except BlockingIOError:
                raise OutputError(
                    "a report that another process is writing",
                    expected="a folder that no other process writes to",
                    source=target,
                    remedy="Wait for it, or stop it first.",
                ) from None
            except OSError:
                pass  # a file system without locks, or a folder that cannot be written to, which is said next
            yield
    finally:
        if is_new:
            with suppress(OSError):  # it is not empty: all went well
                target.rmdir()


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A new folder whose content takes the place of the report if the block ends without an exception."""
    with output_errors("a report", target), staging_folder(target) as staging:
        new, old = staging / "new", staging / "old"
        new.mkdir()
        old.mkdir()
        yield new
        _swap(target, new, old)


def _swap(target: Path, new: Path, old: Path) -> None:
    """Move the old pieces out and the new ones in; what fails on the way is undone.

    From the first step to the last, the index says that there is no report.
    """
    if had_index := os.path.lexists(target / INDEX):
        shutil.copy2(target / INDEX, old / INDEX, follow_symlinks=False)
    moves = [(target / name, old / name) for name in PIECES if os.path.lexists(target / name)]
    moves += [(new / name, target / name) for name in PIECES if (new / name).exists()]
    _write(new / "between.html", _IN_BETWEEN.encode())
    try:
        os.replace(new / "between.html", target / INDEX)
        for before, after in moves:
            before.rename(after)
        os.replace(new / INDEX, target / INDEX)
    except BaseException:
        for before, after in reversed(moves):
            if os.path.lexists(after) and not os.path.lexists(before):
                after.rename(before)
        if had_index:
            os.replace(old / INDEX, target / INDEX)
        else:
            (target / INDEX).unlink(missing_ok=True)
        raise
