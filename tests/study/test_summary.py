"""Means, strata and paired differences, against plain loops."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from cxr_explain.measures.statistics.bootstrap import mean_estimate
from cxr_explain.study.measure import MeasureRow
from cxr_explain.study.summary import as_csv, differences, summarise


def rows() -> list[MeasureRow]:
    draws = np.random.default_rng(0)
    made = []
    for case in range(12):
        for pathology in ("Mass", "Edema"):
            kind = {"size": "small" if pathology == "Mass" else "large", "parts": 1 + case % 2, "kinds": 2}
            for method in ("grad-cam", "other"):
                value = math.nan if case == 3 and pathology == "Mass" else draws.random()
                row = {"case": f"c{case}", "group": f"p{case // 2}", "method": method, "pathology": pathology}
                made.append(row | kind | {"IoU": value} | ({"DAUC": value / 2} if case < 4 else {}))
    return made


def test_a_mean_is_over_findings_and_its_interval_over_patients() -> None:
    summary = summarise(rows(), ("method",), resamples=50)
    for method in ("grad-cam", "other"):
        chosen = [row for row in rows() if row["method"] == method]
        values = [None if math.isnan(row["IoU"]) else row["IoU"] for row in chosen]
        slow = mean_estimate(values, groups=[row["group"] for row in chosen], resamples=50)
        found = summary.of("IoU", method=method)
        assert (
            (found.cases, found.groups, found.asked) == (23, 6, 24) == (slow.cases, slow.groups, slow.asked)
        )
        assert [found.value, found.low, found.high] == pytest.approx([slow.value, slow.low, slow.high])
    assert summary.of("DAUC", method="other").cases == 7
    assert summary.of("DAUC", method="none").value is None
    assert summary.values("method") == ["grad-cam", "other"]
    assert summary.measures == ["IoU", "DAUC"]


def test_strata_take_their_findings_alone() -> None:
    summary = summarise(
        rows(), ("method",), strata=("all", "small", "several parts", "one kind"), resamples=5
    )
    small = [row["IoU"] for row in rows() if row["method"] == "other" and row["size"] == "small"]
    assert summary.of("IoU", method="other", stratum="small").value == pytest.approx(np.nanmean(small))
    assert summary.of("IoU", method="other", stratum="several parts").asked == 12
    assert summary.of("IoU", method="other", stratum="one kind").value is None


def test_differences_are_finding_by_finding() -> None:
    found = differences(rows(), ("method",), {"method": "grad-cam"}, resamples=50).of("IoU", method="other")
    by_method = {
        name: {(row["case"], row["pathology"]): row["IoU"] for row in rows() if row["method"] == name}
        for name in ("grad-cam", "other")
    }
    pairs = [by_method["other"][key] - by_method["grad-cam"][key] for key in by_method["other"]]
    assert found.value == pytest.approx(np.nanmean(pairs))
    assert found.cases == 23
    alike = [row | {"IoU": 0.5} for row in rows()]
    none = differences(alike, ("method",), {"method": "grad-cam"}, resamples=5).of("IoU", method="other")
    assert (none.value, none.low, none.high) == (0, None, None)  # no width: no interval
    assert not differences(rows(), ("method",), {"method": "absent"}).lines


def test_what_is_alike_stands_together() -> None:
    doubled = [*rows(), *(row | {"method": "twin"} for row in rows() if row["method"] == "other")]
    assert summarise(doubled, ("method",), resamples=2).alike("method") == [["grad-cam"], ["other", "twin"]]


def test_the_csv_has_every_mean() -> None:
    summary = summarise(rows(), ("method",), strata=("all", "small", "one kind"), resamples=5)
    read = list(csv.DictReader(io.StringIO(as_csv({"alone": summary, "none": summarise([], ("K",))}))))
    assert len(read) == len(summary.lines) == 2 * 2 * 2  # no finding of one kind
    (line,) = (r for r in read if (r["method"], r["findings"], r["measure"]) == ("other", "all", "IoU"))
    found = summary.of("IoU", method="other")
    assert float(line["mean"]) == pytest.approx(found.value, rel=1e-4)
    assert (line["n"], line["patients"], line["not estimable"]) == ("23", "6", "1")
