"""Drawing what was explained before: a figure, a page or an animation, of a saved one or of an audit."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxr_explain.audit.example import example_audit
from cxr_explain.cli.app import app
from cxr_explain.explaining.output_names import is_figure_file, is_page_file

RUN = CliRunner()


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    run("phantom", "--n", 2, "--size", 256, "--seed", 39, "--out", folder, code=0)
    return folder


@pytest.fixture(scope="module")
def explained(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained")
    run(
        "explain", phantoms / "images", "--weights", "phantom", "--offline", "--top-k", 3, "--out", out,
        "--html", "--page", "--labels", phantoms / "Data_Entry_2017_v2020.csv",
        "--boxes", phantoms / "BBox_List_2017.csv", code=0,
    )  # fmt: skip
    return out


def run(*words: object, code: int) -> Result:
    result = RUN.invoke(app, list(map(str, words)))
    assert result.exit_code == code, result.output
    return result


def said(result: Result) -> str:
    return " ".join(result.output.split())


def kind_of(path: Path) -> str:
    head = path.read_bytes()[:200]
    kinds = {b"\x89PNG": "png", b"GIF89a": "gif", b"%PDF": "pdf", b"<?xml": "svg", b"<!doctype html": "html"}
    return next(name for magic, name in kinds.items() if head.startswith(magic))


def test_explain_writes_a_page_beside_each_figure(explained: Path) -> None:
    names = {path.name for path in explained.iterdir()}
    ids = ("phantom-000039", "phantom-000040")
    assert names == {"index.html"} | {
        f"{each}.{end}" for each in ids for end in ("html", "json", "npz", "png")
    }
    for each in ids:
        html = (explained / f"{each}.html").read_text(encoding="utf-8")
        assert is_page_file(explained / f"{each}.html")
        assert "Reference label" in html, "the labels of the figure are in the page"
        assert f'<a href="{each}.html">Page with controls</a>' in (explained / "index.html").read_text()


def test_without_the_option_there_is_no_page(phantoms: Path, tmp_path: Path) -> None:
    one = phantoms / "images" / "phantom-000039.png"
    run("explain", one, "--weights", "phantom", "--offline", "--page", "--out", tmp_path / "out", code=0)
    assert not (tmp_path / "out" / "phantom-000039.html").exists()
    assert "Page with controls" not in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "html", "gif"])
def test_the_ending_says_what_is_drawn_of_a_saved_explanation(
    phantoms: Path, explained: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"case.{ending}"
    result = run(
        "figure", explained / "phantom-000039.json",
        "--radiograph", phantoms / "images" / "phantom-000039.png",
        "--labels", phantoms / "Data_Entry_2017_v2020.csv", "--boxes", phantoms / "BBox_List_2017.csv",
        "--out", out, code=0,
    )  # fmt: skip
    assert kind_of(out) == ending
    assert f"Look at {out}." in said(result)
    if ending in ("png", "html"):
        assert out.read_bytes() == (explained / f"phantom-000039.{ending}").read_bytes(), "as explain drew it"


@pytest.mark.parametrize("ending", ["png", "html", "gif"])
def test_the_ending_says_what_is_drawn_of_an_audit(tmp_path: Path, ending: str) -> None:
    audit = example_audit(tmp_path)
    image_id = audit.manifest.ids[0]
    out = tmp_path / f"case.{ending}"
    run("figure", tmp_path / "run", image_id, "--out", out, code=0)
    assert kind_of(out) == ending


def test_a_saved_explanation_without_its_radiograph(explained: Path, tmp_path: Path) -> None:
    saved = explained / "phantom-000039.json"
    run("figure", saved, "--out", tmp_path / "grey.html", code=0)
    assert "plain grey" in (tmp_path / "grey.html").read_text()
    run("figure", saved, "--out", tmp_path / "grey.gif", code=0)
    result = run("figure", saved, "--out", tmp_path / "grey.pdf", code=2)
    assert "--radiograph" in said(result)
    assert not (tmp_path / "grey.pdf").exists()


def test_the_usual_name_replaces_a_figure_and_nothing_else(phantoms: Path, explained: Path) -> None:
    words = (
        "figure", explained / "phantom-000039.json",
        "--radiograph", phantoms / "images" / "phantom-000039.png",
    )  # fmt: skip
    for _ in range(2):
        run(*words, code=0)
    assert is_figure_file(Path("phantom-000039.png"))
    Path("phantom-000039.png").write_text("mine")
    assert "no figure of this package" in said(run(*words, code=2))
    assert Path("phantom-000039.png").read_text() == "mine"
    run(*words, "--out", "other.png", code=0)


def test_what_is_read_is_not_replaced(phantoms: Path, explained: Path, tmp_path: Path) -> None:
    radiograph = tmp_path / "mine.png"
    radiograph.write_bytes((phantoms / "images" / "phantom-000039.png").read_bytes())
    (tmp_path / "link.png").symlink_to(radiograph)
    before = radiograph.read_bytes()
    words = ("figure", explained / "phantom-000039.json", "--radiograph", radiograph)
    for out in (radiograph, tmp_path / "link.png"):
        assert "would replace the file of --radiograph" in said(run(*words, "--out", out, code=2))
    assert radiograph.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "a.jpg"), "ends in .png, .pdf, .svg, .html or .gif"),
        (("an-id",), "beside a saved explanation"),
        (("--images", "."), "beside a saved explanation"),
        (("--radiograph", "nowhere.png", "--out", "a.html"), "nowhere.png"),
    ],
)
def test_usage_errors_of_a_saved_explanation(explained: Path, words: tuple[str, ...], told: str) -> None:
    result = RUN.invoke(app, ["figure", str(explained / "phantom-000039.json"), *words])
    assert result.exit_code in (1, 2)
    assert told in said(result)
    assert list(Path().iterdir()) == []


def test_usage_errors_of_an_audit(tmp_path: Path) -> None:
    audit = example_audit(tmp_path)
    assert "an ID of its manifest" in said(run("figure", tmp_path / "run", code=2))
    for words in (("--labels", "Mass"), ("--radiograph", "a.png"), ("--voi", "1"), ("--frame", "0")):
        result = run("figure", tmp_path / "run", audit.manifest.ids[0], *words, code=2)
        assert "for an audit, which knows that" in said(result)
    assert list(Path().iterdir()) == []


def test_another_radiograph_is_refused(phantoms: Path, explained: Path) -> None:
    other = phantoms / "images" / "phantom-000040.png"
    for ending in ("html", "gif", "png"):
        result = RUN.invoke(
            app,
            [
                "figure", str(explained / "phantom-000039.json"), "--radiograph", str(other),
                "--out", f"a.{ending}",
            ],
        )  # fmt: skip
        assert result.exit_code == 1
        assert "expected the one that was explained" in said(result)
    assert list(Path().iterdir()) == []


def test_a_radiograph_that_is_read_otherwise_is_named(tmp_path: Path) -> None:
    run("phantom", "--n", 1, "--size", 128, "--seed", 39, "--bits", 16, "--out", tmp_path / "p", code=0)
    (file,) = (tmp_path / "p" / "dicom").iterdir()
    run("explain", file, "--weights", "phantom", "--offline", "--out", tmp_path / "out", code=0)
    (saved,) = (tmp_path / "out").glob("*.json")
    same = run("figure", saved, "--radiograph", file, "--out", tmp_path / "a.html", code=0)
    assert "read otherwise" not in said(same)
    other = run(
        "figure", saved, "--radiograph", file, "--voi", "100/50", "--out", tmp_path / "b.html", code=0
    )
    assert "read otherwise than when it was explained" in said(other)


def test_the_audits_radiograph_is_in_its_figure(tmp_path: Path) -> None:
    audit = example_audit(tmp_path)
    run("figure", tmp_path / "run", audit.manifest.ids[0], "--out", tmp_path / "a.gif", code=0)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames > 10
