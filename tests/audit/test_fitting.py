"""Operating points that are fitted on a part of a run: against literal loops, and what each interval says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from tuning_case import NAMES, RUNNING, SHA256, Folder, classifier, folder

from cxr_explain import Explainer
from cxr_explain.audit.measures import Scored
from cxr_explain.audit.operating_points.fitting import (
    LEAST_FOR_INTERVAL,
    TuningSettings,
    fit_operating_points,
    fitted_point,
)
from cxr_explain.audit.operating_points.goals import Goal
from cxr_explain.audit.operating_points.split import ImagesOfRun, TuningPart, drawn
from cxr_explain.audit.run import run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError, OptionError
from cxr_explain.explaining.operating_points import OperatingPoints
from cxr_explain.measures.statistics.intervals import share_estimate
from cxr_explain.models.base import Outputs


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return folder(tmp_path_factory.mktemp("tuning") / "images")


@pytest.fixture(scope="module")
def run(images: Folder, tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    return images.run(tmp_path_factory.mktemp("tuning") / "run")


def fitted(run: AuditRun, goal: str, calibrate: str = "none", **part: object) -> OperatingPoints:
    settings = TuningSettings(Goal.parse(goal), TuningPart(**(part or {"split": "valid"})), calibrate)
    return fit_operating_points(run, settings)


def by_hand(run: AuditRun, name: str, split: str = "valid") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels and patients of the tuning images, row by row."""
    logits, labels, patients = [], [], []
    for row in run.results.to_pylist():
        entry = run.manifest[row["row"]]
        if entry.split == split:
            logits.append(row[f"logit {name}"])
            labels.append(bool(run.manifest.states[row["row"]][NAMES.index(name)] == 1))
            patients.append(entry.patient)
    return np.array(logits, np.float64), np.array(labels), np.array(patients)


@pytest.mark.parametrize("goal", ["youden", "sensitivity=0.9", "specificity=0.9", "cost=5"])
@pytest.mark.parametrize("name", ["Mass", "Edema"])
def test_sensitivity_and_specificity_are_counted_at_the_point(run: AuditRun, goal: str, name: str) -> None:
    point = next(each for each in fitted(run, goal).points if each.pathology == name)
    logits, labels, patients = by_hand(run, name)
    called = [1 / (1 + math.exp(-z)) >= point.operating_point for z in logits]
    right = sum(c and y for c, y in zip(called, labels, strict=True))
    spared = sum(not c and not y for c, y in zip(called, labels, strict=True))
    assert point.sensitivity.value == right / labels.sum()
    assert point.specificity.value == spared / (~labels).sum()
    assert (point.positive, point.negative) == (labels.sum(), (~labels).sum())
    assert point.positive_patients == len(set(patients[labels]))
    assert point.negative_patients == len(set(patients[~labels]))
    if "=0.9" in goal:
        assert getattr(point, goal.split("=")[0]).value >= 0.9


def test_the_intervals_are_by_patient_as_those_of_statistics(run: AuditRun) -> None:
    point = fitted(run, "youden", fraction=0.6, seed=3).points[0]
    among = TuningPart(fraction=0.6, seed=3).among(run, ImagesOfRun.of(run))
    rows = [row for row, chosen in zip(run.results.to_pylist(), among, strict=True) if chosen]
    there = [row for row in rows if run.manifest.states[row["row"]][0] == 1]
    called = np.array([expit(row["logit Mass"]) >= point.operating_point for row in there])
    patients = np.unique([run.manifest.patients[row["row"]] for row in there], return_inverse=True)[1]
    assert len(set(patients)) < len(patients)
    expected = share_estimate(called, patients)
    assert (point.sensitivity.low, point.sensitivity.high) == (expected.low, expected.high)
    assert expected.low is not None
    assert expected.low < point.sensitivity.value < expected.high


