"""The look of figures from the command line: the same bytes as with that style in Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxr_explain import Explanation, read_radiograph
from cxr_explain.audit.example import example_audit
from cxr_explain.audit.results import figure_of
from cxr_explain.cli.app import app
from cxr_explain.figures.style import style_of
from cxr_explain.phantom.dataset import write_dataset

RUN = CliRunner()


def run(*arguments: object) -> Result:
    return RUN.invoke(app, [str(argument) for argument in arguments])


def explained(folder: Path, *options: str) -> Result:
    images = folder / "images"
    return run(
        "explain",
        images,
        "--weights",
        "phantom",
        "--offline",
        "--top-k",
        2,
        "--out",
        folder / "out",
        *options,
    )


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    for _ in write_dataset(tmp_path, n=1, seed=5, size=96):
        pass
    return tmp_path


def test_style_and_language_of_explained_files(phantom: Path) -> None:
    result = explained(phantom, "--style", "dark", "--language", "de")
    assert result.exit_code == 0, result.output
    (image,) = (phantom / "images").iterdir()
    saved = Explanation.load(phantom / "out" / image.stem)
    figure = saved.figure(radiograph=read_radiograph(image), style=style_of("dark", language="de"))
    assert (phantom / "out" / f"{image.stem}.png").read_bytes() == figure.to_bytes()


def test_style_and_language_of_a_case_of_an_audit(tmp_path: Path) -> None:
    audited = example_audit(tmp_path)
    case = audited.manifest.ids[0]
    out = tmp_path / "case.png"
    result = run("figure", audited.place.name, case, "--out", out, "--style", "print", "--language", "zh")
    assert result.exit_code == 0, result.output
    expected = figure_of(audited, case, style=style_of("print", language="zh"))
    assert out.read_bytes() == expected.to_bytes()
    assert out.read_bytes() != figure_of(audited, case).to_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--language", "fr"), "one of de, en, zh"), (("--language", "fr.toml"), "translation")],
)
def test_a_language_that_is_not_there_ends_before_anything_is_explained(
    phantom: Path, options: tuple[str, str], message: str
) -> None:
    result = explained(phantom, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (phantom / "out").exists()
