"""The table of results: what stands beside what, at the widths of real terminals."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from synthetic import synthetic_explanation, synthetic_radiograph

from cxr_explain.cli import result_table
from cxr_explain.cli.result_table import ResultTable
from cxr_explain.pages.index_page import IndexEntry
from cxr_explain.pathologies import LabelState, ReferenceLabels, ReferenceLabelsLike


def result(labels: ReferenceLabelsLike, name: str = "study", k: int = 5) -> IndexEntry:
    radiograph = synthetic_radiograph((64, 64))
    card = IndexEntry.of(synthetic_explanation(radiograph, k=k), radiograph, labels, figure=f"{name}.png")
    return replace(card, id=name)


def printed(table: ResultTable, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    table.print(console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 100])
def test_each_prediction_stands_beside_its_reference_label(width: int) -> None:
    table = ResultTable(labelled=True)
    table.add(result("Effusion|Cardiomegaly=negative|Support Devices"))
    lines = printed(table, width).splitlines()
    assert max(map(len, lines)) <= width
    words = [line.split() for line in lines]
    assert words[1][:3] == ["study", "1", "Effusion"]
    assert words[1][-3:] == ["above", "positive", "agrees"]
    assert next(w[-3:] for w in words if "Cardiomegaly" in w) == ["above", "negative", "disagrees"]
    assert ["–", "Support", "Devices", "none", "positive", "–"] in words
    assert "1 agree with their reference label, 1 disagree" in " ".join(" ".join(lines).split())


def test_without_reference_labels_each_image_takes_one_line() -> None:
    table = ResultTable(labelled=False)
    table.add(result("", k=1))
    lines = printed(table).splitlines()
    assert lines[1].split() == ["study", "Effusion", "0.85+", "none", "given", "study.png"]
    assert "at or above its operating point" in lines[2]


def test_names_from_files_are_no_markup() -> None:
    table = ResultTable(labelled=True)
    table.add(result(ReferenceLabels({"[blink]x[/]": LabelState.POSITIVE}), name="[red]a[/]"))
    assert "[red]a[/]" in printed(table)
    assert "[blink]x[/]" in printed(table)


def test_a_large_run_prints_what_fits_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_table, "MOST_LABELLED", 1)
    table = ResultTable(labelled=True)
    for name in ("first", "second", "third"):
        table.add(result("Effusion", name))
    text = printed(table)
    assert "second" not in text
    assert "2 more images are in the output folder" in text
    assert "3 agree" in text


def test_nothing_explained_prints_nothing() -> None:
    assert printed(ResultTable(labelled=True)) == ""


def test_signs_are_explained_where_they_are_and_nowhere_else() -> None:
    table = ResultTable(labelled=True)
    table.add(result({"Effusion": 1, "Cardiomegaly": 0}, k=2))
    text = " ".join(printed(table).split())
    assert "above: at or above its operating point" in text
    assert "–" not in text
    table.add(result({"Effusion": 1, "Support Devices": 1}, k=1))
    text = " ".join(printed(table).split())
    assert "– before a name: labelled, but not among the top K" in text
    assert "– as agreement: without an operating point" in text
    below = ResultTable(labelled=False)
    below.add(replace(result("", k=18), rows=result("", k=18).rows[-1:]))
    text = " ".join(printed(below).split())
    assert "- below its operating point" in text
    assert "+ at or above" not in text


def test_names_are_spelt_as_in_figures() -> None:
    for labelled in (True, False):
        table = ResultTable(labelled=labelled)
        table.add(result("Pleural_Thickening", k=8))
        assert "Pleural_Thickening" not in printed(table, 300)
        assert "Pleural Thickening" in printed(table, 300)


@pytest.mark.parametrize("labelled", [False, True])
def test_probabilities_are_called_what_they_are(labelled: bool) -> None:
    table = ResultTable(labelled=labelled)
    card = result("Effusion")
    table.add(card)
    assert "Probability: the sigmoid of the model's score, not calibrated." in " ".join(
        printed(table).split()
    )
    table = ResultTable(labelled=labelled)
    table.add(replace(card, provenance=replace(card.provenance, output_kind="softmax-logits")))
    text = " ".join(printed(table).split())
    assert "Probability: the softmax of the model's scores, not calibrated." in text
    assert "sigmoid" not in text
