"""Layers with channels last, layers that no gradient reaches, and maps without places: each is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import NAMES, images, randomise, small_net, small_xrv
from torch import Tensor, nn

from cxr_explain import (
    Explainer,
    Explanation,
    HookedClassifier,
    Outputs,
    Radiograph,
    XRVDenseNet,
    explain,
    imagenet_input,
    token_grid,
)
from cxr_explain.cam.registry import RULES

OUTPUTS = Outputs(NAMES[:3])
LAST = "encoder.layers.encoder_layer_1"


def radiograph(seed: int = 0) -> Radiograph:
    return Radiograph.from_array(np.random.default_rng(seed).uniform(-900, 900, (80, 72)).astype(np.float32))


def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    sizes = {"image_size": 64, "patch_size": 16, "hidden_dim": 32, "mlp_dim": 64}
    return randomise(VisionTransformer(num_layers=2, num_heads=2, num_classes=3, **sizes))


def swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    torch.manual_seed(0)
    sizes = {"patch_size": [4, 4], "embed_dim": 12, "window_size": [4, 4]}
    return SwinTransformer(depths=[1, 1], num_heads=[1, 2], num_classes=3, **sizes)


def explained(module: nn.Module, layer: str, **options: object) -> Explanation:
    grid = options.pop("grid", None)
    classifier = HookedClassifier(
        module,
        layer,
        OUTPUTS,
        prepare=imagenet_input,
        grid=grid,
        input_size=64,  # type: ignore[arg-type]
    )
    return Explainer(classifier, **options).explain(radiograph(), top_k=3)  # type: ignore[arg-type]


def test_a_layer_of_swin_has_the_maps_of_the_same_values_with_channels_first() -> None:
    """`permute` moves what `norm` gives, and does nothing else."""
    module = swin()
    last, first = explained(module, "norm"), explained(module, "permute")
    np.testing.assert_allclose(last.maps, first.maps, rtol=1e-5)
    assert last.maps.shape == (3, 8, 8)
    assert last.provenance.notes == (
        "norm gives (B, 8, 8, 24): its channels come last, and were moved before the 8 x 8 cells.",
    )
    assert first.provenance.notes == ()
    assert "its channels come last" in _written(last)


@pytest.mark.parametrize("layer", [LAST, "encoder.ln"])
@pytest.mark.parametrize("grid", [None, token_grid(4, 4)])
def test_behind_the_last_attention_no_gradient_reaches_the_layer(layer: str, grid: object) -> None:
    found = explained(vit(), layer, grid=grid)
    assert set(found.without_gradient) == set(NAMES[:3])
    assert found.without_evidence == ()
    assert found.shown_nowhere == found.ranking.pathologies
    assert found.provenance.notes[-1] == (
        f"No gradient reaches {layer}: there is no map, for or against. Layers that would do: "
        f"{LAST}.ln_1 (32 channels, 4 x 4). Or choose legrad or attention-relevance, where every "
        "patch attends to every other."
    )
    said = _written(found)
    assert "No gradient reaches this layer" in said
    assert "evidence" not in said
    assert "no gradient reaches the layer" in found._repr_html_()


def test_before_the_last_attention_there_are_maps() -> None:
    found = explained(vit(), f"{LAST}.ln_1")
    expected = explained(vit(), f"{LAST}.ln_1", grid=token_grid(4, 4))
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert found.without_gradient == ()
    assert (found.class_maps != 0).any(axis=(1, 2)).all()
    assert found.provenance.notes == (
        f"{LAST}.ln_1 gives 17 tokens: 1 left out, the others are read as 4 x 4 patches, row by row.",
    )
    assert expected.provenance.notes == ()


@pytest.mark.parametrize("method", [name for name in RULES if name not in ("cam", "score-cam")])
def test_every_rule_whose_maps_are_empty_says_why(method: str) -> None:
    """A rule that needs no gradient has maps of the activations alone, and says nothing."""
    found = explained(vit(), LAST, method=method)
    empty = [not of_class.any() for of_class in found.class_maps]
    assert len(found.without_gradient) == sum(empty)
    assert all(empty) or not any(empty)


def test_the_state_is_saved_and_read_back(tmp_path: Path) -> None:
    found = explained(vit(), LAST)
    found.save(tmp_path / "one")
    loaded = Explanation.load(tmp_path / "one")
    assert loaded.without_gradient == found.without_gradient != ()
    assert loaded.provenance == found.provenance


def test_of_several_layers_each_that_no_gradient_reaches_is_named() -> None:
    """The others have their maps, so that there is one of the whole."""
    found = explained(vit(), LAST, target_layers=(LAST, f"{LAST}.ln_1"))
    assert found.without_gradient == ()
    assert (found.class_maps != 0).any()
    assert [note for note in found.provenance.notes if note.startswith(f"No gradient reaches {LAST}:")]


class HalfBlind(nn.Module):
    """One class does not look at the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_net()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.body(x)[:, :2], x.mean((2, 3)) / 100], dim=1)


