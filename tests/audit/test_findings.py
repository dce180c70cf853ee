"""What an audit finds: every comparison against a literal reading of it, and what becomes a finding."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
from literal_statistics import auroc

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.compared import calibration_in_the_large, discrimination_p, operation, share_p
from cxr_explain.audit.document import Statistics
from cxr_explain.audit.findings import ALPHA, findings_of
from cxr_explain.audit.findings.finding import AuditFinding
from cxr_explain.audit.label_chances import contradicted, first_cases, label_chances, usual_share
from cxr_explain.audit.left_out import left_out_groups
from cxr_explain.audit.localisation import LOCALISATION_MEASURES, Located
from cxr_explain.audit.measures import Scored
from cxr_explain.audit.sections.headline import Headline
from cxr_explain.audit.statistics import statistics
from cxr_explain.errors import AuditError
from cxr_explain.measures.statistics.jackknife import COUNTING

STATES = {True: 1, False: 0}


def scored(
    seed: int = 0, patients: int = 60, point: float = 0.5, shift: float = 1.0, share: float = 0.4
) -> Scored:
    """One to three images of each patient, with a score that knows a little."""
    draw = np.random.default_rng(seed)
    member = np.repeat(np.arange(patients), draw.integers(1, 4, patients))
    there = (draw.random(patients) < share)[member] ^ (draw.random(len(member)) < 0.1)
    scores = draw.normal(size=patients)[member] * 0.5 + draw.normal(size=len(member)) + shift * there
    return Scored("Mass", 1 / (1 + np.exp(-scores)), there, member, patients, point, {})


def jackknife_p(of: Callable[[Sequence[int]], float], patients: Sequence[int], bar: float) -> float:
    """One-sided p of a statistic of images reaching its bar, by Student's t, patient by patient."""
    everyone = range(len(patients))
    value = of(everyone)
    names = sorted(set(patients))
    without = [of([at for at in everyone if patients[at] != name]) for name in names]
    mean = math.fsum(without) / len(without)
    squares = [(each - mean) ** 2 for each in without]
    n = len(without)
    error = math.sqrt((n - 1) / n * math.fsum(squares))
    moving = sum(each != value for each in without)
    counting = COUNTING * math.fsum(squares) ** 2 / math.fsum(square**2 for square in squares)
    return float(scipy.stats.t.cdf((value - bar) / error, max(min(counting, moving) - 1, 1)))


@pytest.mark.parametrize(("seed", "shift"), [(0, 0.0), (1, 0.5), (2, 1.5)])
def test_how_well_a_pathology_is_told_apart(seed: int, shift: float) -> None:
    given = scored(seed, patients=30, shift=shift)

    def log_odds(images: Sequence[int]) -> float:
        area = auroc([given.probabilities[at] for at in images], [bool(given.positive[at]) for at in images])
        return math.log(area / (1 - area))

    expected = jackknife_p(log_odds, given.patients.tolist(), math.log(0.7 / 0.3))
    assert discrimination_p(given) == pytest.approx(expected, rel=1e-6)


def test_a_pathology_whose_order_is_perfect_or_perfectly_wrong() -> None:
    there = np.arange(40) % 2 == 0
    right = Scored("Mass", there.astype(float), there, np.arange(40), 40, None, {})
    assert discrimination_p(right) == 1.0
    assert discrimination_p(replace(right, probabilities=1.0 - there)) == pytest.approx(1 / 400)


def test_calibration_against_a_literal_reading() -> None:
    given = replace(scored(3), probabilities=scored(3).probabilities ** 0.5)

    def log_ratio(images: Sequence[int]) -> float:
        total = math.fsum(given.probabilities[at] for at in images)
        return math.log(total / sum(bool(given.positive[at]) for at in images))

    found = calibration_in_the_large(given)
    assert found is not None
    everyone = range(len(given.positive))
    assert found["value"] == pytest.approx(math.exp(log_ratio(everyone)))
    expected = jackknife_p(lambda images: -log_ratio(images), given.patients.tolist(), -math.log(1.25))
    assert found["p"] == pytest.approx(expected, rel=1e-6)
    assert found["low"] < found["value"] < found["high"]


