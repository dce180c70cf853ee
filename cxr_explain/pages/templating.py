"""How pages and cards are written: one environment of templates, in which everything is escaped.

What a template prints is put on one line without control and direction marks, then escaped: no text from a
file or a header can open a tag or turn the words around it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from cxr_explain.figures import texts
from cxr_explain.figures.lettering import display_name, one_line

if TYPE_CHECKING:
    from jinja2 import Environment

_ROOMS = ("", ".viewer", ".audit_report", ".one_file", ".in_browser", ".run_comparison")


@cache
def environment() -> Environment:
    """The templates of all pages: `pages/templates`, and those of the viewer and what has one."""
    # Imported here: every run of `explain` imports this module, and few write a page.
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    from cxr_explain.audit.sections.tables import list_address

    def visible(value: Any) -> Any:
        return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    made = Environment(
        loader=ChoiceLoader([PackageLoader(f"cxr_explain.pages{room}") for room in _ROOMS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )
    made.filters.update(
        probability=texts.format_probability,
        pathology=display_name,
        names=spoken_list,
        link=link,
        list_address=list_address,
        number="{:,}".format,
        as_number=_as_number,
        image_url=image_url,
    )
    made.globals.update(texts=texts)
    return made


def link(name: str) -> str:
    """A relative link to a file beside the page, whatever its name is made of.

    >>> link("50% <b>.png"), link("javascript:x.png")
    ('50%25%20%3Cb%3E.png', 'javascript%3Ax.png')
    """
    return quote(os.fsencode(name), safe="")


def _as_number(text: str) -> str:
    """What a cell is sorted by: the first number in it; '' where there is none.

    >>> _as_number("1,024 (≥ 0.5)"), _as_number("–")
    ('1024', '')
    """
    found = re.search(r"-?\d[\d,]*(\.\d+)?", text)
    return found[0].replace(",", "") if found else ""


def image_url(content: bytes, kind: str = "png") -> Markup:
    """An image as a URL that holds its bytes: a page needs no file beside it, and may read the pixels back.

    Args:
        content: bytes of the image's file.
        kind: "png" or "jpeg".
    """
    return Markup(f"data:image/{kind};base64,{base64.b64encode(content).decode()}")  # noqa: S704 - no markup


def allowed(text: str) -> str:
    """A style or a script within a page, as the page's policy allows that one alone.

    >>> allowed("p {}")
    "'sha256-SNJDlN1Iy2mnt7DOjQIyDb2LQE6O5PQiSZomcdzawQ4='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def spoken_list(pathologies: Sequence[str]) -> str:
    """Pathologies as a reader expects them, with commas between them.

    >>> spoken_list(["Pleural_Thickening", "Mass"])
    'Pleural Thickening, Mass'
    """
    return ", ".join(display_name(name) for name in pathologies)
