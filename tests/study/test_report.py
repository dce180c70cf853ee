"""The report: tables that a reader and a Markdown parser can take, plots that show something."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_explain.study import plots
from cxr_explain.study.measure import Tables
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.plots import draw_plots
from cxr_explain.study.report import Findings


def test_every_row_of_a_table_has_as_many_cells(tables: Tables, plan: Plan) -> None:
    text = Findings.of("A study", plan, tables).to_markdown()
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) == text.count("### ") >= 11
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "nan" not in text
    assert "None" not in text


def test_it_is_the_same_text_each_time(tables: Tables, plan: Plan) -> None:
    assert (
        Findings.of("A study", plan, tables).to_markdown()
        == Findings.of("A study", plan, tables).to_markdown()
    )


def test_rules_with_one_map_have_one_row_and_say_so(tables: Tables, plan: Plan) -> None:
    text = Findings.of("A study", plan, tables).to_text()
    assert "grad-cam stands for cam as well" in text
    assert not re.search(r"^cam ", text, re.MULTILINE)


def test_what_is_not_estimable_is_said_in_words(tables: Tables, plan: Plan) -> None:
    lacking = Tables(alone=[row | {"IoU": float("nan")} for row in tables.alone], fused=tables.fused)
    text = Findings.of("A study", plan, lacking).to_text()
    assert "not estimable" in text


def test_one_rule_alone_has_a_report_without_comparisons(tables: Tables, plan: Plan, tmp_path: Path) -> None:
    only = Tables(
        alone=[row for row in tables.alone if row["method"] not in ("cam", "eigen-cam")],
        fused=[
            row
            for row in tables.fused
            if (row["method"], row["K"], row["normalisation"], row["activation"])
            == ("grad-cam", 2, "joint", "relu")
        ],
    )
    small = replace(
        plan, contenders=contenders(("grad-cam",)), ks=(2,), normalisations=("joint",), activations=("relu",)
    )
    findings = Findings.of("One rule", small, only)
    text = findings.to_text()
    assert "less Grad-CAM" not in text
    assert "by K" not in text
    assert "The rules fused" in text
    assert draw_plots(findings, tmp_path) == []


def test_the_plots_show_something_and_are_the_same_each_time(
    tables: Tables, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "_DPI", 50)
    findings = Findings.of("A study", plan, tables)
    first, second = (draw_plots(findings, tmp_path / name) for name in ("one", "two"))
    assert [path.name for path in first] == ["rules.png", "fusions.png", "randomised.png"]
    for path, again in zip(first, second, strict=True):
        assert path.read_bytes() == again.read_bytes()
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
        assert (pixels == 255).all(axis=-1).mean() > 0.5
