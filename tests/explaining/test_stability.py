"""How sure a class map is: against loops in float64, on models that jump and that stay, in the record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle
from numpy.typing import NDArray
from torch import Tensor, nn

from cxr_explain import Explainer, Explanation, HookedClassifier, Outputs, Radiograph, XRVDenseNet
from cxr_explain.cam.views import View
from cxr_explain.errors import OptionError, OutputError
from cxr_explain.explaining.compared_maps import overlaps, stability_of, views_of
from cxr_explain.explaining.stability import MapStability, Stability
from cxr_explain.measures.robustness import under_noise

Block = NDArray[np.float64]
SIDE, SMALL = 56, 40


def radiograph(seed: int = 1, side: int = 64) -> Radiograph:
    return Radiograph.from_array(images(1, side, seed)[0, 0].numpy(), id=f"r{seed}")


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(XRVDenseNet(small_xrv(5), Outputs(NAMES), input_size=64))


@pytest.fixture(scope="module")
def sure(explainer: Explainer) -> Explanation:
    return explainer.explain(radiograph(), top_k=3, stability=True, also=[another()])


def another(outputs: int = 4, **options: Any) -> Explainer:
    """A model of other weights that does not predict the last pathology."""
    return Explainer(XRVDenseNet(small_xrv(outputs, 7), Outputs(NAMES[:outputs]), input_size=64), **options)


# -- against loops ----


def literal_fine(values: Block, size: int) -> Block:
    """Bilinear with half-pixel centres, the outermost cells going on to the edge."""
    rows, columns = values.shape
    fine = np.zeros((size, size))
    for i, j in np.ndindex(size, size):
        y = min(max((i + 0.5) * rows / size - 0.5, 0.0), rows - 1.0)
        x = min(max((j + 0.5) * columns / size - 0.5, 0.0), columns - 1.0)
        for r, c in np.ndindex(rows, columns):
            fine[i, j] += values[r, c] * max(0.0, 1 - abs(y - r)) * max(0.0, 1 - abs(x - c))
    return fine


def literal_overlap(values: Block, other: Block, right: int, down: int, size: int) -> float:
    """Pixels of both regions by pixels of either, of those that the shifted input still shows."""
    one, two = literal_fine(values, size), literal_fine(other, size)
    both = either = 0
    for i, j in np.ndindex(size, size):
        if 0 <= i + down < size and 0 <= j + right < size:
            here = one[i, j] >= values.max() / 2
            there = two[i + down, j + right] >= other.max() / 2
            both, either = both + (here and there), either + (here or there)
    return both / either


def literal_peak(values: Block) -> tuple[float, float]:
    row, column = np.argwhere(values == values.max())[0]
    return (row + 0.5) / values.shape[0], (column + 0.5) / values.shape[1]


def test_the_numbers_are_those_of_loops() -> None:
    draw = np.random.default_rng(3)
    maps = draw.uniform(-1, 1, (2, 5, 5))
    ways = [(1, 0), (-1, 0), (0, 1), (0, -1), (0, 0), (0, 0)]
    others = [maps + draw.normal(0, 0.3, maps.shape) for _ in ways]
    views = [View(right=right / SMALL, down=down / SMALL) for right, down in ways]
    given = [
        ("", view, dict(zip("ab", map(torch.tensor, other), strict=True)))
        for view, other in zip(views, others, strict=True)
    ]
    found = stability_of("ab", torch.tensor(maps), given, SMALL)
    for k, name in enumerate("ab"):
        pairs = [(other[k], *way) for other, way in zip(others, ways, strict=True)]
        expected = [literal_overlap(maps[k], other, *way, SMALL) for other, *way in pairs]
        own = literal_peak(maps[k])
        moved = [
            math.hypot(y - down / SMALL - own[0], x - right / SMALL - own[1])
            for (y, x), right, down in ((literal_peak(other), *way) for other, *way in pairs)
        ]
        assert found.maps[name].stability == pytest.approx(sum(expected) / 6, abs=1e-12)
        assert found.maps[name].peak_stays == sum(far <= 1 / 28 for far in moved) / 6
        assert 0 < sum(expected) / 6 < 1
    assert {each.peak_stays for each in found.maps.values()} - {0.0, 1.0}  # some peaks went, some stayed


def test_a_map_that_moves_with_the_image_is_stable() -> None:
    """Whatever the grid, a map that is the image's own at whole pixels overlaps to the last of them."""
    fine = torch.zeros(1, SIDE, SIDE)
    fine[0, 20:30, 11:17] = 1
    for view in list(views_of(SIDE).values())[:4]:
        moved = view.on(fine[None])[0]
        assert overlaps(fine, moved, view, SIDE) == [1.0]
        assert overlaps(fine, fine, view, SIDE) != [1.0]