def test_probabilities_that_are_too_low_are_as_far_off_as_those_that_are_too_high() -> None:
    there = np.arange(80) % 2 == 0
    low = calibration_in_the_large(Scored("Mass", np.full(80, 0.25), there, np.arange(80), 80, None, {}))
    high = calibration_in_the_large(Scored("Mass", np.full(80, 0.5), there, np.arange(80), 80, None, {}))
    assert low is not None
    assert high is not None
    assert low["value"] == 0.5
    assert low["p"] < 1e-4 < 0.5 < high["p"]


def test_calibration_is_not_judged_where_most_labels_are_left_out() -> None:
    given = scored()
    assert calibration_in_the_large(replace(given, excluded={"not mentioned": 10_000})) is None


def test_an_operating_point_against_fitted_ones_by_loops() -> None:
    given = scored(5, point=0.9)
    fold = np.random.default_rng(0).permutation(given.groups)[given.patients] % 5
    called = []
    for at in range(len(given.positive)):
        others = [other for other in range(len(given.positive)) if fold[other] != fold[at]]
        best = max(
            sorted({given.probabilities[other] for other in others}),
            key=lambda threshold: round(index(given, others, [threshold] * len(given.positive)), 12),
        )
        called.append(best)
    everyone, patients = range(len(given.positive)), given.patients.tolist()
    now = [given.operating_point] * len(given.positive)
    short = jackknife_p(
        lambda images: index(given, images, now) - index(given, images, called) / 2, patients, 0.0
    )
    rates = [
        binomial(given, given.positive, [given.probabilities[at] >= 0.9 for at in everyone]),
        binomial(given, ~given.positive, [given.probabilities[at] < 0.9 for at in everyone]),
    ]
    found = operation(given)
    assert found["reached"] == pytest.approx(index(given, everyone, called))
    assert found["p"] == pytest.approx(min(1.0, 2 * min(short, 2 * min(rates))), rel=1e-6)


