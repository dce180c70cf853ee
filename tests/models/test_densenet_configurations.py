"""TorchXRayVision's DenseNet of any depth and width, from a file of its tensors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from networks import randomise, small_xrv
from safetensors.torch import save_file
from torch import nn

from cxr_explain import Explainer, ensure_torchvision_imports
from cxr_explain.errors import ArchitectureError, WeightsMetadataError
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.models.xrv import XRVDenseNet
from cxr_explain.weights import CheckpointFacts

ensure_torchvision_imports()
from torchxrayvision.models import DenseNet  # noqa: E402 - needs the line above

NAMES = ("Mass", "Edema", "", "Hernia", "Effusion")
CONFIGURATIONS: list[dict[str, Any]] = [
    {"block_config": (2, 3), "growth_rate": 16, "num_init_features": 16, "bn_size": 2},
    {"block_config": (1,), "growth_rate": 4, "num_init_features": 6, "bn_size": 1},
    {"block_config": (3, 1, 2), "growth_rate": 8, "num_init_features": 10, "bn_size": 4},
    {"block_config": (1, 1, 1, 1, 1), "growth_rate": 8, "num_init_features": 16, "bn_size": 3},
    {"block_config": (12, 2), "growth_rate": 4, "num_init_features": 8, "bn_size": 2},
]
FACTS = CheckpointFacts(NAMES, (0.1, None, None, 0.4, 0.5), ("NIH", "OpenI"), 96)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def saved(module: nn.Module, path: Path, facts: CheckpointFacts = FACTS) -> Path:
    save_file(module.state_dict(), path, facts.to_metadata())
    return path


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: str(c["block_config"]))
def test_a_file_gives_the_logits_of_the_model_it_came_from(
    configuration: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    module = randomise(DenseNet(num_classes=5, **configuration)).eval()
    inferred = XRVDenseNet.configuration(module.state_dict())
    assert inferred == {"num_classes": 5, "in_channels": 1, **configuration}
    classifier = from_pretrained(saved(module, tmp_path / "mine.safetensors"))
    x = torch.randn(2, 1, 96, 96, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(classifier.forward(x).logits, module(x), rtol=1e-5, atol=1e-4)


def test_a_model_of_colour_images_is_refused(tmp_path: Path) -> None:
    module = DenseNet(num_classes=5, block_config=(1, 1), growth_rate=4, num_init_features=8, in_channels=3)
    with pytest.raises(ArchitectureError, match="3 channels") as caught:
        from_pretrained(saved(module, tmp_path / "colour.safetensors"))
    assert "HookedClassifier" in str(caught.value)


def test_logits_are_identical_where_the_layout_is(tmp_path: Path) -> None:
    module = small_xrv(5).eval()
    classifier = from_pretrained(saved(module, tmp_path / "mine.safetensors"))
    classifier.module.to(memory_format=torch.contiguous_format)
    x = torch.randn(2, 1, 96, 96)
    with torch.inference_mode():
        assert torch.equal(classifier.forward(x).logits, module(x))


def test_the_metadata_describe_the_classifier(tmp_path: Path) -> None:
    classifier = from_pretrained(saved(small_xrv(5), tmp_path / "mine.safetensors"))
    assert classifier.pathologies == NAMES
    assert classifier.operating_points == FACTS.operating_points
    assert (classifier.training_sets, classifier.input_size) == (("NIH", "OpenI"), 96)
    assert classifier.name == "mine.safetensors"
    assert not classifier.phantom_only


def test_a_file_without_metadata_has_torchxrayvisions_names_or_none(tmp_path: Path) -> None:
    nothing = CheckpointFacts()
    whole = from_pretrained(saved(small_xrv(18), tmp_path / "18.safetensors", nothing))
    assert whole.pathologies[0] == "Atelectasis"
    assert (whole.input_size, whole.training_sets, set(whole.operating_points)) == (224, (), {None})
    with pytest.raises(ArchitectureError, match=r"5 outputs without names.*metadata"):
        from_pretrained(saved(small_xrv(5), tmp_path / "5.safetensors", nothing))


def test_metadata_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = saved(small_xrv(4), tmp_path / "4.safetensors")
    with pytest.raises(ArchitectureError, match=r"4\.safetensors: found 4 outputs and 5 names"):
        from_pretrained(path)
    save_file(small_xrv(5).state_dict(), tmp_path / "bad.safetensors", {"pathologies": "Mass"})
    with pytest.raises(WeightsMetadataError, match=r"bad\.safetensors"):
        from_pretrained(tmp_path / "bad.safetensors")


def without(key: str) -> dict[str, torch.Tensor]:
    state = small_xrv(5).state_dict()
    del state[key]
    return state


def with_(key: str, *shape: int) -> dict[str, torch.Tensor]:
    return {**small_xrv(5).state_dict(), key: torch.zeros(shape)}


LAYER = "features.denseblock1.denselayer1"


@pytest.mark.parametrize(
    ("state", "match"),
    [
        (without("features.conv0.weight"), "no tensor features.conv0.weight; expected a TorchXRayVision"),
        (without(f"{LAYER}.conv2.weight"), f"no tensor {LAYER}.conv2.weight"),
        (without("classifier.weight"), "no classification head"),
        (with_("features.conv0.weight", 16), r"features.conv0.weight of shape \(16,\)"),
        (with_(f"{LAYER}.conv1.weight", 17, 16, 1, 1), "17 channels between .* a multiple"),
        (with_(f"{LAYER}.conv1.weight", 0, 16, 1, 1), "of shape"),
        (without("features.denseblock2.denselayer2.norm1.bias"), "the model wants .*denselayer2.norm1.bias"),
        (with_("features.norm5.weight", 7), "of another shape are features.norm5.weight 7 for 32"),
        (with_("features.denseblock4.denselayer1.conv1.weight", 16, 24, 1, 1), "that do not fit DenseNet"),
        (with_("extra", 3), "the checkpoint has in excess extra"),
    ],
)
def test_wrong_tensors_give_one_clear_error(
    state: dict[str, torch.Tensor], match: str, tmp_path: Path
) -> None:
    save_file(state, tmp_path / "wrong.safetensors", FACTS.to_metadata())
    with pytest.raises(ArchitectureError, match=match) as caught:
        from_pretrained(tmp_path / "wrong.safetensors")
    assert "wrong.safetensors" in str(caught.value)


def test_nothing_large_is_built_before_the_tensors_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A growth rate that only one tensor states would be gigabytes of layers."""
    state = with_(f"{LAYER}.conv1.weight", 100_000, 1, 1, 1)
    state[f"{LAYER}.conv2.weight"] = torch.zeros(50_000, 1, 1, 1)
    save_file(state, tmp_path / "bomb.safetensors", FACTS.to_metadata())
    with pytest.raises(ArchitectureError, match="that do not fit"):
        from_pretrained(tmp_path / "bomb.safetensors")


def test_a_pickled_state_dict_of_any_configuration_is_read_too(tmp_path: Path) -> None:
    module = small_xrv(18).eval()
    torch.save(module.state_dict(), tmp_path / "mine.pt")
    classifier = Explainer.from_pretrained(tmp_path / "mine.pt", device="cpu").classifier
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(classifier.forward(x).logits, module(x), rtol=1e-5, atol=1e-4)
