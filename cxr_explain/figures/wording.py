"""The words of figures in several languages: one file for each, `languages/<language>.toml`.

A translation is one more file with the keys of `en.toml`: `[texts]`, and in `[pathologies]` the names that
readers of the language expect. What a file, a header or the explainer says (warnings, preprocessing steps) is
a record, and stays as it was written.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from cxr_explain.errors import OptionError
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.support.bounded import read_bounded

_FOLDER = "languages"
_ENDING = ".toml"
_LONGEST = 2**20  # bytes of a file

_Texts = dict[str, dict[str, str]]


def languages() -> tuple[str, ...]:
    """The languages that there are, by their codes.

    >>> {"en", "de", "zh"} <= set(languages())
    True
    """
    folder = files("cxr_explain.figures") / _FOLDER
    return tuple(
        sorted(each.name.removesuffix(_ENDING) for each in folder.iterdir() if each.name.endswith(_ENDING))
    )


class Wording:
    """What figures say in one language.

    Args:
        language: code of the language, such as "en"; or the path of a translation of your own, which ends in
            ".toml" and has the keys and the places in braces of `languages/en.toml`.

    Raises:
        OptionError: a language that there is no file of, or a file that lacks a text.

    >>> Wording("de")("of several pathologies", method="FM-G-CAM", k=5), Wording("de").pathology("effusion")
    ('FM-G-CAM für 5 Befunde', 'Pleuraerguss')
    """

    def __init__(self, language: str = "en") -> None:
        self.language = language
        self._texts = _texts_of(language)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key, with values in the places that are named for them."""
        text = self._texts["texts"][key]
        return text.format(**values) if values else text

    @property
    def texts(self) -> tuple[str, ...]:
        """All that figures say in this language, without its pathologies."""
        return tuple(self._texts["texts"].values())

    def pathology(self, pathology: str) -> str | None:
        """A pathology's name in this language; None where the file has none."""
        return self._texts["pathologies"].get(canonical_pathology(pathology))


def _texts_of(language: str) -> _Texts:
    if language.endswith(_ENDING):
        return _translation(language)
    if language not in languages():
        raise OptionError(
            f"language={language!r}",
            expected=f"one of {', '.join(languages())}, or the path of a {_ENDING} file",
        )
    return _own(language)


@cache
def _own(language: str) -> _Texts:
    return _parsed((files("cxr_explain.figures") / _FOLDER / f"{language}{_ENDING}").read_bytes())


def _translation(path: str) -> _Texts:
    """The texts of somebody's own file, which must be those of the English one."""
    try:
        texts = _parsed(read_bounded(path, _LONGEST))
    except (OSError, ValueError) as error:  # also what is no UTF-8, and no TOML
        raise OptionError(
            f"no readable translation ({error})", expected="a TOML file", source=Path(path)
        ) from error
    if problems := differences(texts["texts"], _own("en")["texts"]):
        raise OptionError(
            f"another {problems[0]}" if len(problems) == 1 else f"{len(problems)} other texts: {problems[0]}",
            expected="the keys of languages/en.toml, with the same places in braces",
            source=Path(path),
        )
    return texts


def differences(texts: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """The keys whose texts a translation lacks, has too many, or has with other places in braces.

    >>> differences({"a": "{k} cells", "c": ""}, {"a": "{k} cells", "b": "{k}"})
    ['"c" is no key', '"b" is missing']
    """
    found = [f'"{key}" is no key' for key in texts if key not in wanted]
    for key, text in wanted.items():
        if key not in texts:
            found.append(f'"{key}" is missing')
        elif _places(texts[key]) != _places(text):
            found.append(f'"{key}" has other places in braces')
    return found


def _places(text: str) -> set[tuple[str | None, ...]] | None:
    """What is filled into a text, and how; None where the braces do not match."""
    try:
        return {(place, *how) for _, place, *how in Formatter().parse(text) if place is not None}
    except ValueError:
        return None


def _parsed(content: bytes) -> _Texts:
    document = tomllib.loads(content.decode())
    parts = {name: document.get(name, {}) for name in ("texts", "pathologies")}
    for part in parts.values():
        if not isinstance(part, dict) or not all(isinstance(text, str) for text in part.values()):
            raise ValueError("[texts] and [pathologies] hold texts in quotes")
    return parts


ENGLISH = Wording()
"""What pages, notebooks and the command line have in common with figures is said in English."""