def index(given: Scored, images: Sequence[int], thresholds: Sequence[float]) -> float:
    """Youden's, image by image."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for at in images:
        there = bool(given.positive[at])
        right[there].append((given.probabilities[at] >= thresholds[at]) == there)
    return sum(right[True]) / len(right[True]) + sum(right[False]) / len(right[False]) - 1


def binomial(given: Scored, among: np.ndarray, right: Sequence[bool]) -> float:
    """p of a rate reaching a quarter: the binomial distribution function, its count not a whole number."""
    chosen = [bool(right[at]) for at in np.flatnonzero(among)]
    _, sizes = np.unique(given.patients[among], return_counts=True)
    n = int(sizes.sum()) ** 2 / int((sizes**2).sum())
    share = sum(chosen) / len(chosen)
    return 1.0 if share >= 0.25 else float(scipy.stats.beta.sf(0.25, n * share + 1, n * (1 - share)))


@pytest.mark.parametrize(("hits", "images"), list(itertools.product((0, 1, 4), (20, 35))))
def test_a_rate_of_single_images_has_the_binomial_distribution(hits: int, images: int) -> None:
    found = share_p(hits / images, np.arange(images), 0.25)
    assert found == pytest.approx(scipy.stats.binom.cdf(hits, images, 0.25), rel=1e-9)


def test_images_of_one_patient_count_once() -> None:
    alike = share_p(0.0, np.repeat(np.arange(10), 5), 0.25)
    assert alike == pytest.approx(0.75**10)


@pytest.mark.parametrize("seed", range(4))
def test_failures_of_a_subgroup_against_fishers_exact_test(seed: int) -> None:
    draw = np.random.default_rng(seed)
    view, failed = draw.choice(["AP", "PA"], 80), draw.random(80) < 0.2
    found = left_out_groups({"view": tuple(view.tolist())}, np.arange(80), failed)
    for each in found:
        table = [
            [each["failed"], each["patients"] - each["failed"]],
            [each["failed_elsewhere"], each["elsewhere"] - each["failed_elsewhere"]],
        ]
        assert each["p"] == pytest.approx(scipy.stats.fisher_exact(table, "greater").pvalue, rel=1e-9)


def test_failures_count_patients_and_leave_out_the_unknown() -> None:
    failed = np.array([True, True, True, False, False, False])
    (found, _) = left_out_groups(
        {"view": ("AP", "AP", None, "PA", "PA", "PA")}, np.array([0, 0, 1, 2, 3, 3]), failed
    )
    assert (found["failed"], found["patients"], found["failed_elsewhere"], found["elsewhere"]) == (1, 1, 0, 2)


def test_the_usual_share_by_loops() -> None:
    draw = np.random.default_rng(2)
    probabilities, there = draw.random(230), draw.random(230) < 0.3
    patients = np.repeat(np.arange(115), 2)
    edges = [float(np.quantile(probabilities, quantile)) for quantile in (0.25, 0.5, 0.75)]  # 230 // 50 bins

    def bin_of(at: int) -> int:
        return sum(probabilities[at] >= edge for edge in edges)

    for at in (0, 1, 77, 229):
        others = [o for o in range(230) if patients[o] != patients[at] and bin_of(o) == bin_of(at)]
        expected = (sum(bool(there[o]) for o in others) + 1) / (len(others) + 2)
        assert usual_share(probabilities, there, patients)[at] == pytest.approx(expected)


def cases(seed: int = 0, patients: int = 150, **changes: Any) -> Cases:
    """A good model of five pathologies, two images of each patient."""
    draw = np.random.default_rng(seed)
    names = ("Effusion", "Mass", "Edema", "Nodule", "Pneumothorax")
    member = np.repeat(np.arange(patients), 2)
    there = (draw.random((patients, 5)) < [0.4, 0.3, 0.3, 0.2, 0.2])[member]
    logits = np.log([2 / 3, 3 / 7, 3 / 7, 1 / 4, 1 / 4]) + 2.2 * draw.normal(size=(len(member), 5)) - 2.42
    logits += 4.84 * there
    given: dict[str, Any] = {
        "ids": tuple(f"image {at}.png" for at in range(len(member))),
        "patients": member,
        "pathologies": names,
        "probabilities": 1 / (1 + np.exp(-logits)),
        "operating_points": (0.4, 0.3, 0.3, 0.2, 0.2),
        "labels": names,
        "states": there.astype(np.int8),
    }
    return Cases(**given | changes)


def found_in(given: Cases, **options: Any) -> list[dict[str, Any]]:
    return list(statistics(given, **options).document["findings"]["found"])


def test_contradicted_labels_by_loops() -> None:
    given = cases(patients=40)
    found = contradicted(given, label_chances(given, policy="ignore"))
    shares = [
        usual_share(p, s == 1, given.patients)
        for p, s in zip(given.probabilities.T, given.states.T, strict=True)
    ]
    anybody = [
        usual_share(p * 0, s == 1, given.patients)
        for p, s in zip(given.probabilities.T, given.states.T, strict=True)
    ]
    evidence = []
    for patient in range(40):
        products = []
        for kind in ("inverted", "foreign"):
            ratios = []
            for image in np.flatnonzero(given.patients == patient):
                ratio = 1.0
                for at, label in enumerate(given.states[image] == 1):
                    as_it_is = shares[at][image] if label else 1 - shares[at][image]
                    other = (
                        1 - as_it_is
                        if kind == "inverted"
                        else anybody[at][image]
                        if label
                        else 1 - anybody[at][image]
                    )
                    ratio *= other / as_it_is
                ratios.append(ratio)
            products.append(math.prod(ratios) ** (1 / len(ratios)))
        evidence.append(sum(products) / 2)
    best = sorted(evidence, reverse=True)[:5]
    assert [each["evidence"] for each in found["found"]] == pytest.approx([math.log(each) for each in best])
    assert found["found"][0]["p"] == pytest.approx(min(1.0, 40 / best[0]))
    assert found["patients"] == 40


def test_the_cases_to_open_first_are_the_least_likely_labels_of_different_patients() -> None:
    given = cases(patients=60)
    labelled = label_chances(given, policy="ignore")
    found = first_cases(given, labelled)
    assert len({each["image"] for each in found}) == 5
    assert len({each["pathology"] for each in found}) == 5
    least = min(float(each.chance.min()) for each in labelled)
    assert found[0]["chance"] == pytest.approx(least)
    for each in found:
        at, name = given.ids.index(each["image"]), given.pathologies.index(each["pathology"])
        assert each["positive"] == (given.states[at, name] == 1)
        assert each["probability"] == given.probabilities[at, name]
        assert each["chance"] < 0.5
    patients = [given.patients[given.ids.index(each["image"])] for each in found]
    assert len(set(patients)) == 5


def test_a_good_model_on_a_sound_set_has_no_finding() -> None:
    assert found_in(cases()) == []


def test_the_labels_of_one_patient_are_asked_after_by_their_images() -> None:
    given = cases()
    states = given.states.copy()
    states[given.patients == 17] = 1 - states[given.patients == 17]
    (found,) = found_in(cases(states=states))
    assert found["kind"] == "labels"
    assert found["images"] == ["image 34.png", "image 35.png"]
    assert found["cases"] == {"patient": "image 34.png"}
    assert "of one patient swapped?" in found["text"]


def test_sensitivity_1_and_specificity_0_is_told() -> None:
    (found,) = found_in(cases(operating_points=(0.4, 0.0, 0.3, 0.2, 0.2)))
    assert found["kind"] == "operating point"
    assert found["text"].startswith(
        "Mass: at its operating point 0.000, sensitivity 1.000 and specificity 0.000;"
    )
    assert found["estimate"]["of"] == "specificity"
    assert found["cases"] == {"subject": "Mass", "side": "above", "agreement": "disagrees"}


def test_a_point_that_calls_nobody_is_told_and_leads_to_the_missed() -> None:
    (found,) = found_in(cases(operating_points=(0.4, 0.3, 1.0, 0.2, 0.2)))
    assert found["cases"] == {"subject": "Edema", "side": "below", "agreement": "disagrees"}


def test_a_pathology_that_fails_is_told_and_one_with_three_positives_is_not() -> None:
    given = cases()
    draw = np.random.default_rng(9)
    probabilities, states = given.probabilities.copy(), given.states.copy()
    probabilities[:, 2] = draw.permutation(probabilities[:, 2])
    states[:, 4] = given.patients < 3
    probabilities[:, 4] = np.where(states[:, 4] == 1, 0.9, 0.1)  # three positives, and all of them on top
    document = statistics(cases(probabilities=probabilities, states=states)).document
    found = [each for each in document["findings"]["found"] if each["kind"] == "pathology"]
    assert [each["cases"] for each in found] == [{"queue": "disagreements", "subject": "Edema"}]
    assert found[0]["text"].startswith("Edema: AUROC 0.")
    assert "not told from chance (0.5)" in found[0]["text"]
    assert document["findings"]["few"]["pathology"] == ["Pneumothorax (3 patients with, 147 without)"]
    assert "Not enough cases: pathology: Pneumothorax" in Headline.of(document).to_text()


def test_a_pathology_that_is_worse_than_chance_is_told_so() -> None:
    given = cases()
    probabilities = given.probabilities.copy()
    probabilities[:, 0] = 1 - probabilities[:, 0]
    found = found_in(
        cases(probabilities=probabilities),
    )
    assert found[0]["kind"] == "pathology"
    assert found[0]["size"] > 0.5


def located(hits: Sequence[float], chance: float, name: str = "Mass") -> list[Located]:
    """An image of each patient."""
    numbers = dict.fromkeys(LOCALISATION_MEASURES, math.nan)
    return [
        Located(2 * at, name, tuple((numbers | {"peak_hit": hit, "random_hit": chance}).values()))
        for at, hit in enumerate(hits)
    ]


def test_a_map_below_chance_is_told_in_words() -> None:
    hits = [1.0] * 4 + [0.0] * 56  # 0.067 against 0.093
    (found,) = found_in(cases(), located=located(hits, 0.093))
    assert found["kind"] == "localisation"
    assert "in 0.067 of the images, a random point in 0.093: no better than chance" in found["text"]
    assert found["p"] == pytest.approx(scipy.stats.binom.cdf(4, 60, 0.193))
    assert found_in(cases(), located=located([1.0] * 25 + [0.0] * 35, 0.093)) == []


def test_few_outlined_patients_are_not_judged() -> None:
    document = statistics(cases(), located=located([0.0] * 9, 0.5)).document
    assert document["findings"]["few"] == {"localisation": ["Mass (9 patients with an outline)"]}


def test_failures_are_told_and_whom_they_leave_out() -> None:
    failed = np.arange(200) < 20
    groups = left_out_groups({"view": ("AP",) * 40 + ("PA",) * 160}, np.arange(200), failed)
    whole, group = found_in(cases(), failures=20, failed=groups)
    assert group["text"] == "20 of 320 images (6.2 %) could not be explained."
    assert whole["text"] == "Failures leave out view “AP”: 20 of 40 patients, 0 of 160 others."
    assert whole["cases"] == {"queue": "failures", "view": "AP"}
    assert found_in(cases(), failures=3) == []


def rule_of(*p: float | None, kind: Any = "pathology") -> Callable[[Any], Any]:
    return lambda _: iter(
        [AuditFinding(kind, f"{each}", {}, {}, size=at, p=each) for at, each in enumerate(p)]
    )


def test_p_are_adjusted_by_holm_within_a_kind_and_shared_by_the_kinds() -> None:
    rules = [rule_of(0.001, 0.01, 0.02), rule_of(0.02, kind="labels"), rule_of(None, kind="failures")]
    found = findings_of({}, rules)
    assert found["kinds"] == 2
    assert found["compared"] == {"pathology": 3, "labels": 1, "failures": 1}
    told = [(each["text"], each["p_adjusted"]) for each in found["found"]]
    assert told == [("0.02", 0.04), ("0.01", 0.04), ("0.001", 0.006), ("0.02", 0.04), ("None", None)]


@pytest.mark.parametrize("kinds", [1, 2, 5])
def test_no_more_than_alpha_of_sets_without_a_fault_have_a_finding(kinds: int) -> None:
    draw = np.random.default_rng(kinds)
    names = ("pathology", "subgroup", "localisation", "calibration", "labels")[:kinds]
    alarms = 0
    for _ in range(2000):
        rules = [rule_of(*draw.random(7).tolist(), kind=name) for name in names]
        alarms += bool(findings_of({}, rules)["found"])
    assert alarms / 2000 < ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 2000)


def test_the_headline_comes_first_and_survives_being_kept() -> None:
    given = statistics(cases(operating_points=(0.4, 0.0, 0.3, 0.2, 0.2)))
    kept = Statistics.from_json(given.to_json())
    for text in (given.to_text(), kept.to_text()):
        assert text.startswith("What this audit found\n1 finding in ")
        assert "Which operating points do not suit this set?\n- Mass: at its operating point" in text
    assert kept.to_markdown().startswith("## What this audit found\n\n1 finding in ")
    assert json.loads(given.to_json())["findings"]["found"][0]["kind"] == "operating point"


def test_statistics_whose_findings_lack_their_words_are_refused() -> None:
    document = dict(statistics(cases()).document)
    document["findings"] = {**document["findings"], "found": [{"kind": "verdict", "text": "bad"}]}
    with pytest.raises(AuditError, match="other entries"):
        Statistics.from_json(Statistics(document).to_json())


def test_a_finding_in_words() -> None:
    document = statistics(cases()).document
    finding = AuditFinding(
        "labels", "Swapped?", {"of": "share", "value": 0.5, "low": 0.25, "high": 0.75},
        {"positive patients": 1, "images": 9}, size=1.0, p=0.01, cases={"patient": "a b/ü.png"},
        images=[f"{at}.png" for at in range(9)],
    )  # fmt: skip
    headline = Headline.of({**document, "findings": findings_of({}, [lambda _: iter([finding])])})
    (shown,) = headline.groups[0].findings
    assert (
        shown.basis == "share 95 % interval 0.250 to 0.750; 1 positive patient; 9 images; adjusted p = 0.01"
    )
    assert shown.address == "#cases?patient=a%20b%2F%C3%BC.png"
    assert shown.named == "Swapped? Images: 0.png, 1.png, 2.png, 3.png, 4.png, 5.png and 3 others."


def test_three_of_a_kind_are_shown_and_the_others_counted() -> None:
    document = statistics(cases()).document
    many = findings_of({}, [rule_of(*[0.0001] * 5)])
    headline = Headline.of({**document, "findings": many})
    assert len(headline.groups[0].findings) == 3
    assert len(headline.groups[0].further) == 2
    assert "and 2 more" in headline.to_text()
    assert "- and 2 more" in headline.to_markdown()
