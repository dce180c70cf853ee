"""The faithfulness metrics beside pytorch-grad-cam's, scikit-learn's areas and scipy's correlation.

ROAD. pytorch-grad-cam asks for percentiles of the map's values and takes all pixels from there on. Without
equals it takes as many pixels as we do. Where many pixels share a value, as the zeros of a class map after
its ReLU do, it takes all of them or none, whatever percentage was asked for: of an even map everything goes,
and the imputation has nothing to start from. Here equals go one by one in a random order, so that the
percentages are what they say (Rong et al. remove a share of the pixels). Its noise is drawn anew for each
image, ours once for each seed; it is off here, but for the 0.01 grey values that cannot be told to go.

Imputation. The same equations, solved directly there and iteratively here.

Drop and increase. pytorch-grad-cam's drop is max(0, y - y_e); the paper's (Grad-CAM++, section 4.1) is a
share of y. The image fades to 0 there, which is black only for inputs that start at 0; here to black.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import ensure_torchvision_imports
from cxr_explain.measures.adcc import adcc, normalised
from cxr_explain.measures.faithfulness import deletion, insertion, pearson
from cxr_explain.measures.imputation import fill_in
from cxr_explain.measures.order import pixel_order, random_maps
from cxr_explain.measures.road import PERCENTAGES, road

ensure_torchvision_imports()
pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),  # pytorch-grad-cam and NumPy 2
]
INSTALL = "(pip install 'cxr-explain[bench]')"
peer_road = pytest.importorskip("pytorch_grad_cam.metrics.road", reason=f"needs grad-cam {INSTALL}")
peer_images = pytest.importorskip(
    "pytorch_grad_cam.metrics.cam_mult_image", reason=f"needs grad-cam {INSTALL}"
)
targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets", reason=f"needs grad-cam {INSTALL}")
removal = pytest.importorskip(
    "pytorch_grad_cam.metrics.perturbation_confidence", reason=f"needs grad-cam {INSTALL}"
)
FIRST = torch.tensor([[0]])
SIDE = 10  # 100 pixels, so that both round each percentage to the same number of pixels


class Crooked(nn.Module):
    """(N, 3) of fixed weights, with a square so that pixels interact; probabilities, or else logits."""

    def __init__(self, *, probabilities: bool = False) -> None:
        super().__init__()
        self.probabilities = probabilities
        draws = torch.randn((SIDE**2, 3), generator=torch.Generator().manual_seed(7))
        self.register_buffer("weight", draws / 3)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1) / 1024
        logits = flat @ self.weight + (flat**2) @ self.weight.flip(1)
        return torch.sigmoid(logits) if self.probabilities else logits


class FromZero(nn.Module):
    """The probabilities of a model whose inputs are in [0, 1], with black at 0."""

    def forward(self, inputs: Tensor) -> Tensor:
        return Crooked(probabilities=True)(inputs * 2048 - 1024)


def scans(count: int) -> Tensor:
    """Inputs of chance in [-1024, 1024]."""
    return random_maps((count, 1, SIDE, SIDE), seed=0).float() * 2048 - 1024


def of_classes(classes: Tensor) -> list[object]:
    return [targets.ClassifierOutputTarget(int(index)) for index in classes[:, 0]]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_holes_are_filled_as_pytorch_grad_cam_fills_them(share: float) -> None:
    side = 30
    image = random_maps((1, 1, side, side), seed=1).float() * 2048 - 1024
    gone = random_maps((1, 1, side, side), seed=2) < share
    expected = peer_road.NoisyLinearImputer(noise=0)(image[0], (~gone[0, 0]).float())
    np.testing.assert_allclose(fill_in(image.double(), gone, tolerance=1e-7)[0], expected, atol=2e-3)


def test_road_is_pytorch_grad_cam_s_where_no_pixels_are_equal() -> None:
    inputs, classes = scans(3), torch.tensor([[0], [2], [1]])
    maps = random_maps((3, 1, SIDE, SIDE), seed=4)
    expected = peer_road.ROADCombined()(
        inputs, maps[:, 0].numpy(), of_classes(classes), Crooked(probabilities=True)
    )
    found = road(Crooked(), inputs, classes, maps, noise=0)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-3)  # their noise, and our tolerance
    assert np.abs(expected).min() > 1e-2


@pytest.mark.parametrize("percentage", PERCENTAGES)
def test_each_percentage_is_pytorch_grad_cam_s_of_the_rest(percentage: int) -> None:
    """To remove p % there, ask for the percentile 100 - p."""
    inputs, maps = scans(1), random_maps((1, 1, SIDE, SIDE), seed=4)
    most, least = (
        peer(100 - percentage)(
            inputs, maps[:, 0].numpy(), of_classes(FIRST), Crooked(probabilities=True), return_diff=False
        ).item()
        for peer in (peer_road.ROADMostRelevantFirst, peer_road.ROADLeastRelevantFirst)
    )
    found = road(Crooked(), inputs, FIRST, maps, percentages=(percentage,), noise=0).item()
    assert found == pytest.approx((least - most) / 2, abs=1e-3)


def test_percentages_of_a_map_with_equals_are_kept_here_alone() -> None:
    """60 of 100 pixels are 0 and half of all should go: there it is all of them, here it is half."""
    maps = random_maps((1, 1, SIDE, SIDE), seed=4).clamp(min=0.6)
    maps = (maps - maps.min()).where(maps > maps.min(), 0)
    kept: list[Tensor] = []

    def imputer(image: Tensor, mask: Tensor) -> Tensor:
        kept.append(mask)
        return image

    removal.RemoveMostRelevantFirst(50, imputer)(scans(1)[0], maps[0, 0])
    assert kept[0].sum() == 0
    gone: list[Tensor] = []

    def score(images: Tensor) -> Tensor:
        gone.append(images != scans(1))
        return Crooked()(images)

    road(score, scans(1), FIRST, maps, percentages=(50,))
    least, most = gone[0].flatten(1).sum(dim=1).tolist()
    assert (least, most) == (50, 50)


def test_the_order_is_that_of_the_percentiles() -> None:
    maps = random_maps((1, 1, SIDE, SIDE), seed=4)
    places = pixel_order(maps, (SIDE, SIDE), seed=0)
    for percentage in PERCENTAGES:
        above = maps >= np.percentile(maps, 100 - percentage)
        assert torch.equal(above, places < percentage * SIDE**2 // 100)


def test_the_drop_is_pytorch_grad_cam_s_as_a_share_of_the_score() -> None:
    inputs, classes = scans(6), torch.tensor([[0], [2], [1], [0], [1], [2]])
    maps = random_maps((6, 1, 5, 5), seed=6).float() - 0.3
    masks = F.interpolate(normalised(maps), (SIDE, SIDE), mode="bilinear")[:, 0].float()
    parts = adcc(Crooked(), lambda images, of: maps, inputs, classes, maps)
    given = (inputs + 1024) / 2048, masks.numpy(), of_classes(classes), FromZero()
    drop, increase = peer_images.DropInConfidence()(*given), peer_images.IncreaseInConfidence()(*given)
    y = Crooked(probabilities=True)(inputs).gather(1, classes)[:, 0].numpy()
    np.testing.assert_allclose(parts.average_drop[:, 0] * y, drop, atol=1e-5)
    np.testing.assert_array_equal(parts.increase[:, 0], increase)
    assert 0 < increase.sum() < 6


def test_areas_are_scikit_learn_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    maps = random_maps((1, 1, 3, 4), seed=1)  # cells of unequal size: steps of unequal width
    for curve in (deletion(Crooked(), scans(1), FIRST, maps), insertion(Crooked(), scans(1), FIRST, maps)):
        expected = metrics.auc(curve.fractions[0, 0], curve.scores[0, 0])
        assert curve.area.item() == pytest.approx(expected, rel=1e-12)


def test_correlations_are_scipy_s() -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs scipy")
    maps = random_maps((1, 1, 3, 4), seed=1)
    for curve, sign in (
        (deletion(Crooked(), scans(1), FIRST, maps), -1),
        (insertion(Crooked(), scans(1), FIRST, maps), 1),
    ):
        expected = stats.pearsonr(curve.saliency[0, 0], sign * np.diff(curve.scores[0, 0])).statistic
        assert curve.correlation.item() == pytest.approx(expected, rel=1e-9)


def test_a_constant_of_many_roundings_is_constant_here_and_in_scipy_a_warning() -> None:
    """0.1 + 0.2 is not 0.3: scipy warns and gives a number that means nothing."""
    stats = pytest.importorskip("scipy.stats", reason="needs scipy")
    constant, other = np.array([0.3, 0.1 + 0.2, 0.3, 0.3]), np.array([1.0, 2.0, 3.0, 5.0])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        number = stats.pearsonr(constant, other).statistic
    assert told
    assert np.isfinite(number)
    assert np.isnan(pearson(constant, other))
