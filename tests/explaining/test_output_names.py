"""No output takes the place of another input's: in one run, in a second one, and on any file system."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from networks import small_xrv
from PIL import Image

from cxr_explain import Explainer, Explanation, Radiograph, XRVDenseNet
from cxr_explain.audit.example import example_audit
from cxr_explain.audit.results import default_figure, figure_of, safe_name
from cxr_explain.cli.explain import _write_page
from cxr_explain.errors import CxrExplainError, OptionError, OutputError
from cxr_explain.explaining.files import explain_files
from cxr_explain.explaining.many import Saved, save_outputs
from cxr_explain.explaining.output_names import OutputNames
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders import read_radiograph
from cxr_explain.pages.index_page import IndexPage
from cxr_explain.support.whole_file import safe_stem


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(XRVDenseNet(small_xrv(), input_size=64))


def image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(0, 256, (60, 70)).astype(np.uint8)
    Image.fromarray(grey).save(path)
    return path


def radiograph(seed: int, name: str) -> Radiograph:
    return replace(Radiograph.from_array(np.full((2, 2), 5.0 + seed, np.float32), id="x"), id=name)


def run(explainer: Explainer, files: list[Path], out: Path, **options: object) -> list[str]:
    asked = RankingSettings(top_k=1)  # so that figures are drawn soon
    results = [found for _, found in explain_files(explainer, files, out, asked=asked, **options)]  # type: ignore[arg-type]
    assert not [found for found in results if isinstance(found, CxrExplainError)]
    return [found.json.stem for found in results if isinstance(found, Saved)]


def named(files: list[Path], folder: Path | None = None, **options: object) -> list[str]:
    names = OutputNames(folder, **options)  # type: ignore[arg-type]
    return [names.give(read_radiograph(path), path).id for path in files]


def test_the_same_bytes_under_two_names_keep_apart(tmp_path: Path) -> None:
    """Their labels may differ, as files are looked up by name."""
    one = image(tmp_path / "a" / "x.png", 1)
    other = tmp_path / "b" / "x.png"
    other.parent.mkdir()
    shutil.copy(one, other)
    assert len(set(named([one, other]))) == len(set(named([one, other], hashed=True))) == 2


@pytest.mark.parametrize(
    "names",
    [
        ["Case.png", "case.PNG"],
        ["a b.png", "a_b.png", "a?b.png"],
        ["x" * 120 + "1.png", "x" * 120 + "2.png"],
        ["ä.png", "a\u0308.png", "_.png"],
        ["CON.png", "con.jpg", "_con.png"],
        ["x.png", "x.jpg", "x.bmp"],
    ],
)
def test_inputs_of_one_name_give_files_that_differ_on_any_system(tmp_path: Path, names: list[str]) -> None:
    files = [image(tmp_path / f"in{seed}" / "x.bmp", seed) for seed in range(len(names))]
    files = [path.rename(path.with_name(name)) for path, name in zip(files, names, strict=True)]
    given_names = {name.casefold() for name in named(files)}
    assert len(given_names) == len(files)
    assert not any(name.split(".")[0] in ("con", "nul", "aux") for name in given_names)


def test_an_earlier_runs_output_of_another_input_stays(explainer: Explainer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(explainer, [image(tmp_path / "a" / "x.png", 1)], out) == ["x"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (second,) = run(explainer, [image(tmp_path / "b" / "x.png", 2)], out)
    assert second != "x"
    assert {name: (out / name).read_bytes() for name in before} == before
    assert run(explainer, [tmp_path / "b" / "x.png"], out) == [second]
    assert run(explainer, [tmp_path / "a" / "x.png"], out, batch_size=1) == ["x"]
    assert len(list(out.iterdir())) == 6


def test_what_a_killed_run_left_is_replaced(explainer: Explainer, tmp_path: Path) -> None:
    out, path = tmp_path / "out", image(tmp_path / "a" / "x.png", 1)
    run(explainer, [path], out)
    whole = {each.name: each.read_bytes() for each in out.iterdir()}
    for left in (["x.png"], ["x.png", "x.npz"]):
        for each in out.iterdir():
            if each.name not in left:
                each.unlink()
        assert run(explainer, [path], out) == ["x"]
        assert {each.name: each.read_bytes() for each in out.iterdir()} == whole


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", b"{}"),
        ("x.json", b"[" * 100_000),
        ("x.json", b'{"provenance": {"radiograph_sha256": 3}}'),
        ("x.json", b"\xff\x00"),
        ("x.npz", b"arrays of mine"),
        ("x.png", b"a radiograph of mine"),
    ],
)
def test_files_of_somebody_elses_stay(
    explainer: Explainer, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert named([image(tmp_path / "a" / "x.png", 1)], tmp_path, figure_format="png") != ["x"]


def test_frames_of_one_file_keep_apart_in_two_runs(tmp_path: Path, explainer: Explainer) -> None:
    whole = Radiograph.from_array(np.zeros((70, 80), np.float32), id="x")
    frames = [replace(whole, frame=n, steps=(f"decoded RLE, frame {n} of 3",)) for n in (0, 1)]
    for frame in (*frames, *frames):
        image_of_it = explainer.prepare(OutputNames(tmp_path).give(frame))
        (explained,) = explainer.explain_prepared([image_of_it], RankingSettings())
        save_outputs(explained, tmp_path, figure_format=None)
    saved = [Explanation.load(path).provenance.steps[0] for path in sorted(tmp_path.glob("*.json"))]
    assert sorted(saved) == [frame.steps[0] for frame in frames]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.integers(0, 3)), min_size=1, max_size=12))
def test_no_two_inputs_ever_share_a_name(inputs: list[tuple[str, int]]) -> None:
    names = OutputNames()
    once, again = (
        [names.give(radiograph(seed, text), at).id for at, (text, seed) in enumerate(inputs, 1)]
        for _ in range(2)
    )
    assert len({name.casefold() for name in once}) == len(inputs)
    assert all(safe_stem(name).strip("_") == name.strip("_") for name in once)
    assert again == once


def test_the_page_of_an_earlier_run_is_not_replaced_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for said in ("", "index.html was there"):
        _write_page(IndexPage(), tmp_path)
        assert said in capsys.readouterr().err.replace("\n", "")


def test_figures_of_a_run_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = example_audit(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    first = audit.manifest.ids[0]
    path = default_figure(audit, first)
    figure_of(audit, first).save(path)
    assert default_figure(audit, first) == path, "a figure may be drawn again"
    path.write_bytes(b"a radiograph of mine")
    with pytest.raises(OptionError, match="is no figure of this package"):
        default_figure(audit, first)


@given(st.lists(st.text(min_size=1), unique=True, min_size=1))
@example(["a/b", "a:b", "a_b-c14cddc0"])
def test_no_two_images_of_a_manifest_share_a_figure(ids: list[str]) -> None:
    names = [str(safe_name(each, ids, ".png")).casefold() for each in ids]
    assert len(set(names)) == len(ids)


def test_a_page_of_somebody_elses_stays(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text("<html>my page</html>")
    with pytest.raises(OutputError, match="not of this package"):
        IndexPage().write(tmp_path)
    assert page.read_text() == "<html>my page</html>"
    page.unlink()
    assert IndexPage().write(tmp_path) == IndexPage().write(tmp_path) == page


def test_a_page_takes_neither_the_place_of_anothers_nor_of_the_index(
    explainer: Explainer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "x.html").write_text("<!doctype html><title>somebody's</title>")
    files = [image(tmp_path / "a" / "x.png", 1), image(tmp_path / "a" / "Index.png", 2)]
    names = run(explainer, files, out, html=True)
    assert "x" not in names
    assert "index" not in {name.casefold() for name in names}
    assert (out / "x.html").read_text() == "<!doctype html><title>somebody's</title>"
    assert all((out / f"{name}.html").is_file() for name in names)
    before = {path.name for path in out.iterdir()}
    assert run(explainer, files, out, html=True) == names, "their own pages are replaced"
    assert {path.name for path in out.iterdir()} == before
    assert run(explainer, files, tmp_path / "without") == ["x", "Index"]