def test_a_pathology_alone_may_be_without_gradient() -> None:
    batch = explain(HalfBlind(), images(), outputs=NAMES[:3], target_layer="body.5", top_k=3)
    for ranking, fused, notes in zip(batch.rankings, batch.fused, batch.notes, strict=True):
        blind = ranking.pathologies.index(NAMES[2])
        assert fused.without_gradient is not None
        assert fused.without_gradient.tolist() == [[rank == blind for rank in range(3)]]
        assert not fused.without_evidence[0, blind]
        (note,) = notes
        assert note.startswith(f"No gradient of {NAMES[2]} reaches body.5: ")


def test_a_map_against_a_pathology_is_no_map_without_gradient() -> None:
    """Nothing speaks for it, and something against: the layer is reached."""
    net = nn.Sequential(
        nn.Conv2d(1, 4, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    nn.init.constant_(net[0].weight, 1e-3)
    nn.init.constant_(net[4].weight, -1)
    batch = explain(net, images().abs(), outputs=NAMES[:3], target_layer="1", top_k=3)
    assert batch.fused[0].without_evidence.tolist() == [[True] * 3]
    assert batch.fused[0].without_gradient is not None
    assert not batch.fused[0].without_gradient.any()
    assert batch.notes == ((), ())


def test_a_dead_layer_whose_gradient_is_there_is_without_evidence() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 8, 8), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3))
    nn.init.zeros_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    batch = explain(net, images(), outputs=NAMES[:3], target_layer="0", top_k=3)
    assert batch.fused[0].without_evidence.tolist() == [[True] * 3]
    assert batch.notes == ((), ())


@pytest.mark.parametrize(
    ("build", "layer", "note"),
    [
        (
            swin,
            "avgpool",
            "avgpool gives one value for the whole image (1 x 1): its maps say nothing of where.",
        ),
        (
            lambda: Row(),
            "row",
            "row gives maps of 8 x 1 for inputs of 64 x 64: their shape is not the input's",
        ),
    ],
)
def test_maps_without_places_are_named(build: Callable[[], nn.Module], layer: str, note: str) -> None:
    found = explained(build(), layer)
    (said,) = found.provenance.notes
    assert said.startswith(note)
    assert "Layers that would do: " in said
    assert note.split(":")[0] in _written(found)
    assert ("One value for the whole image" in _written(found)) == (layer == "avgpool")


class Row(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.row, self.head = nn.Conv2d(3, 6, 8, 8), nn.AdaptiveAvgPool2d((8, 1)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.row(self.body(x).relu()).square().mean((2, 3)))


def test_an_adapters_single_cell_is_named() -> None:
    """TorchXRayVision's DenseNet of an image that is hardly larger than its stride."""
    batch = explain(XRVDenseNet(small_xrv(), input_size=64), images(size=8), top_k=2)
    assert batch.fused[0].maps.shape[-2:] == (1, 1)
    assert batch.notes[0][0].startswith("features (post-ReLU) gives one value for the whole image (1 x 1)")


def test_what_would_do_is_asked_once() -> None:
    asked: list[int] = []
    module = vit()
    module.conv_proj.register_forward_hook(lambda *_: asked.append(1))
    classifier = HookedClassifier(module, LAST, OUTPUTS, prepare=imagenet_input, input_size=64)
    explainer = Explainer(classifier)
    for seed in range(3):
        explainer.explain(radiograph(seed), top_k=3)
    assert len(asked) == 3 + 1 + 1  # one sees whether it gives the same twice


def _written(explanation: Explanation) -> str:
    """Every text in the figure, the lines of a paragraph as one."""
    import matplotlib.pyplot as plt
    from matplotlib.text import Text

    figure = explanation.figure()
    said = " ".join(text.get_text() for text in figure.figure.findobj(Text))
    plt.close("all")
    return said
