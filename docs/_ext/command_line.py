"""The reference of the command line, written from the app that parses it."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal

import typer

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

VALUES = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


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


def visible(command: Any) -> list[Any]:
    """The parameters of a command that its help shows."""
    return [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]


def is_option(parameter: Any) -> bool:
    """Whether it is given by a name, not by its place."""
    return parameter.opts[0].startswith("-")


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
    words = [
        f"[{p.metavar or p.name.upper()}]..." if p.nargs == -1 and not p.required else _place(p)
        for p in visible(command)
        if not is_option(p)
    ]
    usage = " ".join([path, *(["[OPTIONS]"] if any(map(is_option, visible(command))) else []), *words])
    if getattr(command, "commands", None):
        usage += " COMMAND ..."
    lines = [f"({anchor(path)})=", f"{depth} `{path}`", "", inspect.cleandoc(command.help or ""), ""]
    lines += ["```text", usage, "```", "", f"```{{program}} {path}", "```", ""]
    lines += [line for parameter in visible(command) for line in _parameter(command, parameter)]
    return "\n".join(lines)


def _place(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return f"{name}..." if parameter.nargs == -1 else name


def _parameter(command: Any, parameter: Any) -> list[str]:
    """One parameter as Sphinx's `option`, which gives it an anchor and an entry in the index."""
    kind, bounds = _kind(command, parameter)
    facts = [(parameter.help or "").replace("$", r"\$")]  # a dollar would begin a formula
    if typing.get_origin(kind) is Literal:
        facts.append("One of " + ", ".join(f"`{value}`" for value in typing.get_args(kind)) + ".")
    facts += [text for text in (bounds, _default(parameter)) if text]
    return [f"````{{option}} {_signature(parameter, kind)}", " ".join(facts), "````", ""]


def _signature(parameter: Any, kind: Any) -> str:
    if not is_option(parameter):
        return _place(parameter)
    names = [*parameter.opts, *parameter.secondary_opts]
    value = "" if kind is bool else f" <{_value(parameter, kind)}>"
    return ", ".join(f"{name}{value}" for name in names)


def _value(parameter: Any, kind: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    return str(parameter.name).upper() if typing.get_origin(kind) is Literal else VALUES[kind]


def _kind(command: Any, parameter: Any) -> tuple[Any, str]:
    """The type of one value, and the bounds in words, from the annotation of the function."""
    hint = typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True).get(parameter.name)
    if hint is None:  # typer's own: --install-completion, --show-completion
        return bool, ""
    info = next((extra for extra in getattr(hint, "__metadata__", ()) if hasattr(extra, "min")), None)
    kind = getattr(hint, "__origin__", hint) if info else hint
    if isinstance(kind, UnionType) or typing.get_origin(kind) is typing.Union:
        (kind,) = (part for part in typing.get_args(kind) if part is not NoneType)
    if typing.get_origin(kind) is list:
        (kind,) = typing.get_args(kind)
    return kind, _bounds(info.min, info.max) if info else ""


def _bounds(least: float | None, most: float | None) -> str:
    if least is None and most is None:
        return ""
    return f"At least {least:g}." if most is None else f"From {least:g} to {most:g}."


def _default(parameter: Any) -> str:
    """The default in words; where there is none, whether something must be given, and how often it may be."""
    often = "May be repeated." if parameter.multiple else ""
    if parameter.required:
        return f"Required. {often}".strip()
    if isinstance(parameter.show_default, str):
        return f"Default: {parameter.show_default}. {often}".strip()
    if parameter.default is None or parameter.default is False or not parameter.show_default:
        return often
    value = parameter.default
    if value is True:
        return f"Default: `{parameter.opts[0]}`. {often}".strip()
    return f"Default: `{value}`. {often}".strip()
