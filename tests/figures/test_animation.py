"""Pictures that fade: what each frame shows, how long, in how many bytes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_explain import Explainer, Explanation
from cxr_explain.errors import OptionError, OutputError
from cxr_explain.explaining.output_names import is_figure_file
from cxr_explain.figures import overlay
from cxr_explain.figures.palette import class_styles
from cxr_explain.loaders.sniff import is_own_figure
from cxr_explain.phantom import render, sample_patient, to_radiograph

ENDINGS = ("gif", "png")
SIDE = 256


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    explainer = Explainer.from_pretrained("phantom", device="cpu")
    return explainer.explain(to_radiograph(render(sample_patient(42), size=600)), top_k=5)


@pytest.fixture(scope="module")
def written(explanation: Explanation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("fading")
    return {ending: explanation.animation(folder / f"fade.{ending}", longest=SIDE) for ending in ENDINGS}


def frames(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """The frames as a viewer shows them, and their milliseconds.

    Opened anew for each: Pillow forgets what to come back to where the frame before was looked at.
    """
    pictures, times = [], []
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        count = image.n_frames
    for at in range(count):
        with Image.open(path) as image:
            image.seek(at)
            pictures.append(np.asarray(image.convert("RGB")).astype(int))
            times.append(image.info["duration"])
    return pictures, times


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_fades_from_the_radiograph_to_the_overlay_and_back(
    written: dict[str, Path], explanation: Explanation, ending: str
) -> None:
    assert explanation.radiograph is not None
    pictures, times = frames(written[ending])
    shape = (SIDE, SIDE)
    grey = overlay.to_bytes(overlay.grey(explanation.radiograph.display, shape))[..., None].astype(int)
    full = explanation.overlay(longest=SIDE).astype(int)
    top = len(pictures) // 2
    first, strongest = pictures[0][:SIDE], pictures[top][:SIDE]
    # A GIF has 64 greys and some 160 colours; a PNG has them all, in steps of a few values.
    most, median = {"gif": (48, 6), "png": (10, 2)}[ending]
    assert np.abs(first - grey).max() <= 4
    assert np.abs(strongest - full).max() <= most
    assert np.median(np.abs(strongest - full)) <= median
    away = [
        np.abs(picture[:SIDE] - picture[:SIDE].mean(axis=2, keepdims=True)).mean() for picture in pictures
    ]
    rising = np.diff(away)  # how coloured each is
    assert (rising[:top] > 0).all()
    assert (rising[top:] < 0).all()
    assert sum(times) == pytest.approx(4000)
    assert times[0] == times[top] > 2 * times[1]


def test_the_gif_keeps_faint_colours(written: dict[str, Path], explanation: Explanation) -> None:
    """A small or a weak region differs from grey by little, and must not become grey."""
    pictures, _ = frames(written["gif"])
    shown = pictures[len(pictures) // 2][:SIDE]
    full = explanation.overlay(longest=SIDE).astype(int)
    maps = explanation.maps_in_radiograph((SIDE, SIDE))
    winner = maps.argmax(axis=0)
    seen = 0
    for k in range(len(maps)):
        region = (winner == k) & (maps[k] > 0.2 * maps.max())
        if region.sum() < 200:
            continue
        seen += 1
        hue = [
            (picture[region] - picture[region].mean(axis=1, keepdims=True)).mean(axis=0)
            for picture in (shown, full)
        ]
        assert np.abs(hue[0] - hue[1]).max() <= 4, explanation.ranking.pathologies[k]
    assert seen >= 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_is_small(explanation: Explanation, tmp_path: Path, ending: str) -> None:
    path = explanation.animation(tmp_path / f"a.{ending}")
    assert path.stat().st_size < 2_000_000
    with Image.open(path) as image:
        assert image.width == 512


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_is_the_same_each_time(
    written: dict[str, Path], explanation: Explanation, tmp_path: Path, ending: str
) -> None:
    again = explanation.animation(tmp_path / f"again.{ending}", longest=SIDE)
    assert again.read_bytes() == written[ending].read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_stands_below_it(explanation: Explanation, tmp_path: Path, ending: str) -> None:
    with_all = frames(explanation.animation(tmp_path / f"all.{ending}", seconds=1))[0]
    strip = with_all[0][512:]
    assert all((picture[512:] == strip).all() for picture in with_all)
    for style in class_styles(explanation.ranking.pathologies):
        wanted = np.array(list(bytes.fromhex(style.colour[1:])))
        assert (np.abs(strip - wanted).max(axis=2) <= 6).sum() > 40, style.pathology


@pytest.mark.parametrize("ending", ENDINGS)
def test_key_and_notice_can_be_left_out(
    written: dict[str, Path], explanation: Explanation, tmp_path: Path, ending: str
) -> None:
    paths = {"all": written[ending]}
    parts = {"key": {"notice": False}, "notice": {"key": False}, "none": {"key": False, "notice": False}}
    for name, options in parts.items():
        path = tmp_path / f"{name}.{ending}"
        paths[name] = explanation.animation(path, seconds=1, longest=SIDE, **options)
    heights = {}
    for name, path in paths.items():
        with Image.open(path) as image:
            heights[name] = image.height
    assert heights["none"] == SIDE < min(heights["key"], heights["notice"])
    assert max(heights["key"], heights["notice"]) < heights["all"]


def test_its_words_are_in_the_language_of_the_style(explanation: Explanation, tmp_path: Path) -> None:
    from cxr_explain.figures.style import Style

    english, german = (
        explanation.animation(
            tmp_path / f"{language}.gif", seconds=1, longest=SIDE, style=Style(language=language)
        ).read_bytes()
        for language in ("en", "de")
    )
    assert english != german


def test_files_of_ours_are_known(written: dict[str, Path]) -> None:
    assert is_own_figure(written["png"].read_bytes()), "explain passes it over in a folder"
    assert all(is_figure_file(path) for path in written.values())


@pytest.mark.parametrize("seconds", [1, 2.5, 20])
def test_seconds(explanation: Explanation, tmp_path: Path, seconds: float) -> None:
    for ending in ENDINGS:
        _, times = frames(explanation.animation(tmp_path / f"a.{ending}", seconds=seconds, longest=64))
        assert sum(times) == pytest.approx(1000 * seconds, rel=0.01)
        assert all(time % 10 == 0 for time in times)


def test_size_and_form(explanation: Explanation, tmp_path: Path) -> None:
    small = explanation.animation(tmp_path / "small.gif", longest=100, key=False, notice=False)
    large = explanation.animation(tmp_path / "large.png", seconds=1, longest=2048, key=False, notice=False)
    with Image.open(small) as one, Image.open(large) as other:
        assert one.size == (100, 100)
        assert other.size == (600, 600), "no more than the radiograph has"


def test_without_its_radiograph_the_map_lies_on_grey(explanation: Explanation, tmp_path: Path) -> None:
    explanation.save(tmp_path / "saved")
    loaded = Explanation.load(tmp_path / "saved")
    pictures, _ = frames(loaded.animation(tmp_path / "grey.png", longest=SIDE, key=False, notice=False))
    assert len(np.unique(pictures[0])) == 1
    assert len(np.unique(pictures[len(pictures) // 2])) > 20
    with pytest.raises(OutputError, match="a radiograph with SHA-256"):
        loaded.animation(tmp_path / "a.gif", radiograph=to_radiograph(render(sample_patient(7), size=64)))


def test_what_was_not_seen_is_hatched_in_each_frame(explanation: Explanation, tmp_path: Path) -> None:
    from cxr_explain import Radiograph

    assert explanation.radiograph is not None
    wide = Radiograph.from_array(explanation.radiograph.pixels[:400])
    explainer = Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    found = explainer.explain(wide, top_k=3)
    pictures, _ = frames(found.animation(tmp_path / "wide.png", longest=SIDE, key=False, notice=False))
    expected = found.overlay(longest=SIDE).astype(int)
    for picture in pictures:
        np.testing.assert_allclose(picture[:, :35], expected[:, :35], atol=1)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.jpg", {}, "gif, or .png"),
        ("a", {}, "gif, or .png"),
        ("a.gif", {"seconds": 0.5}, "seconds=0.5"),
        ("a.gif", {"seconds": float("nan")}, "seconds=nan"),
        ("a.gif", {"longest": 20}, "longest=20"),
        ("a.png", {"longest": 5000}, "longest=5000"),
        ("a.png", {"max_opacity": 0}, "max_opacity=0"),
        ("a.png", {"colours": {"Effusion": "x"}}, "colours"),
        ("a.png", {"style": "pink"}, "style='pink'"),
    ],
)
def test_what_is_refused(
    explanation: Explanation, tmp_path: Path, name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        explanation.animation(tmp_path / name, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_evidence_it_is_the_radiograph(explanation: Explanation, tmp_path: Path, ending: str) -> None:
    from dataclasses import replace

    empty = replace(explanation, maps=np.zeros_like(explanation.maps))
    path = empty.animation(tmp_path / f"empty.{ending}", seconds=1, notice=False, key=False)
    with Image.open(path) as image:
        assert image.size == (512, 512)
    assert path.stat().st_size > 1000


@pytest.mark.real_data
@pytest.mark.parametrize("at", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_real_radiographs_take_about_two_megabytes(real_data: Path, tmp_path: Path, at: int) -> None:
    explainer = Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    found = explainer.explain(sorted((real_data / "nih1024").glob("*.png"))[at], top_k=5)
    for ending in ENDINGS:
        assert found.animation(tmp_path / f"a.{ending}").stat().st_size < 2_100_000
