"""Eigen-CAM and smoothing over views, beside pytorch-grad-cam on the same layer.

Eigen-CAM. The paper projects the activations as they are on the first right singular vector (its equations 2
and 3). pytorch-grad-cam first takes off each channel's mean over the positions, so that its map is that of
the principal component: it sums to zero, and what all positions have in common is gone. By the paper the
projection is not centred, as here. It also leaves the sign as the decomposition happens to give it, and cuts
off what is negative.

Smoothing. `aug_smooth` averages over the mirrored and the plain image, each at a brightness of 0.9, 1 and 1.1
times the input. It does so after the ReLU, the scaling of each view's map to [0, 1] and the interpolation, so
that a view with little evidence counts as much as one with much; here the signed maps are averaged. Its
factors multiply the input, so that they are a contrast around 0, which is mid grey here; and it mirrors the
chest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import HookedClassifier, Outputs, ensure_torchvision_imports
from cxr_explain.cam.eigen import eigen_cam, first_projection
from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.gradient import grad_cam
from cxr_explain.cam.rules import class_maps
from cxr_explain.cam.smoothing import Smoothed
from cxr_explain.cam.views import View

ensure_torchvision_imports()
pytestmark = pytest.mark.peers
INSTALL = "(pip install 'cxr-explain[bench]')"
peer = pytest.importorskip("pytorch_grad_cam", reason=f"needs grad-cam {INSTALL}")

LABELS = tuple(f"Pathology {index}" for index in range(6))
BLOCK = "features.denseblock4"
SINGLE = {"rtol": 1e-5, "atol": 1e-6}  # the peer's maps are float32 numbers
TTA = tuple(View(contrast=contrast, flip=flip) for flip in (False, True) for contrast in (0.9, 1.0, 1.1))


def _densenet() -> nn.Module:
    """3 x 3 positions of 60 channels, from 96 x 96."""
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    small = {"growth_rate": 8, "block_config": (2, 2, 2, 2), "num_init_features": 16}
    return DenseNet(num_classes=len(LABELS), **small).double().eval()


def _images() -> Tensor:
    """Far from the ends of the range, so that no contrast is cut off."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, 96, 96, dtype=torch.float64, generator=generator)


def _hooked() -> HookedClassifier:
    return HookedClassifier(_densenet(), BLOCK, Outputs(LABELS))


def _activations() -> Tensor:
    return _hooked().forward(_images()).activations


def _projection(activations: Tensor) -> Tensor:
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    return torch.from_numpy(get_2d_projection(activations.numpy())).double()


def _either_sign(found: Tensor, expected: Tensor) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one * torch.sign((one * other).sum()), other, **SINGLE)


def _min_max(one: Tensor) -> Tensor:
    """As the peer does, with 1e-7 added to the divisor."""
    shifted = one - one.min()
    return shifted / (1e-7 + shifted.max())


def _public(one: Tensor) -> Tensor:
    """A signed map, (I, J), as the peer gives it out: ReLU, scaled, interpolated, scaled."""
    scaled = _min_max(one.relu())
    grown = F.interpolate(scaled[None, None], (96, 96), mode="bilinear", align_corners=False)[0, 0]
    return _min_max(grown.relu())


# -- Eigen-CAM ----


def test_of_centred_activations_the_projections_are_the_same() -> None:
    """The same arithmetic; what differs is the matrix."""
    a = _activations()
    centred = a - a.mean(dim=(2, 3), keepdim=True)
    _either_sign(_projection(a), first_projection(centred))
    _either_sign(_projection(centred), first_projection(centred))


def test_the_peer_centres_and_the_paper_does_not() -> None:
    """The paper's A V_1 is NumPy's, of the activations as they are; the peer's map sums to zero."""
    a = _activations().relu()
    for image, ours, theirs in zip(a, first_projection(a), _projection(a), strict=True):
        A = image.flatten(1).T.numpy()
        paper = A @ np.linalg.svd(A)[2][0]
        np.testing.assert_allclose(ours.ravel(), paper * np.sign(paper.sum()), atol=1e-10)
        assert abs(theirs.sum()) < 1e-4 * theirs.abs().sum()
        assert F.cosine_similarity(ours.ravel(), theirs.ravel(), dim=0).abs() < 0.9


def test_a_pattern_that_is_everywhere_is_lost_to_the_peer() -> None:
    """One channel that is 1 everywhere, and a faint other one: the paper's map is that of the first."""
    a = torch.ones(1, 2, 4, 4, dtype=torch.float64)
    a[0, 1] = 0
    a[0, 1, 2, 3] = 0.01
    torch.testing.assert_close(first_projection(a)[0], a[0, 0], rtol=1e-4, atol=1e-4)
    assert _projection(a).abs().max() < 0.011


def test_public_output() -> None:
    """From the peer's raw projection, as from ours of centred activations but for its arbitrary sign."""
    module = _densenet()
    with peer.EigenCAM(module, [module.get_submodule(BLOCK)]) as cam:
        theirs = cam(_images(), None)
    expected = torch.stack([_public(one) for one in _projection(_activations())])
    np.testing.assert_allclose(theirs, expected, atol=2e-5)


def test_both_give_all_classes_the_same_map() -> None:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module = _densenet()
    with peer.EigenCAM(module, [module.get_submodule(BLOCK)]) as cam:
        first, last = (cam(_images(), [ClassifierOutputTarget(index)] * 2) for index in (0, 5))
    np.testing.assert_array_equal(first, last)
    maps = class_maps(_hooked(), _images(), torch.tensor([0, 5]), method=eigen_cam)
    assert torch.equal(maps[:, 0], maps[:, 1])


# -- smoothing ----


def _as_the_peer_gives_it(evidence: Evidence) -> Tensor:
    """Grad-CAM, made public before the mean."""
    maps = grad_cam(evidence) * evidence.activations.shape[1]
    return torch.stack([torch.stack([_public(one) for one in image]) for image in maps])


@pytest.mark.parametrize("index", [0, 3])
def test_aug_smooth_is_smoothing_of_public_maps_over_six_views(index: int) -> None:
    pytest.importorskip("ttach")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module: Any = _densenet()
    with peer.GradCAM(module, [module.get_submodule(BLOCK)]) as cam:
        theirs = cam(_images(), [ClassifierOutputTarget(index)] * 2, aug_smooth=True)
    rule = Smoothed(_as_the_peer_gives_it, TTA)
    ours = class_maps(_hooked(), _images(), torch.tensor([index]), method=rule)[:, 0]
    np.testing.assert_allclose(theirs, ours, atol=5e-5)


def test_the_mean_of_signed_maps_is_another_one() -> None:
    """A view that says little counts as much as the others to the peer."""
    classes = torch.tensor([0])
    public = class_maps(_hooked(), _images(), classes, method=Smoothed(_as_the_peer_gives_it, TTA))
    signed = class_maps(_hooked(), _images(), classes, method=Smoothed(views=TTA))
    for theirs, ours in zip(public[:, 0], signed[:, 0], strict=True):
        assert (_public(ours) - _min_max(theirs)).abs().max() > 0.01
