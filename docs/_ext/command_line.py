"""The reference of the command line, written from the app that parses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import typer

from cxr_explain.cli.help import is_option, name_of, usage_of, visible

PAGE = "reference/command_line.md"

INTRODUCTION = """\
# Command line

<!-- Written at each build by docs/_ext/command_line.py: edit the commands, not this page. -->

Every command is a thin layer over the Python functions of this reference. `cxr-explain COMMAND --help` prints
the same in a terminal. Nothing is downloaded but weights that are named and missing, and not even those with
`--offline`.

All commands end with 0 when all went well, 1 when something failed (each failure is named in one line, the
rest is done), 2 on a usage error, and 130 when they were interrupted.
"""

_CHOICES = re.compile(r"(?<=One of )[^.]+(?=\.)")
_DEFAULT = re.compile(r"(?<=Default: )\S+(?=\.(?: |$))")


def page_of(app: typer.Typer, name: str = "cxr-explain") -> str:
    """The whole reference as MyST Markdown."""
    commands = list(commands_of(typer.main.get_command(app), name))
    parts = [INTRODUCTION, _overview(commands)]
    parts += [_section(path, command) for path, command in commands]
    return "\n".join(parts)


def commands_of(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it; groups as well if they have options."""
    inner = getattr(command, "commands", {})
    if not inner or visible(command):
        yield path, command
    for word, child in inner.items():
        if not child.hidden:
            yield from commands_of(child, f"{path} {word}")


def anchor(path: str) -> str:
    """The anchor of a command's section."""
    return path.replace(" ", "-")


def _overview(commands: list[tuple[str, Any]]) -> str:
    rows = [f"| [`{path}`](#{anchor(path)}) | {_first_line(command)} |" for path, command in commands]
    return "\n".join(["| command | what it does |", "|---|---|", *rows, ""])


def _first_line(command: Any) -> str:
    return (command.help or "").strip().splitlines()[0]


def _section(path: str, command: Any) -> str:
    depth = "##" if path.count(" ") < 2 else "###"
    lines = [f"({anchor(path)})=", f"{depth} `{path}`", "", cleandoc(command.help or ""), ""]
    lines += ["```text", usage_of(command, path), "```", "", f"```{{program}} {path}", "```", ""]
    lines += [line for parameter in visible(command) for line in _parameter(parameter)]
    if command.epilog:
        lines += ["Example:", "", "```bash", cleandoc(command.epilog), "```", ""]
    return "\n".join(lines)


def _parameter(parameter: Any) -> list[str]:
    """One parameter as Sphinx's `option`, which gives it an anchor and an entry in the index."""
    text = _CHOICES.sub(lambda found: ", ".join(f"`{word}`" for word in found[0].split(", ")), parameter.help)
    text = _DEFAULT.sub(lambda found: f"`{found[0]}`", text)
    text = text.replace("$", r"\$")  # a dollar would begin a formula
    return [f"````{{option}} {_signature(parameter)}", text, "````", ""]


def _signature(parameter: Any) -> str:
    if not is_option(parameter):
        return name_of(parameter)
    value = f" <{parameter.metavar}>" if parameter.metavar else ""
    return ", ".join(f"{name}{value}" for name in [*parameter.opts, *parameter.secondary_opts])