def test_the_point_of_a_quantile_has_an_interval_and_the_best_of_many_has_none(run: AuditRun) -> None:
    draws = np.random.default_rng(4)
    patients = np.repeat(np.arange(60), 2)
    labels = np.tile([True, False], 60)
    logits = labels + draws.normal(size=120)
    scored = Scored("Mass", logits, labels, patients, 60, None, {})
    point = fitted_point(scored, TuningSettings(Goal.parse("sensitivity=0.8"), TuningPart("any")))
    positives = expit(logits[labels])
    ends = point.interval
    assert ends is not None
    assert ends.low < point.operating_point < ends.high
    # At its ends the sensitivity is at least the upper, and the lower, end of the sensitivity's interval.
    assert (positives >= ends.low).mean() >= point.sensitivity.high
    assert (positives >= ends.high).mean() >= point.sensitivity.low
    above = np.sort(positives[positives > ends.high])
    assert (positives >= above[0] + 1e-9).mean() < point.sensitivity.low or len(above) == 0
    for goal in ("youden", "cost=2"):
        settings = TuningSettings(Goal.parse(goal), TuningPart("any"))
        assert fitted_point(scored, settings).interval is None
    few = fitted(run, "sensitivity=0.8", split="train").points[0]
    assert 15 <= few.positive_patients < LEAST_FOR_INTERVAL
    assert few.interval is None
    all_called = fitted_point(scored, TuningSettings(Goal.parse("sensitivity=1"), TuningPart("any")))
    assert all_called.interval is None, "nothing is known beyond the lowest score"


def test_the_point_is_on_the_scale_of_the_calibrated_probabilities(run: AuditRun) -> None:
    plain, warm = fitted(run, "youden"), fitted(run, "youden", "temperature")
    for one, other in zip(plain.points[:2], warm.points[:2], strict=True):
        temperature = other.calibration.temperature
        assert math.log(other.operating_point / (1 - other.operating_point)) == pytest.approx(
            math.log(one.operating_point / (1 - one.operating_point)) / temperature, rel=1e-9
        )
        assert (one.sensitivity, one.specificity) == (other.sensitivity, other.specificity)
    curved = fitted(run, "youden", "isotonic").points[0]
    logits, labels, _ = by_hand(run, "Mass")
    chances = curved.calibration.probabilities(logits)
    assert curved.sensitivity.value == (chances[labels] >= curved.operating_point).mean()


def test_a_pathology_with_too_few_patients_keeps_the_weights_own_point(run: AuditRun) -> None:
    points = fitted(run, "youden", "isotonic")
    hernia = points.points[2]
    assert (
        hernia.not_fitted
        == "3 patients with a positive image and 27 with a negative one, where 10 are needed"
    )
    assert (hernia.operating_point, hernia.calibration, hernia.sensitivity) == (None, None, None)
    assert [line for line in points.lines() if "Hernia" in line] == [
        "Hernia: not fitted, 3 patients with a positive image and 27 with a negative one, where 10 are "
        "needed; operating point: none."
    ]
    assert (points.tuning.fitted, points.tuning.calibrated, points.tuning.outputs) == (2, 2, 3)


def test_twelve_images_of_one_patient_are_one_patient(run: AuditRun, images: Folder) -> None:
    """Counting images, there would be enough to fit on."""
    states = images.manifest.states.copy()
    states[:, 0] = 0
    states[:12, 0] = 1
    people = ["one" if row < 12 else f"other {row}" for row in range(len(states))]
    manifest = replace_manifest(images, states=states, patients=people)
    again = run_audit(
        Explainer(classifier()), manifest, images.path, Path(run.place.name + "-one"), running=RUNNING
    )
    mass = fitted(again, "youden", fraction=0.99).points[0]
    assert mass.positive == 12
    assert mass.not_fitted.startswith("1 patients with a positive image")


def replace_manifest(images: Folder, **columns: object):
    from cxr_explain.reference.manifest import Manifest

    kept = {name: getattr(images.manifest, name) for name in ("patients", "splits", "states")}
    return Manifest(images.manifest.ids, images.manifest.paths, pathologies=NAMES, **{**kept, **columns})


def test_the_file_says_what_it_was_fitted_on_and_names_nobody(run: AuditRun, tmp_path: Path) -> None:
    points = fitted(run, "youden")
    tuning = points.tuning
    assert (tuning.goal, tuning.part, tuning.policy, tuning.calibrate) == (
        "youden",
        "split=valid",
        "strict",
        "none",
    )
    assert (tuning.images, tuning.patients) == (30, 30)
    assert (tuning.run_sha256, tuning.manifest_sha256) == (run.record.digest, run.record.manifest_sha256)
    assert points.weights_sha256 == SHA256
    valid = [row for row in run.results.to_pylist() if run.manifest.splits[row["row"]] == "valid"]
    assert set(points.images) == {row["sha256"] for row in valid}
    assert set(points.inputs) == {row["input_sha256"] for row in valid}
    text = points.save(tmp_path / "points.json").read_text()
    for entry in run.manifest:
        assert entry.patient not in text
        assert entry.path not in text
        assert entry.image_id not in text


