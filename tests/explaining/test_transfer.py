"""What is particular to GPUs, as far as a processor can tell; `benchmarks/gpu.sh` measures the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from networks import NAMES, images, small_xrv

from cxr_explain import Explainer, Outputs, XRVDenseNet
from cxr_explain.explaining.batch_maps import BatchMaps
from cxr_explain.explaining.transfer import batch_on_cpu, convolves_in_tf32, gathered, in_one_copy


def test_tensors_come_as_they_were() -> None:
    """Maps of several sizes, winners with -1, and truths."""
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(1, 3, 7, 5, generator=generator), torch.randn(1, 0, 7, 7, generator=generator),
        torch.tensor([[[-1, 0], [1, 17]]]), torch.tensor([[True, False]]),
        torch.randn(2, 3, generator=generator).to(torch.bfloat16),
        torch.randn(4, 6, generator=generator).T,
    ]  # fmt: skip
    for one, other in zip(tensors, in_one_copy(tensors), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert in_one_copy([]) == []


def test_a_copy_takes_nothing_with_it_that_needs_a_gradient() -> None:
    (found,) = in_one_copy([torch.ones(2, requires_grad=True) * 2])
    assert not found.requires_grad


def test_a_batch_comes_with_everything_at_its_place() -> None:
    """Images of another K: a mixed order would show."""
    explainer = Explainer(XRVDenseNet(small_xrv(5), Outputs(NAMES), input_size=64))
    found = [explainer.explain_inputs(images(2, seed=k), top_k=k) for k in (1, 3, 2)]
    fused = tuple(each for batch in found for each in batch.fused)
    fused = (*fused[:3], replace(fused[3], without_gradient=None), *fused[4:])
    rankings = tuple(each for batch in found for each in batch.rankings)
    batch = BatchMaps(rankings, fused, "closed form", ((),) * 6)
    here = gathered(batch)
    for one, other in zip(batch.fused, here.fused, strict=True):
        assert one.normalisation == other.normalisation
        for name in ("maps", "class_maps", "winner"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
    states = [each.without_gradient for each in here.fused]
    assert states[3] is None
    assert [each.tolist() for each in states if each is not None] == [
        each.without_gradient.tolist() for each in fused if each.without_gradient is not None
    ]
    assert (here.rankings, here.gradient, here.notes) == (batch.rankings, batch.gradient, batch.notes)
    assert batch_on_cpu(batch) is batch


@pytest.fixture
def as_found() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("as_found")
@pytest.mark.parametrize("allowed", [True, False])
def test_what_torch_says_of_short_convolutions(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed
    assert convolves_in_tf32() is allowed
