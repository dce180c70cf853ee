"""The statistics of an audit against the definitions read aloud, scikit-learn, and answers that are known."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from typing import Any

import literal_statistics as literal
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.document import Statistics
from cxr_explain.audit.measures import MEASURES, Measure, Scored
from cxr_explain.audit.notices import image_sources, training_overlap
from cxr_explain.audit.statistics import statistics, statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError, OptionError
from cxr_explain.measures.statistics.bootstrap import grouped_means
from cxr_explain.measures.statistics.jackknife import leave_out
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


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_without_a_patient_is_that_of_the_others(measure: Measure) -> None:
    rng = np.random.default_rng(3)
    patients = np.unique(rng.integers(0, 25, 60), return_inverse=True)[1]
    there, chances = rng.random(60) < 0.3, np.round(rng.random(60), 1)
    scored = Scored("Mass", chances, there, patients, int(patients.max()) + 1, 0.5, {})
    (found,) = leave_out([scored.measured(measure)], scored.groups)
    for patient, ours in enumerate(found.without[0]):
        kept = patients != patient
        expected = literal.measures(chances[kept].tolist(), there[kept].tolist(), 0.5)[measure]
        assert ours == pytest.approx(expected, abs=1e-12)


def test_every_measure_says_which_patients_it_rests_on() -> None:
    """Patient 0 has an image of either kind, 1 a positive one that is missed, 2 and 3 negative ones."""
    chances = np.array([0.9, 0.2, 0.3, 0.8, 0.1, 0.4])
    there = np.array([True, False, True, False, False, False])
    scored = Scored("Mass", chances, there, np.array([0, 0, 1, 2, 2, 3]), 5, 0.5, {})
    found = dict(zip(MEASURES, scored.measured().bases, strict=True))
    assert {name: (each.patient, each.patients) for name, each in found.items()} == {
        "auroc": ("positive patient", 2),
        "auprc": ("positive patient", 2),
        "sensitivity": ("positive patient", 2),
        "specificity": ("negative patient", 3),
        "ppv": ("patient called positive", 2),
        "npv": ("patient called negative", 4),
        "brier": ("patient", 4),
        "ece": ("patient", 4),
    }
    assert found["specificity"].effective == pytest.approx(16 / 6)  # 1, 2 and 1 images
    assert (found["specificity"].images, found["brier"].images) == (4, None)
    assert (found["auroc"].least, found["sensitivity"].least) == (10, 8)


def test_perfect_inverted_and_constant_scores() -> None:
    states = [0] * 20 + [1] * 20
    rising = np.linspace(0, 1, 40)
    perfect, inverted, constant = (
        statistics(cases_of(chances, states)) for chances in (rising, 1 - rising, np.full(40, 0.5))
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
    found = statistics(cases_of(rng.random(4000), there))
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
    found = statistics(cases_of([0.1, 0.4, 0.6, 0.9], states))
    assert {name for name in MEASURES if value(found, name) is not None} == there
    assert {name for name in MEASURES if value(found, name) is None} == missing
    for name in missing:
        assert only(found)["estimates"][name] == {
            "value": None, "low": None, "high": None, "withheld": None,
        }  # fmt: skip
    assert only(found)["curves"]["roc"] == only(found)["curves"]["pr"] == []


def test_without_an_operating_point_nothing_is_called() -> None:
    found = statistics(cases_of([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1], point=None))
    assert [value(found, each) for each in ("sensitivity", "specificity", "ppv", "npv")] == [None] * 4
    assert value(found, "auroc") == 0.75
    assert only(found)["operating_point"] is None


def test_what_is_not_mentioned_never_counts_as_negative() -> None:
    chances = [0.9, 0.1, 0.5, 0.99, 0.99]
    found = only(statistics(cases_of(chances, [1, 0, -1, -2, -3])))
    assert (found["positive"], found["negative"], found["patients"]) == (1, 1, 2)
    assert found["excluded"] == {"uncertain": 1, "not mentioned": 1, "not labelled": 1}
    assert found["estimates"]["specificity"]["value"] == 1.0


def clustered(positive_patients: int, *, patients: int = 40, images: int = 3) -> Cases:
    """Patients with several images each, of which some patients have the finding."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(patients), images)
    there = patient < positive_patients
    return cases_of(np.clip(rng.normal(0.4 + 0.2 * there, 0.2), 0, 1), there, patients=patient)


@pytest.mark.parametrize(
    ("positive_patients", "auroc", "sensitivity"),
    [
        (1, "1 positive patient", "1 positive patient"),
        (7, "7 positive patients", "7 positive patients"),
        (8, "8 positive patients", None),
        (10, None, None),
        (31, "9 negative patients", None),
    ],
)
def test_an_interval_is_withheld_with_a_word_on_the_patients(
    positive_patients: int, auroc: str | None, sensitivity: str | None
) -> None:
    """Twelve positive images of one patient are one positive patient."""
    entry = only(statistics(clustered(positive_patients)))
    found = entry["estimates"]
    assert (found["auroc"]["withheld"], found["sensitivity"]["withheld"]) == (auroc, sensitivity)
    for each in found.values():
        assert (each["low"] is None) == (each["high"] is None) == (each["withheld"] is not None)
        if each["low"] is not None:
            assert each["low"] < each["high"]
            assert each["low"] <= each["value"] <= each["high"]
    assert entry["positive_patients"] == positive_patients
    assert entry["negative_patients"] == 40 - positive_patients
    assert entry["small"] == (positive_patients < 10 or positive_patients > 30)
    assert "if calibrated" in found["ece"]["withheld"]


