"""The entry point of the `cxr-explain` command, which answers `--help` at once.

A help that was printed before is printed again, without an import of what wrote it: of the same command, by
the same code and packages, to a terminal of the same size and colours. Any other is written anew, and kept.
"""

from __future__ import annotations

import os
import sys

from cxr_explain.support.cache_root import cache_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TextIO

_HELP = ("--help", "-h")
_LONGEST = 3  # words: `weights fetch --help`
_LOOK = (
    "COLUMNS", "LINES", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
    "JUPYTER_COLUMNS", "JUPYTER_LINES", "UNICODE_VERSION", "TERMINAL_WIDTH",
)  # fmt: skip
"""What a help's look depends on, of the environment."""


def main() -> None:
    """Entry point of the `cxr-explain` command."""
    words = sys.argv[1:]
    place = _place(words) if _asks_for_help(words) and _all_is_well() else None
    if place is None:
        _start()
        return
    key = _key(words)
    if (text := _kept(place, key)) is None:
        _write_anew(place, key)
        return
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as `make_good` has it
    sys.stdout.write(text)
    sys.stdout.flush()


def _start() -> None:
    from cxr_explain.cli.main import main as start

    start()


def _asks_for_help(words: list[str]) -> bool:
    """Whether nothing but a help is asked for: only words are before it, so that it is no option's value."""
    *path, last = words or [""]
    return (
        last in _HELP
        and len(words) <= _LONGEST
        and all(word.replace("-", "").isalnum() and not word.startswith("-") for word in path)
    )


def _all_is_well() -> bool:
    """Whether there is nothing of which a command would have to speak first; see `surroundings`."""
    try:
        os.getcwd()
    except OSError:
        return False
    return (
        None not in (sys.stdin, sys.stdout, sys.stderr)
        and sys.getfilesystemencoding() != "ascii"
        and not any(name.endswith("_COMPLETE") for name in os.environ)
    )


def _place(words: list[str]) -> str | None:
    root = cache_root()
    return root and os.path.join(root, "help", f"{'-'.join(words).strip('-')}.txt")


def _key(words: list[str]) -> str:
    """All that a help depends on, in a line."""
    stream = sys.stdout
    look = [os.environ.get(name) for name in _LOOK]
    run = (stream.isatty(), stream.encoding, sys.flags.optimize, sys.version)
    return repr((words, look, *run, _size(), _code()))


def _size() -> list[tuple[int, int] | None]:
    """The terminal's size by each of the standard streams, as whoever writes a help looks at them."""
    sizes: list[tuple[int, int] | None] = []
    for number in range(3):
        try:
            sizes.append(tuple(os.get_terminal_size(number)))  # type: ignore[arg-type]  # it is two numbers
        except OSError:
            sizes.append(None)
    return sizes


def _code() -> list[tuple[int, int, int]]:
    """What changes with the package's files, or when any package is installed."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = [entry.stat() for entry in _sources(own)]
    stamps = [(len(files), sum(file.st_size for file in files), max(file.st_mtime_ns for file in files))]
    for path in sys.path:
        if not path.endswith("-packages"):  # where the command runs, files come and go
            continue
        try:
            stamps.append((0, 0, os.stat(path).st_mtime_ns))
        except OSError:
            continue
    return stamps


def _sources(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry
            elif "." not in entry.name and not entry.name.startswith("_") and entry.is_dir():
                yield from _sources(entry.path)


def _kept(place: str, key: str) -> str | None:
    try:
        with open(place, encoding="utf-8", newline="") as file:
            heading, _, text = file.read(2**20).partition("\n")
    except (OSError, ValueError):
        return None
    return text if heading == _heading(key, text) else None


def _heading(key: str, text: str) -> str:
    from zlib import crc32

    return f"{crc32(text.encode('utf-8', 'surrogatepass')):08x} {key}"


def _write_anew(place: str, key: str) -> None:
    """Start the command line, and keep what it prints where it succeeds."""
    heard = _Heard(sys.stdout)
    sys.stdout = heard
    try:
        _start()
    except SystemExit as end:
        if not end.code:
            _keep(place, key, "".join(heard.said))
        raise
    finally:
        sys.stdout = heard.stream


class _Heard:
    """A stream that remembers what was written."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.said: list[str] = []

    def write(self, text: str) -> int:
        count = self.stream.write(text)  # first, as it refuses what is no text
        self.said.append(text)
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _keep(place: str, key: str, text: str) -> None:
    from contextlib import suppress
    from pathlib import Path

    from cxr_explain.support.whole_file import write_whole

    with suppress(OSError, ValueError):  # a folder that cannot be written: it is written anew each time
        Path(place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(Path(place), f"{_heading(key, text)}\n{text}".encode())
