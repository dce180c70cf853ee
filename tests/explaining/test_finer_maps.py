"""`resolution=`: finer maps, and all else as without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import NAMES, images, randomise, small_net, xrv
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from cxr_explain import Explainer, Explanation, HookedClassifier, Radiograph, XRVDenseNet, explain
from cxr_explain.audit.record import Record
from cxr_explain.audit.rows import explained_row, explanation_of
from cxr_explain.cli.app import app
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.explaining.explainer import Explained
from cxr_explain.explaining.provenance import MAY_LIE_APART, LogitDistance
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.integrations.monai import ExplainRadiographd
from cxr_explain.models.finer import FinerClassifier
from cxr_explain.reference.manifest import Manifest

SIZE = 64
K = 3


def model(scale: float = 1.0) -> XRVDenseNet:
    """64 x 64 pixels become 2 x 2 cells."""
    torch.manual_seed(0)
    module = xrv.models.DenseNet(
        growth_rate=4, block_config=(1, 1, 1, 1), num_init_features=8, bn_size=2, num_classes=5
    )
    module.pathologies = list(NAMES)
    randomise(module)
    with torch.no_grad():
        module.features.conv0.weight /= 500
        module.classifier.weight *= scale
    return XRVDenseNet(module.eval(), input_size=SIZE)


def radiograph() -> Radiograph:
    return Radiograph.from_array(images(1, 80)[0, 0].numpy())


@pytest.fixture(scope="module")
def native() -> Explanation:
    return Explainer(model()).explain(radiograph(), top_k=K)


@pytest.fixture(scope="module")
def finer() -> Explanation:
    return Explainer(model(), resolution=8).explain(radiograph(), top_k=K)


def test_ranking_and_probabilities_stay_those_of_the_model(native: Explanation, finer: Explanation) -> None:
    assert (native.maps.shape, finer.maps.shape) == ((K, 2, 2), (K, 8, 8))
    assert finer.ranking.pathologies == native.ranking.pathologies
    for mine, plain in zip(finer.ranking.predictions, native.ranking.predictions, strict=True):
        assert mine.logit == pytest.approx(plain.logit, abs=1e-5)
        assert mine.probability == pytest.approx(plain.probability, abs=1e-6)


def test_the_provenance_says_how_far_the_finer_logits_lie_from_the_models(
    native: Explanation, finer: Explanation
) -> None:
    assert native.provenance.finer is None
    explainer = Explainer(model(), resolution=8)
    result = explainer.classifier.forward(explainer.prepare(radiograph()).tensor[None])
    ranked = [each.index for each in finer.ranking.top]
    apart = (result.dense_logits - result.logits)[0, ranked].abs().tolist()  # type: ignore[attr-defined]
    assert len(set(apart)) == K
    found = finer.provenance.finer
    assert found is not None
    assert (found.largest, found.mean) == pytest.approx((max(apart), sum(apart) / K), rel=1e-5)
    assert finer.provenance.map_settings.resolution == 8


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_maps_whose_scores_lie_too_far_apart_are_marked(scale: float) -> None:
    explanation = Explainer(model(scale), resolution=8).explain(radiograph(), top_k=K)
    found = explanation.provenance.finer
    assert found is not None
    marked = [note for note in explanation.provenance.notes if "finer maps" in note]
    assert len(marked) == int(scale > 1) == int(found.largest > MAY_LIE_APART)
    for note in marked:
        assert f"{found.largest:.2g} from the model's own" in note
        assert note.rstrip(".") in explanation.methods_text()


def test_the_bound_itself_is_within_it() -> None:
    assert LogitDistance(MAY_LIE_APART, 0.0).note == ""
    assert "bound 0.5" in LogitDistance(np.nextafter(MAY_LIE_APART, 1), 0.0).note


def test_where_nothing_is_explained_there_is_no_distance() -> None:
    module = model().module
    module.op_threshs = torch.ones(5)
    explainer = Explainer(XRVDenseNet(module, input_size=SIZE), resolution=4)
    explanation = explainer.explain(radiograph(), above_operating_point=True)
    assert (explanation.ranking.k, explanation.maps.shape) == (0, (0, 4, 4))
    assert explanation.provenance.finer is None


def test_it_comes_back_from_files(finer: Explanation, tmp_path: Path) -> None:
    loaded = Explanation.load(finer.save(tmp_path / "finer"))
    assert loaded.provenance == finer.provenance
    document = json.loads((tmp_path / "finer.json").read_text())
    assert document["provenance"]["map_settings"]["resolution"] == 8
    del (
        document["provenance"]["map_settings"]["resolution"],
        document["provenance"]["finer"],
    )  # as it was once
    (tmp_path / "finer.json").write_text(json.dumps(document))
    earlier = Explanation.load(tmp_path / "finer")
    assert (earlier.provenance.map_settings.resolution, earlier.provenance.finer) == ("native", None)


def test_it_comes_back_from_a_row_of_an_audit(native: Explanation, finer: Explanation) -> None:
    for explanation, resolution in ((native, "native"), (finer, 8)):
        explainer = Explainer(model(), resolution=resolution)
        record = Record.of(explainer, Manifest(("a",), ("a.png",)), RankingSettings(K))
        assert Record.from_json(record.to_json()) == record
        row = explained_row(0, "a", Explained(radiograph(), explanation))
        back = explanation_of(row, record)
        assert back.provenance.finer == explanation.provenance.finer
        np.testing.assert_allclose(back.maps, explanation.maps, atol=2e-3)


def test_the_methods_text_says_it_and_cites(native: Explanation, finer: Explanation) -> None:
    assert "last strides" not in native.methods_text()
    assert "last strides were taken out" in finer.methods_text()
    assert "Holschneider et al. 1989" in finer.methods_text()
    assert "A map has 8 x 8 cells" in finer.methods_text()
    assert finer.provenance.finer is not None
    assert f"lies up to {finer.provenance.finer.largest:.2g} from the scores" in finer.methods_text()
    assert {"holschneider1989atrous", "yu2017drn"} <= {
        line.split("{")[1].rstrip(",") for line in finer.bibtex().splitlines() if line.startswith("@")
    }


def test_batches_equal_single_images() -> None:
    explainer = Explainer(model(), resolution=4)
    batch = explainer.explain_inputs(images(3, SIZE), top_k=K)
    for image in range(3):
        alone = explainer.explain_inputs(images(3, SIZE)[image : image + 1], top_k=K)
        torch.testing.assert_close(batch.fused[image].maps, alone.fused[0].maps, rtol=1e-4, atol=1e-5)
        mine, by_itself = batch.finer[image], alone.finer[0]
        assert mine is not None
        assert by_itself is not None
        assert mine.largest == pytest.approx(by_itself.largest, abs=1e-4)


def test_bare_tensors_of_a_users_torchvision_network() -> None:
    from torchvision.models.resnet import BasicBlock, ResNet

    torch.manual_seed(0)
    net = randomise(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)).eval()
    batch = torch.rand(2, 3, 64, 96)
    asked: dict[str, Any] = {"outputs": list("abc"), "target_layer": "layer4", "top_k": 2}
    native, finer = explain(net, batch, **asked), explain(net, batch, resolution=6, **asked)
    assert (native.fused[0].maps.shape, finer.fused[0].maps.shape) == ((1, 2, 2, 3), (1, 2, 4, 6))
    assert [each.pathologies for each in native.rankings] == [each.pathologies for each in finer.rankings]
    assert finer.maps_in_inputs(0, (64, 96)).shape == (2, 64, 96)


def test_an_explainer_s_classifier_can_be_explained_in_another_resolution() -> None:
    finer = Explainer(model(), resolution=8)
    assert isinstance(finer.classifier, FinerClassifier)
    for resolution, cells in (("native", 2), (4, 4), ("finest", 8)):
        again = Explainer(finer.classifier, resolution=resolution)
        assert again.explain(radiograph()).maps.shape[1:] == (cells, cells)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_computes_the_same(engine: Any) -> None:
    pytest.importorskip(engine)
    wanted = Explainer(model(), resolution=8).explain_inputs(images(2, SIZE), top_k=K)
    found = Explainer(model(), resolution=8, engine=engine).explain_inputs(images(2, SIZE), top_k=K)
    for mine, torchs in zip(found.fused, wanted.fused, strict=True):
        torch.testing.assert_close(mine.maps, torchs.maps, rtol=1e-3, atol=1e-5)
    assert [each.pathologies for each in found.rankings] == [each.pathologies for each in wanted.rankings]


def test_bfloat16_has_finer_maps_too() -> None:
    explanation = Explainer(model(), resolution=8, dtype="bfloat16").explain(radiograph(), top_k=K)
    assert explanation.maps.shape == (K, 8, 8)
    assert explanation.provenance.finer is not None


def test_what_cannot_be_had_is_refused() -> None:
    with pytest.raises(
        OptionError, match=r"resolution=14 .* expected native, which is 2 cells, or one of 4, 8"
    ):
        Explainer(model(), resolution=14).explain(radiograph())
    with pytest.raises(OptionError, match="native, which is 28 cells"):  # before anything is read
        Explainer.from_pretrained("phantom", device="cpu", resolution=14)
    with pytest.raises(ModelError, match=r"no finer maps .*resolution='native'"):
        Explainer(HookedClassifier(small_net(), "3", NAMES), resolution=14)
    with pytest.raises(OptionError, match="target_layers"):
        Explainer(model(), resolution=4, target_layers="features.denseblock2")


def test_a_model_with_a_forward_of_its_own_is_refused() -> None:
    module: nn.Module = model().module
    module.register_forward_hook(lambda _module, _inputs, output: -output)
    with pytest.raises(ModelError, match="own forward gives other scores"):
        Explainer(XRVDenseNet(module, input_size=SIZE), resolution=4).explain(radiograph())


def test_monai_s_transform_passes_it_through() -> None:
    options = {"resolution": "finest", "allow_phantom_weights": True, "keep_explanation": True}
    item = ExplainRadiographd("image", "phantom", top_k=2, axes="rows-columns", **options)(
        {"image": torch.zeros(1, 64, 64)}
    )
    assert item["image_explanation"].provenance.map_settings.resolution == "finest"


def test_the_command_line_takes_a_resolution_and_says_what_can_be_had(tmp_path: Path) -> None:
    run, weights, image = CliRunner(), tmp_path / "small.safetensors", tmp_path / "a.png"
    torch.manual_seed(3)
    small = xrv.models.DenseNet(growth_rate=4, block_config=(1, 1, 1, 1), num_init_features=8, bn_size=2)
    save_file(small.state_dict(), weights)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80), np.uint8)).save(image)
    command = ["explain", str(image), "--weights", str(weights), "--device", "cpu"]
    for asked, cells in (("14", 14), ("finest", 28)):
        out = tmp_path / asked
        done = run.invoke(app, [*command, "--out", str(out), "--resolution", asked])
        assert done.exit_code == 0, done.output
        assert Explanation.load(out / "a").maps.shape[1:] == (cells, cells)
    for asked, said in (("13", "or one of 14, 28"), ("fine", "native, finest")):
        done = run.invoke(app, [*command, "--out", str(tmp_path / asked), "--resolution", asked])
        assert done.exit_code == 2
        assert said in " ".join(done.output.replace("\u2502", " ").split())
