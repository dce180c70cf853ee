"""Captions and methods sections say what the provenance says: every word, every number, and nothing else."""

from __future__ import annotations

import ast
import inspect
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cxr_explain import (
    Evidence,
    Explainer,
    Explanation,
    HookedClassifier,
    LabelState,
    Outputs,
    Radiograph,
    ReferenceLabels,
    XRVDenseNet,
    options,
    read_radiograph,
)
from cxr_explain.audit import methods as audit_methods
from cxr_explain.audit.example import example_audit
from cxr_explain.audit.methods import Done, methods_of_run
from cxr_explain.audit.record import Record
from cxr_explain.audit.store import AuditRun
from cxr_explain.cam.registry import RULES
from cxr_explain.errors import OptionError
from cxr_explain.explaining.calibration import Calibration
from cxr_explain.explaining.explainer import PHANTOM_WEIGHTS_WARNING
from cxr_explain.explaining.provenance import LogitDistance, Tuning
from cxr_explain.explaining.settings import MapSettings
from cxr_explain.figures import caption, methods, texts
from cxr_explain.figures.bibliography import Citation, bibliography, bibtex_of
from cxr_explain.figures.lettering import display_name, one_line
from cxr_explain.figures.methods import methods_of
from cxr_explain.figures.palette import class_styles
from cxr_explain.figures.texts import DISCLAIMER, format_probability
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.options import ONE_LABEL, OutputKind
from cxr_explain.phantom import render, sample_patient, to_radiograph
from cxr_explain.support import prose
from cxr_explain.support.shares import percent
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports
from cxr_explain.weights.registry import ENTRIES

TEMPLATE_NUMBERS = {"L2", "4", "6", "0.5", "SHA-256", "float32", "2312.05975"}
"""Numbers that the sentences have themselves: of equations, a norm, a calibrated value, maps, a preprint."""


@cache
def phantom(seed: int = 39) -> Radiograph:
    return to_radiograph(render(sample_patient(seed), size=128))


@cache
def bundled(**options: Any) -> Explainer:
    return Explainer.from_pretrained("phantom", device="cpu", **options)


class TwoLayers(nn.Module):
    """A classifier of which exactly one output is true; it gives probabilities."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, 2), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, 2), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3), nn.Softmax(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(inputs)))


def energy(evidence: Evidence) -> torch.Tensor:
    """A rule of one's own."""
    return evidence.activations.square().sum(1, keepdim=True).expand(-1, evidence.classes.shape[1], -1, -1)


def of_default() -> Explanation:
    return bundled().explain(phantom(), top_k=5)


def of_one() -> Explanation:
    return bundled().explain(phantom(), top_k=1)


def of_none() -> Explanation:
    return bundled().explain(phantom(), pathologies=["Mass", "Effusion"], above_operating_point=True)


def of_other_rule() -> Explanation:
    return bundled(method="recipro-cam", fused=False, normalisation="per-class").explain(
        phantom(), top_k=3, rank_by="calibrated"
    )


def of_padded() -> Explanation:
    """Not square, and no phantom: the model has no business here."""
    wide = Radiograph.from_array(np.array(phantom().pixels[:96]), id="somebody")
    explainer = bundled(fit="pad", activation="elu", normalisation="released", allow_phantom_weights=True)
    return explainer.explain(wide, top_k=4)


def of_cropped() -> Explanation:
    narrow = Radiograph.from_array(np.array(phantom().pixels[:, :96]), id="somebody")
    return bundled(activation="gelu", allow_phantom_weights=True).explain(narrow, top_k=2)


def of_softmax() -> Explanation:
    outputs = Outputs(("Mass", "Pleural_Thickening", "Nodule/Mass"))
    model = HookedClassifier(TwoLayers().eval(), "second", outputs, input_size=64, name="my model")
    explainer = Explainer(model, target_layers=["first", "second"], method="layercam")
    return explainer.explain(phantom(), top_k=2)


