from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cxr_explain.errors import OptionError
from cxr_explain.support.arrays import as_map, as_maps, as_mask, as_mask_pair

MASK = np.array([[True, False], [False, False]])


@pytest.mark.parametrize("bad", [[[0, 1]], [True], np.zeros((0, 3), bool), np.zeros((1, 2, 2), bool)])
def test_a_mask_is_two_dimensional_bool_with_pixels(bad: Any) -> None:
    with pytest.raises(OptionError, match=r"expected bool \(H, W\)"):
        as_mask(bad)


def test_a_pair_of_masks_has_the_same_pixels() -> None:
    with pytest.raises(OptionError, match=r"\(2, 2\) and \(1, 2\)"):
        as_mask_pair(MASK, MASK[:1])
    assert as_mask_pair(MASK, ~MASK)[1].sum() == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_are_finite(value: float) -> None:
    for check in (as_map, lambda saliency: as_map(saliency, (1, 2))):
        with pytest.raises(OptionError, match="finite"):
            check([[0.0, value]])
    for check in (as_maps, lambda maps: as_maps(maps, (1, 2))):
        with pytest.raises(OptionError, match="finite"):
            check([[[0.0, value]]])


def test_maps_have_the_pixels_of_their_mask() -> None:
    assert as_map([[0, 1], [2, 3]], MASK.shape).dtype == np.float64
    assert as_maps(np.ones((3, 2, 2), np.float32), MASK.shape).shape == (3, 2, 2)
    with pytest.raises(OptionError, match="as its mask"):
        as_map([[0, 1]], MASK.shape)
    with pytest.raises(OptionError, match="as its mask"):
        as_maps(np.ones((3, 2, 1)), MASK.shape)


def test_maps_of_no_class_are_maps_all_the_same() -> None:
    assert as_maps(np.ones((0, 2, 2)), MASK.shape).shape == (0, 2, 2)
    assert as_maps(np.ones((0, 2, 2))).shape == (0, 2, 2)