def test_no_interval_is_without_width_where_all_agree() -> None:
    found = only(statistics(cases_of([0.9] * 8 + [0.1] * 30, [1] * 8 + [0] * 30)))["estimates"]
    for name, n in (("sensitivity", 8), ("ppv", 8), ("specificity", 30), ("npv", 30)):
        assert found[name]["value"] == 1.0
        assert found[name]["high"] == 1.0
        assert found[name]["low"] == pytest.approx(n / (n + 1.959964**2), abs=1e-6)  # Wilson's, by hand
    constant = only(statistics(cases_of([0.5] * 40, [1] * 20 + [0] * 20)))["estimates"]
    assert constant["auroc"]["low"] < constant["auroc"]["value"] == 0.5 < constant["auroc"]["high"]


def test_one_patient_alone_has_no_interval() -> None:
    share = {"border": np.linspace(0, 1, 12)}
    cases = cases_of(np.linspace(0, 1, 12), [0, 1] * 6, patients=[0] * 12, shares=share)
    document = statistics(cases).document
    everything = [*document["pathologies"][0]["estimates"].values(), document["where"][0]["estimate"]]
    assert all(each["value"] is not None and each["low"] is None and each["withheld"] for each in everything)
    assert all(each["observed_low"] is None for each in document["pathologies"][0]["curves"]["calibration"])


def test_images_of_one_patient_are_left_out_together() -> None:
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(40), 10)
    there = (np.arange(40) < 15)[patient]
    chances = 1 / (1 + np.exp(-(rng.normal(size=40)[patient] + 0.2 * rng.normal(size=400) + there)))
    alone = only(statistics(cases_of(chances, there)))["estimates"]
    together = only(statistics(cases_of(chances, there, patients=patient)))["estimates"]
    for name in ("auroc", "sensitivity", "specificity", "brier"):
        assert alone[name]["value"] == pytest.approx(together[name]["value"])
        width = together[name]["high"] - together[name]["low"]
        assert width > 2 * (alone[name]["high"] - alone[name]["low"])


@given(samples, draws)
def test_means_leave_out_what_is_missing(sample: list[tuple[float, bool, int]], drawn: list[int]) -> None:
    values = [chance if there else math.nan for chance, there, _ in sample]
    patients = np.array([patient for *_, patient in sample])
    found = grouped_means(np.array(values)[:, None], patients, 4)(np.array(drawn, np.float64)[:, None])
    kept = [v for v in literal.copies(values, [drawn[p] for p in patients]) if not math.isnan(v)]
    assert found.item() == pytest.approx(sum(kept) / len(kept) if kept else math.nan, nan_ok=True)


def test_the_document_holds_finite_numbers_or_null_and_comes_back() -> None:
    found = statistics(cases_of([0.1, 0.4, 0.6], [0, 0, 1], shares={"border": np.full(3, np.nan)}))
    text = found.to_json()
    assert b"NaN" not in text
    assert b"Infinity" not in text
    kept = json.loads(text)
    assert len(kept.pop("sha256")) == 64
    assert Statistics.from_json(text).document == kept == found.document
    other, infinite = text.replace(b"statistics/4", b"statistics/9"), text.replace(b"0.5", b"1e999")
    changed, twice = text.replace(b"0.5", b"0.6"), text.replace(b"{", b'{"images": 3,', 1)
    for bad in (b"{}", b"[]", b"no", b"[" * 100_000, other, infinite, changed, twice):
        with pytest.raises(AuditError):
            Statistics.from_json(bad)
    with pytest.raises(ValueError, match="JSON"):
        Statistics({"schema": "x", "value": math.nan}).to_json()


def test_the_same_images_give_the_same_document() -> None:
    cases = clustered(200, patients=900, images=1)  # more than there are blocks
    assert statistics(cases).to_json() == statistics(cases).to_json()


@pytest.mark.parametrize("bad", [{"policy": "twos"}, {"level": 1.0}, {"level": 0.0}])
def test_what_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        statistics(cases_of([0.5], [1]), **bad)


def test_notes_say_what_limits_the_numbers() -> None:
    assert image_sources("Data_Entry_2017 of NIH ChestX-ray14") == {"NIH ChestX-ray14"}
    assert training_overlap(["CheXpert"], "NIH ChestX-ray14") == training_overlap([], "CheXpert") == []
    assert "Google" in training_overlap(["OpenI", "Google"], "NIH ChestX-ray14")[0]
    assert training_overlap(["NIH"], "my hospital") == []
    notes = statistics(cases_of([0.1, 0.9], [0, 1]), notes=["First."]).document["notes"]
    assert notes[0] == "First."
    assert any("Fewer than 10 positive patients" in note and "Mass" in note for note in notes)
    assert any("An interval is withheld" in note for note in notes)


def test_statistics_of_a_run(finished: AuditRun) -> None:
    told: list[str] = []
    found = statistics_of(finished, progress=told.append)
    document = found.document
    assert (document["images"], document["patients"], document["failures"]) == (COUNT, COUNT, 0)
    assert document["policy"] == asdict(finished.record.policy)
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
