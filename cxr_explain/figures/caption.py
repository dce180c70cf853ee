"""The caption of an explanation's figure: what each part shows, by which model and method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cxr_explain.chest.orientation import image_sides
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.comparison import comparison_rows
from cxr_explain.figures.lettering import display_name, one_line
from cxr_explain.figures.methods import asked_text
from cxr_explain.figures.palette import class_styles
from cxr_explain.figures.texts import (
    DISCLAIMER,
    format_probability,
    operating_point_text,
    probability_text,
    same_view,
)
from cxr_explain.pathologies import LabelState, ReferenceLabels, ReferenceLabelsLike
from cxr_explain.support.prose import counted, listed, paragraph
from cxr_explain.support.shares import percent


def caption_of(
    explanation: Explanation,
    reference_labels: ReferenceLabelsLike = None,
    *,
    colours: Mapping[str, str] | None = None,
    with_id: bool = False,
) -> str:
    """Describe the figure of an explanation, for the line below it in a paper.

    Args:
        explanation: the explanation, with or without its radiograph.
        reference_labels: reference labels and boxes, in any form `ReferenceLabels.coerce` takes.
        colours: colours of pathologies that the figure was given; see `class_styles`.
        with_id: begin with the radiograph's id, which may be a file's name.

    Raises:
        OptionError: a colour that is none.
        ReferenceLabelError: labels that are in none of these forms.

    >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
    >>> from cxr_explain import Explainer
    >>> explainer = Explainer.from_pretrained("phantom", device="cpu")
    >>> explanation = explainer.explain(to_radiograph(render(sample_patient(42), size=96)), top_k=3)
    >>> print(caption_of(explanation))
    Predictions of densenet-res224-phantom for a computed chest phantom (view AP, from the header), and...
    """
    predicted = [prediction.pathology for prediction in explanation.ranking.predictions]
    labels = ReferenceLabels.coerce(reference_labels, further=predicted)
    shown = [name for name in explanation.ranking.pathologies if name not in explanation.shown_nowhere]
    sentences = [
        one_line(explanation.id) if with_id else "",
        *_subject(explanation, labels),
        *_ranked(explanation),
        *_map(explanation, shown),
        *_second_signs(explanation, shown, colours),
        *_absent(explanation),
        *_places(explanation),
        *_stability(explanation),
        *_around(explanation, labels),
        *_reference(explanation, labels),
        *_scores(explanation),
        *_notices(explanation),
    ]
    return paragraph(sentences)


def _subject(explanation: Explanation, labels: ReferenceLabels) -> Iterator[str]:
    provenance = explanation.provenance
    image = "computed chest phantom" if provenance.phantom else "chest radiograph"
    view = _view(provenance.view, labels.view)
    evidence = ", and where in the image the evidence for them lies" if explanation.ranking.k else ""
    yield f"Predictions of {one_line(provenance.model)} for a {image}{view}{evidence}"
    left = "the phantom" if provenance.phantom else "the radiograph"
    yield f"Left: {left}. Right: the same with {_overlaid(explanation)}"


def _view(header: str | None, reference: str | None) -> str:
    """The view and where it is known from; the header's counts, and a table that says another is named."""
    if not header:
        return f" (view {one_line(reference)}, from the reference table)" if reference else ""
    agreed = not reference or same_view(header, reference)
    other = "" if agreed else f"; the reference table has {one_line(str(reference))}"
    return f" (view {one_line(header)}, from the header{other})"


def _overlaid(explanation: Explanation) -> str:
    k, method = explanation.ranking.k, one_line(explanation.provenance.method)
    if k == 0:
        return "no map, as no pathology was explained"
    if k == 1:
        return f"the {method} map of one pathology over it"
    if explanation.provenance.map_settings.fused:
        return f"the fused map ({method}) of K = {k} pathologies over it"
    return f"the class maps ({method}, not fused) of K = {k} pathologies over it"


def _ranked(explanation: Explanation) -> Iterator[str]:
    ranking, provenance = explanation.ranking, explanation.provenance
    asked = provenance.ranking_settings
    how = asked_text(asked, provenance.probability_kind)
    if ranking.k == 0:
        yield f"Asked for: {counted(asked.top_k, 'pathology', 'pathologies')} with the {how}"
        return
    first, *others = [(display_name(p.pathology), format_probability(p.probability)) for p in ranking.top]
    names = listed([f"{first[0]} (probability {first[1]})", *(f"{name} ({value})" for name, value in others)])
    fewer = f", fewer than the {asked.top_k} asked for" if ranking.k < asked.top_k else ""
    what = "Shown are the pathologies" if others else "Shown is the pathology"
    yield f"{what} with the {how}{', by rank' if others else ''}{fewer}: {names}"


def _map(explanation: Explanation, shown: Sequence[str]) -> Iterator[str]:
    """What colours, opacities, numbers and outlines mean, where there are any."""
    if not shown:
        return
    several = explanation.ranking.k > 1
    if several and explanation.provenance.map_settings.fused:
        yield "At each position the pathology with the largest class map is shown alone"
    opacity = "The colour tells the pathology; opacity" if several else "Opacity"
    yield (
        f"{opacity} is the strength of the evidence, relative to the strongest in this image, and cannot be "
        "compared between images"
    )
    if several:
        yield "Numbers are ranks, at the strongest cell"
        yield "Outlines enclose half of a pathology's peak, unless faint"
        yield "Small images show each class map by itself, relative to the peak of that map"
    else:
        yield "The number is at the strongest cell; the outline encloses half of the peak"
        yield "The small image shows the class map by itself"


