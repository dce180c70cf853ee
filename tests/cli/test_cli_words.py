"""`cxr-explain words`: the texts of an explanation and of an audit, as Python gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxr_explain import Explanation
from cxr_explain.audit.example import example_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.cli.app import app

RUN = CliRunner()


def words(*arguments: object) -> Result:
    return RUN.invoke(app, ["words", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    return example_audit(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def saved(run: AuditRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run.case(0).explanation.save(tmp_path_factory.mktemp("saved") / "one")


def test_of_a_saved_explanation(saved: Path) -> None:
    result, explanation = words(saved), Explanation.load(saved)
    assert result.exit_code == 0, result.output
    texts = (explanation.caption(), explanation.methods_text(), explanation.bibtex().strip())
    assert result.stdout == "Caption\n\n{}\n\nMethods\n\n{}\n\nBibTeX\n\n{}\n".format(*texts)


@pytest.mark.parametrize("only", ["caption", "methods", "bibtex"])
def test_one_text_alone_can_go_into_a_file(only: str, saved: Path) -> None:
    explanation = Explanation.load(saved)
    texts = {
        "caption": explanation.caption(),
        "methods": explanation.methods_text(),
        "bibtex": explanation.bibtex().rstrip("\n"),
    }
    assert words(saved, "--only", only).stdout == f"{texts[only]}\n"


def test_of_a_run_and_of_one_of_its_images(run: AuditRun) -> None:
    whole = words(run.place.name).stdout
    assert whole == f"Methods\n\n{run.methods_text()}\n\nBibTeX\n\n{run.bibtex()}"
    case, image_id = run.case(1), run.manifest.ids[1]
    caption = words(run.place.name, image_id, "--only", "caption").stdout
    assert caption == f"{case.explanation.caption(case.reference_labels)}\n"
    assert "Reference labels" in caption


def test_what_has_no_words_is_refused_in_one_line(run: AuditRun, saved: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ((run.place.name, "--only", "caption"), "found no image for a caption; expected the ID of one"),
        ((run.place.name, "nobody"), "nobody: found no such image in this audit"),
        ((saved, "an-id"), "expected an ID with the folder of an audit alone"),
        ((tmp_path,), "found no audit"),
        ((tmp_path / "none.json",), "found no readable explanation"),
    ):
        result = words(*arguments)
        assert result.exit_code in (1, 2)
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1