def test_what_has_no_evidence_has_no_number() -> None:
    maps = torch.stack([-torch.ones(4, 4), torch.eye(4), torch.zeros(4, 4)])
    maps[1, 0, 0] = 2
    found = stability_of("abc", maps, [("", View(), dict(zip("abc", -maps, strict=True)))], 8)
    assert found.maps == {"b": MapStability(0.0, 0.0, 1)}
    two_peaks = stability_of("b", torch.eye(4)[None], [("", View(), {"b": torch.eye(4)})], 8)
    assert two_peaks.maps == {"b": MapStability(1.0, None, 1)}


# -- the views ----


@pytest.mark.parametrize("size", [24, 64, 224, 320, 512])
def test_views_are_whole_pixels_and_noise_of_the_stated_strength(size: int) -> None:
    shifts, noise = list(views_of(size).values())[:4], list(views_of(size).values())[4:]
    grey = images(1, size) / 2  # no value is cut off
    for view in shifts:
        right, down = round(view.right * size), round(view.down * size)
        assert abs(right) + abs(down) == max(round(size / 56), 1)
        inside = view.of(grey)[..., max(down, 0) or None : size + min(down, 0), :]
        rolled = grey.roll((down, right), (-2, -1))[..., max(down, 0) or None : size + min(down, 0), :]
        columns = slice(max(right, 0), size + min(right, 0))
        torch.testing.assert_close(inside[..., columns], rolled[..., columns], rtol=0, atol=0.1)
    patterns = torch.stack([view.of(grey) - grey for view in noise])
    assert patterns.std().item() == pytest.approx(20.48, rel=0.1)
    assert len({pattern.sum().item() for pattern in patterns}) == 4


# -- models that stay, and models that jump ----


