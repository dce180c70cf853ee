"""FM-G-CAM against a literal reading of equations 2 to 6, and what must hold for any maps."""

from __future__ import annotations

import itertools

import literal
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from cxr_explain import fm_g_cam, fuse
from cxr_explain.cam.fusion import FusedMaps
from cxr_explain.errors import OptionError

NORMALISATIONS = ("joint", "per-class", "released")
ACTIVATIONS = ("relu", "elu", "gelu")
WAYS = tuple(itertools.product(NORMALISATIONS, ACTIVATIONS))
CASES = 225
QUICK = 56
"""How many cases are looked at by default: eight of each kind."""

values = st.floats(-1e6, 1e6, allow_nan=False, width=64)
coarse = st.integers(-3, 3).map(float)  # many ties and zeros
mixed = st.one_of(values, coarse)


@st.composite
def any_class_maps(draw: st.DrawFn, elements: st.SearchStrategy[float] = mixed) -> Tensor:
    shape = draw(
        st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3)),
        label="B, K, I, J",
    )
    return torch.from_numpy(draw(hnp.arrays(np.float64, shape, elements=elements)))


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations and gradients of a random shape and kind."""
    rng = np.random.default_rng(seed)
    B, K, C = rng.integers(1, 5), rng.integers(1, 19), rng.integers(1, 7)
    I, J = (int(n) for n in rng.integers(1, 7, 2))  # noqa: E741
    activations = rng.standard_normal((B, C, I, J))
    gradients = rng.standard_normal((B, K, C, I, J))
    kind = ("plain", "post-ReLU", "ties", "zeros", "negative", "one channel", "1 x 1")[seed % 7]
    if kind == "post-ReLU":
        activations = np.maximum(activations, 0)
    elif kind == "ties":  # whole numbers, so that the sums are exact whatever their order
        activations = rng.integers(0, 3, activations.shape).astype(float)
        gradients = np.broadcast_to(rng.integers(-2, 3, (B, K, C, 1, 1)), gradients.shape).astype(float)
    elif kind == "zeros":
        activations[rng.integers(0, B)] = 0
        gradients[:, rng.integers(0, K)] = 0
    elif kind == "negative":
        activations, gradients = np.abs(activations), -np.abs(gradients)
    elif kind == "one channel":
        activations, gradients = activations[:, :1], gradients[:, :, :1]
    elif kind == "1 x 1":
        activations, gradients = activations[..., :1, :1], gradients[..., :1, :1]
    return np.ascontiguousarray(activations), np.ascontiguousarray(gradients)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed < QUICK else pytest.mark.slow) for seed in range(CASES)]
)
def test_equals_the_literal_reading_of_the_equations(seed: int) -> None:
    """Every case in every normalisation and activation, from gradients and from alpha."""
    activations, gradients = random_case(seed)
    weights = literal.alphas(gradients)
    raw = literal.class_maps(activations, weights)
    for normalisation, activation in WAYS:
        expected = literal.fused(activations, weights, normalisation, activation)
        for given_weights in (gradients, weights):
            result = fm_g_cam(
                torch.from_numpy(activations),
                torch.from_numpy(given_weights),
                normalisation=normalisation,
                activation=activation,
            )
            assert result.maps.dtype == torch.float64
            np.testing.assert_allclose(result.class_maps, raw, atol=1e-10, rtol=0)
            np.testing.assert_allclose(result.maps, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("normalisation", "activation"), WAYS)
def test_every_way_equals_the_literal_reading_on_one_block_with_ties_zeros_and_negatives(
    normalisation: str, activation: str
) -> None:
    maps = np.array([[[[1.0, -2, 0], [3, -1, 0]], [[1.0, -3, 0], [2, -1, 0]], [[0.5, -4, 0], [5, -2, 0]]]])
    expected = literal.activate(literal.normalise(literal.keep_strongest(maps), normalisation), activation)
    result = fuse(torch.from_numpy(maps), normalisation=normalisation, activation=activation)
    np.testing.assert_allclose(result.maps, expected, atol=1e-15)
    assert result.winner.tolist() == [[[0, 0, 0], [2, 0, 0]]]
    assert (result.normalisation, result.activation) == (normalisation, activation)


def test_a_block_computed_by_hand() -> None:
    """R = (1/2)(1 * 6 + 2 * 0, ...); the norm of (3, 4) is 5."""
    activations = torch.tensor([[[[6.0, 0.0]], [[0.0, 8.0]]]])
    weights = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert fm_g_cam(activations, weights).class_maps.tolist() == [[[[3.0, 0.0]], [[0.0, 4.0]]]]
    torch.testing.assert_close(
        fm_g_cam(activations, weights).maps, torch.tensor([[[[0.6, 0.0]], [[0.0, 0.8]]]])
    )


@given(any_class_maps())
def test_at_most_one_class_is_left_at_each_position(maps: Tensor) -> None:
    result = fuse(maps, activation="elu")
    count = (result.maps != 0).sum(dim=1)
    assert (count <= 1).all()
    strongest = maps.amax(dim=1)
    assert torch.equal(count == 0, fuse(maps, activation="elu").maps.abs().amax(dim=1) == 0)
    assert (count[(strongest.abs() > 1e-3 * maps.abs().max()) & (strongest != 0)] == 1).all()


@given(any_class_maps())
def test_the_winner_is_the_first_of_the_largest(maps: Tensor) -> None:
    winner = fuse(maps).winner
    for b, i, j in np.ndindex(*winner.shape):
        column = maps[b, :, i, j].tolist()
        assert winner[b, i, j] == column.index(max(column))


@given(any_class_maps())
def test_the_joint_norm_is_one_before_the_activation(maps: Tensor) -> None:
    """Where nothing is negative the ReLU takes nothing away, and the norm of equation 6 can be seen."""
    maps = maps.abs()
    norms = torch.linalg.vector_norm(fuse(maps).maps, dim=(1, 2, 3))
    expected = (maps.abs().amax(dim=(1, 2, 3)) > 0).double()
    torch.testing.assert_close(norms, expected, atol=1e-12, rtol=0)


@given(any_class_maps())
def test_each_norm_is_one_in_its_own_block(maps: Tensor) -> None:
    kept = fuse(maps.abs(), normalisation="per-class").maps
    norms = torch.linalg.vector_norm(kept, dim=(2, 3))
    assert ((norms - 1).abs() < 1e-12).logical_or(norms == 0).all()
    columns = torch.linalg.vector_norm(fuse(maps.abs(), normalisation="released").maps, dim=2)
    assert ((columns - 1).abs() < 1e-12).logical_or(columns == 0).all()


@given(any_class_maps(), st.sampled_from(WAYS), st.integers(-200, 200))
def test_scaling_all_maps_changes_nothing(maps: Tensor, way: tuple[str, str], power: int) -> None:
    """A power of two, so that the scaling itself is exact."""
    maps = maps.where(maps.abs() > 1e-6, 0)
    first = fuse(maps, normalisation=way[0], activation=way[1])
    second = fuse(maps * 2.0**power, normalisation=way[0], activation=way[1])
    assert torch.equal(first.winner, second.winner)
    torch.testing.assert_close(first.maps, second.maps, atol=1e-14, rtol=0)


@given(any_class_maps(values), st.sampled_from(WAYS), st.randoms(use_true_random=False))
def test_a_permutation_of_ranks_permutes_the_maps(maps: Tensor, way: tuple[str, str], random: object) -> None:
    maps = maps + torch.arange(maps.numel(), dtype=maps.dtype).reshape(maps.shape).mul(1e-3).cos()
    order = list(range(maps.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    distinct = all(len(set(column)) == len(order) for column in maps.movedim(1, -1).flatten(0, -2).tolist())
    if distinct:
        straight = fuse(maps, normalisation=way[0], activation=way[1]).maps[:, order]
        torch.testing.assert_close(
            fuse(maps[:, order], normalisation=way[0], activation=way[1]).maps, straight, atol=1e-14, rtol=0
        )


@given(any_class_maps(), st.sampled_from(WAYS))
def test_images_do_not_mix_and_positions_are_alike(maps: Tensor, way: tuple[str, str]) -> None:
    options = {"normalisation": way[0], "activation": way[1]}
    whole = fuse(maps, **options).maps
    for b in range(len(maps)):
        torch.testing.assert_close(
            fuse(maps[b : b + 1], **options).maps, whole[b : b + 1], atol=1e-14, rtol=0
        )
    flipped = fuse(maps.flip(-1).flip(-2), **options).maps.flip(-1).flip(-2)
    torch.testing.assert_close(flipped, whole, atol=1e-14, rtol=0)


@given(any_class_maps(), st.sampled_from(WAYS))
def test_input_is_not_changed_and_the_result_is_the_same_each_time(
    maps: Tensor, way: tuple[str, str]
) -> None:
    before = maps.clone()
    first = fuse(maps, normalisation=way[0], activation=way[1])
    second = fuse(maps, normalisation=way[0], activation=way[1])
    assert torch.equal(maps, before)
    assert torch.equal(first.maps, second.maps)
    assert torch.equal(first.class_maps, before)
    assert not torch.isnan(first.maps).any()


def test_activations_and_weights_are_not_changed() -> None:
    activations, gradients = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 3, 4, 5)
    copies = activations.clone(), gradients.clone()
    for way in WAYS:
        fm_g_cam(activations, gradients, normalisation=way[0], activation=way[1])
        fm_g_cam(activations, gradients[..., 0, 0], normalisation=way[0], activation=way[1])
    assert torch.equal(activations, copies[0])
    assert torch.equal(gradients, copies[1])


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float64, 1e-200),
        (torch.float64, 1e300),
        (torch.float32, 1e-30),
        (torch.float32, 1e-36),
        (torch.float32, 1e37),
        (torch.float64, 1e-306),
    ],
)
def test_tiny_and_huge_maps_neither_underflow_nor_overflow(
    normalisation: str, dtype: torch.dtype, scale: float
) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    expected = fuse(maps, normalisation=normalisation).maps
    result = fuse((maps * scale).to(dtype), normalisation=normalisation).maps
    assert result.dtype == dtype
    torch.testing.assert_close(
        result.double(), expected, atol=1e-6 if dtype == torch.float32 else 1e-12, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    activations, gradients = (
        torch.rand(2, 64, 7, 7).to(dtype),
        torch.randn(2, 3, 64, 7, 7).mul(1e-3).to(dtype),
    )
    expected = fm_g_cam(activations.double(), gradients.double())
    for weights in (gradients, gradients.float().mean((-2, -1))):
        result = fm_g_cam(activations, weights)
        assert result.maps.dtype == torch.float32
        torch.testing.assert_close(result.class_maps.double(), expected.class_maps, rtol=1e-5, atol=1e-9)
    fused = fuse(expected.class_maps.to(dtype))
    assert fused.maps.dtype == torch.float32
    torch.testing.assert_close(
        fused.maps, fuse(expected.class_maps.to(dtype).float()).maps, rtol=1e-6, atol=1e-7
    )


def test_tiny_half_precision_gradients_do_not_vanish_in_their_mean() -> None:
    gradients = torch.zeros(1, 1, 1, 7, 7, dtype=torch.float16)
    gradients[..., 0, 0] = 1e-6  # the mean, 2e-8, is no float16
    assert fm_g_cam(torch.ones(1, 1, 7, 7), gradients).maps.max() > 0


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_zero_maps_stay_zero(normalisation: str, activation: str) -> None:
    maps = torch.zeros(2, 3, 4, 5)
    maps[1, 2, 3, 4] = 2.0
    result = fuse(maps, normalisation=normalisation, activation=activation)
    assert (result.maps[0] == 0).all()
    assert (result.maps != 0).sum() == 1
    assert result.without_evidence.tolist() == [[True] * 3, [True, True, False]]


def test_negative_only_maps_leave_no_evidence() -> None:
    """The least negative class wins, and ReLU leaves nothing of it."""
    maps = -torch.rand(2, 3, 4, 5) - 0.1
    assert (fuse(maps).maps == 0).all()
    assert fuse(maps).without_evidence.all()
    assert (fuse(maps, activation="elu").maps.sum(dim=1) < 0).all()


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_no_class_at_all(normalisation: str) -> None:
    for weights in (torch.zeros(2, 0, 5), torch.zeros(2, 0, 5, 3, 4)):
        result = fm_g_cam(torch.rand(2, 5, 3, 4), weights, normalisation=normalisation)
        assert result.maps.shape == result.class_maps.shape == (2, 0, 3, 4)
        assert result.winner.shape == (2, 3, 4)
        assert (result.winner == -1).all()
        assert result.without_evidence.shape == (2, 0)


def test_no_image_at_all() -> None:
    result = fm_g_cam(torch.rand(0, 5, 3, 4), torch.rand(0, 2, 5))
    assert result.maps.shape == (0, 2, 3, 4)


def test_one_class_is_grad_cam_up_to_its_norm() -> None:
    activations, weights = torch.rand(1, 8, 5, 6), torch.randn(1, 1, 8)
    grad_cam = torch.einsum("bcij,bkc->bkij", activations, weights)
    torch.testing.assert_close(fm_g_cam(activations, weights).maps, (grad_cam / grad_cam.norm()).relu())


def test_it_is_differentiable_for_whoever_wants_it() -> None:
    activations = torch.rand(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    fm_g_cam(activations, weights).maps.sum().backward()
    assert activations.grad is not None
    assert torch.isfinite(activations.grad).all()


def test_any_memory_layout_gives_the_same_maps() -> None:
    activations, weights = torch.rand(2, 8, 5, 6), torch.randn(2, 3, 8)
    expected = fm_g_cam(activations, weights).maps
    strided = activations.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fm_g_cam(strided, weights).maps, expected)
    torch.testing.assert_close(fm_g_cam(activations.mT.contiguous().mT, weights).maps, expected)


@pytest.mark.parametrize(
    ("activations", "weights", "message"),
    [
        (torch.rand(2, 3, 4), torch.rand(2, 1, 3), r"\(2, 3, 4\).*\(B, C, I, J\)"),
        (torch.ones(2, 3, 4, 4, dtype=torch.int64), torch.rand(2, 1, 3), "int64"),
        (torch.rand(2, 3, 4, 4), torch.rand(2, 1, 5), r"\(2, 1, 5\).*\(2, K, 3\)"),
        (torch.rand(2, 3, 4, 4), torch.rand(1, 1, 3), r"\(1, 1, 3\)"),
        (torch.rand(2, 3, 4, 4), torch.rand(2, 3), r"\(2, 3\)"),
        (torch.rand(2, 3, 4, 4), torch.rand(2, 1, 3, 5, 4), r"\(2, 1, 3, 5, 4\)"),
        (torch.rand(2, 3, 4, 4), torch.rand(2, 1, 2, 4, 4), r"\(2, 1, 2\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(activations: Tensor, weights: Tensor, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        fm_g_cam(activations, weights)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(OptionError, match=r"normalisation='l2'.*joint"):
        fuse(torch.rand(1, 1, 2, 2), normalisation="l2")
    with pytest.raises(OptionError, match=r"activation='tanh'.*gelu"):
        fuse(torch.rand(1, 1, 2, 2), activation="tanh")
    with pytest.raises(OptionError, match="class maps of shape"):
        fuse(torch.rand(1, 2, 2))


def test_the_result_is_frozen() -> None:
    result = fuse(torch.rand(1, 1, 2, 2))
    assert isinstance(result, FusedMaps)
    with pytest.raises(AttributeError):
        result.maps = result.class_maps  # type: ignore[misc]


@settings(max_examples=25)
@given(any_class_maps())
def test_joint_and_per_class_norms_differ_by_a_factor_for_each_class_alone(maps: Tensor) -> None:
    joint, alone = fuse(maps).maps, fuse(maps, normalisation="per-class").maps
    for b, k in np.ndindex(*maps.shape[:2]):
        a, c = joint[b, k].flatten(), alone[b, k].flatten()
        torch.testing.assert_close(a * c.norm(), c * a.norm(), atol=1e-12, rtol=1e-9)