def test_further_images_of_the_tuning_patients_are_known(run: AuditRun) -> None:
    points = fitted(run, "youden")
    people = {
        run.manifest.patients[row] for row in range(len(run.manifest)) if run.manifest.splits[row] == "valid"
    }
    others = [
        row
        for row in run.results.to_pylist()
        if run.manifest.patients[row["row"]] in people and run.manifest.splits[row["row"]] != "valid"
    ]
    assert len(others) == 15
    assert set(points.related) == {row[name] for row in others for name in ("sha256", "input_sha256")}


def test_the_same_patients_are_drawn_whatever_the_order_and_the_names(run: AuditRun) -> None:
    images = ImagesOfRun.of(run)
    order = np.random.default_rng(1).permutation(len(images.rows))
    people = np.random.default_rng(2).permutation(images.patients.max() + 1)  # other numbers
    other = ImagesOfRun(
        [images.rows[at] for at in order],
        [images.files[at] for at in order],
        [images.inputs[at] for at in order],
        people[images.patients[order]],
    )
    chosen = {images.files[at] for at in np.flatnonzero(np.isin(images.patients, drawn(images, 0.3, 5)))}
    again = {other.files[at] for at in np.flatnonzero(np.isin(other.patients, drawn(other, 0.3, 5)))}
    assert chosen == again
    assert len(drawn(images, 0.3, 5)) == 18
    assert set(drawn(images, 0.3, 5)) != set(drawn(images, 0.3, 6))
    assert set(drawn(images, 0.3, 5)) < set(drawn(images, 0.5, 5))


@pytest.mark.parametrize(
    "part", [{}, {"split": "valid", "fraction": 0.5}, {"fraction": 0.0}, {"fraction": 1.0}]
)
def test_a_part_is_a_split_or_a_fraction(part: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="expected a split of the manifest, or a fraction"):
        TuningPart(**part)


def test_a_split_that_there_is_not_is_named_with_those_that_there_are(run: AuditRun) -> None:
    with pytest.raises(
        OptionError, match=r"no explained image in the split 'test'; expected .*: train, valid"
    ):
        fitted(run, "youden", split="test")


def test_a_run_with_fitted_points_is_not_fitted_again(run: AuditRun, images: Folder, tmp_path: Path) -> None:
    again = images.run(tmp_path / "again", fitted(run, "youden"), allow_tuning_images=True)
    with pytest.raises(
        AuditError, match="operating points that were fitted already; expected one with the weights"
    ):
        fitted(again, "youden")


def test_a_softmax_has_no_operating_points(images: Folder, tmp_path: Path) -> None:
    model = classifier()
    model.outputs = Outputs(NAMES, kind="softmax-logits")
    run = run_audit(Explainer(model), images.manifest, images.path, tmp_path / "run", running=RUNNING)
    with pytest.raises(OptionError, match="outputs of kind softmax-logits, of which exactly one is true"):
        fitted(run, "youden")


@pytest.mark.slow
def test_the_intervals_hold() -> None:
    """The true sensitivity at the fitted point, and the true quantile, lie in 92 to 98 % of 95 % intervals.

    100 patients with one to five images each, half of them positive, scores of a patient correlated.
    """
    draws, settings = (
        np.random.default_rng(0),
        TuningSettings(Goal.parse("sensitivity=0.8"), TuningPart("any")),
    )
    # Scores of positives are normal with mean 1 and variance 1, of which 0.4 lies between patients.
    truth = float(expit(1 + -0.8416212335729143))
    inside_point = inside_share = given = 0
    rounds = 1500
    for _ in range(rounds):
        patients = np.repeat(np.arange(100), draws.integers(1, 6, 100))
        positive = (draws.random(100) < 0.5)[patients]
        shared = draws.normal(0, math.sqrt(0.4), 100)[patients]
        scores = positive + shared + draws.normal(0, math.sqrt(0.6), len(patients))
        point = fitted_point(Scored("Mass", scores, positive, patients, 100, None, {}), settings)
        if point.interval is not None:
            given += 1
            inside_point += point.interval.low <= truth <= point.interval.high
        z = math.log(point.operating_point / (1 - point.operating_point))
        reached = 0.5 * math.erfc((z - 1) / math.sqrt(2))
        inside_share += point.sensitivity.low <= reached <= point.sensitivity.high
    assert given > rounds / 2
    assert 0.92 <= inside_point / given <= 0.98
    assert 0.92 <= inside_share / rounds <= 0.98
