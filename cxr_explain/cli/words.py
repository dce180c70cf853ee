"""The command that writes the words of a paper: caption, methods and what they cite."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cxr_explain.cli import console
from cxr_explain.cli.figure import is_saved
from cxr_explain.errors import OptionError

_TITLES = {"caption": "Caption", "methods": "Methods", "bibtex": "BibTeX"}


def words(
    source: Annotated[str, typer.Argument(metavar="INPUT")],
    image_id: Annotated[
        str | None, typer.Argument(metavar="ID", show_default="none, for an audit as a whole")
    ] = None,
    *,
    only: Annotated[
        Literal["all", "caption", "methods", "bibtex"], typer.Option(rich_help_panel="Output")
    ] = "all",
) -> None:
    """Print words for a paper: the caption of a figure, what was done for the methods section, and BibTeX.

    They say what was recorded when the image was explained, and no more.

    Args:
        source: JSON file of one explanation, as `cxr-explain explain` wrote it; or folder of an audit, or its
            URL.
        image_id: identifier of the image in the manifest.
        only: what is printed; a caption is of one image.

    Example:
        cxr-explain words run phantom-000001
    """
    found = _words_of(source, image_id)
    if only != "all":
        if only not in found:
            raise OptionError(
                "no image for a caption",
                expected="the ID of one, after the folder of the audit",
                source=source,
            )
        console.say(found[only].rstrip("\n"), lines=True)
        return
    console.say("\n\n".join(f"{_TITLES[key]}\n\n{text.strip()}" for key, text in found.items()), lines=True)


def _words_of(source: str, image_id: str | None) -> dict[str, str]:
    """The texts by what they are; without a caption where the source is of many images."""
    if is_saved(source):
        from cxr_explain.explaining.explanation import Explanation

        if image_id is not None:
            raise OptionError(
                f"the image {image_id!r} of one explanation",
                expected="an ID with the folder of an audit alone",
            )
        explanation = Explanation.load(source)
        caption = explanation.caption()
    else:
        from cxr_explain.audit.results import position_of
        from cxr_explain.audit.store import AuditRun

        run = AuditRun.open(source)
        if image_id is None:
            return {"methods": run.methods_text(), "bibtex": run.bibtex()}
        case = run.case(position_of(run, image_id))
        explanation = case.explanation
        caption = explanation.caption(case.reference_labels)
    return {"caption": caption, "methods": explanation.methods_text(), "bibtex": explanation.bibtex()}
