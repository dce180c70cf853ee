"""The statistics of an audit against the definitions read aloud, scikit-learn, and answers that are known."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import literal_statistics as literal
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.document import Statistics
from cxr_explain.audit.measures import MEASURES, Scored
from cxr_explain.audit.notices import image_sources, training_overlap
from cxr_explain.audit.statistics import FLAGGED_FROM, statistics, statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError, OptionError
from cxr_explain.measures.statistics.bootstrap import bootstrap, bootstrap_weighted, grouped_means
from tests.audit.conftest import COUNT

images = st.tuples(st.integers(0, 8).map(lambda k: k / 8), st.booleans(), st.integers(0, 3))
samples = st.lists(images, min_size=1, max_size=20)
points = st.sampled_from([None, 0.0, 0.375, 0.4, 1.0])
draws = st.lists(st.integers(0, 3), min_size=4, max_size=4)


def scored_of(sample: list[tuple[float, bool, int]], point: float | None) -> Scored:
    chances, there, patients = zip(*sample, strict=True)
    return Scored("Mass", np.array(chances), np.array(there, bool), np.array(patients), 4, point, {})


def cases_of(
    probabilities: Any, states: Any, *, patients: Any = None, point: float | None = 0.5, **more: Any
) -> Cases:
    chances = np.asarray(probabilities, np.float64)
    n = len(chances)
    return Cases(
        ids=tuple(f"image {number}" for number in range(n)),
        patients=np.arange(n) if patients is None else np.asarray(patients),
        pathologies=("Mass",),
        probabilities=chances[:, None],
        operating_points=(point,),
        labels=("Mass",),
        states=np.asarray(states, np.int8)[:, None],
        **more,
    )


def only(found: Statistics, section: str = "pathologies") -> dict[str, Any]:
    (entry,) = found.document[section]
    return entry


def value(found: Statistics, measure: str) -> float | None:
    return only(found)["estimates"][measure]["value"]


@given(samples, points, draws)
def test_every_measure_is_its_definition_under_every_weighting(
    sample: list[tuple[float, bool, int]], point: float | None, drawn: list[int]
) -> None:
    found = scored_of(sample, point).measured()(np.array([drawn, [1] * 4], np.float64).T)
    for column, multiplicity in enumerate((drawn, [1] * 4)):
        weights = [multiplicity[patient] for *_, patient in sample]
        chances = literal.copies([chance for chance, *_ in sample], weights)
        there = literal.copies([there for _, there, _ in sample], weights)
        expected = literal.measures(chances, there, point)
        for name, ours in zip(MEASURES, found[:, column], strict=True):
            assert ours == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_every_measure_is_scikit_learns(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 500
    there = rng.random(n) < 0.2
    chances = 1 / (1 + np.exp(-rng.normal(size=n) - there + 1))
    chances = np.round(chances, 1) if ties else chances
    weights = rng.integers(0, 4, n)
    scored = Scored("Mass", chances, there, np.arange(n), n, 0.3, {})
    ours = dict(zip(MEASURES, scored.measured()(weights[:, None].astype(np.float64))[:, 0], strict=True))
    weighted = {"sample_weight": weights}
    tn, fp, fn, tp = metrics.confusion_matrix(there, chances >= 0.3, **weighted).ravel()
    assert ours["auroc"] == pytest.approx(metrics.roc_auc_score(there, chances, **weighted), abs=1e-12)
    assert ours["auprc"] == pytest.approx(
        metrics.average_precision_score(there, chances, **weighted), abs=1e-12
    )
    assert ours["brier"] == pytest.approx(metrics.brier_score_loss(there, chances, **weighted), abs=1e-12)
    assert ours["sensitivity"] == pytest.approx(tp / (tp + fn))
    assert ours["specificity"] == pytest.approx(tn / (tn + fp))
    assert ours["ppv"] == pytest.approx(metrics.precision_score(there, chances >= 0.3, **weighted))
    assert ours["npv"] == pytest.approx(tn / (tn + fn))


@pytest.mark.parametrize("measure", ["auroc", "auprc", "ppv", "ece"])
def test_the_weighted_bootstrap_is_the_bootstrap_of_indices(measure: str) -> None:
    rng = np.random.default_rng(3)
    n = 60
    patients = np.sort(rng.integers(0, 25, n))
    patients = np.unique(patients, return_inverse=True)[1]
    there, chances = rng.random(n) < 0.3, np.round(rng.random(n), 1)
    scored = Scored("Mass", chances, there, patients, int(patients.max()) + 1, 0.5, {})

    def of(index: np.ndarray) -> float | None:
        found = literal.measures(chances[index].tolist(), there[index].tolist(), 0.5)[measure]
        return None if math.isnan(found) else found

    slow = bootstrap(of, n, groups=patients.tolist(), resamples=40, seed=9)
    statistic = scored.measured(measure)  # type: ignore[arg-type]
    ((fast,),) = bootstrap_weighted([statistic], scored.groups, resamples=40, seed=9)
    for ours, theirs in ((fast.value, slow.value), (fast.low, slow.low), (fast.high, slow.high)):
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_perfect_inverted_and_constant_scores() -> None:
    states = [0] * 20 + [1] * 20
    rising = np.linspace(0, 1, 40)
    perfect, inverted, constant = (
        statistics(cases_of(chances, states), resamples=50)
        for chances in (rising, 1 - rising, np.full(40, 0.5))
    )
    assert [value(perfect, each) for each in ("auroc", "auprc", "sensitivity", "specificity")] == [1.0] * 4
    for measure in ("auroc", "sensitivity", "specificity", "ppv", "npv"):
        assert value(inverted, measure) == 0.0
    assert value(constant, "auroc") == value(constant, "auprc") == 0.5
    assert value(constant, "sensitivity") == 1.0  # 0.5 is at the operating point, and called positive
    assert value(constant, "npv") is None  # nobody is called negative
    assert value(constant, "ece") == 0.0


def test_a_chance_score_is_worth_a_half() -> None:
    rng = np.random.default_rng(0)
    there = np.arange(4000) % 10 == 0
    found = statistics(cases_of(rng.random(4000), there), resamples=20)
    assert value(found, "auroc") == pytest.approx(0.5, abs=0.05)  # two and a half standard errors
    assert value(found, "auprc") == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("states", "there", "missing"),
    [
        ([1, 1, 1, 1], {"sensitivity", "brier", "ece"}, {"auroc", "auprc", "specificity", "ppv", "npv"}),
        ([0, 0, 0, 0], {"specificity", "brier", "ece"}, {"auroc", "auprc", "sensitivity", "ppv", "npv"}),
        ([-1, -2, -3, -3], set(), set(MEASURES)),
    ],
)
def test_what_is_not_estimable_is_null(states: list[int], there: set[str], missing: set[str]) -> None:
    found = statistics(cases_of([0.1, 0.4, 0.6, 0.9], states), resamples=20)
    assert {name for name in MEASURES if value(found, name) is not None} == there
    assert {name for name in MEASURES if value(found, name) is None} == missing
    for name in missing:
        assert only(found)["estimates"][name] == {"value": None, "low": None, "high": None, "resamples": 0}
    assert only(found)["curves"]["roc"] == only(found)["curves"]["pr"] == []


def test_without_an_operating_point_nothing_is_called() -> None:
    found = statistics(cases_of([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1], point=None), resamples=20)
    assert [value(found, each) for each in ("sensitivity", "specificity", "ppv", "npv")] == [None] * 4
    assert value(found, "auroc") == 0.75
    assert only(found)["operating_point"] is None


def test_what_is_not_mentioned_never_counts_as_negative() -> None:
    chances = [0.9, 0.1, 0.5, 0.99, 0.99]
    found = only(statistics(cases_of(chances, [1, 0, -1, -2, -3]), resamples=20))
    assert (found["positive"], found["negative"], found["patients"]) == (1, 1, 2)
    assert found["excluded"] == {"uncertain": 1, "not mentioned": 1, "not labelled": 1}
    assert found["estimates"]["specificity"]["value"] == 1.0


def test_an_interval_is_withheld_where_it_would_say_too_much() -> None:
    """The one positive of 21 is drawn in 64 % of the resamples; where it is, sensitivity is always 1."""
    chances = np.linspace(0, 1, 21)
    states = [0] * 21
    states[10] = 1
    found = only(statistics(cases_of(chances, states, point=0.2), resamples=400))["estimates"]
    assert found["auroc"]["low"] is not None
    assert 200 < found["auroc"]["resamples"] < 300
    estimable = found["auroc"]["resamples"]
    assert found["sensitivity"] == {"value": 1.0, "low": None, "high": None, "resamples": estimable}
    # Each of two images that count is drawn in 65 % of the resamples of eleven, both in 40 %.
    rare = only(statistics(cases_of([0.5] * 10 + [0.9], [-2] * 9 + [0, 1]), resamples=400))["estimates"]
    assert rare["auroc"]["value"] == 1.0
    assert rare["auroc"]["low"] is None
    assert rare["auroc"]["resamples"] < 200


def test_images_of_one_patient_are_resampled_together() -> None:
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(40), 10)
    there = (np.arange(40) < 15)[patient]
    chances = 1 / (1 + np.exp(-(rng.normal(size=40)[patient] + 0.2 * rng.normal(size=400) + there)))
    alone = only(statistics(cases_of(chances, there), resamples=300))["estimates"]
    together = only(statistics(cases_of(chances, there, patients=patient), resamples=300))["estimates"]
    for name in ("auroc", "sensitivity", "specificity", "brier"):
        assert alone[name]["value"] == pytest.approx(together[name]["value"])
        width = together[name]["high"] - together[name]["low"]
        assert width > 2 * (alone[name]["high"] - alone[name]["low"])


def test_shares_are_means_by_patient_with_quantiles() -> None:
    share = np.array([0.0, 0.25, 0.5, 1.0, np.nan])
    cases = cases_of(
        [0.5] * 5, [0] * 5, patients=[0, 0, 1, 2, 3], shares={"border": share, "markers": share * np.nan}
    )
    border, markers = statistics(cases, resamples=100).document["where"]
    assert (border["images"], border["missing"], border["flagged"]) == (4, 1, 2)
    assert border["threshold"] == FLAGGED_FROM
    assert border["estimate"]["value"] == np.nanmean(share)
    assert border["quantiles"] == {
        str(q): pytest.approx(np.nanquantile(share, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)
    }
    assert (markers["images"], markers["missing"], markers["flagged"]) == (0, 5, 0)
    assert markers["estimate"]["value"] is None
    assert set(markers["quantiles"].values()) == {None}


@given(samples, draws)
def test_means_leave_out_what_is_missing(sample: list[tuple[float, bool, int]], drawn: list[int]) -> None:
    values = [chance if there else math.nan for chance, there, _ in sample]
    patients = np.array([patient for *_, patient in sample])
    found = grouped_means(np.array(values)[:, None], patients, 4)(np.array(drawn, np.float64)[:, None])
    kept = [v for v in literal.copies(values, [drawn[p] for p in patients]) if not math.isnan(v)]
    assert found.item() == pytest.approx(sum(kept) / len(kept) if kept else math.nan, nan_ok=True)


def test_the_document_holds_finite_numbers_or_null_and_comes_back() -> None:
    found = statistics(
        cases_of([0.1, 0.4, 0.6], [0, 0, 1], shares={"border": np.full(3, np.nan)}), resamples=20
    )
    text = found.to_json()
    assert b"NaN" not in text
    assert b"Infinity" not in text
    kept = json.loads(text)
    assert len(kept.pop("sha256")) == 64
    assert Statistics.from_json(text).document == kept == found.document
    other, infinite = text.replace(b"statistics/3", b"statistics/9"), text.replace(b"0.5", b"1e999")
    changed, twice = text.replace(b"0.5", b"0.6"), text.replace(b"{", b'{"images": 3,', 1)
    for bad in (b"{}", b"[]", b"no", b"[" * 100_000, other, infinite, changed, twice):
        with pytest.raises(AuditError):
            Statistics.from_json(bad)
    with pytest.raises(ValueError, match="JSON"):
        Statistics({"schema": "x", "value": math.nan}).to_json()


def test_the_same_seed_gives_the_same_document() -> None:
    rng = np.random.default_rng(2)
    cases = cases_of(rng.random(50), rng.random(50) < 0.5)
    first, again, other = (statistics(cases, resamples=60, seed=seed).to_json() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("bad", [{"policy": "twos"}, {"level": 1.0}, {"resamples": 0}])
def test_what_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        statistics(cases_of([0.5], [1]), **bad)


def test_notes_say_what_limits_the_numbers() -> None:
    assert image_sources("Data_Entry_2017 of NIH ChestX-ray14") == {"NIH ChestX-ray14"}
    assert training_overlap(["CheXpert"], "NIH ChestX-ray14") == training_overlap([], "CheXpert") == []
    assert "Google" in training_overlap(["OpenI", "Google"], "NIH ChestX-ray14")[0]
    assert training_overlap(["NIH"], "my hospital") == []
    notes = statistics(cases_of([0.1, 0.9], [0, 1]), resamples=20, notes=["First."]).document["notes"]
    assert notes[0] == "First."
    assert any("Fewer than 10 positives" in note and "Mass" in note for note in notes)
    assert any("No interval" in note for note in notes)


def test_statistics_of_a_run(finished: AuditRun) -> None:
    told: list[str] = []
    found = statistics_of(finished, resamples=100, progress=told.append)
    document = found.document
    assert (document["images"], document["patients"], document["failures"]) == (COUNT, COUNT, 0)
    assert document["policy"] == finished.record.uncertain
    assert told
    results = finished.results
    there = [str(entry.labels["Nodule"]) == "positive" for entry in finished.manifest]
    nodule = next(each for each in document["pathologies"] if each["pathology"] == "Nodule")
    expected = metrics.roc_auc_score(there, results["probability Nodule"].to_numpy())
    assert nodule["estimates"]["auroc"]["value"] == pytest.approx(expected)
    assert {each["column"] for each in document["subgroups"]} == {"sex", "age", "view", "hospital"}
    assert {each["pathology"] for each in document["localisation"]} >= {"Nodule"}
    assert any("No reference labels: Atelectasis" in note for note in document["notes"])
    Statistics.from_json(found.to_json())
    for text in (found.to_text(), found.to_markdown()):
        assert "not estimable" in text
        assert "Subgroups by hospital" in text
        assert "nan" not in text


@pytest.mark.slow
def test_a_hundred_thousand_images_take_less_than_two_minutes() -> None:
    rng = np.random.default_rng(0)
    n, names = 100_000, tuple(f"pathology {number}" for number in range(14))
    states = (rng.random((n, 14)) < rng.uniform(0.01, 0.2, 14)).astype(np.int8)
    cases = Cases(
        ids=tuple(map(str, range(n))),
        patients=np.unique(rng.integers(0, 30_000, n), return_inverse=True)[1],
        pathologies=names,
        probabilities=1 / (1 + np.exp(2 - rng.normal(size=(n, 14)) - states)),
        operating_points=(0.3,) * 14,
        labels=names,
        states=states,
    )
    began = time.perf_counter()
    statistics(cases)
    assert time.perf_counter() - began < 120
