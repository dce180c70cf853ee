"""Means, strata and paired differences, against plain loops."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from cxr_explain.measures.statistics.bootstrap import mean_estimate
from cxr_explain.study.measure import MeasureRow
from cxr_explain.study.summary import OF_MEANS, SIZES, SPREAD, as_csv, differences, over_draws, summarise


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


def test_what_belongs_to_an_image_counts_once_for_each() -> None:
    """One image with three findings, and one with one: a mean over findings would be 0.8."""
    shares = {"a": 0.9, "b": 0.5}
    rows = [
        {
            "case": case,
            "group": case,
            "pathology": name,
            "method": "cam",
            "outside": shares[case],
            "IoU": 0.25,
        }
        | {"size": size, "parts": 1, "kinds": 3, "share": 0.1}
        for case, name, size in (
            ("a", "Mass", "small"),
            ("a", "Edema", "large"),
            ("a", "Nodule", "small"),
            ("b", "Mass", "large"),
        )
    ]
    found = summarise(rows, ("method",), strata=("all", "small"), resamples=10)
    outside, overlap = (found.of(name, method="cam") for name in ("outside", "IoU"))
    assert (outside.value, outside.cases, outside.asked) == (pytest.approx(0.7), 2, 2)
    assert (overlap.value, overlap.cases, overlap.asked) == (0.25, 4, 4)
    small = found.of("outside", method="cam", stratum="small")
    assert (small.value, small.cases) == (0.9, 1)
    other = [row | {"method": "other", "outside": row["outside"] / 2} for row in rows]
    less = differences([*rows, *other], ("method",), {"method": "cam"}, resamples=10)
    assert less.of("outside", method="other").value == pytest.approx(-0.35)


def parts(method: str, seed: int) -> list[MeasureRow]:
    """Rows of one method with the parts of ADCC; a case has none."""
    draws = np.random.default_rng(seed)
    made = []
    for case in range(15):
        values = np.full(4, math.nan) if case == 2 else draws.random(4)
        row = {"case": f"c{case}", "group": f"p{case // 2 if case < 4 else case}", "pathology": "Mass"}
        names = ("coherency", "complexity", "average drop", "ADCC")
        made.append(row | {"method": method} | dict(zip(names, values.tolist(), strict=True)))
    return made


def literal_adcc(rows: list[MeasureRow]) -> float:
    """Of the means of the parts, as the published tables have it."""

    def mean(name: str) -> float:
        values = [row[name] for row in rows if not math.isnan(row[name])]
        return sum(values) / len(values)

    return 3 / (1 / mean("coherency") + 1 / (1 - mean("complexity")) + 1 / (1 - mean("average drop")))


def test_both_forms_of_adcc_stand_side_by_side() -> None:
    """The published one against a literal bootstrap of patients, and less that of another rule."""
    one, other = parts("cam", 1), parts("other", 2)
    found = summarise([*one, *other], ("method",), resamples=200)
    own = found.of("ADCC", method="cam").value
    published = found.of(OF_MEANS, method="cam")
    assert own == pytest.approx(np.nanmean([row["ADCC"] for row in one]))
    assert published.value == pytest.approx(literal_adcc(one))
    assert own != pytest.approx(published.value, abs=0.01)
    assert (published.cases, published.groups, published.asked) == (14, 13, 15)
    groups = list(dict.fromkeys(row["group"] for row in one))
    draws = np.random.default_rng(0)
    values, differing = [], []
    for _ in range(200):
        drawn = draws.integers(len(groups), size=len(groups))
        samples = [
            [row for at in drawn for row in rows_ if row["group"] == groups[at]] for rows_ in (one, other)
        ]
        values.append(literal_adcc(samples[0]))
        differing.append(literal_adcc(samples[1]) - values[-1])
    assert [published.low, published.high] == pytest.approx(np.quantile(values, [0.025, 0.975]))
    less = differences([*one, *other], ("method",), {"method": "cam"}, resamples=200)
    difference = less.of(OF_MEANS, method="other")
    assert difference.value == pytest.approx(literal_adcc(other) - literal_adcc(one))
    assert [difference.low, difference.high] == pytest.approx(np.quantile(differing, [0.025, 0.975]))
    assert less.of(OF_MEANS, method="cam").value is None


def test_few_patients_have_no_interval_in_either_form() -> None:
    few = [row for row in parts("cam", 1) if row["case"] in ("c4", "c5", "c6", "c7")]
    found = summarise(few, ("method",), resamples=50)
    for measure in ("ADCC", OF_MEANS):
        estimate = found.of(measure, method="cam")
        assert estimate.value is not None
        assert (estimate.low, estimate.high) == (None, None)


def test_draws_are_averaged_for_each_case_and_their_spread_is_said() -> None:
    draws = np.random.default_rng(3)
    rows = [
        {"case": f"c{case}", "group": f"c{case}", "method": "cam", "step": 1, "layer": "x", "draw": draw}
        | {"Spearman": math.nan if (case, draw) == (0, 0) else float(draws.random())}
        for case in range(12)
        for draw in range(4)
    ]
    found = over_draws(rows, ("method", "step"), resamples=50)
    by_case = [
        np.nanmean([row["Spearman"] for row in rows if row["case"] == f"c{case}"]) for case in range(12)
    ]
    estimate = found.of("Spearman", method="cam", step=1)
    assert estimate.value == pytest.approx(np.mean(by_case))
    slow = mean_estimate(by_case, groups=list(range(12)), resamples=50)
    assert [estimate.low, estimate.high] == pytest.approx([slow.low, slow.high])
    by_draw = [np.nanmean([row["Spearman"] for row in rows if row["draw"] == draw]) for draw in range(4)]
    spread = found.of(f"Spearman, {SPREAD}", method="cam", step=1)
    middle = sum(by_draw) / 4
    assert spread.value == pytest.approx(math.sqrt(sum((each - middle) ** 2 for each in by_draw) / 3))
    one = over_draws([row for row in rows if row["draw"] == 1], ("method", "step"), resamples=5)
    assert one.of(f"Spearman, {SPREAD}", method="cam", step=1).value is None


def test_bands_of_size_part_all_findings() -> None:
    rows = [
        {
            "case": f"c{at}",
            "group": f"c{at}",
            "pathology": "Mass",
            "method": "cam",
            "share": share,
            "IoU": share,
        }
        for at, share in enumerate((0.0, 0.004, 0.005, 0.02, 0.03, 0.07, 0.1, 1.0))
    ]
    found = summarise(rows, ("method",), strata=SIZES, resamples=2)
    assert [found.of("IoU", method="cam", stratum=name).cases for name in SIZES] == [2, 1, 1, 1, 1, 2]
    assert list(SIZES) == [
        "0 to 0.5 %",
        "0.5 to 1 %",
        "1 to 2.5 %",
        "2.5 to 5 %",
        "5 to 10 %",
        "10 % and more",
    ]
