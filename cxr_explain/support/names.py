r"""What a name from a file may be made of.

A checkpoint says what its outputs and its training sets are called. Such a name ends up in tables, figures,
pages, and configurations of other programs, some of which read signs as instructions: MONAI evaluates a text
that begins with `$`, and Matplotlib takes what stands between two of them for mathematics. So the names are
held to what names of findings and data sets are made of, in any script.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from cxr_explain.support.bounded import quoted

LONGEST_NAME = 200
"""Characters of a name at most."""

MOST_NAMES = 100_000
"""Names in a file at most; ImageNet's whole tree has 22,000."""

NAME_RULE = (
    f"a name of at most {LONGEST_NAME} characters that begins with a letter or a digit, without currency "
    "signs, invisible characters and any of @ # \\ ` { }"
)
"""What a name may be, in the words of error messages."""

_FORBIDDEN = frozenset("@#\\`{}\u2800")  # the last is a letter of braille without a dot
_CURRENCY = "Sc"
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_UNDRAWN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that Unicode counts as such and that nobody sees (Default_Ignorable_Code_Point)."""

_SIZE = re.compile(r"^(?:[<>≤≥±~] ?(?=\d)|\((?=\w))")
"""What names of sizes and doubts begin with: "<5 mm nodule", "(probable) mass"."""

_NUMBER_SIGN = re.compile(r"(?<=\w )#(?=\d)")
"""As in "Rib fracture #3", where no program takes it for a reference."""

_JOINERS = frozenset("\u200c\u200d")
_JOINED = re.compile("(?<=[\u0600-\u0dff])[\u200c\u200d](?=[\u0600-\u0dff])")
"""Joiners between letters of the scripts whose spelling needs them, such as Persian and Hindi."""


@lru_cache(maxsize=1 << 15)
def is_name(text: str) -> bool:
    r"""Whether a text may be the name of a finding or of a data set; see `NAME_RULE`.

    What a text becomes by Unicode's compatible forms counts, too: a wide `$` is one.

    >>> [is_name(text) for text in ("Mass (> 3 cm)", "<5 mm nodule", "Pleuraerguß", "肺炎", "ذات‌الریه")]
    [True, True, True, True, True]
    >>> [is_name(text) for text in ("$print(1)", "Mass\u202e", "@model", "", " Mass", "\uff04x", "a\u200bb")]
    [False, False, False, False, False, False, False]
    """
    if not 0 < len(text) <= LONGEST_NAME:
        return False
    plain = unicodedata.normalize("NFKC", _NUMBER_SIGN.sub("", _SIZE.sub("", _JOINED.sub("", text))))
    return plain[0].isalnum() and _UNDRAWN.search(text) is None and all(map(_is_of_names, plain))


def first_flaw(names: Iterable[object]) -> str | None:
    """The first text that is no name, as an error message shows it; None where all are.

    >>> first_flaw(["Mass", "$exit()"]), first_flaw(["Mass"])
    ("'$exit()'", None)
    """
    refused = (name for name in names if not (isinstance(name, str) and is_name(name)))
    return next(map(quoted, refused), None)


def visible(text: str) -> str:
    r"""A file's own name where it is shown: what nobody could see, or no file can hold, has become "_".

    >>> visible("model\n\udcff\u202e.pt"), visible("best @ 5 %.pt")
    ('model___.pt', 'best @ 5 %.pt')
    """
    return "".join(each if _is_visible(each) or each in _JOINERS else "_" for each in text)


def _is_of_names(character: str) -> bool:
    is_currency = unicodedata.category(character) == _CURRENCY
    return character not in _FORBIDDEN and _is_visible(character) and not is_currency


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in _INVISIBLE
