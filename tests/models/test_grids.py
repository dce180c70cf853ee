"""How a layer's output is read: by its shape, the input's, and what the network is made of."""

from __future__ import annotations

import pytest
import torch
from networks import NAMES, images
from torch import Tensor, nn

from cxr_explain import Explainer, HookedClassifier, Outputs, class_maps, token_grid
from cxr_explain.cam.perturbation import ReciproCAM, ablation_cam
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.at_layers import forward_at
from cxr_explain.models.grids import (
    ChannelsFirst,
    ChannelsLast,
    InvertibleGrid,
    TokenGrid,
    aspect_fits,
    reading_of,
    remark_on,
)

CONVOLUTIONS = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
NORMED = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LayerNorm(8), nn.Linear(8, 8))
SQUARE = (1, 3, 224, 224)


class Tokens(nn.Module):
    """What tells the class token and registers of a transformer: its parameters."""

    def __init__(self, **counts: int) -> None:
        super().__init__()
        for name, count in counts.items():
            setattr(self, name, nn.Parameter(torch.zeros(1, count, 6)))
        self.norm = nn.LayerNorm(6)


def grid_of(shape: tuple[int, ...], inputs: tuple[int, ...] = SQUARE, network: nn.Module = NORMED) -> object:
    return reading_of(torch.zeros(1, *shape), inputs, nn.Identity(), network).grid


@pytest.mark.parametrize(
    ("shape", "inputs", "expected"),
    [
        ((512, 7, 7), SQUARE, ChannelsFirst()),
        ((7, 7, 768), SQUARE, ChannelsLast()),  # the last block of Swin
        ((56, 56, 96), SQUARE, ChannelsLast()),  # the first
        ((96, 56, 56), SQUARE, ChannelsFirst()),
        ((3, 56, 56), SQUARE, ChannelsFirst()),
        ((7, 7, 5), SQUARE, ChannelsLast()),
        ((64, 10, 5), (1, 1, 320, 160), ChannelsFirst()),
        ((10, 5, 64), (1, 1, 320, 160), ChannelsLast()),
        ((10, 8, 64), (1, 1, 313, 250), ChannelsLast()),  # each side rounded up by itself
        ((64, 10, 8), (1, 1, 313, 250), ChannelsFirst()),
        ((1, 1, 768), SQUARE, ChannelsLast()),
        ((768, 1, 1), SQUARE, ChannelsFirst()),
        ((768, 7, 1), SQUARE, ChannelsFirst()),  # of neither reading the aspect: as it is, and remarked on
    ],
)
def test_the_reading_whose_maps_have_the_inputs_aspect(
    shape: tuple[int, ...], inputs: tuple[int, ...], expected: object
) -> None:
    assert grid_of(shape, inputs) == expected
    note = reading_of(torch.zeros(1, *shape), inputs, nn.Identity(), NORMED).note
    assert bool(note) == (expected == ChannelsLast())


def test_a_network_of_convolutions_has_its_channels_first_also_where_all_sides_are_alike() -> None:
    """A ResNet of 256 x 256 has 64 channels of 64 x 64."""
    assert grid_of((64, 64, 64), (1, 3, 256, 256), CONVOLUTIONS) == ChannelsFirst()
    assert grid_of((8, 8, 7), SQUARE, CONVOLUTIONS) == ChannelsFirst()  # padded on one side alone
    for layer, expected in ((0, ChannelsFirst()), (1, ChannelsLast()), (2, ChannelsLast())):
        reading = reading_of(torch.zeros(1, 8, 8, 8), (1, 3, 32, 32), NORMED[layer], NORMED)
        assert reading.grid == expected
    with pytest.raises(ModelError, match=r"\(1, 64, 64, 64\), whose channels may.*grid='channels first'"):
        grid_of((64, 64, 64), (1, 3, 256, 256))


