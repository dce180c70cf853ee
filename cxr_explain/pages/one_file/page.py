"""The page of one explanation: text that is there without a script, and the viewer within it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.output_names import PAGE_GENERATOR
from cxr_explain.figures.caption import caption_of
from cxr_explain.figures.comparison import comparison_rows
from cxr_explain.figures.facts import map_facts, model_facts
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.methods import methods_of
from cxr_explain.figures.overlay import BLANK, MAX_OPACITY, fused_overlay
from cxr_explain.figures.palette import class_styles
from cxr_explain.figures.texts import (
    Fact,
    format_probability,
    from_header,
    operating_point_text,
    phantom_texts,
    probability_text,
    ranked_by_text,
    view_text,
)
from cxr_explain.pages.templating import allowed, environment, image_url
from cxr_explain.pages.viewer.case import viewer_case, viewer_image
from cxr_explain.pages.viewer.images import jpeg_within
from cxr_explain.pages.viewer.reading import how_to_read
from cxr_explain.pages.viewer.script_data import safe_json
from cxr_explain.pathologies import ReferenceLabels, ReferenceLabelsLike
from cxr_explain.radiograph import PHANTOM_WARNING, Radiograph
from cxr_explain.support.whole_file import write_output

_SCRIPTS = ("core", "text", "maps", "fusion", "viewer", "controls")
_STILL = 512  # pixels of the picture for those whose mail program runs no script
_STILL_QUALITY = 85
_MOST_OF_IMAGE, _MOST_OF_STILL = 450_000, 75_000  # bytes; text has 4 for 3, which keeps a page below 1 MB


def write_html(
    path: str | PathLike[str],
    explanation: Explanation,
    radiograph: Radiograph | None = None,
    reference_labels: ReferenceLabelsLike = None,
    *,
    max_opacity: float = MAX_OPACITY,
    colours: Mapping[str, str] | None = None,
) -> Path:
    """Write the page, whole or not at all; see `Explanation.to_html`."""
    html = explanation_page(
        explanation, radiograph, reference_labels, max_opacity=max_opacity, colours=colours
    )
    return write_output(path, html.encode(), "a page")


def explanation_page(
    explanation: Explanation,
    radiograph: Radiograph | None = None,
    reference_labels: ReferenceLabelsLike = None,
    *,
    max_opacity: float = MAX_OPACITY,
    colours: Mapping[str, str] | None = None,
) -> str:
    """The page as text; the same explanation gives the same text.

    Args:
        explanation: what is shown.
        radiograph: the pixels below the map; by default the explanation's own, plain grey where it has none.
        reference_labels: reference labels and boxes, in any form `ReferenceLabels.coerce` takes.
        max_opacity: opacity of the strongest evidence when the page opens, in (0, 1].
        colours: colour of a pathology by name, where it is not the package's own.

    Raises:
        OptionError: an opacity out of range, or a colour that is none.
        ReferenceLabelError: labels that cannot be read.
    """
    if not 0 < max_opacity <= 1:
        raise OptionError(f"max_opacity={max_opacity!r}", expected="a number in (0, 1]")
    radiograph = radiograph or explanation.radiograph
    provenance, ranking = explanation.provenance, explanation.ranking
    predicted = [prediction.pathology for prediction in ranking.predictions]
    labels = ReferenceLabels.coerce(reference_labels, further=predicted)
    rows = comparison_rows(ranking, labels)
    phantom = provenance.phantom or (radiograph is not None and radiograph.phantom)
    spoken = _spoken(explanation, phantom=phantom)
    data = {
        "image": viewer_image(_display(explanation, radiograph), _MOST_OF_IMAGE),
        **viewer_case(explanation, labels.boxes, colours=colours),
        "spoken": spoken,
    }
    still = fused_overlay(explanation, radiograph, max_opacity=max_opacity, longest=_STILL, colours=colours)
    style, script = _style(), _script()
    return environment().get_template("one_file.html").render(
        explanation=explanation,
        provenance=provenance,
        phantom=phantom,
        spoken=spoken,
        banners=_banners(explanation, radiograph, phantom=phantom),
        rows=rows,
        styles=class_styles(ranking.pathologies, colours),
        labels=labels,
        reading=how_to_read(ranking.k, fused=provenance.map_settings.fused),
        facts=_facts(explanation, radiograph, labels.view, phantom=phantom),
        notes=_notes(explanation, radiograph),
        caption=caption_of(explanation, labels, colours=colours),
        methods=methods_of(explanation),
        opacity=round(100 * max_opacity),
        still=image_url(
            jpeg_within(Image.fromarray(still), _MOST_OF_STILL, best=_STILL_QUALITY), "jpeg"
        ),
        style=style,
        script=script,
        data=Markup(safe_json(data)),  # noqa: S704 - nothing in it ends a script
        policy=_policy(style, script),
        generator=PAGE_GENERATOR,
    )  # fmt: skip


def _display(explanation: Explanation, radiograph: Radiograph | None) -> Any:
    if radiograph is not None:
        return radiograph.display
    return np.full(explanation.geometry.radiograph_shape, round(255 * BLANK), np.uint8)


def _banners(explanation: Explanation, radiograph: Radiograph | None, *, phantom: bool) -> list[str]:
    """What must be known first."""
    texts = phantom_texts(int(phantom), 1, phantom_only=explanation.provenance.phantom_only)
    if radiograph is None:
        texts.append("The radiograph is not in this file: the maps lie on plain grey.")
    return texts


def _facts(
    explanation: Explanation, radiograph: Radiograph | None, view: str | None, *, phantom: bool
) -> list[tuple[str, list[Fact]]]:
    provenance, ranking = explanation.provenance, explanation.ranking
    ranked_by = ranked_by_text(ranking.by, provenance.probability_kind)
    cells = " × ".join(map(str, explanation.maps.shape[1:]))
    method = [
        ("method", provenance.method),
        ("K", f"{ranking.k}, ranked by {ranked_by}"),
        *map_facts(provenance, ranking.k),
        ("maps", f"{cells} cells"),
    ]
    model = [
        *model_facts(provenance),
        ("probability", probability_text(provenance.probability_kind)),
        ("operating point", operating_point_text(provenance.tuning)),
    ]
    height, width = explanation.geometry.radiograph_shape
    kind = f"{radiograph.format}, " if radiograph is not None else ""
    image = [
        ("file", f"{kind}{width} × {height} pixels, SHA-256 {provenance.radiograph_sha256[:12]}"),
        ("view", view_text(provenance.view, view)),
        ("laterality", from_header(provenance.laterality)),
    ]
    lists = [("Phantom" if phantom else "Radiograph", image), ("Method", method), ("Model", model)]
    return [(title, [(name[0].upper() + name[1:], text) for name, text in facts]) for title, facts in lists]


def _notes(explanation: Explanation, radiograph: Radiograph | None) -> list[str]:
    """Warnings and notes, each once; that it is a phantom, the page says elsewhere."""
    provenance = explanation.provenance
    read = () if radiograph is None else radiograph.warnings
    every = dict.fromkeys((*provenance.warnings, *read, *explanation.ranking.notes, *provenance.notes))
    return [note for note in every if note != PHANTOM_WARNING]


def _spoken(explanation: Explanation, *, phantom: bool) -> str:
    """What the picture shows, for those who do not see it."""
    kind = "Computed chest phantom" if phantom else "Chest radiograph"
    shown = ", ".join(
        f"{display_name(each.pathology)} (probability {format_probability(each.probability)})"
        for each in explanation.ranking.top
    )
    return f"{kind} with the {explanation.provenance.method} of {shown or 'no pathology'}."


def _style() -> Markup:
    return Markup(_text("viewer", "viewer.css") + _text("one_file", "one.css"))  # noqa: S704 - own files


def _script() -> Markup:
    texts = [_text("viewer", f"{name}.js") for name in _SCRIPTS]
    return Markup("".join([*texts, _text("one_file", "one.js")]))  # noqa: S704 - own files


def _text(room: str, name: str) -> str:
    return files(f"cxr_explain.pages.{room}").joinpath("static", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """This very style, this very script, pixels within the page; no network, and no text becomes markup."""
    return (
        f"default-src 'none'; script-src {allowed(script)}; style-src {allowed(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
