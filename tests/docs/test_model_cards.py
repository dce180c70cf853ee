"""The tables of docs/reporting/model_cards.md say what the registry of weights says."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxr_explain.pathologies import PATHOLOGIES
from cxr_explain.weights import ENTRIES, WeightsEntry

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "reporting" / "model_cards.md"
LINES = PAGE.read_text(encoding="utf-8").splitlines()
RESNET = "resnet50-res512-all"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def table(heading: str) -> list[dict[str, str]]:
    """The first table below a heading, a dictionary a row."""
    below = LINES[LINES.index(heading) :]
    start = next(number for number, line in enumerate(below) if line.startswith("|"))
    names = cells(below[start])
    rows = []
    for line in below[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, cells(line), strict=True)))
    return rows


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_set_of_weights_at_a_glance(entry: WeightsEntry) -> None:
    (row,) = (row for row in table("## At a glance") if row["name"] == f"`{entry.name}`")
    assert row["input"] == str(entry.input_size)
    side = entry.input_size // 32
    assert row["map"] == f"{side} x {side}"
    assert row["trained outputs"].partition(",")[0] == str(len(entry.trained_pathologies))
    for data_set in entry.training_sets:
        assert data_set in row["trained on"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_crosses_are_the_trained_outputs(entry: WeightsEntry) -> None:
    short = entry.name.removeprefix("densenet121-res224-")
    crossed: list[str] = []
    for row in table("## Outputs"):
        (column,) = (name for name in row if short in name.split(", "))
        if row[column] == "x":
            crossed += row["pathology"].split(", ")
    assert sorted(crossed) == sorted(entry.trained_pathologies)
    assert set(crossed) <= set(PATHOLOGIES)


def test_the_resnet_s_operating_points_are_what_the_page_says_of_them() -> None:
    (entry,) = (entry for entry in ENTRIES if entry.name == RESNET)
    points = [point for point in entry.operating_points if point is not None]
    assert (round(min(points), 3), round(max(points), 2)) == (0.008, 0.15)
