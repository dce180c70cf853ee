"""The help of every command: a panel for each group of options, and no name, choice or default is cut."""

from __future__ import annotations

import inspect
from collections import defaultdict
from typing import Any

from typer.core import TyperCommand, TyperGroup


class _Panels:
    def get_usage(self, ctx: Any) -> str:
        """How the command is called, for its help and for errors."""
        return f"Usage: {usage_of(self, ctx.command_path)}"

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(_help_of(self, ctx))


class PanelCommand(_Panels, TyperCommand):
    """A command whose help shows panels."""


class PanelGroup(_Panels, TyperGroup):
    """A command that has commands, and whose help shows panels."""


def visible(command: Any) -> list[Any]:
    """The parameters of a command that its help shows."""
    return [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]


def is_option(parameter: Any) -> bool:
    """Whether a parameter is given by a name, not by its place."""
    return bool(parameter.opts[0].startswith("-"))


def usage_of(command: Any, path: str) -> str:
    """How a command is called, `path` being the words that call it."""
    options = ["[OPTIONS]"] if any(map(is_option, visible(command))) else []
    places = [each for each in visible(command) if not is_option(each)]
    names = [name_of(each) if each.required else f"[{name_of(each)}]" for each in places]
    return " ".join([path, *options, *names, *(["COMMAND ..."] if hasattr(command, "commands") else [])])


def name_of(parameter: Any) -> str:
    """How a parameter is given: its names, and what stands for its value.

    >>> import typer
    >>> from cxr_explain.cli.app import app
    >>> options = {each.name: each for each in typer.main.get_command(app).commands["explain"].params}
    >>> name_of(options["inputs"]), name_of(options["output"])
    ('INPUT...', '--out, -o PATH')
    """
    if not is_option(parameter):
        return f"{parameter.metavar}{'...' if parameter.nargs == -1 else ''}"
    names = [
        ", ".join(sorted(each, key=len)[::-1]) for each in (parameter.opts, parameter.secondary_opts) if each
    ]
    return f"{' / '.join(names)} {parameter.metavar or ''}".strip()


def _help_of(command: Any, ctx: Any) -> str:
    from rich.console import Console
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    panels = _panels(command, ctx)
    width = max(len(name) for rows in panels.values() for name, _ in rows)
    above = [command.get_usage(ctx), *_paragraphs(command)]
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(Padding(Text("\n\n".join(above)), 1))
        for title, rows in panels.items():
            table = Table.grid(padding=(0, 2))
            table.add_column(style="bold cyan", no_wrap=True, width=width)
            for name, text in rows:
                table.add_row(name, Text(text))
            console.print(Panel(table, title=title, title_align="left", border_style="dim"))
        if command.epilog:
            console.print(Padding(Text(f"Example:\n{command.epilog}"), 1))
    return captured.get()


def _panels(command: Any, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Name and text of each line, by the title of the panel that it stands in."""
    panels: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for each in command.get_params(ctx):
        if not getattr(each, "hidden", False):
            title = getattr(each, "rich_help_panel", None) or "General"
            panels[title].append((name_of(each), each.help))
    for name, inner in getattr(command, "commands", {}).items():
        panels["Commands"].append((name, _paragraphs(inner)[0]))
    return panels


def _paragraphs(command: Any) -> list[str]:
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help).split("\n\n")]
