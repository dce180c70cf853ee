"""From groups of options to the flat signature that Typer parses, and from docstrings to help.

A group is a `Panel`. Each field is one option: its name, type and default are those of the field, its help is
what the docstring says of it under Args, and what else Typer has to know stands in an annotation, as in
``Annotated[int, typer.Option(min=1)]``. A field may be another group. A command has groups as arguments, and
gets each as one object.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from inspect import Parameter
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, dataclass_transform, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, ParameterInfo

_VALUES = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH", bool: None}
_DESCRIBED = re.compile(r"^    (\w+): (.+(?:\n {5,}.+)*)", re.MULTILINE)


@dataclass_transform(frozen_default=True)
class Panel:
    """A group of options; each class that extends it is a frozen dataclass.

    Args:
        title: title of the panel that shows the options in the help.
    """

    title = "Input"

    def __init_subclass__(cls, *, title: str = "") -> None:
        cls.title = title or cls.title
        dataclass(frozen=True)(cls)


def flattened(function: Callable[..., None]) -> Callable[..., None]:
    """The same command, with every option of a group as one argument.

    Args:
        function: a command; arguments whose type is a `Panel` are groups of options.

    >>> class Size(Panel, title="Size"):
    ...     '''How large.
    ...
    ...     Args:
    ...         width: number of columns.
    ...         height: number of rows.
    ...     '''
    ...     width: int = 2
    ...     height: int = 3
    >>> def area(size):
    ...     print(size.width * size.height)
    >>> area.__annotations__ = {"size": Size}
    >>> command = flattened(area)
    >>> command(width=4, height=4)
    16
    >>> inspect.signature(command).parameters["height"].annotation.__metadata__[0].help
    'Number of rows. Default: 3.'
    """
    hints, texts = get_type_hints(function, include_extras=True), _texts(function)
    arguments = inspect.signature(function).parameters.values()
    leaves = [leaf for each in arguments for leaf in _leaves(each, hints[each.name], texts, "Input")]

    @wraps(function)
    def command(**values: Any) -> None:
        function(**{each.name: _gathered(each.name, hints[each.name], values) for each in arguments})

    command.__signature__ = inspect.Signature(leaves)  # type: ignore[attr-defined]
    return command


def _leaves(given: Parameter, hint: Any, texts: Mapping[str, str], title: str) -> Iterator[Parameter]:
    """The options of a group, in their order; what is in no group is its own leaf."""
    if _is_panel(hint):
        hints = get_type_hints(hint, include_extras=True)
        for each in fields(hint):
            default = Parameter.empty if each.default is MISSING else each.default
            inner = Parameter(each.name, Parameter.KEYWORD_ONLY, default=default)
            yield from _leaves(inner, hints[each.name], _texts(hint), hint.title)
        return
    kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    flag = (f"--{given.name.replace('_', '-')}",) if kind is bool else ()
    info = copy(next((each for each in extras if isinstance(each, ParameterInfo)), typer.Option(*flag)))
    values = [each for each in (_value(kind), *extras) if get_origin(each) is Literal]
    info.help = " ".join(_facts(texts.get(given.name) or info.help or "", given, kind, info, values))
    info.metavar = info.metavar or ("NAME" if values else _VALUES[_value(kind)])
    info.rich_help_panel = info.rich_help_panel or title
    info.show_default = False
    yield given.replace(kind=Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info])


def _gathered(name: str, hint: Any, values: Mapping[str, Any]) -> Any:
    """The value of an option, or the group that holds its options' values."""
    if not _is_panel(hint):
        return values[name]
    hints = get_type_hints(hint, include_extras=True)
    return hint(**{each.name: _gathered(each.name, hints[each.name], values) for each in fields(hint)})


def _is_panel(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Panel)


def _value(kind: Any) -> Any:
    """The type of one value: `int` of ``list[int] | None``."""
    inner = [part for part in get_args(kind) if part is not NoneType]
    return _value(inner[0]) if inner and get_origin(kind) is not Literal else kind


def _texts(documented: Any) -> dict[str, str]:
    """What a docstring says of each argument; that of a class goes before those of the classes it extends."""
    family = reversed(getattr(documented, "__mro__", [documented]))
    found = [pair for each in family for pair in _DESCRIBED.findall(inspect.cleandoc(each.__doc__ or ""))]
    return {name: " ".join(f"{text[0].upper()}{text[1:]}".split()) for name, text in found}


def _facts(text: str, given: Parameter, kind: Any, info: ParameterInfo, values: list[Any]) -> Iterator[str]:
    """What an option is for, which values it takes, and which it has by default, in sentences."""
    yield text
    if values:
        yield f"One of {', '.join(get_args(values[0]))}."
    if info.min is not None:
        yield f"At least {info.min}." if info.max is None else f"From {info.min} to {info.max}."
    if given.default is Parameter.empty:
        yield "Required."
    elif isinstance(info.show_default, str):
        yield f"Default: {info.show_default}."
    elif given.default is True:
        yield f"Default: --{given.name.replace('_', '-')}."
    elif given.default is not None and given.default is not False:
        yield f"Default: {given.default}."
    if not isinstance(info, ArgumentInfo) and list in [get_origin(each) for each in (kind, *get_args(kind))]:
        yield "May be repeated."