@pytest.mark.parametrize(
    ("shape", "inputs", "network", "expected"),
    [
        ((196, 768), SQUARE, Tokens(), TokenGrid(14, 14, 0)),
        ((197, 768), SQUARE, Tokens(), TokenGrid(14, 14, 1)),
        ((197, 1024), SQUARE, Tokens(cls_token=1), TokenGrid(14, 14, 1)),  # 1024 is a square, too
        ((201, 384), SQUARE, Tokens(cls_token=1, reg_token=4), TokenGrid(14, 14, 5)),
        ((200, 384), SQUARE, Tokens(register_tokens=4), TokenGrid(14, 14, 4)),
        ((198, 384), SQUARE, Tokens(cls_token=1, distillation_token=1, mask_token=1), TokenGrid(14, 14, 2)),
        ((196, 384), SQUARE, Tokens(cls_token=1, reg_token=4), TokenGrid(14, 14, 0)),  # before they are added
        ((50, 64), (1, 1, 160, 80), Tokens(), TokenGrid(10, 5, 0)),
        ((51, 64), (1, 1, 160, 80), Tokens(), TokenGrid(10, 5, 1)),
    ],
)
def test_tokens_whose_number_is_that_of_a_grid(
    shape: tuple[int, ...], inputs: tuple[int, ...], network: nn.Module, expected: TokenGrid
) -> None:
    assert grid_of(shape, inputs, network) == expected


@pytest.mark.parametrize(
    ("shape", "network"),
    [
        ((195, 768), Tokens()),  # no square
        ((201, 384), Tokens()),  # registers that nothing tells of
        ((9, 6), Tokens(cls_token=1, reg_token=4)),  # 3 x 3, or 2 x 2 behind five others
        ((64, 1), Tokens()),  # pooled
        ((768, 49), Tokens()),  # channels first
        ((256, 49), nn.Sequential(nn.Conv2d(3, 256, 32, 32), nn.Flatten(2))),  # the same, of a square number
        ((1024, 196), nn.Sequential(nn.Linear(196, 196), nn.LayerNorm(1024))),  # within the block of a mixer
        ((768,), Tokens()),
        ((1, 2, 3, 4), Tokens()),
    ],
)
def test_what_gives_no_maps_is_refused(shape: tuple[int, ...], network: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"activations of shape .* expected \(B, C, I, J\).*token_grid"):
        grid_of(shape, network=network)


@pytest.mark.parametrize("shape", [(64, 49, 96), (197, 2, 768)])
def test_windows_and_sequences_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"for a batch of 2; .*the images first"):
        reading_of(torch.zeros(shape), (2, 3, 224, 224), nn.Identity(), NORMED)


@pytest.mark.parametrize("tokens", [32, 196])
def test_the_weights_of_an_attention_are_no_map(tokens: int) -> None:
    weights = torch.randn(2, 4, tokens, tokens).softmax(dim=-1)
    with pytest.raises(ModelError, match=r"found the weights of an attention, of shape \(2, 4, "):
        reading_of(weights, (2, 3, 224, 224), nn.Identity(), NORMED)
    assert reading_of(weights.roll(1, 2) + 0.01, (2, 3, 224, 224), nn.Identity(), NORMED).note == ""
    assert reading_of(weights, (2, 3, 224, 224), nn.Identity(), CONVOLUTIONS).note == ""
    with pytest.raises(ModelError, match="the weights of an attention"):  # that are mixed between heads
        reading_of(-weights, (2, 3, 224, 224), nn.Identity(), Tokens(pos_embed=tokens))


@pytest.mark.parametrize(
    ("cells", "size", "fits", "remark"),
    [
        ((7, 7), (224, 224), 2, ""),
        ((8, 7), (256, 233), 1, ""),
        ((2, 1), (64, 32), 2, ""),
        ((1, 1), (224, 224), 2, "one value for the whole image"),
        ((1, 1), (320, 240), 1, "one value for the whole image"),
        ((7, 1), (224, 224), 0, "maps of 7 x 1 for inputs of 224 x 224"),
        ((2, 1), (64, 64), 1, "maps of 2 x 1"),
        ((7, 768), (224, 224), 0, "maps of 7 x 768"),
        ((49, 96), (224, 224), 0, "maps of 49 x 96"),
    ],
)
def test_maps_of_another_shape_than_the_input_are_named(
    cells: tuple[int, int], size: tuple[int, int], fits: int, remark: str
) -> None:
    assert aspect_fits(cells, size) == fits
    assert remark in remark_on(cells, size)
    assert bool(remark) == bool(remark_on(cells, size))


