"""A rule averaged over views, against a loop that applies and undoes each view by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle
from torch import Tensor

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.rules import class_maps
from cxr_explain.cam.smoothing import SHIFTS_AND_CONTRAST, Smoothed
from cxr_explain.cam.views import View
from cxr_explain.errors import OptionError
from cxr_explain.models.base import BLACK, Classifier

CLASSES = torch.tensor([[3, 0, 4], [1, 2, 0]])
EXACT = {"rtol": 1e-9, "atol": 1e-12}
CELLS = 8  # of the pooled network's map; its input has 64 x 64


def linear() -> Classifier:
    return XRVDenseNet(small_xrv(5).double(), Outputs(NAMES), input_size=64)


def hooked() -> Classifier:
    return HookedClassifier(small_net().double(), "5", Outputs(NAMES), input_size=64)


def squared(evidence: Evidence) -> Tensor:
    """A rule of one's own, that is not linear in anything."""
    maps = torch.einsum("bkc,bcij->bkij", evidence.weights, evidence.activations)
    return maps.square() - maps


both_heads = pytest.mark.parametrize("build", [linear, hooked])
each_method = pytest.mark.parametrize("method", ["grad-cam", "layercam", squared])


def inputs_of(count: int = 2) -> Tensor:
    return images(count).double()


# -- loops over whole pixels ----


def rolled(tensor: Tensor, right: int, down: int, outside: float) -> Tensor:
    """Shifted by whole pixels, without any sampling."""
    result = torch.full_like(tensor, outside)
    height, width = tensor.shape[-2:]
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                result[..., i, j] = tensor[..., i - down, j - right]
    return result


@each_method
def test_it_is_the_mean_of_views_applied_and_undone_one_by_one(method: Any) -> None:
    """Shifts by whole cells; where one shows nothing, the mean is over the others."""
    classifier, classes = linear(), CLASSES
    cells = [(0, 0, 1.0), (1, 0, 1.0), (-2, 0, 0.9), (0, 3, 1.0), (1, -1, 0.7)]
    views = tuple(View(right=r / CELLS, down=d / CELLS, contrast=c) for r, d, c in cells)
    found = class_maps(classifier, inputs_of(), classes, method=Smoothed(method, views))

    total, seen = torch.zeros(2, 3, CELLS, CELLS).double(), torch.zeros(CELLS, CELLS).double()
    for right, down, contrast in cells:
        changed = rolled(inputs_of(), 8 * right, 8 * down, BLACK) * contrast
        maps = class_maps(classifier, changed, classes, method=method)
        total += rolled(maps, -right, -down, 0)
        seen += rolled(torch.ones(CELLS, CELLS).double(), -right, -down, 0)
    assert seen.min() < len(cells)
    torch.testing.assert_close(found, total / seen, **EXACT)


@both_heads
@each_method
def test_flips_turns_and_parts_of_cells(build: Callable[[], Classifier], method: Any) -> None:
    """With the views' own way back, which is tested by itself."""
    classifier = build()
    views = (View(flip=True), View(angle=12), View(right=0.03, down=-0.11, brightness=40))
    found = class_maps(classifier, inputs_of(), CLASSES, method=Smoothed(method, views))
    total, seen = [], []
    for view in views:
        maps = class_maps(classifier, view.of(inputs_of()), CLASSES, method=method)
        moved, part = view.undone(maps)
        total.append(moved)
        seen.append(part)
    torch.testing.assert_close(found, torch.stack(total).sum(0) / torch.stack(seen).sum(0), **EXACT)


# -- known answers ----


@both_heads
@each_method
def test_the_plain_view_changes_nothing(build: Callable[[], Classifier], method: Any) -> None:
    classifier = build()
    plain = class_maps(classifier, inputs_of(), CLASSES, method=method)
    for views in ((View(),), (View(), View())):
        torch.testing.assert_close(
            class_maps(classifier, inputs_of(), CLASSES, method=Smoothed(method, views)), plain, **EXACT
        )


def test_the_plain_view_costs_no_pass_and_each_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, seen = linear(), []
    forward = classifier.forward

    def record(inputs: Tensor) -> Any:
        seen.append(inputs)
        return forward(inputs)

    monkeypatch.setattr(classifier, "forward", record)
    inputs = inputs_of()
    class_maps(classifier, inputs, CLASSES, method=Smoothed())
    assert len(seen) == len(SHIFTS_AND_CONTRAST)
    assert seen[0] is inputs
    for view, changed in zip(SHIFTS_AND_CONTRAST[1:], seen[1:], strict=True):
        assert torch.equal(changed, view.of(inputs))


def given_maps(values: Tensor) -> Callable[[Evidence], Tensor]:
    def rule(evidence: Evidence) -> Tensor:
        return values.expand(*evidence.classes.shape, -1, -1)

    return rule


