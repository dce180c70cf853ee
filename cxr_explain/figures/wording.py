"""The words of figures in several languages: one file for each, `languages/<language>.toml`.

A translation is one more file with the keys of `en.toml`. What a file, a header or the explainer says
(warnings, preprocessing steps) is a record, and stays as it was written.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from cxr_explain.errors import OptionError
from cxr_explain.pathologies import canonical_pathology

_FOLDER = "languages"


def languages() -> tuple[str, ...]:
    """The languages that there are, by their codes.

    >>> {"en", "de", "zh"} <= set(languages())
    True
    """
    folder = files("cxr_explain.figures") / _FOLDER
    return tuple(
        sorted(each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml"))
    )


class Wording:
    """What figures say in one language.

    Args:
        language: code of the language, such as "en".

    Raises:
        OptionError: a language that there is no file of.

    >>> Wording("de")("research use only")
    'Nur für die Forschung - nicht zur Diagnose'
    """

    def __init__(self, language: str = "en") -> None:
        if language not in languages():
            raise OptionError(f"language={language!r}", expected=f"one of {', '.join(languages())}")
        self.language = language
        self._texts = _texts_of(language)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key, with values in the places that are named for them."""
        return self._texts["texts"][key].format(**values) if values else self._texts["texts"][key]

    def pathology(self, pathology: str) -> str | None:
        """A pathology's name in this language; None where the file has none."""
        return self._texts["pathologies"].get(canonical_pathology(pathology))


@cache
def _texts_of(language: str) -> dict[str, dict[str, str]]:
    text = (files("cxr_explain.figures") / _FOLDER / f"{language}.toml").read_text("utf-8")
    return {"texts": {}, "pathologies": {}, **tomllib.loads(text)}


ENGLISH = Wording()
"""What pages, notebooks and the command line have in common with figures is said in English."""
