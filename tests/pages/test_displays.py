"""Cards in a notebook: small, escaped, without PHI, and with the controls that move the picture."""

from __future__ import annotations

import base64
import io
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import synthetic_explanation, synthetic_radiograph

import cxr_explain as cxr
from cxr_explain import Manifest, Radiograph, fuse, rank
from cxr_explain.audit.example import example_audit
from cxr_explain.audit.results import write_statistics
from cxr_explain.audit.run import run_audit
from cxr_explain.errors import OutputError
from cxr_explain.figures.palette import class_styles
from cxr_explain.pages.displays import explanation_png, radiograph_png
from cxr_explain.pages.explorer import Explorer
from cxr_explain.phantom.dataset import write_dataset

HOSTILE = "<script>alert(1)</script> & \u202e\"'"
MOST_BYTES = 160_000


class Tags(HTMLParser):
    """What a browser would make of a fragment."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def check(html: str) -> str:
    """A card is small, runs nothing, fetches nothing; gives back its words."""
    assert len(html) < MOST_BYTES
    tags = Tags(html)
    assert set(tags.opened) <= {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "span", "img"}
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources)
    return " ".join(tags.words)


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_radiograph() -> None:
    radiograph = synthetic_radiograph((600, 450))
    words = check(radiograph._repr_html_())
    assert "600 x 450 pixels" in words
    assert picture(radiograph._repr_png_()).shape == (320, 240, 3)


def test_a_card_names_no_file_and_no_header_text() -> None:
    radiograph = replace(synthetic_radiograph((64, 64)), id="Doe_Jane", metadata={"PatientName": "Doe^Jane"})
    assert "Doe" not in check(radiograph._repr_html_())
    explanation = synthetic_explanation(radiograph)
    assert "Doe" not in check(explanation._repr_html_())
    assert "Doe" not in check(explanation.explore()._repr_mimebundle_()["text/html"])


def test_text_from_files_is_escaped() -> None:
    radiograph = replace(synthetic_radiograph((64, 64)), view=HOSTILE, warnings=(HOSTILE,))
    assert "<script>alert(1)</script>" in check(radiograph._repr_html_())
    manifest = Manifest([HOSTILE[:9]], ["a.png"], pathologies=[HOSTILE], states=[[1]], label_sources=HOSTILE)
    check(manifest._repr_html_())


def test_an_explanation_beside_its_key() -> None:
    explanation = synthetic_explanation(synthetic_radiograph((400, 300)), k=3)
    html = explanation._repr_html_()
    words = check(html)
    _, *swatches = [base64.b64decode(source.partition(",")[2]) for source in Tags(html).sources]
    for prediction, swatch, style in zip(
        explanation.ranking.top, swatches, class_styles(explanation.ranking.pathologies), strict=True
    ):
        assert prediction.pathology.replace("_", " ") in words
        assert "#{:02X}{:02X}{:02X}".format(*picture(swatch)[0, 0]) == style.colour
    assert "Research use only" in words


def test_a_ranking_beside_its_operating_points() -> None:
    words = check(rank([0.0, 2.0], ["Mass", "Edema"], [0.7, 0.6], top_k=2)._repr_html_())
    assert "Top 2 of 2, by probability" in words
    assert "1 Edema 0.881 0.600 above 2 Mass 0.500 0.700 below" in words
    assert "Operating" not in check(rank([0.0], ["Mass"])._repr_html_())


def test_a_loaded_explanation_shows_its_maps_on_grey(tmp_path: Path) -> None:
    explanation = synthetic_explanation(synthetic_radiograph((90, 60)), k=2)
    loaded = cxr.Explanation.load(explanation.save(tmp_path / "a"))
    check(loaded._repr_html_())
    shown = picture(loaded._repr_png_())
    assert shown.shape == (90, 60, 3)
    assert np.ptp(shown, axis=2).max() > 40  # colours, and not grey alone


def test_what_was_not_seen_is_marked() -> None:
    bright = Radiograph.from_array(np.full((60, 120), 600.0))
    explanation = synthetic_explanation(bright, k=1)
    shown, plain = picture(explanation_png(explanation)), picture(radiograph_png(bright))
    assert shown[:, :28].mean() < 0.7 * plain[:, :28].mean()
    assert shown[:, 92:].mean() < 0.7 * plain[:, 92:].mean()


def test_other_warnings_of_a_phantom_stay() -> None:
    radiograph = replace(synthetic_radiograph((64, 64)), phantom=True, warnings=("the phantom is cut off",))
    words = check(radiograph._repr_html_())
    assert "Warning: the phantom is cut off" in words
    assert words.count("not a patient") == 1


def test_a_phantom_says_so() -> None:
    radiograph = replace(synthetic_radiograph((64, 64)), phantom=True)
    assert "PHANTOM · not a patient" in check(radiograph._repr_html_())


def test_a_manifest_counts_and_names_nobody() -> None:
    manifest = Manifest(
        ["Doe-1", "Doe-2"],
        ["Doe/1.png", "Doe/2.png"],
        pathologies=["Mass"],
        states=[[1], [-1]],
        patients=["Doe", "Doe"],
        views=["PA", "AP"],
    )
    words = check(manifest._repr_html_())
    assert "Doe" not in words
    assert "2 images of 1 patient" in words
    assert "PA 1, AP 1" in words
    assert re.search(r"Pathology positive uncertain Mass 1 1", words)


def test_an_audit_says_how_far_it_is(tmp_path: Path) -> None:
    for _ in write_dataset(tmp_path / "phantoms", n=3, seed=4, size=64, bits=12):
        pass
    images = tmp_path / "phantoms" / "images"
    (images / "broken.png").write_bytes(b"no picture")
    names = sorted(path.name for path in images.iterdir())
    manifest = Manifest(names, names)
    run = run_audit(cxr.Explainer.from_pretrained("phantom"), manifest, images, tmp_path / "my-run")
    words = check(run._repr_html_())
    assert "3 of 4 images explained, 1 failed" in words
    assert repr(run) == "<AuditRun of 4 images by densenet-res224-phantom>"
    assert "Audit my-run" in words
    assert "not-an-image 1" in words
    assert str(tmp_path) not in words
    assert "broken" not in words
    assert "no statistics yet" in words


def test_an_audit_says_what_its_statistics_found(tmp_path: Path) -> None:
    run = example_audit(tmp_path)
    write_statistics(run)
    words = check(run._repr_html_())
    assert "No finding in " in words
    kept = tmp_path / "run" / "statistics.json"
    kept.write_bytes(kept.read_bytes().replace(b'"images": 2', b'"images": 3'))
    assert "no statistics yet" in check(run._repr_html_())


def moved(explorer: Explorer) -> np.ndarray:
    return picture(explorer._image.value)


def test_the_controls_move_the_picture() -> None:
    explanation = synthetic_explanation(synthetic_radiograph((200, 200)), k=3)
    explorer = explanation.explore()
    start = moved(explorer)
    explorer.opacity.value = 0
    np.testing.assert_allclose(moved(explorer), picture(radiograph_png(explanation.radiograph, 560)), atol=1)
    explorer.opacity.value = 0.6
    np.testing.assert_array_equal(moved(explorer), start)
    explorer.shown[0].value = False
    without = moved(explorer)
    assert (without != start).any()
    explorer.shown[0].value = True
    explorer.top_k.value = 2
    assert [box.disabled for box in explorer.shown] == [False, False, True]
    assert (moved(explorer) != start).any()


def test_fewer_classes_are_fused_anew() -> None:
    explanation = synthetic_explanation(synthetic_radiograph((64, 64)), k=3)
    expected = fuse(torch.from_numpy(explanation.class_maps[:2].copy())[None]).maps[0].numpy()
    np.testing.assert_array_equal(explanation.explore().maps(2), expected)
    np.testing.assert_array_equal(explanation.explore().maps(3), explanation.maps)


def test_a_loaded_explanation_is_explored_over_the_radiograph_that_is_given(tmp_path: Path) -> None:
    radiograph = synthetic_radiograph((90, 60))
    explanation = synthetic_explanation(radiograph, k=2)
    loaded = cxr.Explanation.load(explanation.save(tmp_path / "a"))
    explorer = loaded.explore(radiograph)
    np.testing.assert_array_equal(moved(explorer), moved(explanation.explore()))
    assert explorer._repr_mimebundle_()["text/html"] == explanation._repr_html_()
    assert explorer._repr_mimebundle_()["text/html"] != loaded._repr_html_()


def test_without_ipywidgets_the_card_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    explanation = synthetic_explanation(synthetic_radiograph((64, 64)), k=2)
    bundle = explanation.explore()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/html"] == explanation._repr_html_()
    assert explanation.explore().png()[1:4] == b"PNG"


def test_only_the_radiograph_that_was_explained_is_taken() -> None:
    explanation = synthetic_explanation(synthetic_radiograph((64, 64)))
    for show in (explanation.explore, lambda radiograph: explanation.overlay(radiograph=radiograph)):
        with pytest.raises(OutputError, match="expected the one that was explained"):
            show(synthetic_radiograph((64, 64), seed=1))


def test_the_overlay_is_what_the_card_shows_at_any_size() -> None:
    explanation = synthetic_explanation(synthetic_radiograph((120, 90)), k=2)
    assert explanation.overlay().shape == (120, 90, 3)
    assert explanation.overlay(longest=5000).shape == (120, 90, 3)
    small = explanation.overlay(longest=60)
    assert small.shape == (60, 45, 3)
    shown = picture(explanation_png(explanation, longest=60, compact=False))
    np.testing.assert_array_equal(small, shown)
    assert (explanation.overlay(max_opacity=0) != explanation.overlay()).any()


def test_in_words_it_is_short() -> None:
    explanation = synthetic_explanation(synthetic_radiograph((64, 64)), k=2)
    first = explanation.ranking.top[0]
    assert f"{first.pathology} {first.probability:.3f}" in repr(explanation)
    assert len(repr(explanation)) < 160
