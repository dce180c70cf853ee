"""Which commands there are, and the command line that is made of them, or of the one that is called."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Annotated

import typer

from cxr_explain._version import __version__
from cxr_explain.cli.console import errors_as_lines, say
from cxr_explain.cli.flatten import flattened
from cxr_explain.cli.help import PanelCommand, PanelGroup

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "explain": "explain",
        "layers": "layers",
        "evaluate": "evaluate",
        "phantom": "phantom",
        "manifest": "audits",
        "audit": "audits",
        "stats": "audits",
        "report": "audits",
        "thresholds": "thresholds",
        "figure": "figure",
        "panel": "side_by_side",
        "compare": "side_by_side",
        "dicom": "dicom",
        "dicomweb": "dicomweb",
        "words": "words",
        "bundle": "bundle",
        "export": "export",
        "info": "info",
    }
)
"""In the order of the help: each command, which a function of that name is, and the module that has it."""


@dataclass(frozen=True)
class CommandGroup:
    """A word before commands.

    Args:
        module: module that has the commands.
        help: what the commands are for.
        commands: each command, which a function of that name is.
    """

    module: str
    help: str
    commands: tuple[str, ...]


GROUPS: Mapping[str, CommandGroup] = MappingProxyType(
    {
        "chexlocalize": CommandGroup(
            "chexlocalize",
            "Write explanations as CheXlocalize's files, and score them by its protocol.",
            ("write", "score"),
        ),
        "weights": CommandGroup(
            "weights", "List, find, fetch and verify weights.", ("list_", "path", "fetch", "verify")
        ),
    }
)
"""In the order of the help, after the commands."""


def command_line(asked: str | None = None) -> typer.Typer:
    """The commands as Typer has them.

    Reading the options of all of them takes as long as importing NumPy: whoever names one gets that alone.

    Args:
        asked: the first word of what was typed; anything but a command's name makes all of them.
    """
    has_all = asked not in {*COMMANDS, *GROUPS}
    app = _group(
        [name for name in COMMANDS if has_all or name == asked],
        COMMANDS,
        name="cxr-explain",
        callback=root,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, group in GROUPS.items():
        if has_all or name == asked:
            inner = _group(group.commands, dict.fromkeys(group.commands, group.module))
            app.add_typer(inner, name=name, help=group.help, cls=PanelGroup)
    return app


def _version(value: bool) -> None:
    if value:
        say(f"cxr-explain {__version__}")
        raise typer.Exit


def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Show where a chest radiograph classifier sees its top K pathologies (FM-G-CAM)."""


def _group(names: Iterable[str], modules: Mapping[str, str], **settings: object) -> typer.Typer:
    """A group of commands; the last paragraph of each docstring is an example that ends its help."""
    group = typer.Typer(cls=PanelGroup, no_args_is_help=True, **settings)  # type: ignore[arg-type]
    for name in names:
        function = getattr(import_module(f"cxr_explain.cli.{modules[name]}"), name)
        text, *_, example = re.split(r"\n\n(?:Args|Example):\n", inspect.cleandoc(function.__doc__ or ""))
        register = group.command(name.rstrip("_"), cls=PanelCommand, help=text, epilog=example)
        register(errors_as_lines()(flattened(function)))
    return group
