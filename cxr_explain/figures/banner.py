"""The banner across the top of every figure that is not about a patient, or not from a model for patients."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_explain.figures.content import ContentBlock
from cxr_explain.figures.page import Page
from cxr_explain.figures.palette import ALERT, PHANTOM
from cxr_explain.figures.style import BODY
from cxr_explain.figures.wording import ENGLISH, Wording

_HEIGHT = 0.27
_AFTER = 0.13
_PADDING = 0.1
_SIZE = 11.0


@dataclass(frozen=True)
class Notice:
    """What the banner says.

    Args:
        title: words in large letters.
        aside: words after the title, in smaller letters.
        colour: colour behind the words, "#RRGGBB".
    """

    title: str
    aside: str
    colour: str


def notice_of(*, phantom: bool, phantom_only: bool, words: Wording = ENGLISH) -> Notice | None:
    """The notice for a phantom, for a model that knows nothing else, or for both; None for neither.

    Args:
        phantom: the radiograph is a computed phantom.
        phantom_only: the model was trained on phantoms alone.
        words: the language.

    >>> notice_of(phantom=False, phantom_only=True).title
    'MODEL TRAINED ON PHANTOMS ONLY · not for radiographs'
    >>> notice_of(phantom=False, phantom_only=False) is None
    True
    """
    if phantom:
        trained = "phantom banner, by a model trained on phantoms"
        aside = words(trained if phantom_only else "phantom banner, aside")
        return Notice(words("phantom banner"), aside, PHANTOM)
    if phantom_only:
        return Notice(words("phantom model banner"), words("phantom model banner, aside"), ALERT)
    return None


@dataclass
class Banner(ContentBlock):
    """The notice as a coloured band; nothing at all, and no height, where there is none."""

    @property
    def height(self) -> float:
        """Height in inches, with the space below it."""
        return _HEIGHT + _AFTER if self._notice else 0.0

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        notice = self._notice
        if notice is None:
            return
        page.box(x, y, self.width, _HEIGHT, facecolor=notice.colour, linewidth=0)
        left, baseline = x + _PADDING, y + _HEIGHT / 2 + 0.055
        page.text(left, baseline, notice.title, size=_SIZE, face="bold", colour="white")
        left += self.content.look.typeface.width(notice.title, _SIZE, "bold") + 0.16
        room = x + self.width - _PADDING - left
        page.text(left, baseline, notice.aside, size=BODY + 1, colour="white", room=room)

    @property
    def _notice(self) -> Notice | None:
        content = self.content
        return notice_of(phantom=content.phantom, phantom_only=content.phantom_only, words=content.words)
