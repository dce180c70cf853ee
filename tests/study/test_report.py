"""The report: tables that a reader and a Markdown parser can take, plots that show something."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_explain.measures.statistics.bootstrap import MeanEstimate
from cxr_explain.study import plots
from cxr_explain.study.across import Across
from cxr_explain.study.measure import Tables
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.plots import draw_plots
from cxr_explain.study.report import Findings, cell
from cxr_explain.study.summary import summarise


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


def test_every_table_names_its_model(tables: Tables, plan: Plan) -> None:
    findings = Findings.of("A study", plan, tables, model="labels alone")
    assert all(table.title.endswith(" (labels alone)") for table in findings.shown)


def test_what_is_measured_is_said_with_its_settings(tables: Tables, plan: Plan) -> None:
    text = Findings.of("A study", plan, tables).to_markdown()
    for said in (
        "2 steps",
        "50 % of the pixels",
        "2 draws",
        "0.0357",
        "blurred by a Gaussian",
        "20 resamples",
    ):
        assert said in text
    lean = replace(plan, percentages=(), randomised=0, robust=0)
    assert "ROAD: " not in Findings.of("A study", lean, tables).to_markdown()


def test_ranks_are_parted_by_whether_the_finding_is_there(tables: Tables, plan: Plan) -> None:
    findings = Findings.of("A study", plan, tables)
    (table,) = (each for each in findings.shown if each.title.startswith("The same ranks"))
    for name, n, *_ in table.rows:
        rank, presence = name.split(", ")
        assert int(n) == sum((str(row["rank"]), row["presence"]) == (rank, presence) for row in tables.ranks)
    found = findings.summaries["ranks by presence"]
    for row in tables.ranks:
        chosen = {name: row[name] for name in ("method", "rank", "presence")}
        assert found.of("IAUC", **chosen).value == pytest.approx(row["IAUC"])  # of one image: each is one row


def test_a_fusion_is_compared_with_the_usual_one_pair_by_pair(tables: Tables, plan: Plan) -> None:
    less = Findings.of("A study", plan, tables).summaries["fused, less K"]
    share = {
        (row["case"], row["pathology"], row["K"]): row["class share"]
        for row in tables.fused
        if (row["method"], row["normalisation"], row["activation"]) == ("eigen-cam", "joint", "relu")
    }
    pairs = [share[case, name, 1] - share[case, name, 2] for case, name, k in share if k == 1]
    assert less.of("class share", method="eigen-cam", K=1).value == pytest.approx(np.mean(pairs))


def test_no_interval_is_printed_without_a_width() -> None:
    """Neither one that has none, nor one that has none in two digits."""
    rows = [
        {"case": str(at), "group": str(at), "method": "cam", "pathology": "Mass"}
        | {"hit": 1.0, "high": 0.9991 + 1e-5 * at}
        for at in range(20)
    ]
    found = summarise(rows, ("method",), resamples=50)
    assert cell(found.of("hit", method="cam")) == "1.00 (no interval)"
    assert found.of("high", method="cam").low < found.of("high", method="cam").high
    assert cell(found.of("high", method="cam")) == "1.00 (under 0.01 wide)"
    assert "wide" not in cell(found.of("high", method="cam"), 5)
    assert cell(MeanEstimate(0.5, -0.001, 0.001)) == "0.50 (under 0.01 wide)"


def test_two_models_stand_side_by_side_each_with_its_own_numbers(tables: Tables, plan: Plan) -> None:
    """The second model's maps are worse by a tenth in IoU; nothing else differs."""
    worse = replace(tables, alone=[row | {"IoU": row["IoU"] / 2} for row in tables.alone])
    studies = [
        Findings.of("One", plan, tables, model="one"),
        Findings.of("Two", plan, worse, model="two"),
    ]
    across = Across("Two models", studies)
    text = across.to_markdown(["one/report.md", "two/report.md"])
    assert "[one](one/report.md), [two](two/report.md)" in text
    for table in across.shown:
        assert list(table.header[1:]) == ["one", "two"]
    (overlap,) = (table for table in across.shown if table.title.startswith("By model: IoU"))
    for rule, *cells in overlap.rows:
        expected = [study.summaries["alone"].of("IoU", method=rule) for study in studies]
        assert cells == [cell(each) for each in expected]
        assert expected[1].value == pytest.approx(expected[0].value / 2)
    (random,) = (
        table for table in across.shown if table.title.startswith("By model: with the last layer random")
    )
    (eigen,) = (cells for rule, *cells in random.rows if rule == "eigen-cam")
    assert eigen == ["1.00 (SD 0.00)"] * 2
    assert "not estimable" not in across.to_text()


def test_rules_that_differ_from_grad_cam_are_named_by_the_direction_that_is_good(
    tables: Tables, plan: Plan
) -> None:
    """Enough patients for an interval: eleven copies of each, with a rule that is better in one measure."""
    wide = {"IoU": 0.1, "DAUC": -0.2, "energy": -0.3}
    rows = [
        row
        | {"case": f"{row['case']} {copy}", "group": f"{copy}"}
        | ({name: row[name] + by + 0.001 * copy for name, by in wide.items() if name in row})
        for row in (row | {"method": "other"} for row in tables.alone if row["method"] == "grad-cam")
        for copy in range(11)
    ]
    plain = [
        row | {"case": f"{row['case']} {copy}", "group": f"{copy}"}
        for row in tables.alone
        if row["method"] == "grad-cam"
        for copy in range(11)
    ]
    names = replace(plan, contenders=contenders(("grad-cam",)))
    study = Findings.of("One", names, replace(tables, alone=[*plain, *rows]), model="one")
    (table,) = (t for t in Across("", [study]).shown if t.title.startswith("By model: other rules"))
    found = dict(table.rows)
    assert found["IoU: better"] == "other +0.10"
    assert found["IoU: worse"] == "none"
    assert found["energy: worse"].startswith("other -0.")
    assert found["DAUC: better"].startswith("other -0.")
    assert found["DAUC: worse"] == "none"
