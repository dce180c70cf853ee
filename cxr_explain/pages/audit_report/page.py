"""The report's page: the overview as it is printed, and the frames that the scripts fill."""

from __future__ import annotations

from cxr_explain.audit.sections.headline import TITLE
from cxr_explain.audit.sections.tables import NOT_ESTIMABLE
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.overlay import MAX_OPACITY
from cxr_explain.pages.audit_report.contents import Contents
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

SCRIPTS = (
    "core",
    "loading",
    "text",
    "maps",
    "fusion",
    "viewer",
    "controls",
    "listing",
    "verdicts",
    "table",
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
        queues=queues,
        queues_as_options=[(queue.key, queue.title) for queue in queues],
        pathology_options=[(str(at), _short(name)) for at, name in enumerate(listing.pathologies)],
        choices={name: sorted(set(listing.facts[name]) - {""}) for name in ("view", "sex", "split")},
        with_pixels=len(contents.chosen),
        images=len(listing),
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
