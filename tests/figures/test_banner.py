"""The banner: on every figure of a phantom or by a model that knows phantoms alone, and on no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from diagonal import diagonal
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from synthetic import synthetic_explanation, synthetic_radiograph
from test_figure import assert_legible, written

from cxr_explain.figures import draw_explanation
from cxr_explain.figures.palette import ALERT, PHANTOM

PHANTOM_TITLE = "PHANTOM · not a patient"
MODEL_TITLE = "MODEL TRAINED ON PHANTOMS ONLY · not for radiographs"
MODEL_ASIDE = "by a model trained on phantoms only"
BANNERS = [
    (True, False, PHANTOM_TITLE, PHANTOM),
    (True, True, PHANTOM_TITLE, PHANTOM),
    (False, True, MODEL_TITLE, ALERT),
]
LAYOUTS = [(0, (64, 64)), (1, (64, 128)), (5, (64, 64)), (5, (128, 64)), (5, (64, 128)), (18, (64, 64))]
KINDS = pytest.mark.parametrize(("phantom", "phantom_only", "title", "colour"), BANNERS)


def figure_of(phantom, phantom_only, k=5, shape=(200, 200), name="synthetic"):
    radiograph = synthetic_radiograph(shape, patient_orientation=("L", "F"), phantom=phantom, id=name)
    explanation = synthetic_explanation(radiograph, k=k, phantom=phantom, phantom_only=phantom_only)
    return draw_explanation(explanation, radiograph, reference_labels={"Effusion": 1, "Nodule": -1}, dpi=100)


def bands(figure):
    """Filled rectangles nearly as wide as the page, as (colour, height in inches)."""
    page = figure.axes[0]
    return [
        (to_hex(patch.get_facecolor()).upper(), patch.get_height())
        for patch in page.patches
        if isinstance(patch, Rectangle) and patch.get_width() > 0.9 * page.get_xlim()[1]
    ]


@pytest.mark.parametrize(("banner", "layout"), diagonal(BANNERS, LAYOUTS))
def test_it_is_there_large_and_apart_from_every_other_text(banner, layout):
    (phantom, phantom_only, title, colour), (k, shape) = banner, layout
    figure = figure_of(phantom, phantom_only, k, shape)
    assert_legible(figure)
    said = written(figure).splitlines()
    assert said.count(title) == 1
    assert (MODEL_ASIDE in said) == (phantom and phantom_only)
    ((found, height),) = bands(figure)
    assert found == colour
    assert height >= 0.25
    sizes = {text.get_text(): text.get_size() for text in figure.axes[0].texts}
    assert sizes[title] >= 11


@KINDS
def test_a_long_name_leaves_it_whole(phantom, phantom_only, title, colour):
    figure = figure_of(phantom, phantom_only, name="n" * 300)
    assert_legible(figure)
    assert title in written(figure).splitlines()


@KINDS
def test_it_is_in_the_pixels(phantom, phantom_only, title, colour):
    import io

    import numpy as np
    from PIL import Image

    image = np.asarray(Image.open(io.BytesIO(figure_of(phantom, phantom_only).to_bytes())).convert("RGB"))
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    rows = (np.abs(image.astype(int) - wanted).max(axis=2) <= 2).mean(axis=1) > 0.5
    assert rows.sum() >= 10
    assert np.flatnonzero(rows).max() < 120  # in the first 1.2 inches


def test_other_figures_are_without_it():
    figure = figure_of(False, False)
    said = written(figure)
    assert bands(figure) == []
    assert "phantom" not in said.lower()


def test_the_headings_call_a_phantom_by_its_name():
    said = written(figure_of(True, False)).splitlines()
    assert said.count("Phantom") == 2
    assert "Radiograph" not in said
    assert written(figure_of(False, True)).splitlines().count("Radiograph") == 2
    assert "phantoms only, no radiograph" in written(figure_of(False, True))


def test_a_phantom_read_again_is_marked_where_the_explanation_is_older():
    radiograph = synthetic_radiograph((64, 64), phantom=True)
    explanation = synthetic_explanation(radiograph)
    assert not explanation.provenance.phantom
    assert PHANTOM_TITLE in written(draw_explanation(explanation, radiograph, dpi=60))
    plain = replace(radiograph, phantom=False)
    marked = replace(explanation, provenance=replace(explanation.provenance, phantom=True))
    assert PHANTOM_TITLE in written(draw_explanation(marked, plain, dpi=60))
