"""Names within a command that is shown to be copied: a shell takes each of them for one word."""

from __future__ import annotations

import os
import shlex

from cxr_explain.errors import legible


def shell_word(place: str | os.PathLike[str]) -> str:
    r"""A file, a folder or a URL as a word of a command.

    One that begins with a sign is given its folder: it would be an option, or be evaluated by the program
    that it is given to. Signs that nobody could see are written as Bash and Zsh read them.

    >>> print(shell_word("runs/a"), shell_word("run; rm -rf ~"), shell_word("-x"), shell_word("a\n$x"))
    runs/a 'run; rm -rf ~' ./-x $'a\n$x'
    """
    text = os.fspath(place)
    if text and not (text[0].isalnum() or text[0] in "./\\_"):
        text = f"./{text}"
    return shlex.quote(text) if legible(text) == text else f"$'{''.join(map(_as_read, text))}'"


def _as_read(sign: str) -> str:
    """A sign between `$'` and `'`."""
    if sign in "\\'":
        return f"\\{sign}"
    if "\udc80" <= sign <= "\udcff":  # a byte that is no UTF-8
        return f"\\x{ord(sign) - 0xDC00:02x}"
    shown = legible(sign)
    return shown if sign.isascii() or shown == sign else f"\\U{ord(sign):08x}"
