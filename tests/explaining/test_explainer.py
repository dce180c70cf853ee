"""The one path: batches, precision, options, and nothing left behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import literal
import numpy as np
import pytest
import torch
from matplotlib.patches import Polygon
from matplotlib.text import Text
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle
from PIL import Image
from torch import nn

from cxr_explain import (
    PATHOLOGIES,
    Explainer,
    Explanation,
    HookedClassifier,
    Outputs,
    Radiograph,
    XRVDenseNet,
    __version__,
    fuse,
    read_radiograph,
)
from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.rules import class_maps
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.explaining.explainer import device_named
from cxr_explain.explaining.settings import RankingSettings


def radiograph(seed: int = 0, shape: tuple[int, int] = (80, 100)) -> Radiograph:
    values = np.random.default_rng(seed).uniform(-1024, 1024, shape)
    return Radiograph.from_array(values.astype(np.float32), id=f"r{seed}")


def closed(module: nn.Module | None = None, **options: object) -> Explainer:
    module = module or small_xrv()
    outputs = Outputs(PATHOLOGIES, tuple(np.linspace(0.05, 0.95, 18)))
    return Explainer(XRVDenseNet(module, outputs, input_size=64), **options)  # type: ignore[arg-type]


def hooked(module: nn.Module | None = None, **options: object) -> Explainer:
    outputs = Outputs(NAMES, (0.4, 0.5, 0.6, 0.3, None))
    classifier = HookedClassifier(module or small_net(), "5", outputs, input_size=64)
    return Explainer(classifier, **options)  # type: ignore[arg-type]


BOTH = pytest.mark.parametrize("build", [closed, hooked])


def assert_same(one: Explanation, other: Explanation, atol: float = 0.0) -> None:
    assert one.ranking.pathologies == other.ranking.pathologies
    assert one.ranking.notes == other.ranking.notes
    np.testing.assert_allclose(one.maps, other.maps, rtol=0, atol=atol)
    scale = np.abs(other.class_maps).max(initial=1e-9)
    np.testing.assert_allclose(one.class_maps, other.class_maps, rtol=0, atol=atol * scale)


@BOTH
@pytest.mark.parametrize("normalisation", ["joint", "per-class", "released"])
@pytest.mark.parametrize("activation", ["relu", "elu", "gelu"])
def test_maps_are_the_equations_on_what_the_model_gives(build, normalisation: str, activation: str) -> None:  # type: ignore[no-untyped-def]
    explainer = build(normalisation=normalisation, activation=activation)
    explanation = explainer.explain(radiograph(), top_k=3)
    result = explainer.classifier.forward(explainer.prepare(radiograph()).tensor[None])
    scores = [
        (logit if name else -np.inf)
        for logit, name in zip(result.logits[0].tolist(), explainer.classifier.pathologies, strict=True)
    ]
    top = sorted(range(len(scores)), key=lambda index: -scores[index])[:3]
    assert [p.index for p in explanation.ranking.top] == top
    alphas = result.weights(torch.tensor([top])).double().numpy()
    activations = result.activations.double().numpy()
    expected = literal.fused(activations, alphas, normalisation, activation)[0]
    np.testing.assert_allclose(explanation.maps, expected, atol=1e-5)
    expected = literal.class_maps(activations, alphas)[0]
    np.testing.assert_allclose(explanation.class_maps, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 0


@BOTH
def test_a_batch_of_mixed_k_equals_one_by_one(build) -> None:  # type: ignore[no-untyped-def]
    """Convolutions round differently by batch size, hence the tolerance."""
    explainer = build()
    radiographs = [
        radiograph(seed, shape) for seed, shape in enumerate([(80, 100), (100, 80), (64, 64), (9, 7)] * 2)
    ]
    options = {"top_k": 18, "above_operating_point": True}
    inputs = torch.stack([explainer.prepare(one).tensor for one in radiographs])
    middle = explainer.classifier.forward(inputs).logits.double().sigmoid().quantile(0.6, dim=0)
    explainer.classifier.outputs = Outputs(explainer.classifier.pathologies, tuple(middle.tolist()))
    together = explainer.explain_batch(radiographs, **options)
    assert len({explanation.ranking.k for explanation in together}) > 1
    for one, explanation in zip(radiographs, together, strict=True):
        assert_same(explanation, explainer.explain(one, **options), atol=1e-4)
        assert explanation.id == one.id
        assert explanation.geometry.radiograph_shape == one.shape
        assert explanation.radiograph is one


@BOTH
def test_no_pathology_at_all(build) -> None:  # type: ignore[no-untyped-def]
    explanation = build().explain(radiograph(), pathologies=())
    assert explanation.ranking.k == 0
    assert explanation.maps.shape[0] == explanation.class_maps.shape[0] == 0
    assert explanation.maps_in_radiograph().shape == (0, 80, 100)
    assert (explanation.winner == -1).all()


@BOTH
def test_more_than_there_are(build) -> None:  # type: ignore[no-untyped-def]
    explainer = build()
    count = len(explainer.classifier.pathologies)
    explanation = explainer.explain(radiograph(), top_k=99)
    assert explanation.maps.shape[0] == count
    assert explanation.ranking.notes == (f"K cut from 99 to {count}: no more pathologies to rank",)
    assert explanation.provenance.notes == explanation.ranking.notes
    assert explanation.provenance.ranking_settings.top_k == 99


@BOTH
def test_nothing_is_left_behind(build) -> None:  # type: ignore[no-untyped-def]
    module = small_xrv() if build is closed else small_net()
    unsettle(module)
    before = snapshot(module)
    explanation = build(module).explain(radiograph(), top_k=3)
    assert snapshot(module) == before
    assert isinstance(explanation.maps, np.ndarray)
    with pytest.raises(ModelError):
        build(module.apply(_poison)).explain(radiograph(), top_k=3)
    assert torch.is_grad_enabled()


def _poison(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        layer.weight.data.fill_(float("nan"))


@BOTH
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_gradient_mode_does_not_matter(build, mode) -> None:  # type: ignore[no-untyped-def]
    expected = build().explain(radiograph(), top_k=3)
    explainer = build()
    with mode():
        found = explainer.explain(radiograph(), top_k=3)
    assert_same(found, expected)
    assert expected.maps.max() > 0


@BOTH
def test_results_do_not_depend_on_earlier_calls(build) -> None:  # type: ignore[no-untyped-def]
    explainer = build()
    first = explainer.explain(radiograph(), top_k=3)
    kept = first.maps.copy()
    explainer.explain(radiograph(1), top_k=5)
    explainer.explain_batch([radiograph(2), radiograph(3)], top_k=2)
    assert_same(explainer.explain(radiograph(), top_k=3), first)
    np.testing.assert_array_equal(first.maps, kept)


@BOTH
def test_bfloat16_runs_and_stays_close(build) -> None:  # type: ignore[no-untyped-def]
    full = build().explain(radiograph(), top_k=18)
    half = build(dtype="bfloat16").explain(radiograph(), top_k=18)
    assert half.maps.dtype == half.class_maps.dtype == np.float32
    assert np.isfinite(half.maps).all()
    assert half.provenance.map_settings.dtype == "bfloat16"
    logits = [[p.logit for p in explanation.ranking.predictions] for explanation in (full, half)]
    np.testing.assert_allclose(logits[1], logits[0], atol=0.1 * np.ptp(logits[0]))
    assert not torch.is_autocast_enabled("cpu")


@BOTH
def test_memory_format_does_not_matter(build) -> None:  # type: ignore[no-untyped-def]
    module = small_xrv() if build is closed else small_net()
    expected = build(module).explain(radiograph(), top_k=3)
    found = build(module.to(memory_format=torch.channels_last)).explain(radiograph(), top_k=3)
    assert_same(found, expected, atol=1e-4)


def test_inputs_stay_as_they_are() -> None:
    inputs = images()
    before = inputs.clone()
    batch = closed().explain_inputs(inputs, top_k=2)
    assert torch.equal(inputs, before)
    assert inputs.is_contiguous()
    assert len(batch.rankings) == len(batch.fused) == 2
    assert batch.gradient == "closed form"
    assert batch.fused[0].maps.shape == (1, 2, 8, 8)


def test_nothing_gives_nothing() -> None:
    assert closed().explain_batch([]) == []
    assert closed().explain_batch(iter([])) == []  # type: ignore[arg-type]
    assert len(closed().explain_batch(radiograph(seed) for seed in range(2))) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "inputs", [torch.zeros(0, 1, 64, 64), torch.zeros(1, 64, 64), torch.ones(1, 1, 8, 8).int()]
)
def test_inputs_of_another_kind_are_refused(inputs: torch.Tensor) -> None:
    with pytest.raises(OptionError, match=r"inputs of shape.*\(B, 1, S, S\)"):
        closed().explain_inputs(inputs)


@pytest.mark.parametrize(
    ("option", "value"),
    [("normalisation", "l2"), ("activation", "tanh"), ("fit", "stretch"), ("dtype", "float16")],
)
def test_options_outside_of_their_sets_are_refused(option: str, value: str) -> None:
    with pytest.raises(OptionError, match=f"{option}='{value}'.*expected one of"):
        closed(**{option: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k=0"),
        ({"rank_by": "logit"}, "rank_by='logit'|by='logit'"),
        ({"pathologies": ["Gout"]}, "Gout"),
    ],
)
def test_ranking_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        closed().explain(radiograph(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "mps", ""])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")
    with pytest.raises(OptionError, match=f"device='{device}'"):
        device_named(device)


def test_only_some_pathologies() -> None:
    explanation = closed().explain(radiograph(), pathologies=["Pleural Effusion", "Mass"])
    assert set(explanation.ranking.pathologies) == {"Effusion", "Mass"}
    assert set(closed().explain(radiograph(), pathologies="Mass").ranking.pathologies) == {"Mass"}
    in_batch = closed().explain_batch([radiograph(), radiograph(1)], pathologies=iter(["Mass"]))
    assert [explanation.ranking.pathologies for explanation in in_batch] == [("Mass",)] * 2


def test_ranking_by_the_calibrated_value() -> None:
    explanation = closed().explain(radiograph(), rank_by="calibrated", top_k=18)
    values = [p.calibrated for p in explanation.ranking.top]
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]
    assert explanation.ranking.by == "calibrated"


def test_provenance_says_where_everything_comes_from() -> None:
    given = replace(radiograph(), view="PA", laterality="L", patient_orientation=("L", "F"), warnings=("w",))
    explanation = hooked(normalisation="released", activation="gelu", fit="pad").explain(given, top_k=1)
    provenance = explanation.provenance
    assert provenance.package_version == __version__
    assert provenance.torch_version == torch.__version__
    assert (provenance.model, provenance.target_layer, provenance.weights_sha256) == ("Sequential", "5", None)
    assert (provenance.method, provenance.gradient) == ("Grad-CAM", "autograd")
    settings = provenance.map_settings
    assert (settings.normalisation, settings.activation, settings.dtype) == ("released", "gelu", "float32")
    assert (provenance.device, provenance.ranking_settings.top_k) == ("cpu", 1)
    assert provenance.radiograph_sha256 == given.sha256
    assert (provenance.view, provenance.laterality, provenance.patient_orientation) == ("PA", "L", ("L", "F"))
    assert provenance.warnings == ("w",)
    assert provenance.steps[: len(given.steps)] == given.steps
    assert any("padded with black" in step for step in provenance.steps)
    assert closed().explain(given).provenance.method == "FM-G-CAM"


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("shape", [(120, 200), (200, 120)])
def test_what_the_model_sees_lights_up_where_it_is(shape: tuple[int, int], fit: str) -> None:
    """A model that does nothing but look for white: its map is the radiograph's bright spot."""
    body = nn.AvgPool2d(4)
    net = nn.Sequential(body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    nn.init.constant_(net[4].weight, 1.0)
    pixels = np.full(shape, -1024.0)
    pixels[90:110, 70:90] = 1024
    classifier = HookedClassifier(net, "1", Outputs(("Mass",)), input_size=64)
    explanation = Explainer(classifier, fit=fit).explain(Radiograph.from_array(pixels))
    spread = explanation.maps_in_radiograph()[0]
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    centre = (rows * spread).sum() / spread.sum(), (columns * spread).sum() / spread.sum()
    np.testing.assert_allclose(centre, (100, 80), atol=2)


def test_the_same_radiograph_gives_the_same_bytes(tmp_path: Path) -> None:
    files = [closed().explain(radiograph(), top_k=3).save(tmp_path / name) for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].with_suffix(".npz").read_bytes() == files[1].with_suffix(".npz").read_bytes()


@pytest.mark.real_data
def test_three_lines_from_a_file_to_an_explanation(real_data: Path, tmp_path: Path) -> None:
    from cxr_explain import read_radiograph

    explainer = Explainer.from_pretrained(
        "densenet121-res224-nih", weights_dir=real_data / "standin", fetch=False, device="cpu"
    )
    paths = sorted((real_data / "nih1024").glob("*.png"))[:2]
    explanation = explainer.explain(read_radiograph(paths[0]))
    assert explanation.maps.shape == (5, 7, 7)
    assert "" not in explanation.ranking.pathologies
    assert len(explanation.ranking.predictions) == 14
    assert len(explanation.provenance.weights_sha256 or "") == 64
    np.testing.assert_array_equal(Explanation.load(explanation.save(tmp_path / "a")).maps, explanation.maps)
    batch = explainer.explain_batch([read_radiograph(path) for path in paths])
    assert_same(batch[0], explanation, atol=1e-3)


# -- other rules, other layers, without the fusion ----


@BOTH
def test_a_rule_by_its_name_is_fused(build) -> None:  # type: ignore[no-untyped-def]
    explainer = build(method="layercam")
    explanation = explainer.explain(radiograph(), top_k=3)
    top = torch.tensor([[prediction.index for prediction in explanation.ranking.top]])
    inputs = explainer.prepare(radiograph()).tensor[None]
    expected = class_maps(explainer.classifier, inputs, top, method="layercam")
    np.testing.assert_allclose(explanation.class_maps, expected[0].numpy(), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(explanation.maps, fuse(expected).maps[0].numpy(), rtol=1e-5, atol=1e-7)
    assert explanation.provenance.method == "FM-G-CAM of LayerCAM"
    assert explainer.explain(radiograph(), top_k=1).provenance.method == "LayerCAM"


def test_a_rule_of_ones_own() -> None:
    @dataclass(frozen=True)
    class Power:
        title = "My CAM"
        exponent: float = 2.0

        def __call__(self, evidence: Evidence) -> torch.Tensor:
            return class_of_mine(evidence) ** self.exponent

    def class_of_mine(evidence: Evidence) -> torch.Tensor:
        return torch.einsum("bkc,bcij->bkij", evidence.weights, evidence.activations)

    explanation = closed(method=Power()).explain(radiograph(), top_k=2)
    plain = closed().explain(radiograph(), top_k=2)
    np.testing.assert_allclose(explanation.class_maps, (plain.class_maps * 32) ** 2, rtol=1e-4, atol=1e-12)
    assert explanation.provenance.method == "FM-G-CAM of My CAM"
    assert explanation.provenance.rule_settings.endswith("Power(exponent=2.0)")
    assert closed(method=class_of_mine).explain(radiograph(), top_k=1).provenance.method == "class_of_mine"


def test_a_rule_that_gives_no_such_maps_is_named() -> None:
    with pytest.raises(
        ModelError, match=r"maps of shape \(1, 32, 8, 8\) from too_many; expected .*1, 3, I, J"
    ):
        closed(method=lambda_named("too_many", lambda evidence: evidence.activations)).explain(
            radiograph(), top_k=3
        )
    with pytest.raises(OptionError, match=r"method='gradcam'.*expected one of cam, grad-cam"):
        closed(method="gradcam")


def lambda_named(name: str, function):  # type: ignore[no-untyped-def]
    function.__name__ = name
    return function


def test_without_the_fusion_each_class_keeps_its_map() -> None:
    explanation = closed(fused=False, normalisation="per-class").explain(radiograph(), top_k=3)
    positive = np.maximum(explanation.class_maps, 0)
    norms = np.linalg.norm(explanation.class_maps, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(explanation.maps, positive / norms, rtol=1e-5, atol=1e-8)
    assert ((explanation.maps > 0).sum(axis=0) > 1).any()
    assert explanation.provenance.method == "Grad-CAM"
    assert not explanation.provenance.map_settings.fused


def test_earlier_layers_give_finer_maps_and_name_themselves() -> None:
    layers = ("features.transition1.relu", "features.denseblock2")
    explanation = closed(method="layercam", target_layers=layers).explain(radiograph(), top_k=2)
    assert explanation.maps.shape == (2, 16, 16)
    assert explanation.provenance.target_layer == ", ".join(layers)
    assert explanation.provenance.gradient == "autograd"
    single = closed(target_layers="features.denseblock2").explain(radiograph(), top_k=2)
    assert single.maps.shape == (2, 8, 8)
    with pytest.raises(ModelError, match=r"no layer named 'features.transition9'.*Close names"):
        closed(target_layers=("features.transition9",)).explain(radiograph())


@pytest.mark.parametrize("layers", [(), ("features.transition1.relu", "features.denseblock2")])
def test_the_ranking_does_not_depend_on_the_layers(layers: tuple[str, ...]) -> None:
    plain = closed().explain(radiograph(), top_k=4)
    other = closed(target_layers=layers, method="hirescam").explain(radiograph(), top_k=4)
    assert other.ranking.pathologies == plain.ranking.pathologies


def test_no_rule_is_asked_about_nothing() -> None:
    def never(evidence: Evidence) -> torch.Tensor:
        raise AssertionError

    none = Outputs(PATHOLOGIES, (1.0,) * 18)
    explainer = Explainer(XRVDenseNet(small_xrv(), none, input_size=64), method=never)
    explanation = explainer.explain(radiograph(), above_operating_point=True)
    assert explanation.maps.shape == (0, 8, 8)


def test_what_a_rule_was_is_saved_and_read_back(tmp_path: Path) -> None:
    explanation = closed(method="hirescam", fused=False).explain(radiograph(), top_k=2)
    loaded = Explanation.load(explanation.save(tmp_path / "x"))
    assert loaded.provenance == explanation.provenance


# -- pathologies that are asked for by name, whatever their rank ----


@BOTH
@pytest.mark.parametrize("layers", [(), "several"])
def test_further_class_maps_come_from_the_same_pass_and_change_nothing(build, layers: object) -> None:  # type: ignore[no-untyped-def]
    """With several layers maps are scaled by the strongest class of those that are combined."""
    if layers:
        names = {closed: ("features.transition1.relu", "features.denseblock2"), hooked: ("2", "5")}[build]
        explainer = build(method="layercam", target_layers=names)
    else:
        explainer = build()
    radiographs = [radiograph(seed) for seed in range(3)]
    every = [name for name in explainer.classifier.pathologies if name]
    asked = RankingSettings(top_k=2)
    wanted = ((), (every[0], every[-1], every[2]), tuple(every[1:2]))
    inputs = [
        replace(explainer.prepare(one), further=further)
        for one, further in zip(radiographs, wanted, strict=True)
    ]
    found = explainer.explain_prepared(inputs, asked)
    assert found[0].further is None
    for one, further, each in zip(radiographs, wanted, found, strict=True):
        assert_same(each.explanation, explainer.explain(one, top_k=2), atol=1e-4)
        if further:
            alone = explainer.explain(one, top_k=len(further), pathologies=further)
            assert each.further.pathologies == alone.ranking.pathologies
            scale = np.abs(alone.class_maps).max()
            np.testing.assert_allclose(each.further.class_maps, alone.class_maps, rtol=0, atol=1e-4 * scale)
            assert scale > 0


def test_a_batch_of_mixed_k_at_several_layers_equals_one_by_one() -> None:
    """Rankings are filled up for the gradient; what is filled in must not scale the others."""
    layers = ("features.transition1.relu", "features.denseblock2")
    explainer = closed(method="layercam", target_layers=layers)
    radiographs = [radiograph(seed) for seed in range(6)]
    inputs = torch.stack([explainer.prepare(one).tensor for one in radiographs])
    middle = explainer.classifier.forward(inputs).logits.double().sigmoid().quantile(0.5, dim=0)
    explainer.classifier.outputs = Outputs(explainer.classifier.pathologies, tuple(middle.tolist()))
    options = {"top_k": 18, "above_operating_point": True}
    together = explainer.explain_batch(radiographs, **options)
    assert len({explanation.ranking.k for explanation in together}) > 1
    for one, explanation in zip(radiographs, together, strict=True):
        assert_same(explanation, explainer.explain(one, **options), atol=1e-4)


def test_no_rule_works_twice_for_one_class() -> None:
    """Score-CAM runs the model for each channel: once, whatever is asked for beside the ranking."""
    asked: list[torch.Tensor] = []

    def counted(evidence: Evidence) -> torch.Tensor:
        asked.append(evidence.classes)
        return torch.einsum("bkc,bcij->bkij", evidence.weights, evidence.activations)

    explainer = closed(method=counted)
    ranked = explainer.explain(radiograph(), top_k=3).ranking.pathologies
    asked.clear()
    other = next(name for name in PATHOLOGIES if name not in ranked)
    explainer.explain_prepared(
        [replace(explainer.prepare(radiograph()), further=(ranked[1], other))], RankingSettings(top_k=3)
    )
    (classes,) = asked
    assert classes.shape == (1, 4)
    assert len(set(classes[0].tolist())) == 4


# -- one way of reading and preparing ----


@pytest.mark.parametrize("read", [True, False])
def test_a_reader_and_an_explainer_that_disagree_are_refused(read: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(6400, dtype=np.uint8).reshape(80, 80)).save(path)
    given = read_radiograph(path, xrv_compatible=read)
    agrees, disagrees = closed(xrv_compatible=read), closed(xrv_compatible=not read)
    assert agrees.explain(given).provenance.map_settings.xrv_compatible is read
    expected = (
        f"read with xrv_compatible={read}; expected xrv_compatible={not read}.*--xrv-compatible sets both"
    )
    for call in (disagrees.prepare, disagrees.explain, lambda one: disagrees.explain_batch([one])):
        with pytest.raises(OptionError, match=expected):
            call(given)
    assert disagrees.explain(radiograph()).ranking.k == 5, "no reader made an array"


def test_the_settings_are_kept_and_shown() -> None:
    explainer = closed(method="layercam", target_layers="features.denseblock2", fit="pad")
    asked = {"top_k": 2, "pathologies": ["Mass", "Edema", "Hernia"], "rank_by": "calibrated"}
    provenance = explainer.explain(radiograph(), **asked).provenance
    assert provenance.map_settings == explainer.settings
    assert explainer.settings.target_layers == ("features.denseblock2",)
    assert provenance.ranking_settings == RankingSettings(2, "calibrated", ("Mass", "Edema", "Hernia"))


@pytest.mark.parametrize(("fit", "beyond"), [("pad", ("Mass",)), ("crop", ())])
def test_a_peak_in_the_margin_is_said_and_marked_with_an_arrow(fit: str, beyond: tuple[str, ...]) -> None:
    """A tall radiograph, padded at its sides: the evidence of Mass lies left of it, the other's in it."""

    def planted(evidence: Evidence) -> torch.Tensor:
        maps = torch.zeros(*evidence.classes.shape, 8, 8)
        for k, index in enumerate(evidence.classes[0].tolist()):
            maps[0, k, 3, 0 if index == 0 else 4] = 1.0
        return maps

    explainer = Explainer(
        XRVDenseNet(small_xrv(5), Outputs(("Mass", *NAMES[1:])), input_size=64), method=planted, fit=fit
    )
    names = ("Mass", NAMES[1])
    explanation = explainer.explain(radiograph(0, (96, 48)), pathologies=names)
    notes = [note for note in explanation.provenance.notes if "margin" in note]
    assert notes == [f"strongest in the black margin, outside of the radiograph: {name}" for name in beyond]
    figure = explanation.figure()
    arrows = [artist for artist in figure.axes[2].findobj(Polygon) if len(artist.get_xy()) == 4]
    assert len(arrows) == len(beyond)
    written = " ".join(text.get_text() for text in figure.findobj(Text))
    assert all(note in written for note in notes)
    alone = explainer.explain(radiograph(0, (96, 48)), pathologies=["Mass"]).figure()
    says = "Evidence in the margin alone" in {text.get_text() for text in alone.findobj(Text)}
    assert says == bool(beyond)


@BOTH
def test_an_autocast_around_it_changes_nothing(build) -> None:  # type: ignore[no-untyped-def]
    """A validation loop under autocast: the explanation says float32, and is."""
    explainer = build(method="layercam")
    plain = explainer.explain(radiograph(), top_k=3)
    with torch.autocast("cpu", torch.bfloat16):
        around = explainer.explain(radiograph(), top_k=3)
        assert torch.is_autocast_enabled("cpu")
    assert around.provenance.map_settings.dtype == "float32"
    assert around.ranking == plain.ranking
    assert_same(around, plain, atol=1e-6)
