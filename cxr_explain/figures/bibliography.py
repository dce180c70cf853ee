"""What texts cite: the entries of `bibliography.bib`, found by the name of what they are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_ENTRY = re.compile(r"^@\w+\{(\S+),\n.*?^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
_SPECIAL = MappingProxyType(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_"},
        "\\": r"\textbackslash ",
        "{": r"\textbraceleft ",
        "}": r"\textbraceright ",
        "~": r"\textasciitilde ",
        "^": r"\textasciicircum ",
        '"': r"\textquotedbl ",
    }
)


@dataclass(frozen=True)
class Citation:
    """One entry of the bibliography.

    Args:
        key: BibTeX's key.
        bibtex: the whole entry.
        fields: what the entry says, by the names of BibTeX's fields.

    >>> cited = citation_of("FM-G-CAM")
    >>> cited.key, cited.label
    ('silva2023fmgcam', 'Silva and Bird 2023')
    >>> citation_of("LayerCAM").label
    'Jiang et al. 2021'
    """

    key: str
    bibtex: str
    fields: Mapping[str, str] = field(repr=False)

    @property
    def label(self) -> str:
        """Authors and year, as a text names a paper."""
        names = [name.split(",")[0] for name in self.fields["author"].split(" and ")]
        few = len(names) <= 2 and "others" not in names
        return f"{' and '.join(names) if few else f'{names[0]} et al.'} {self.fields['year']}"

    def with_note(self, note: str) -> Citation:
        r"""The same with a note, in which BibTeX's own signs are escaped.

        >>> print(citation_of("cxr-explain").with_note("Version 1_0").bibtex)
        @misc{cxrexplain,
          author = {{The cxr-explain developers}},
          title = {cxr-explain},
          keywords = {cxr-explain},
          note = {Version 1\_0},
        }
        """
        line = f"  note = {{{escaped(note)}}},\n"
        return Citation(self.key, f"{self.bibtex[:-1]}{line}}}", {**self.fields, "note": note})


def citation_of(name: str) -> Citation | None:
    """The entry about something; None without one.

    Args:
        name: title of a rule, name of a data set or of a piece of software.

    >>> citation_of("Grad-CAM").key, citation_of("a rule of one's own")
    ('selvaraju2017gradcam', None)
    """
    return bibliography().get(name)


@cache
def bibliography() -> Mapping[str, Citation]:
    """Every entry, by the name of what it is about."""
    text = (files("cxr_explain.figures") / "bibliography.bib").read_text(encoding="utf-8")
    found = (
        Citation(entry[1], entry[0], MappingProxyType(dict(_FIELD.findall(entry[0]))))
        for entry in _ENTRY.finditer(text)
    )
    return MappingProxyType({each.fields["keywords"]: each for each in found})


def bibtex_of(citations: Iterable[Citation]) -> str:
    """The entries as a BibTeX file holds them."""
    return "\n\n".join(each.bibtex for each in citations) + "\n"


def escaped(text: str) -> str:
    r"""Text from outside as a field of BibTeX may hold it.

    >>> escaped("a_b{c} 100 %")
    'a\\_b\\textbraceleft c\\textbraceright  100 \\%'
    """
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


class Citing:
    """A text's citations, collected while it is written.

    >>> cite = Citing()
    >>> f"Grad-CAM{cite('Grad-CAM')}, mine{cite('mine')}"
    'Grad-CAM (Selvaraju et al. 2017), mine'
    >>> [each.key for each in cite.citations]
    ['selvaraju2017gradcam']
    """

    def __init__(self) -> None:
        self._by_key: dict[str, Citation] = {}

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The entries, in the order in which they are cited."""
        return tuple(self._by_key.values())

    def __call__(self, name: str) -> str:
        """What follows a name in the text; '' where there is no entry about it.

        Args:
            name: what the entry is about, see `citation_of`.
        """
        found = citation_of(name)
        return "" if found is None else f" ({self.add(found).label})"

    def add(self, found: Citation) -> Citation:
        """Collect an entry, whether or not the text names its authors."""
        return self._by_key.setdefault(found.key, found)