@pytest.mark.parametrize("size", [8, 28, 224])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_no_view_shows_is_zero(size: int, dtype: torch.dtype) -> None:
    """Also where interpolation leaves a millionth of a view there."""
    cell = size // 4
    rule = Smoothed(given_maps(torch.full((size, size), 5.0, dtype=dtype)), (View(right=1 / 4),))
    found = class_maps(linear(), inputs_of(), CLASSES, method=rule)
    assert not found[..., size - cell :].any()
    torch.testing.assert_close(found[..., : size - cell], torch.full_like(found[..., cell:], 5.0))


def test_a_part_of_a_view_counts_for_its_part() -> None:
    """A constant map stays constant to the very edge, wherever any view shows something."""
    rule = Smoothed(given_maps(torch.ones(8, 8).double()), (View(right=0.03), View(angle=5)))
    torch.testing.assert_close(
        class_maps(linear(), inputs_of(), CLASSES, method=rule), torch.ones(2, 3, 8, 8).double()
    )


def test_smoothing_twice_by_shifts_that_add_up() -> None:
    once = Smoothed(squared, (View(right=2 / CELLS),))
    twice = Smoothed(Smoothed(squared, (View(right=1 / CELLS),)), (View(right=1 / CELLS),))
    found = class_maps(linear(), inputs_of(), CLASSES, method=twice)
    expected = class_maps(linear(), inputs_of(), CLASSES, method=once)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


# -- as every rule ----


@both_heads
def test_a_batch_equals_one_image_and_one_class_at_a_time(build: Callable[[], Classifier]) -> None:
    classifier, inputs = build(), inputs_of()
    together = class_maps(classifier, inputs, CLASSES, method=Smoothed())
    for b in range(2):
        for k in range(3):
            alone = class_maps(classifier, inputs[b : b + 1], CLASSES[b, k : k + 1], method=Smoothed())
            torch.testing.assert_close(alone[0, 0], together[b, k], **EXACT)


def test_at_a_named_layer() -> None:
    classifier, layer, view = linear(), "features.denseblock1", View(down=1 / 16)
    found = class_maps(classifier, inputs_of(), CLASSES, method=Smoothed("hirescam", (view,)), layers=[layer])
    maps = class_maps(classifier, view.of(inputs_of()), CLASSES, method="hirescam", layers=[layer])
    expected = rolled(maps, 0, -1, 0)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@both_heads
def test_maps_are_fused(build: Callable[[], Classifier]) -> None:
    fused = fuse(class_maps(build(), inputs_of(), CLASSES, method=Smoothed("layercam")))
    assert torch.isfinite(fused.maps).all()
    assert not fused.without_evidence.all()


def test_nothing_is_written_to_what_is_given() -> None:
    inputs, classes = inputs_of(), CLASSES.clone()
    class_maps(linear(), inputs, classes, method=Smoothed())
    assert torch.equal(inputs, inputs_of())
    assert torch.equal(classes, CLASSES)


@both_heads
def test_the_model_leaves_as_it_came_also_after_an_error(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], Classifier]
) -> None:
    classifier = build()
    unsettle(classifier.module)
    before = snapshot(classifier.module)
    class_maps(classifier, inputs_of(), CLASSES, method=Smoothed())
    assert snapshot(classifier.module) == before

    calls = 0

    def fail_in_the_end(evidence: Evidence) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("out of memory")
        return squared(evidence)

    with pytest.raises(RuntimeError, match="out of memory"):
        class_maps(classifier, inputs_of(), CLASSES, method=Smoothed(fail_in_the_end))
    assert calls == 3
    assert snapshot(classifier.module) == before


def test_progress_is_shown_by_view() -> None:
    shown: list[tuple[int, str]] = []

    def track(items: Sequence[Any], doing: str) -> Iterable[Any]:
        shown.append((len(items), doing))
        return items

    class_maps(linear(), inputs_of(), CLASSES, method=Smoothed("layercam"), track=track)
    assert shown == [(6, "LayerCAM, smoothed over 6 views")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_maps_are_at_least_float32(dtype: torch.dtype) -> None:
    classifier = linear()
    classifier.module.to(dtype)
    maps = class_maps(classifier, images().to(dtype), CLASSES, method=Smoothed())
    assert maps.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.isfinite(maps).all()


def test_the_default_views_are_of_chests_as_they_are() -> None:
    assert SHIFTS_AND_CONTRAST[0] == View()
    assert not any(view.flip or view.angle for view in SHIFTS_AND_CONTRAST)
    assert sum(view.right for view in SHIFTS_AND_CONTRAST) == 0
    assert sum(view.down for view in SHIFTS_AND_CONTRAST) == 0


def test_titles() -> None:
    assert Smoothed().title == "Grad-CAM, smoothed over 6 views"
    assert Smoothed(squared, (View(),)).title == "squared, smoothed over 1 views"


@pytest.mark.parametrize("options", [{"method": "gradcam"}, {"method": 3}, {"views": ()}])
def test_options_outside_of_their_set(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Smoothed(**options)
    with pytest.raises(OptionError):
        replace(Smoothed(), **options)
