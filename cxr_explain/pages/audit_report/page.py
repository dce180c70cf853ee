"""The report's page: the overview as it is printed, and the frames that the scripts fill."""

from __future__ import annotations

from cxr_explain.audit.sections.headline import TITLE
from cxr_explain.audit.sections.tables import NOT_ESTIMABLE
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.overlay import MAX_OPACITY
from cxr_explain.pages.audit_report.contents import Contents
from cxr_explain.pages.audit_report.queues import SHOWN
from cxr_explain.pages.templating import environment

GENERATOR = "cxr-explain audit report"
"""By which a folder is known to hold a report."""

POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src data:; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types cxr-explain"
)
"""Scripts and styles beside the page and none within it, pixels from the case's own script, no network.

Under `file:`, 'self' is enough for Chromium; `file:` is for browsers to which such a page has no self.
Strings become neither markup nor scripts, except the name of a case's script (trusted types).
"""

_LONGEST_CHOICE = 60
_MOST_LINKS = 8  # pathologies that a queue names on the first page
_LABELS = {
    "view": "View",
    "sex": "Sex",
    "split": "Split",
    "part-of-peak": "Peak lies in",
    "side-of-peak": "Side of the peak",
    "zone": "Zone of the peak",
}

SCRIPTS = (
    "core",
    "loading",
    "text",
    "maps",
    "fusion",
    "viewer",
    "controls",
    "theme",
    "sorting",
    "listing",
    "verdicts",
    "thumbnails",
    "table",
    "address",
    "case",
    "main",
)
"""In the order in which they need each other; the viewer's are in its own room."""


def render_page(contents: Contents) -> str:
    """The page as text."""
    listing, queues = contents.listing, contents.queues
    template = environment().get_template("audit.html")
    return template.render(
        overview=contents.overview,
        headline_title=TITLE,
        marked=contents.marked,
        queues=queues,
        queues_as_options=[(queue.key, queue.texts.title) for queue in queues],
        pathologies=listing.pathologies,
        pathology_options=[(str(at), _short(name)) for at, name in enumerate(listing.pathologies)],
        most_links=_MOST_LINKS,
        shown=SHOWN,
        fact_labels=[_LABELS.get(name, _short(name)) for name in listing.filters],
        has_ages=bool((listing.ages >= 0).any()),
        with_pixels=len(contents.chosen),
        images=len(listing),
        plain_beside=True,
        policy=POLICY,
        generator=GENERATOR,
        opacity=round(100 * MAX_OPACITY),
        styles=("viewer", "report"),
        scripts=SCRIPTS,
        not_estimable=NOT_ESTIMABLE,
    )


def _short(pathology: str) -> str:
    """A pathology as one of a list to choose from."""
    name = display_name(pathology)
    return name if len(name) <= _LONGEST_CHOICE else f"{name[: _LONGEST_CHOICE - 1]}…"