@pytest.mark.parametrize(
    ("grid", "shape"),
    [(ChannelsFirst(), (2, 5, 3, 4)), (ChannelsLast(), (2, 3, 4, 5)), (TokenGrid(3, 4, 2), (2, 14, 5))],
)
def test_each_grid_puts_back_what_it_took(grid: InvertibleGrid, shape: tuple[int, ...]) -> None:
    assert isinstance(grid, InvertibleGrid)
    output, other = torch.randn(shape), torch.randn(2, 5, 3, 4)
    assert torch.equal(grid.replace(output, grid(output)), output)
    assert torch.equal(grid(grid.replace(output, other)), other)
    assert grid.replace(output, grid(output)).data_ptr() != output.data_ptr()


class Permuted(nn.Module):
    """Between two permutations: (B, I, J, C) within, as a block of Swin or ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 6, 8, 8)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6)
        self.back = nn.Identity()
        self.head = nn.Linear(6, len(NAMES))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.mix(self.norm(self.body(x / 1024).permute(0, 2, 3, 1)).relu())
        return self.head(self.back(inner.permute(0, 3, 1, 2)).square().mean((2, 3)))


def permuted(layer: str, **options: object) -> HookedClassifier:
    torch.manual_seed(0)
    return HookedClassifier(Permuted().double(), layer, Outputs(NAMES), input_size=64, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "method", ["grad-cam", "layercam", "grad-cam++", "score-cam", "eigen-cam", ablation_cam, ReciproCAM()]
)
def test_a_layer_with_channels_last_has_the_maps_of_the_same_values_with_channels_first(
    method: object,
) -> None:
    classes = torch.tensor([[0, 3], [2, 1]])
    maps = [class_maps(permuted(layer), images(), classes, method=method) for layer in ("mix", "back")]  # type: ignore[arg-type]
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-9, atol=1e-12)
    assert maps[0].abs().amax((1, 2, 3)).min() > 0


def test_a_grid_by_its_name() -> None:
    found = permuted("mix", grid="channels last").forward(images())
    expected = permuted("mix").forward(images())
    torch.testing.assert_close(found.activations, expected.activations)
    assert expected.notes == (
        "mix gives (B, 8, 8, 6): its channels come last, and were moved before the 8 x 8 cells",
    )
    assert found.notes == ()
    assert permuted("mix", grid="channels first").forward(images()).activations.shape == (2, 8, 8, 6)
    with pytest.raises(OptionError, match="channels last"):
        permuted("mix", grid="last")


def test_the_classifiers_grid_reads_other_layers_whose_shape_does_not_tell() -> None:
    """Tokens 2 x 8 of a square input, which would be taken for 4 x 4: only the user knows."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 6, (32, 8), (32, 8)), nn.Flatten(2))
    tokens = nn.Sequential(
        body, Transposed(), nn.LayerNorm(6), nn.ReLU(), Transposed(), nn.Flatten(), nn.Linear(96, 5)
    )
    outputs = Outputs(NAMES)
    classifier = HookedClassifier(tokens, "2", outputs, input_size=64, grid=token_grid(2, 8, skip=0))
    assert forward_at(classifier, images(), ["3"])[0].activations.shape == (2, 6, 2, 8)
    explainer = Explainer(classifier, target_layers=("2", "3"))
    assert explainer.explain_inputs(images()).fused[0].maps.shape == (1, 5, 2, 8)
    with pytest.raises(
        ModelError, match=r"0: found activations of shape \(2, 6, 16\).*would do: 3 \(6 channels"
    ):
        forward_at(HookedClassifier(tokens, "2", outputs, input_size=64), images(), ["0"])


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)
