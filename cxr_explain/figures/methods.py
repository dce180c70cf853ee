"""What was done, in sentences for a paper's methods section: each says what the provenance says, no more.

An explanation and an audit's record have `ExplainerFacts` in common; the sentences about these stand here
once. Names that came from a file are put on one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from cxr_explain.cam.registry import EVERY_ATTENTION, RULES
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.provenance import ExplainerFacts, Provenance
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.figures.bibliography import Citation, Citing, bibliography, bibtex_of, citation_of
from cxr_explain.figures.lettering import display_name, one_line
from cxr_explain.figures.texts import engine_text, ranked_by_text
from cxr_explain.options import (
    ONE_LABEL,
    Activation,
    CalibrationKind,
    Normalisation,
    OutputKind,
    ProbabilityKind,
)
from cxr_explain.radiograph import PHANTOM_WARNING
from cxr_explain.support.prose import counted, listed, paragraph
from cxr_explain.support.shares import percent
from cxr_explain.weights.registry import known_entry

_GIVES: Mapping[OutputKind, str] = MappingProxyType(
    {
        "logits": "logits",
        "sigmoids": "probabilities behind a sigmoid, from which the logits were recovered,",
        "calibrated": "probabilities behind a sigmoid and a rescaling by operating point, from which the "
        "logits were recovered,",
        "softmax-logits": "the logits of a softmax",
        "softmax": "probabilities behind a softmax, from which the logits were recovered,",
        "log-softmax": "the logarithms of probabilities behind a softmax, from which the logits were "
        "recovered,",
    }
)
_CALIBRATED: Mapping[CalibrationKind, str] = MappingProxyType(
    {
        "none": "not calibrated",
        "temperature": "calibrated by a temperature for each pathology",
        "isotonic": "calibrated by an isotonic curve for each pathology",
    }
)
_NORMS: Mapping[Normalisation, str] = MappingProxyType(
    {
        "joint": "all maps together were divided by their joint L2 norm (equation 6)",
        "per-class": "each map was divided by its own L2 norm, in place of the joint norm of equation 6",
        "released": "each column of each map was divided by its own L2 norm, as in the code that the authors "
        "of FM-G-CAM released, in place of the joint norm of equation 6",
    }
)
_NORM_OF_ONE: Mapping[Normalisation, str] = MappingProxyType(
    {
        **dict.fromkeys(("joint", "per-class"), "the map was divided by its L2 norm (equation 6)"),
        "released": "each column of the map was divided by its own L2 norm, as in the code that the authors "
        "of FM-G-CAM released, in place of the norm of equation 6",
    }
)
_ACTIVATIONS: Mapping[Activation, str] = MappingProxyType({"relu": "ReLU", "elu": "ELU", "gelu": "GELU"})
_DTYPES = MappingProxyType({"float32": "in float32", "bfloat16": "in bfloat16 (the maps in float32)"})
_AUTOCAST = "in bfloat16 (autocast; the maps in float32)"
_XRV_OBJECT = "TorchXRayVision "  # begins the name that the package gives to a model of that library


@dataclass(frozen=True)
class Methods:
    """A paragraph for a methods section, and what it cites.

    Args:
        text: the paragraph.
        citations: entries of the bibliography, in the order in which the text comes to them.
    """

    text: str
    citations: tuple[Citation, ...]

    @property
    def bibtex(self) -> str:
        """The entries as a BibTeX file holds them."""
        return bibtex_of(self.citations)


def methods_of(explanation: Explanation) -> Methods:
    """How an explanation was made: every statement is in the JSON file that `Explanation.save` writes.

    Args:
        explanation: the explanation, with or without its radiograph.

    >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
    >>> from cxr_explain import Explainer
    >>> explainer = Explainer.from_pretrained("phantom", device="cpu")
    >>> explanation = explainer.explain(to_radiograph(render(sample_patient(42), size=96)), top_k=3)
    >>> print(methods_of(explanation).text)
    The classifier was densenet-res224-phantom, which comes with cxr-explain. The weights file has...
    """
    provenance, cite = explanation.provenance, Citing()
    k = explanation.ranking.k
    notes = (*explanation.ranking.notes, *provenance.notes)
    sentences = [
        *model_sentences(provenance, len(explanation.ranking.predictions), cite),
        *_image(provenance),
        *_preparation(explanation, cite),
        *_ranking(explanation),
        *(map_sentences(provenance, k, cite) if k else ()),
        *(_grid(explanation) if k else ()),
        *(gradient_sentences([provenance.gradient]) if k else ()),
        *_unreached(provenance.without_gradient),
        software_sentence(provenance, [provenance.device], cite),
        recorded("warning", (each for each in provenance.warnings if each != PHANTOM_WARNING)),
        recorded("note", notes),
    ]
    return Methods(paragraph(sentences), cite.citations)


def model_sentences(facts: ExplainerFacts, outputs: int, cite: Citing) -> Iterator[str]:
    """Which model it is, what it was trained on, and what it gives.

    Args:
        facts: what is known of the explainer.
        outputs: number of pathologies that the model predicts.
        cite: collects what is cited.
    """
    entry = known_entry(facts.model)
    whose = ""
    if facts.model.startswith(_XRV_OBJECT):
        whose = cite("TorchXRayVision")
    elif entry is not None and entry.name == facts.model:  # not by a short name, which may be anybody's
        of_xrv = "one of the models of TorchXRayVision"
        whose = ", which comes with cxr-explain" if entry.bundled else f", {of_xrv}{cite('TorchXRayVision')}"
    yield f"The classifier was {one_line(facts.model)}{whose}"
    if facts.weights_sha256:
        yield f"The weights file has the SHA-256 {one_line(facts.weights_sha256)}"
    else:
        yield "The weights came as an object, without a file, so that no digest of them is known"
    sets = listed(f"{one_line(name)}{cite(name)}" for name in facts.training_sets)
    if facts.phantom_only:
        of = f" ({sets})" if facts.training_sets not in ((), ("phantoms",)) else ""
        yield f"The model was trained on computed phantoms alone{of} and has never seen a radiograph"
    elif sets:
        yield f"The model was trained on {sets}"
    else:
        yield "Which data the model was trained on is not recorded"
    function = "softmax of the logits" if facts.output_kind in ONE_LABEL else "sigmoid of each logit"
    tuning, of = facts.tuning, ""
    calibrated = "not calibrated"
    if tuning is not None and tuning.calibrated:
        of = "" if tuning.calibrated == tuning.outputs else f" for {tuning.calibrated} of them"
        calibrated = f"{_CALIBRATED[tuning.calibrate]}{of}"
    yield (
        f"It gave {_GIVES[facts.output_kind]} for {counted(outputs, 'pathology', 'pathologies')}; "
        f"probabilities are the {function}, {calibrated}"
    )
    if tuning is not None:
        digest = one_line(facts.operating_points_sha256 or "")
        where = f"{counted(tuning.patients, 'patient')} of {one_line(tuning.manifest_source)}"
        yield (
            f"The operating points of {tuning.fitted} of these were fitted ({one_line(tuning.basis)}) on "
            f"{counted(tuning.images, 'image')} of {where}; the others are the weights' own (SHA-256 of the "
            f"operating points {digest})"
        )


def asked_text(asked: RankingSettings, kind: ProbabilityKind) -> str:
    """By what pathologies were ranked, and among which.

    >>> asked_text(RankingSettings(pathologies=("Mass", "Edema"), above_operating_point=True), "sigmoid")
    'highest sigmoid probability among those of Mass and Edema that reach their operating point'
    """
    names = None if asked.pathologies is None else listed(map(display_name, asked.pathologies))
    among = "" if names is None else f" among {names}"
    if asked.above_operating_point:
        among = f" among those {f'of {names} ' if names else ''}that reach their operating point"
    by = ranked_by_text(asked.rank_by, kind)
    if asked.rank_by == "calibrated":
        by += " (the probability, rescaled so that the operating point becomes 0.5)"
    return f"highest {by}{among}"


def map_sentences(facts: ExplainerFacts, k: int, cite: Citing) -> Iterator[str]:
    """How the class maps were made and fused.

    Args:
        facts: what is known of the explainer.
        k: how many pathologies have a map; for several images, how many at most.
        cite: collects what is cited.
    """
    maps, fm_g_cam = facts.map_settings, cite.add(bibliography()["FM-G-CAM"])
    place = f"{fm_g_cam.label}, arXiv {fm_g_cam.fields['eprint']}"
    layers = maps.target_layers if len(maps.target_layers) > 1 else ()
    where = f"layers {listed(map(one_line, layers))}" if layers else f"layer {one_line(facts.target_layer)}"
    at = "from every attention of the model" if facts.target_layer == EVERY_ATTENTION else f"at the {where}"
    options = f", with the options {one_line(facts.rule_settings)}," if facts.rule_settings else ""
    together = f"; those of the layers were combined as LayerCAM does{cite('LayerCAM')}" if layers else ""
    own = cite(facts.rule_title) if _is_of_the_package(facts) else ""
    made = "The class map was" if k == 1 else "Class maps were"
    yield f"{made} made by {one_line(facts.rule_title)}{own}{options} {at}{together}"
    if maps.resolution != "native":
        yield (
            "The maps are finer than the network's own: its last strides were taken out, and what follows "
            f"was dilated{cite('dilation')}{cite('DRN')}, with the same weights; ranking and probabilities "
            "are those of the network as it is"
        )
    norm = (_NORM_OF_ONE if k == 1 else _NORMS)[maps.normalisation]
    scaled = f"{norm}, and {_ACTIVATIONS[maps.activation]} was applied last"
    if k == 1:
        yield f"With one pathology there is nothing to fuse: {scaled}; the equation is FM-G-CAM's ({place})"
    elif maps.fused:
        yield (
            f"They were fused by FM-G-CAM ({place}): at each position the largest class map alone was kept "
            f"(equation 4); {scaled}"
        )
    else:
        yield (
            "They were not fused: each pathology kept the whole class map, without the filter of FM-G-CAM "
            f"({place}, equation 4); {scaled}"
        )


def gradient_sentences(gradients: Sequence[str]) -> Iterator[str]:
    """Where the gradients came from: of one explanation, or all that occurred in several."""
    texts = {
        "closed form": "The gradients of the scores are known in closed form, as global average pooling and "
        "one linear layer follow",
        "autograd": "The gradients of the scores were computed by automatic differentiation",
        "none": "The rule needs no gradient",
    }
    yield from (texts.get(each, f"Gradients: {one_line(each)}") for each in gradients)


def software_sentence(facts: ExplainerFacts, devices: Sequence[str], cite: Citing) -> str:
    """In which arithmetic, where, and by which versions of the software."""
    explainer, torch = citation_of("cxr-explain"), cite("PyTorch")
    if explainer is not None:
        cite.add(explainer.with_note(f"Version {one_line(facts.package_version)}"))
    where = f" on {listed(map(one_line, devices))}" if devices else ""
    engine, dtype = one_line(engine_text(facts)), facts.map_settings.dtype
    ran = "ran" if not engine else f"was run by {engine}"
    arithmetic = _AUTOCAST if dtype == "bfloat16" and not engine else _DTYPES[dtype]
    return (
        f"The forward pass {ran} {arithmetic}{where}, with cxr-explain "
        f"{one_line(facts.package_version)} and torch {one_line(facts.torch_version)}{torch}"
    )


def recorded(what: str, texts: Iterable[str]) -> str:
    """Warnings or notes as they were recorded; '' without any.

    >>> recorded("note", ["K cut from 5 to 2", "K cut from 5 to 2"])
    'The software recorded this note: "K cut from 5 to 2"'
    """
    found = [f'"{text.rstrip(".")}"' for text in dict.fromkeys(map(one_line, texts)) if text]
    if not found:
        return ""
    these = f"this {what}" if len(found) == 1 else f"these {what}s"
    return f"The software recorded {these}: {'; '.join(found)}"


def _is_of_the_package(facts: ExplainerFacts) -> bool:
    """Whether a rule is the package's, with any options, and not one of somebody's with the same title."""
    if (entry := RULES.get(str(facts.map_settings.method))) is not None:
        return entry.title == facts.rule_title
    same = (entry for entry in RULES.values() if entry.title == facts.rule_title)
    return any(facts.rule_settings.startswith(f"{entry.home.split(':')[1]}(") for entry in same)


def _image(provenance: Provenance) -> Iterator[str]:
    if provenance.phantom:
        yield "The image is a computed phantom, nobody's chest"
    sides = provenance.patient_orientation
    header = {
        "view": provenance.view,
        "laterality": provenance.laterality,
        "patient orientation": sides and "/".join(sides),
    }
    known = [f"{name} {one_line(value)}" for name, value in header.items() if value]
    yield f"The header of the image gives {listed(known)}" if known else "No view is known from a header"


def _preparation(explanation: Explanation, cite: Citing) -> Iterator[str]:
    provenance, geometry = explanation.provenance, explanation.geometry
    steps = [one_line(step) for step in provenance.steps]
    if steps:
        yield f"The image was prepared in {counted(len(steps), 'step')}: {'; '.join(steps)}"
    if provenance.map_settings.xrv_compatible:
        yield f"It was read, cropped and resized as TorchXRayVision does{cite('TorchXRayVision')}"
    size = f"at {geometry.model_size} x {geometry.model_size} pixels"
    if provenance.map_settings.fit == "pad":
        square = len({*geometry.radiograph_shape}) == 1
        yield f"The classifier saw the whole image{'' if square else ' with black margins'}, {size}"
    elif geometry.sees_everything:
        yield f"The classifier saw the largest centred square of the image, which is all of it, {size}"
    else:
        lost = percent(geometry.unseen_share)
        yield f"The classifier saw the largest centred square of the image, {size}; {lost} lies outside of it"


def _ranking(explanation: Explanation) -> Iterator[str]:
    k, asked = explanation.ranking.k, explanation.provenance.ranking_settings
    how = asked_text(asked, explanation.provenance.probability_kind)
    fewer = f"; {asked.top_k} were asked for" if k != asked.top_k else ""
    names = listed(map(display_name, explanation.ranking.pathologies))
    if k == 0:
        yield f"No pathology was explained (K = 0{fewer}, with the {how})"
    elif k == 1:
        yield f"The pathology with the {how} was explained (K = 1{fewer}): {names}"
    else:
        yield f"The {k} pathologies with the {how} were explained (K = {k}{fewer}): {names}"


def _grid(explanation: Explanation) -> Iterator[str]:
    rows, columns = explanation.maps.shape[1:]
    height, width = explanation.geometry.radiograph_shape
    yield (
        f"A map has {rows} x {columns} cells; it was brought to the {width} x {height} pixels of the image "
        "by bilinear interpolation"
    )
    if (apart := explanation.provenance.finer) is not None:
        yield (
            f"What the head makes of the finer activations lies up to {apart.largest:.2g} from the scores of "
            f"the network, in logits, and {apart.mean:.2g} on average over the explained pathologies"
        )


def _unreached(pathologies: Sequence[str]) -> Iterator[str]:
    if pathologies:
        names = listed(map(display_name, pathologies))
        yield f"No gradient of the score for {names} reaches the layer, so that there is no map for it"