def _second_signs(
    explanation: Explanation, shown: Sequence[str], colours: Mapping[str, str] | None
) -> Iterator[str]:
    """Which pathologies have a hatch, and another outline, beside a colour that is near another's."""
    styles = class_styles(explanation.ranking.pathologies, colours)
    signed = [style for style in styles if style.sign and style.pathology in shown]
    if signed:
        names = listed(f"{display_name(style.pathology)} ({style.line})" for style in signed)
        yield f"A hatch and the line of the outline tell apart colours that are near: {names}"


def _absent(explanation: Explanation) -> Iterator[str]:
    """Ranked pathologies that have no colour, and those whose evidence lies outside of the radiograph."""
    won = explanation.ranking.k > 1 and explanation.provenance.map_settings.fused
    if names := explanation.without_evidence:
        why = "no position is won with positive evidence" if won else "there is no positive evidence"
        yield f"{_names(names)} {'has' if len(names) == 1 else 'have'} no colour, as {why}"
    if names := explanation.without_gradient:
        yield f"No map: {_names(names)}, as no gradient of the score reaches the layer"
    geometry = explanation.geometry
    peaks = zip(explanation.ranking.pathologies, map(geometry.peak_of, explanation.maps), strict=True)
    if beyond := [name for name, peak in peaks if peak is not None and not geometry.sees(peak)]:
        yield f"The strongest evidence lies in the black margin outside of the image for {_names(beyond)}"


def _places(explanation: Explanation) -> Iterator[str]:
    """Where the class maps have their peaks, if that was asked for."""
    places = explanation.places
    named = [
        f"{display_name(name)}: {one_line(places[name])}"
        for name in explanation.ranking.pathologies
        if name in places
    ]
    if named:
        one = "the class map has its peak" if len(named) == 1 else "the class maps have their peaks"
        yield f"By an estimate of the anatomy {one} here: {'; '.join(named)}"


def _stability(explanation: Explanation) -> Iterator[str]:
    """How sure the class maps are, if that was asked for."""
    views, models = explanation.stability, explanation.stability_across_models
    for found, others in ((views, "in {} shifted or noisier views"), (models, "by {}")):
        if found is not None and found.maps:
            said = len(found.over) if found is views else listed([one_line(name) for name in found.over])
            named = "; ".join(f"{display_name(name)}: {found[name]:.2f}" for name in found.maps)
            yield (
                "Stability of the class maps, as the mean overlap of the region at half the peak with that "
                f"{others.format(said)}: {named}"
            )


def _around(explanation: Explanation, labels: ReferenceLabels) -> Iterator[str]:
    if not explanation.geometry.sees_everything:
        lost = percent(explanation.geometry.unseen_share)
        yield f"Dimmed and hatched: not seen by the model ({lost} of the image)"
    if image_sides(explanation.provenance.patient_orientation) is not None:
        yield "Letters at the edges are directions of the patient, from the header"
    if labels.boxes:
        names = dict.fromkeys(box.pathology for box in labels.boxes)
        yield f"Dashed rectangles: reference boxes of {_names([*names])}"


def _reference(explanation: Explanation, labels: ReferenceLabels) -> Iterator[str]:
    if not labels.states:
        return
    found: dict[LabelState, list[str]] = {}
    for row in comparison_rows(explanation.ranking, labels):
        found.setdefault(row.state or LabelState.NOT_LABELLED, []).append(row.pathology)
    states = "; ".join(f"{state}: {_names(found[state])}" for state in LabelState if state in found)
    yield f"Reference labels ({one_line(labels.source)}): {states}"


def _scores(explanation: Explanation) -> Iterator[str]:
    """What the probabilities are, and which of the ranked reach their operating point."""
    top = explanation.ranking.top
    if not top:
        return
    yield f"Probability is {probability_text(explanation.provenance.probability_kind)}"
    point = f" the operating point ({operating_point_text(explanation.provenance.tuning)})"
    parts: list[str] = []
    for side, above in (("at or above", True), ("below", False), ("without", None)):
        if names := [p.pathology for p in top if p.above is above]:
            parts.append(
                f"{side}{point if not parts else ' it' if side == 'below' else ' one'}: {_names(names)}"
            )
    if any(p.above is not None for p in top):
        yield "; ".join(parts)


def _notices(explanation: Explanation) -> Iterator[str]:
    provenance = explanation.provenance
    if provenance.phantom:
        yield "No patient is shown"
    if provenance.phantom_only:
        yield "The model was trained on computed phantoms alone and has never seen a radiograph"
        if not provenance.phantom:
            yield "What it gives for a radiograph has no meaning"
    yield DISCLAIMER


def _names(pathologies: Sequence[str]) -> str:
    return listed(map(display_name, pathologies))