def looking(kernel: int) -> Explainer:
    """A model whose map is the brightness above mid grey, a mean of so many pixels a side every eighth."""
    look = nn.Conv2d(1, 1, kernel, stride=8, bias=False)
    head = nn.Linear(1, 2)
    with torch.no_grad():
        look.weight.fill_(1 / kernel**2)
        head.weight.fill_(1.0), head.bias.zero_()
    module = nn.Sequential(look, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return Explainer(HookedClassifier(module.eval(), "1", Outputs(NAMES[:2]), input_size=SIDE))


def test_a_map_that_rests_on_single_pixels_jumps_and_one_that_rests_on_many_stays() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    blob = 60 * np.exp(-((x - 37.3) ** 2 + (y - 21.1) ** 2) / (2 * 9**2))
    shown = Radiograph.from_array(blob.astype(np.float32))
    found = {}
    for kernel in (1, 8):
        explanation = looking(kernel).explain(shown, top_k=1, stability=True)
        assert explanation.stability is not None
        (found[kernel],) = explanation.stability.maps.values()
    assert found[8].stability > 0.85
    assert found[8].peak_stays == 1.0
    assert found[1].stability < 0.65
    assert found[1].peak_stays <= 0.75
    assert {each.compared for each in found.values()} == {8}


# -- through the explainer ----


def test_the_fused_map_and_all_else_stay_as_they_were(explainer: Explainer, sure: Explanation) -> None:
    plain = explainer.explain(radiograph(), top_k=3)
    np.testing.assert_array_equal(plain.maps, sure.maps)
    assert plain.provenance == sure.provenance
    assert plain.ranking == sure.ranking
    assert plain.stability is None
    assert plain.stability_across_models is None
    assert sure.stability is not None
    assert len(sure.stability.over) == 8
    assert set(sure.stability.maps) <= set(sure.ranking.pathologies)


def test_an_image_has_its_number_whatever_the_batch(explainer: Explainer, sure: Explanation) -> None:
    batch = explainer.explain_batch([radiograph(2), radiograph()], top_k=3, stability=True)
    assert batch[1].stability is not None
    assert sure.stability is not None
    assert batch[1].stability.maps.keys() == sure.stability.maps.keys()
    for name, each in sure.stability.maps.items():
        assert batch[1].stability[name] == pytest.approx(each.stability, abs=1e-3)


@contextmanager
def counted(module: nn.Module) -> Iterator[list[int]]:
    """The images of each forward pass."""
    seen: list[int] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    yield seen
    handle.remove()


def test_all_views_are_one_forward_pass_and_the_model_leaves_as_it_came() -> None:
    module = small_net(5)
    unsettle(module)
    module.eval()
    explainer = Explainer(HookedClassifier(module, "5", Outputs(NAMES), input_size=64))
    explainer.explain(radiograph(), top_k=3, stability=True)  # after a look at its scores
    before = snapshot(module)
    with counted(module[0]) as seen:
        explainer.explain(radiograph(), top_k=3, stability=True)
    assert seen == [1, 8]
    assert snapshot(module) == before


@pytest.mark.parametrize("method", ["layercam", "score-cam", "eigen-cam"])
def test_other_rules_have_it(method: Any) -> None:
    explainer = Explainer(XRVDenseNet(small_xrv(5), Outputs(NAMES), input_size=64), method=method)
    explanation = explainer.explain(radiograph(), top_k=2, stability=True)
    assert explanation.stability is not None
    assert explanation.stability.maps


def test_several_layers_have_it() -> None:
    layers = ("features.transition1.relu", "features.denseblock2")
    explainer = Explainer(XRVDenseNet(small_xrv(5), Outputs(NAMES), input_size=64), target_layers=layers)
    assert explainer.explain(radiograph(), top_k=2, stability=True).stability is not None


def test_nothing_to_explain_has_nothing_to_be_sure_of(explainer: Explainer) -> None:
    fitted = replace(explainer.classifier.outputs, operating_points=(1.0,) * 5)
    strict = Explainer(XRVDenseNet(small_xrv(5), fitted, input_size=64))
    asked = {"stability": True, "above_operating_point": True}
    explanation = strict.explain(radiograph(), also=[explainer], **asked)
    assert explanation.stability == Stability(explanation.stability.over, {})
    assert explanation.stability_across_models.maps == {}


# -- across models ----


def test_the_same_model_agrees_with_itself(explainer: Explainer) -> None:
    found = explainer.explain(radiograph(), top_k=3, also=[explainer]).stability_across_models
    assert found is not None
    assert found.maps
    assert {(each.stability, each.peak_stays) for each in found.maps.values()} == {(1.0, 1.0)}


def test_models_are_compared_where_both_predict(explainer: Explainer) -> None:
    shown = radiograph()
    explanation = explainer.explain(shown, top_k=5, also=[another(), explainer, another(1)])
    found, missing = explanation.stability_across_models, NAMES[4]
    assert found is not None
    counts = {name: each.compared for name, each in found.maps.items()}
    expected = {name: sum((1, name in NAMES[:4], name in NAMES[:1])) for name in NAMES}
    assert counts == {name: expected[name] for name in counts}
    assert counts[missing] == 1
    other = another().explain(shown, top_k=4)
    by_name = dict(zip(other.ranking.pathologies, map(torch.tensor, other.class_maps), strict=True))
    own = torch.tensor(explanation.class_maps)
    itself = dict.fromkeys(NAMES, 1.0)
    pair = stability_of(explanation.ranking.pathologies, own, [("", View(), by_name)], 64)
    for name in set(found.maps) & set(pair.maps) - set(NAMES[:1]):
        assert found[name] == pytest.approx((pair[name] + itself[name]) / 2, abs=1e-3)


def test_another_square_of_the_radiograph_is_refused(explainer: Explainer) -> None:
    wide = Radiograph.from_array(np.zeros((64, 80), np.float32))
    with pytest.raises(OptionError, match=r"another square of .* with fit='pad'"):
        explainer.explain(wide, also=[another(fit="pad")])


# -- in the record ----


def test_it_is_saved_with_its_meaning_and_comes_back(sure: Explanation, tmp_path: Path) -> None:
    path = sure.save(tmp_path / "one")
    said = json.loads(path.read_text())["stability"]
    assert said["meaning"].startswith("mean intersection over union of the region of at least half the peak")
    assert said["over"][0] == "shifted right by 1 of 64 pixels"
    (name, numbers), *_ = said["maps"].items()
    assert numbers == vars(sure.stability.maps[name])
    loaded = Explanation.load(path)
    assert loaded.stability == sure.stability
    assert loaded.stability_across_models == sure.stability_across_models


def test_what_was_not_asked_for_is_not_in_the_file(sure: Explanation, tmp_path: Path) -> None:
    path = replace(sure, stability=None).save(tmp_path / "one")
    assert "stability" not in json.loads(path.read_text())
    assert Explanation.load(path).stability is None


NUMBERS = {"stability": 0.5, "peak_stays": None, "compared": 8}


@pytest.mark.parametrize(
    "edit",
    [
        None, "x", {}, {"over": [], "maps": []}, {"over": [1], "maps": {}},
        {"over": [], "maps": {"nothing": NUMBERS}},
        *({"over": [], "maps": {NAMES[0]: NUMBERS | wrong}} for wrong in
          ({"stability": 1.5}, {"stability": "x"}, {"peak_stays": -1.0}, {"compared": 0}, {"more": 1})),
    ],
)  # fmt: skip
def test_other_numbers_are_one_line(sure: Explanation, tmp_path: Path, edit: Any) -> None:
    top = replace(sure, ranking=replace(sure.ranking, top=(sure.ranking[NAMES[0]],)))
    one = replace(top, class_maps=sure.class_maps[:1], maps=sure.maps[:1], stability_across_models=None)
    path = replace(one, stability=None).save(tmp_path / "one")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stability": edit}))
    with pytest.raises(OutputError, match="a damaged explanation"):
        Explanation.load(path)


def test_the_caption_has_it_only_if_it_was_asked_for(sure: Explanation) -> None:
    name = sure.ranking.pathologies[0]
    said = "the mean overlap of the region at half the peak with that in 8 shifted or noisier views"
    assert said in sure.caption()
    assert f"{sure.stability[name]:.2f}" in sure.caption()
    bare = replace(sure, stability=None, stability_across_models=None)
    assert "Stability of the class maps" not in bare.caption()


def test_noise_is_that_of_the_measure_of_robustness(explainer: Explainer) -> None:
    """One noise in the package: the same seed gives the same pattern to both."""
    inputs, seen = images(2), list[Tensor]()

    def explain(given: Tensor, classes: Tensor) -> Tensor:
        seen.append(given)
        return given[..., ::4, ::4].expand(-1, classes.shape[1], -1, -1)

    under_noise(lambda x: x.mean((2, 3)), explain, inputs, torch.zeros(2, 1, dtype=torch.int64), seed=3)
    view = views_of(64)["noise of SD 20.48, seed 3"]
    assert torch.equal(seen[1], view.of(inputs))
