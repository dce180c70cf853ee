"""Views of an input and their way back, against bilinear sampling written out and against known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import images
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.cam.views import View, equalise

Block = NDArray[np.float64]
BLACK = -1024.0
EXACT = {"rtol": 0, "atol": 1e-8}  # of values up to 1024
SIDE = 8
VIEWS = (
    View(angle=17),
    View(right=0.13, down=-0.21),
    View(flip=True),
    View(angle=-33, right=0.1, down=0.05, flip=True),
)
each_view = pytest.mark.parametrize("view", VIEWS, ids=repr)


def literal_sample(image: Block, place: Any, outside: float) -> Block:
    """Each pixel of the result is read at `place(x, y)` of the image, where x and y go from -1/2 to 1/2."""
    I, J = image.shape  # noqa: E741
    result = np.zeros_like(image)
    for i, j in np.ndindex(I, J):
        x, y = place((j + 0.5) / J - 0.5, (i + 0.5) / I - 0.5)
        column, row = (x + 0.5) * J - 0.5, (y + 0.5) * I - 0.5
        left, top = math.floor(column), math.floor(row)
        for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            value = image[r, c] if 0 <= r < I and 0 <= c < J else outside
            result[i, j] += value * (1 - abs(row - r)) * (1 - abs(column - c))
    return result


def towards(view: View, x: float, y: float) -> tuple[float, float]:
    """Where a point of the chest goes: mirrored, turned counter-clockwise with y downwards, shifted."""
    x = -x if view.flip else x
    turn = math.radians(view.angle)
    x, y = math.cos(turn) * x + math.sin(turn) * y, -math.sin(turn) * x + math.cos(turn) * y
    return x + view.right, y + view.down


def back(view: View, x: float, y: float) -> tuple[float, float]:
    """Where it came from: each step undone, the last one first."""
    x, y = x - view.right, y - view.down
    turn = -math.radians(view.angle)
    x, y = math.cos(turn) * x + math.sin(turn) * y, -math.sin(turn) * x + math.cos(turn) * y
    return (-x if view.flip else x), y


def random_images(size: int = SIDE) -> Tensor:
    return images(2, size=size).double()


def random_maps(size: int = SIDE) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, size, size, dtype=torch.float64, generator=generator)


# -- against loops ----


@each_view
def test_the_seen_input_is_sampled_where_it_came_from(view: View) -> None:
    found = view.of(random_images())
    for image, seen in zip(random_images(), found, strict=True):
        expected = literal_sample(image[0].numpy(), lambda x, y: back(view, x, y), BLACK)
        np.testing.assert_allclose(seen[0], expected, **EXACT)


@each_view
def test_maps_go_the_way_of_the_input_and_come_back(view: View) -> None:
    maps = random_maps()
    there, (again, part) = view.on(maps), view.undone(maps)
    for b, k in np.ndindex(2, 3):
        one = maps[b, k].numpy()
        np.testing.assert_allclose(
            there[b, k], literal_sample(one, lambda x, y: back(view, x, y), 0), atol=1e-12
        )
        np.testing.assert_allclose(
            again[b, k], literal_sample(one, lambda x, y: towards(view, x, y), 0), atol=1e-12
        )
    ones = np.ones((SIDE, SIDE))
    np.testing.assert_allclose(
        part[0, 0], literal_sample(ones, lambda x, y: towards(view, x, y), 0), atol=1e-12
    )


@pytest.mark.parametrize("contrast", [0.5, 0.9, 3.0])
@pytest.mark.parametrize("brightness", [0.0, -300.0])
def test_contrast_is_around_mid_grey_and_nothing_leaves_the_range(contrast: float, brightness: float) -> None:
    found = View(contrast=contrast, brightness=brightness).of(random_images())
    for value, seen in zip(random_images().flatten().tolist(), found.flatten().tolist(), strict=True):
        assert seen == pytest.approx(min(max(value * contrast + brightness, -1024), 1024))


def test_contrast_comes_after_the_shift() -> None:
    """What comes in from outside is as black as the black of the changed image."""
    seen = View(right=1 / SIDE, contrast=0.5).of(random_images())
    np.testing.assert_allclose(seen[..., 0], -512, **EXACT)


# -- known answers ----


def test_directions_as_displayed() -> None:
    """A bright point right of the centre: up by a quarter turn, and to the left by the mirror."""
    image = torch.full((1, 1, SIDE, SIDE), BLACK, dtype=torch.float64)
    image[0, 0, 4, 6] = 1000
    for view, row, column in (
        (View(angle=90), 1, 4),
        (View(angle=-90), 6, 3),
        (View(angle=180), 3, 1),
        (View(flip=True), 4, 1),
        (View(right=1 / SIDE), 4, 7),
        (View(right=-2 / SIDE), 4, 4),
        (View(down=1 / SIDE), 5, 6),
        (View(down=-3 / SIDE), 1, 6),
        (View(flip=True, angle=90), 6, 4),  # mirrored first
        (View(angle=90, right=1 / SIDE), 1, 5),  # shifted last
    ):
        seen = view.of(image)[0, 0]
        assert seen[row, column].item() == pytest.approx(1000), view
        assert seen.sum().item() == pytest.approx(1000 + (SIDE**2 - 1) * BLACK), view


def test_what_comes_in_is_black_for_inputs_and_nothing_for_maps() -> None:
    view = View(down=2 / SIDE)
    np.testing.assert_allclose(view.of(random_images())[:, :, :2], BLACK, **EXACT)
    np.testing.assert_allclose(view.on(random_maps())[:, :, :2], 0, atol=1e-12)
    maps, part = view.undone(random_maps())
    np.testing.assert_allclose(maps[:, :, -2:], 0, atol=1e-12)
    np.testing.assert_allclose(part[0, 0, :, 0], [1] * 6 + [0] * 2, atol=1e-12)


def test_the_plain_view_changes_nothing() -> None:
    inputs, maps = random_images(), random_maps()
    assert torch.equal(View().of(inputs), inputs)
    assert torch.equal(View().on(maps), maps)
    again, part = View().undone(maps)
    assert torch.equal(again, maps)
    assert part.shape == (1, 1, SIDE, SIDE)
    assert (part == 1).all()
    again, part = View(contrast=0.8, brightness=10).undone(maps)
    assert torch.equal(again, maps)
    assert (part == 1).all()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_flips_and_quarter_turns_come_back_exactly(turns: int) -> None:
    for flip in (False, True):
        view = View(angle=90 * turns, flip=flip)
        again, part = view.undone(view.on(random_maps()))
        torch.testing.assert_close(again, random_maps(), rtol=0, atol=1e-12)
        torch.testing.assert_close(part, torch.ones_like(part))


@given(right=st.integers(-SIDE, SIDE), down=st.integers(-SIDE, SIDE), flip=st.booleans())
def test_shifts_by_whole_pixels_come_back_exactly_where_they_are_shown(
    right: int, down: int, flip: bool
) -> None:
    view = View(right=right / SIDE, down=down / SIDE, flip=flip)
    again, part = view.undone(view.on(random_maps()))
    torch.testing.assert_close(part, part.round(), rtol=0, atol=1e-12)
    torch.testing.assert_close(again, random_maps() * part, rtol=0, atol=1e-11)
    assert int(part.round().sum()) == (SIDE - abs(right)) * (SIDE - abs(down))


def test_a_map_follows_at_any_resolution() -> None:
    """A shift by one cell of the map is one by four pixels of the input."""
    view, coarse = View(right=1 / 4), random_maps(4)
    grown = coarse.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    expected = view.on(coarse).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    torch.testing.assert_close(view.on(grown), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_shifts_by_whole_pixels(dtype: torch.dtype) -> None:
    """A grid of places in bfloat16 would be off by as much as a pixel of 224."""
    inputs, maps = images(1, size=224).to(dtype), random_maps(28).to(dtype)
    view = View(right=1 / 28)
    seen, there = view.of(inputs), view.on(maps)
    assert (seen.dtype, there.dtype) == (dtype, dtype)
    coarse = {"rtol": torch.finfo(dtype).eps, "atol": 0.1}
    torch.testing.assert_close(seen[..., 8:], inputs[..., :-8], **coarse)
    torch.testing.assert_close(there[..., 1:], maps[..., :-1], rtol=torch.finfo(dtype).eps, atol=1e-4)


@each_view
def test_nothing_is_written_to_what_is_given(view: View) -> None:
    inputs, maps = random_images(), random_maps()
    view.of(inputs)
    view.on(maps)
    view.undone(maps)
    assert torch.equal(inputs, random_images())
    assert torch.equal(maps, random_maps())


@each_view
def test_a_batch_equals_one_at_a_time(view: View) -> None:
    inputs, maps = random_images(), random_maps()
    for b in range(2):
        torch.testing.assert_close(view.of(inputs)[b], view.of(inputs[b : b + 1])[0])
        for k in range(3):
            one = maps[b : b + 1, k : k + 1]
            torch.testing.assert_close(view.undone(maps)[0][b, k], view.undone(one)[0][0, 0])
            torch.testing.assert_close(view.on(maps)[b, k], view.on(one)[0, 0])


def test_gamma_is_a_power_of_the_greys_between_black_and_white() -> None:
    inputs = random_images()
    unit = (inputs.double().numpy() + 1024) / 2048
    literal = unit**1.7 * 2048 - 1024
    np.testing.assert_allclose(View(gamma=1.7).of(inputs.double()).numpy(), literal, rtol=0, atol=1e-9)
    assert torch.equal(View(gamma=1).of(inputs), inputs)
    ends = torch.tensor([[[[-1024.0, 1024.0]]]])
    torch.testing.assert_close(View(gamma=0.4).of(ends), ends)


def test_an_equalised_image_is_that_of_opencv() -> None:
    """Each image by itself, bit for bit."""
    cv2 = pytest.importorskip("cv2")
    levels = np.random.default_rng(0).gamma(3, 20, (2, 1, 24, 24)).clip(0, 255).astype(np.uint8)
    levels[1] //= 3
    inputs = torch.from_numpy(levels.astype(np.float64) / 255 * 2048 - 1024)
    found = (equalise(inputs).numpy() + 1024) / 2048 * 255
    for one, image in zip(found, levels, strict=True):
        np.testing.assert_allclose(one[0], cv2.equalizeHist(image[0]), rtol=0, atol=1e-9)
    assert torch.equal(View(equalised=True).of(inputs), equalise(inputs))
    assert equalise(inputs[:0]).shape == (0, 1, 24, 24)