def of_own_rule() -> Explanation:
    model = HookedClassifier(TwoLayers().eval(), "second", ["A", "B", "C"], input_size=64)
    return Explainer(model, method=energy).explain(phantom(), top_k=2)


def of_xrv() -> Explanation:
    ensure_torchvision_imports()
    import torchxrayvision as xrv

    torch.manual_seed(0)
    classifier = XRVDenseNet(xrv.models.DenseNet().eval(), training_sets=("NIH", "SIIM", "mine"))
    return Explainer(classifier, xrv_compatible=True, dtype="bfloat16").explain(phantom(), top_k=2)


SETTINGS: dict[str, Callable[[], Explanation]] = {
    function.__name__: function
    for function in (
        of_default, of_one, of_none, of_other_rule, of_padded, of_cropped, of_softmax, of_own_rule, of_xrv,
    )
}  # fmt: skip
LABELS = ReferenceLabels.from_text("Effusion|Mass=negative|Hernia=uncertain", source="two readers")


@pytest.fixture(scope="module")
def explained() -> dict[str, Explanation]:
    return {name: make() for name, make in SETTINGS.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    return example_audit(tmp_path_factory.mktemp("audit"))


def tokens(text: str) -> set[str]:
    """The words and numbers of a text."""
    return {found.strip(".,:;()[]\"'") for found in re.split(r"[\s/]+", text)} - {"", "-", "="}


@cache
def template() -> set[str]:
    """The words of the sentences, without any number: what the code holds as text."""
    modules: tuple[ModuleType, ...] = (caption, methods, texts, prose, audit_methods, options)
    found: set[str] = set()
    languages = files("cxr_explain.figures") / "languages"
    for module in modules:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= tokens(node.value)
    for text in tomllib.loads(languages.joinpath("en.toml").read_text("utf-8"))["texts"].values():
        found |= tokens(text)
    found |= {f"{word}s" for word in found}
    cited = {word for each in bibliography().values() if "year" in each.fields for word in tokens(each.label)}
    first_letters = {word[0].upper() + word[1:] for word in found}
    return {word for word in found | first_letters if not re.search(r"\d", word)} | cited | TEMPLATE_NUMBERS


def leaves(value: Any) -> Iterator[Any]:
    """Every value of a JSON document."""
    if isinstance(value, dict):
        for each in value.values():
            yield from leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def facts(document: Any) -> set[str]:
    """Words and numbers of a document, names of pathologies as they are shown."""
    found: set[str] = set()
    for value in leaves(document):
        found |= tokens(str(value)) | tokens(display_name(str(value)))
        if isinstance(value, int) and not isinstance(value, bool):
            found |= {f"{value:,}"}
    return found | {word[:1].upper() + word[1:] for word in found}


def numbers(explanation: Explanation) -> set[str]:
    """What is counted or rounded of the document."""
    ranking, provenance = explanation.ranking, explanation.provenance
    return {
        *(format_probability(each.probability) for each in ranking.top),
        *map(str, (ranking.k, len(ranking.predictions), len(provenance.steps))),
        *map(str, explanation.maps.shape[1:]),
        percent(explanation.geometry.unseen_share).split()[0],
        "%",
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_every_word_is_the_template_s_or_the_document_s(
    name: str, explained: dict[str, Explanation], tmp_path: Path
) -> None:
    explanation = explained[name]
    document = json.loads(explanation.save(tmp_path / "saved").read_text(encoding="utf-8"))
    labels = facts(["two readers", *map(str, LABELS.states), *map(str, LabelState)])
    known = template() | facts(document) | numbers(explanation) | labels
    for text in (explanation.methods_text(), explanation.caption(LABELS if name == "of_default" else None)):
        assert tokens(text) - known == set()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_texts_are_sentences_on_one_line(name: str, explained: dict[str, Explanation]) -> None:
    for text in (explained[name].methods_text(), explained[name].caption(LABELS)):
        assert text == one_line(text)
        assert text.endswith(".")
        text = re.sub(r'"[^"]*"', "recorded", text)
        assert not re.search(r"\(\)|\.\.|,,| ,| \.|\bNone\b|[{}*`_\\]|\b(\w+) \1\b", text), text
        assert all(
            sentence[0].isupper() or sentence[0].isdigit() for sentence in re.split(r"(?<!al)\. ", text)
        )


@pytest.mark.parametrize("name", SETTINGS)
def test_what_was_saved_says_the_same(name: str, explained: dict[str, Explanation], tmp_path: Path) -> None:
    explanation = explained[name]
    loaded = Explanation.load(explanation.save(tmp_path / "saved"))
    assert loaded.methods_text() == explanation.methods_text()
    assert loaded.caption(LABELS) == explanation.caption(LABELS)
    assert loaded.bibtex() == explanation.bibtex()


@pytest.mark.parametrize(
    ("name", "said", "not_said"),
    [
        (
            "of_default",
            ["nobody's chest", "equation 4", "comes with cxr-explain", "known in closed form",
             "float32 on cpu",
             "gave logits for 10 pathologies; probabilities are the sigmoid of each logit, not calibrated",
             "joint L2 norm (equation 6), and ReLU was applied last",
             "The 5 pathologies with the highest sigmoid",
             "in 4 steps: phantom rendered", "which is all of it, at 224 x 224", "A map has 28 x 28 cells",
             "to the 128 x 128 pixels", "view AP, laterality U and patient orientation L/F"],
            ["Cohen", "recorded"],
        ),
        (
            "of_one",
            ["(K = 1): Pneumothorax.", "nothing to fuse: the map was divided by its L2 norm (equation 6)"],
            ["equation 4", "fused by"],
        ),
        ("of_none", ["K = 0; 5 were asked", "those of Mass and Effusion that reach"], ["Silva", "gradient"]),
        (
            "of_other_rule",
            ["Recipro-CAM (Byun and Lee 2022)", "not fused", "each map was divided by its own L2 norm",
             "The rule needs no gradient", "highest calibrated value"],
            ["fused by", "closed form"],
        ),
        (
            "of_padded",
            ["whole image with black margins", "and ELU was", "each column of each map", "No view is known",
             PHANTOM_WEIGHTS_WARNING[:40]],
            ["nobody"],
        ),
        ("of_cropped", ["25 % lies outside", "and GELU was", "to the 96 x 128 pixels"], ["margins"]),
        (
            "of_softmax",
            ["no digest", "not recorded", "softmax of the logits", "layers first and second",
             "as LayerCAM does (Jiang et al. 2021)", "automatic differentiation", "my model"],
            ["sigmoid", "of the models of TorchXRayVision"],
        ),
        ("of_own_rule", ["made by energy at the layer second"], ["Selvaraju", "Cohen"]),
        (
            "of_xrv",
            ["TorchXRayVision DenseNet (Cohen et al. 2022)", "NIH (Wang et al. 2017), SIIM and mine",
             "in bfloat16", "resized as TorchXRayVision does"],
            ["nothing to fuse"],
        ),
    ],
)  # fmt: skip
def test_the_methods_section_says_what_was_done(
    name: str, said: list[str], not_said: list[str], explained: dict[str, Explanation]
) -> None:
    text = explained[name].methods_text()
    assert [each for each in said if each not in text] == []
    assert [each for each in not_said if each in text] == []


@pytest.mark.parametrize("kind", get_args(OutputKind))
def test_what_the_model_gives_is_told(kind: OutputKind, explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    other = replace(explanation, provenance=replace(explanation.provenance, output_kind=kind))
    text = other.methods_text()
    assert ("were recovered" in text) == (kind not in ("logits", "softmax-logits"))
    assert ("softmax of the logits, not calibrated" in text) == (kind in ONE_LABEL)
    assert ("sigmoid of each logit, not calibrated" in text) == (kind not in ONE_LABEL)
    assert ("rescaling by operating point" in text) == (kind == "calibrated")
    assert ("logarithms" in text) == (kind == "log-softmax")


@pytest.mark.parametrize(
    ("name", "said", "not_said"),
    [
        (
            "of_default",
            [
                "K = 5",
                "fused map (FM-G-CAM)",
                "for a computed chest phantom (",
                "The colour tells",
                "view AP, from the header",
            ],
            ["Hatch"],
        ),
        ("of_one", ["Grad-CAM map of one pathology", "The small image"], ["colour", "fused", "ranks"]),
        ("of_none", ["no map", "5 pathologies"], ["Opacity", "opacity", "Numbers", "evidence", "colour"]),
        (
            "of_other_rule",
            ["class maps (Recipro-CAM, not fused) of K = 3", "calibrated value"],
            ["shown alone"],
        ),
        (
            "of_padded",
            ["has no meaning", "for a chest radiograph, and", "Left: the radiograph."],
            ["Hatched", "view", "No patient"],
        ),
        ("of_cropped", ["Dimmed and hatched: not seen by the model (25 % of the image)"], ["margin"]),
        ("of_softmax", ["softmax of the model's scores", "LayerCAM"], ["operating point"]),
    ],
)
def test_the_caption_says_what_is_shown(
    name: str, said: list[str], not_said: list[str], explained: dict[str, Explanation]
) -> None:
    text = explained[name].caption()
    assert DISCLAIMER in text
    assert [each for each in said if each not in text] == []
    assert [each for each in not_said if each in text] == []


def test_every_ranked_pathology_stands_in_the_caption_with_its_probability(
    explained: dict[str, Explanation],
) -> None:
    for explanation in explained.values():
        for each in explanation.ranking.top:
            value = re.escape(format_probability(each.probability))
            assert re.search(rf"{re.escape(display_name(each.pathology))} \((?:probability )?{value}\)",
                             explanation.caption())  # fmt: skip


def test_the_sides_of_the_operating_points_are_told(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    names = {
        above: [p.pathology for p in explanation.ranking.top if p.above is above] for above in (True, False)
    }
    text = explanation.caption()
    assert (
        f"call a pathology positive): {prose.listed(names[True])}; below it: {prose.listed(names[False])}."
        in text
    )
    pointless = [replace(each, operating_point=None) for each in explanation.ranking.top[:1]]
    top = (*pointless, *explanation.ranking.top[1:])
    other = replace(explanation, ranking=replace(explanation.ranking, top=top))
    assert f"; without one: {pointless[0].pathology}." in other.caption()


def test_fewer_than_were_asked_for_are_told(explained: dict[str, Explanation]) -> None:
    text = bundled().explain(phantom(), top_k=5, pathologies=["Mass", "Hernia"]).caption()
    assert "among Mass and Hernia, by rank, fewer than the 5 asked for: " in text
    assert "fewer" not in explained["of_default"].caption()


def test_second_signs_are_told_as_the_figure_has_them(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    first, second, *_ = explanation.ranking.pathologies
    alike = {first: "#0072B2", second: "#0072B2"}
    (signed,) = (style for style in class_styles([first, second], alike) if style.sign)
    text = explanation.caption(colours=alike)
    assert f"colours that are near: {signed.pathology} ({signed.line})" in text
    assert "A hatch" not in bundled().explain(phantom(), top_k=1).caption()
    with pytest.raises(OptionError, match="no colour"):
        explanation.caption(colours={first: "no colour"})


def test_reference_labels_are_told_apart(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    text = explanation.caption(LABELS)
    assert (
        "Reference labels (two readers): positive: Effusion; negative: Mass; uncertain: Hernia; not l" in text
    )
    assert "Reference labels" not in explanation.caption()
    boxed = ReferenceLabels.coerce({"Mass": 1})
    boxed = replace(boxed, boxes=(cxr_box("Mass"), cxr_box("Mass"), cxr_box("Hernia")))
    assert "Dashed rectangles: reference boxes of Mass and Hernia." in explanation.caption(boxed)


@pytest.mark.parametrize(
    ("header", "table", "told"),
    [
        (None, "PA", "a chest radiograph (view PA, from the reference table), and"),
        ("AP", "frontal", "a chest radiograph (view AP, from the header), and"),
        ("AP", "PA", "a chest radiograph (view AP, from the header; the reference table has PA), and"),
        (None, "P\nA\u202e", "a chest radiograph (view P A, from the reference table), and"),
        (None, None, "a chest radiograph, and"),
    ],
)
def test_the_view_is_told_with_where_it_is_known_from(
    header: str | None, table: str | None, told: str, explained: dict[str, Explanation]
) -> None:
    explanation = explained["of_cropped"]
    explanation = replace(explanation, provenance=replace(explanation.provenance, view=header))
    assert told in explanation.caption(replace(ReferenceLabels.coerce("Mass"), view=table))


def cxr_box(pathology: str) -> Any:
    from cxr_explain import ReferenceBox

    return ReferenceBox(pathology, 1, 2, 3, 4)


def test_the_reference_that_a_sample_brought_is_the_default() -> None:
    sample = {"img": torch.tensor(np.array(phantom().pixels))[None], "lab": np.array([1.0, 0.0]), "idx": 3}
    explainer = bundled(allow_phantom_weights=True)
    explanation = explainer.explain(sample, data_set=["Effusion", "Mass"])
    assert "(the sample's): positive: Effusion; negative: Mass" in explanation.caption()
    assert "positive: Hernia" in explanation.caption({"Hernia": 1})


def test_a_pathology_without_a_map_is_named(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    maps = explanation.maps.copy()
    maps[1:3] = 0
    names = explanation.ranking.pathologies
    faint = replace(explanation, maps=maps)
    assert f"{names[1]} and {names[2]} have no colour, as no position is won" in faint.caption()
    unreached = replace(faint, provenance=replace(explanation.provenance, without_gradient=(names[1],)))
    assert f"{names[2]} has no colour" in unreached.caption()
    assert f"No map: {names[1]}, as no gradient of the score reaches" in unreached.caption()
    assert f"No gradient of the score for {names[1]} reaches the layer" in unreached.methods_text()
    empty = replace(explanation, maps=np.zeros_like(maps))
    assert "opacity" not in empty.caption()


def test_evidence_in_the_margin_is_named(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_padded"]
    maps = explanation.maps.copy()
    maps[0] = 0
    maps[0, 0, 0] = 1
    text = replace(explanation, maps=maps).caption()
    assert f"in the black margin outside of the image for {explanation.ranking.pathologies[0]}" in text


def test_neither_a_file_s_name_nor_an_id_is_told_unasked(tmp_path: Path) -> None:
    path = tmp_path / "Doe_Jane_1950.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    explanation = bundled(allow_phantom_weights=True).explain(read_radiograph(path), top_k=2)
    told = explanation.caption() + explanation.methods_text() + explanation.bibtex()
    assert "Doe" not in told
    assert str(tmp_path) not in told
    assert explanation.caption(with_id=True).startswith(f"{explanation.id}. Predictions of ")


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, tuple):
        return (*value, "something else")
    return "something else"


TUNING = Tuning(
    goal="youden", calibrate="isotonic", part="split=valid", policy="ignore", images=200, patients=90,
    outputs=10, fitted=8, calibrated=7, manifest_source="a clinic", manifest_sha256="1" * 64,
    run_sha256="2" * 64, package_version="1.0",
)  # fmt: skip
CHOICES = {
    "normalisation": "released", "activation": "gelu", "fit": "pad", "dtype": "bfloat16",
    "engine": "openvino", "resolution": 14, "finer": LogitDistance(0.25, 0.125),
    "rank_by": "calibrated", "method": "hirescam", "operating_points": (None,) * 10,
    "outputs": ("", *"abcdefghi"),
    "output_kind": "softmax", "gradient": "autograd", "pathologies": ("Hernia",), "target_layers": ("a", "b"),
    "patient_orientation": ("R", "F"), "without_gradient": ("Hernia",), "top_k": 9, "uncertain": "ones",
    "blanks": "negative", "no_finding": "negative", "rendering": "equalised",
    "voi": "none", "frame": 2, "regions": "a network", "weights_sha256": "f" * 64, "tuning": TUNING,
    "calibrate": "temperature", "calibrations": (Calibration(2.0),) * 10,
}  # fmt: skip


def variants(settings: Any) -> Iterator[tuple[str, Any]]:
    """The object with one field changed, for each field; settings within it as well."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            for name, inner in variants(value):
                yield f"{each.name}.{name}", replace(settings, **{each.name: inner})
        else:
            other = CHOICES.get(each.name, changed(value))
            yield each.name, replace(settings, **{each.name: other})


UNSAID = {
    "radiograph_sha256": "names a file",
    "map_settings.allow_phantom_weights": "a permission; where it was used, the warning says so",
    "operating_points_sha256": "the operating points are the weights' own",
}
UNSAID_OF_A_RUN = {
    "map_settings.allow_phantom_weights": "a permission",
    "map_settings.xrv_compatible": "that of the reader is told, which is the same",
    "operating_points": "too many for a paragraph; the record has them",
    "regions_sha256": "there is no network",
    "calibrations": "too many for a paragraph; the record has them",
    "operating_points_sha256": "the operating points are the weights' own",
}
UNSAID_OF_A_TUNING = {
    "tuning.policy": "in the file of the operating points, whose digest is told",
    "tuning.manifest_sha256": "the same",
    "tuning.run_sha256": "the same",
    "tuning.package_version": "the same",
    "tuning.outputs": "told as what the model gives",
}


def test_each_field_of_the_provenance_changes_the_texts(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    before = (explanation.methods_text(), explanation.caption())
    unsaid = set()
    for name, provenance in variants(explanation.provenance):
        other = replace(explanation, provenance=provenance)
        after = (other.methods_text(), other.caption())
        if after == before:
            unsaid.add(name)
        elif "something else" in str(asdict(provenance)):
            assert "something else" in "".join(after), name
    assert unsaid == set(UNSAID)


def test_each_field_of_fitted_operating_points_changes_the_texts(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    tuned = replace(explanation.provenance, tuning=TUNING, operating_points_sha256="e" * 64)
    before = replace(explanation, provenance=tuned).methods_text()
    unsaid = {
        name
        for name, provenance in variants(tuned)
        if name.startswith(("tuning", "operating_points"))
        and replace(explanation, provenance=provenance).methods_text() == before
    }
    assert unsaid == set(UNSAID_OF_A_TUNING)


def test_each_field_of_a_run_s_record_changes_the_text(run: AuditRun) -> None:
    done = Done(2, {}, 2, ["closed form"], ["cpu"], regions=True)
    before = methods_of_run(run.record, done).text
    assert before == run.methods_text()
    same = {name for name, record in variants(run.record) if methods_of_run(record, done).text == before}
    assert same == set(UNSAID_OF_A_RUN)
    for each in (
        replace(done, explained=1), replace(done, failures={"x": 1}), replace(done, phantoms=1),
        replace(done, gradients=["none"]), replace(done, devices=["cuda"]), replace(done, regions=False),
    ):  # fmt: skip
        assert methods_of_run(run.record, each).text != before


def test_every_word_of_a_run_s_text_is_known(run: AuditRun) -> None:
    document = json.loads(run.record.to_json())
    counts = {str(len(run.results)), str(len(run.record.pathologies)), "cpu", "closed", "form"}
    assert tokens(run.methods_text()) - (template() | facts(document) | counts) == set()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "uncertain reference labels were left out"),
        ({"uncertain": "zeros"}, "uncertain reference labels were counted as negative"),
        ({"uncertain": "ones"}, "uncertain reference labels were counted as positive"),
        ({"blanks": "negative"}, "and those not mentioned were counted as negative."),
        ({"no_finding": "negative"}, "is positive, every other pathology counted as negative."),
        (
            {"read_settings": ReadSettings(rendering="equalised")},
            "saw each image after scaling to 8 bits and histogram equalisation",
        ),
        ({"regions": "chestx-det"}, "by the segmentation network chestx-det."),
        ({"map_settings": MapSettings()}, "the largest centred square of each image at 224 x 224"),
        (
            {"map_settings": MapSettings(fit="pad")},
            "the smallest square around each image, with black margins",
        ),
        (
            {"read_settings": ReadSettings(voi=1, frame=2)},
            "voi = 1, for the values of interest of DICOM, frame 2.",
        ),
        (
            {"read_settings": ReadSettings(xrv_compatible=True)},
            "resized as TorchXRayVision does (Cohen et al. 2022)",
        ),
    ],
)
def test_a_run_tells_how_it_was_made(changes: dict[str, Any], said: str, run: AuditRun) -> None:
    done = Done(2, {}, 2, ["closed form"], ["cpu"], regions=True)
    assert said in methods_of_run(replace(run.record, **changes), done).text


def test_failures_and_rows_that_are_missing_are_counted(run: AuditRun) -> None:
    done = Done(1_200, {"corrupt-image": 2, "not-found": 1}, 0, ["closed form"], ["cpu"], regions=False)
    text = methods_of_run(replace(run.record, rows=5_000), done).text
    assert "5,000 images of " in text
    assert "1,200 were explained, and 3 (corrupt-image 2 and not-found 1) failed." in text
    assert "This audit is not complete: 1,203 of 5,000 images" in text
    assert "phantoms, nobody" not in text
    one = methods_of_run(replace(run.record, rows=1), replace(done, explained=1, failures={})).text
    assert re.match(r"1 image of .* was audited\. 1 was explained, and none failed\.", one)
    alone = replace(done, phantoms=1)
    assert " 1 image is a computed phantom, nobody" in methods_of_run(run.record, alone).text
    alone = replace(alone, explained=1)
    assert " The explained image is a computed phantom, nobody" in methods_of_run(run.record, alone).text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"top_k": 1}, "the pathology with the highest sigmoid probability was explained (K = 1)"),
        ({"top_k": 99}, "(K = 10; 99 were asked for)"),
        (
            {"pathologies": ("Mass", "Edema"), "top_k": 4},
            "among Mass and Edema were explained (K = 2; 4 were",
        ),
        ({"above_operating_point": True}, "up to 5 pathologies with the highest"),
    ],
)
def test_a_run_tells_its_k(asked: dict[str, Any], said: str, run: AuditRun) -> None:
    record: Record = replace(run.record, ranking_settings=replace(run.record.ranking_settings, **asked))
    done = Done(2, {}, 2, ["closed form"], ["cpu"], regions=False)
    assert said in methods_of_run(record, done).text


def test_an_audit_s_case_says_what_its_explanation_says(run: AuditRun) -> None:
    case = run.case(0)
    text = case.explanation.caption(case.reference_labels)
    assert "Reference labels (NIH ChestX-ray14" in text
    assert case.explanation.methods_text().split(". ")[:3] == run.methods_text().split(". ")[3:6]


# What is cited.


def test_every_rule_and_every_published_training_set_has_its_paper() -> None:
    assert {entry.title for entry in RULES.values()} - set(bibliography()) == set()
    sets = {name for entry in ENTRIES for name in entry.training_sets}
    assert sets - set(bibliography()) == {"SIIM"}  # a challenge without a paper


def test_the_bibliography_is_whole() -> None:
    keys = [each.key for each in bibliography().values()]
    assert len(set(keys)) == len(keys) == source_of_bibliography().count("\n@")
    for each in bibliography().values():
        assert {"author", "title", "keywords"} <= set(each.fields)
        assert each.key == "cxrexplain" or re.fullmatch(r"(19|20)\d\d", each.fields["year"])
        assert len(each.fields) == each.bibtex.count("\n") - 1, "a field on several lines"
        check_bibtex(each.bibtex)


def source_of_bibliography() -> str:
    return Path(methods.__file__).with_name("bibliography.bib").read_text(encoding="utf-8")


def check_bibtex(text: str) -> None:
    """Braces that close, and no sign that TeX acts on but in front of a letter's accent."""
    depth = 0
    for sign in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"(?<!\\)[&%$#_^~]", text)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_text_cites_is_what_the_bibtex_holds(name: str, explained: dict[str, Explanation]) -> None:
    written = methods_of(explained[name])
    named = set(re.findall(r"\((\w[\w-]*(?: and \w[\w-]*| et al\.)? \d{4})", written.text))
    assert named == {each.label for each in written.citations if "year" in each.fields}
    assert explained[name].bibtex() == written.bibtex == bibtex_of(written.citations)
    assert len({each.key for each in written.citations}) == len(written.citations)
    assert "note = {Version " in written.bibtex
    check_bibtex(written.bibtex)


def test_a_published_model_cites_its_library_and_its_training_sets(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    published = ENTRIES[0]
    provenance = replace(
        explanation.provenance,
        model=published.name,
        training_sets=published.training_sets,
        phantom_only=False,
    )
    text = replace(explanation, provenance=provenance).methods_text()
    assert "densenet121-res224-all, one of the models of TorchXRayVision (Cohen et al. 2022)." in text
    assert (
        "CheXpert (Irvin et al. 2019), MIMIC-CXR (Johnson et al. 2019), Google (Majkowska et al. 2020)"
        in text
    )
    mine = replace(provenance, model="nih", training_sets=("NIH and more",))
    text = replace(explanation, provenance=mine).methods_text()
    assert "The classifier was nih." in text
    assert "trained on NIH and more." in text


def test_a_rule_with_the_title_of_a_paper_is_not_the_paper_s(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    maps = replace(explanation.provenance.map_settings, method="Grad-CAM")
    theirs = replace(explanation.provenance, map_settings=maps, rule_settings="")
    assert "Selvaraju" not in replace(explanation, provenance=theirs).methods_text()
    maps = replace(maps, method="Score-CAM")
    tuned = replace(theirs, map_settings=maps, rule_title="Score-CAM", rule_settings="ScoreCAM(channels=9)")
    text = replace(explanation, provenance=tuned).methods_text()
    assert "made by Score-CAM (Wang et al. 2020), with the options ScoreCAM(channels=9), at the layer" in text


def test_names_from_outside_stay_on_their_line(explained: dict[str, Explanation]) -> None:
    explanation = explained["of_default"]
    hostile = "a\nb\u202e{c}\\end{document}%"
    provenance = replace(
        explanation.provenance,
        package_version=hostile, torch_version=hostile, model=hostile, training_sets=(hostile,),
        device=hostile, rule_settings=hostile, method=hostile,
        steps=(hostile,), warnings=(hostile,), notes=(hostile,), view=hostile, phantom_only=False,
        weights_sha256=hostile, target_layer=hostile, rule_title=hostile,
    )  # fmt: skip
    other = replace(explanation, id=hostile, provenance=provenance)
    for text in (other.methods_text(), other.caption(with_id=True)):
        assert text == one_line(text)
    check_bibtex(other.bibtex())
    assert r"\textbackslash end\textbraceleft document\textbraceright \%" in other.bibtex()


def test_a_citation_is_found_by_what_it_is_about() -> None:
    found = bibliography()["FM-G-CAM"]
    assert isinstance(found, Citation)
    assert found.fields["eprint"] == "2312.05975"
