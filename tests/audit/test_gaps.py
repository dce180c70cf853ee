"""Gaps between groups: every number against loops over images and patients, in float64."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.findings.gaps import rule
from cxr_explain.audit.gaps import gaps_of
from cxr_explain.audit.groups import MOST_INTERSECTIONS, pairs_of
from cxr_explain.audit.sections.gaps import section
from cxr_explain.audit.statistics import statistics
from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.basis import LEAST_PATIENTS, Basis
from cxr_explain.measures.statistics.intervals import ends
from cxr_explain.measures.statistics.jackknife import LeftOut

Group = dict[str, str]


def cases(seed: int = 0, n: int = 300, patients: int = 120) -> Cases:
    """Two views of most patients, so that a patient is in both groups; labels of all kinds."""
    rng = np.random.default_rng(seed)
    who = np.unique(rng.integers(0, patients, n), return_inverse=True)[1]
    states = rng.choice([1, 0, -1, -2], size=(n, 3), p=[0.3, 0.6, 0.05, 0.05]).astype(np.int8)
    logits = rng.normal(size=(n, 3)) - 0.7 + 1.6 * (states == 1)
    sex = np.where(np.arange(patients) % 3 == 0, "F", "M")[who].tolist()
    sex[:4] = [None] * 4
    return Cases(
        ids=tuple(map(str, range(n))),
        patients=who,
        pathologies=("Mass", "Nodule", "Edema"),
        probabilities=np.round(1 / (1 + np.exp(-logits)), 2),
        operating_points=(0.5, 0.4, None),
        labels=("Mass", "Nodule", "Edema"),
        states=states,
        columns={
            "sex": tuple(sex),
            "view": tuple(rng.choice(["AP", "PA", "LL"], n, p=[0.4, 0.4, 0.2]).tolist()),
        },
    )


def inside(given: Cases, group: Group) -> list[int]:
    return [
        image
        for image in range(len(given))
        if all(given.columns[column][image] == value for column, value in group.items())
    ]


def others(given: Cases, entry: dict[str, Any]) -> list[int]:
    known = [
        image
        for image in range(len(given))
        if all(given.columns[column][image] is not None for column in entry["group"])
    ]
    if entry["against"] is not None:
        return inside(given, {entry["column"]: entry["against"]})
    group = set(inside(given, entry["group"]))
    return [image for image in known if image not in group]


def measured(given: Cases, images: list[int], pathology: str, name: str) -> float:
    """One measure of some images, from its definition."""
    column = given.pathologies.index(pathology)
    point = given.operating_points[column]
    states = given.states_of(pathology)
    positive = [given.probabilities[image, column] for image in images if states[image] == 1]
    negative = [given.probabilities[image, column] for image in images if states[image] == 0]
    if name == "auroc":
        there = [True] * len(positive) + [False] * len(negative)
        return roc_auc_score(there, positive + negative) if positive and negative else math.nan
    if point is None:
        return math.nan
    if name == "sensitivity":
        return sum(score >= point for score in positive) / len(positive) if positive else math.nan
    return sum(score < point for score in negative) / len(negative) if negative else math.nan


def any_missed(given: Cases, images: list[int]) -> list[tuple[int, bool]]:
    """Of the images with a finding of a pathology with an operating point: whether any lies below it."""
    found = []
    for image in images:
        below = [
            bool(given.probabilities[image, column] < point)
            for column, (pathology, point) in enumerate(
                zip(given.pathologies, given.operating_points, strict=True)
            )
            if point is not None and given.states_of(pathology)[image] == 1
        ]
        if below:
            found.append((image, any(below)))
    return found


def share(found: list[tuple[int, bool]]) -> float:
    return sum(missed for _, missed in found) / len(found) if found else math.nan


def patients(given: Cases, images: list[int], pathology: str, state: int) -> int:
    states = given.states_of(pathology)
    return len({int(given.patients[image]) for image in images if states[image] == state})


ENOUGH = {"auroc": (1, 0), "sensitivity": (1,), "specificity": (0,)}


def expected(given: Cases, entry: dict[str, Any], name: str) -> tuple[float, float] | None:
    """What one estimate is of: in the group, and in the others; None where patients are too few."""
    parts = inside(given, entry["group"]), others(given, entry)
    if name == "missed":
        found = [any_missed(given, part) for part in parts]
        few = any(len({int(given.patients[image]) for image, _ in each}) < LEAST_PATIENTS for each in found)
        return None if few else (share(found[0]), share(found[1]))
    if entry["pathology"] is None:
        single = [expected(given, entry | {"pathology": pathology}, name) for pathology in given.pathologies]
        known = [each for each in single if each is not None and not math.isnan(each[0] - each[1])]
        if len(known) < 2:
            return None
        return tuple(math.fsum(numbers) / len(known) for numbers in zip(*known, strict=True))  # type: ignore[return-value]
    for part, state in product(parts, ENOUGH[name]):
        if patients(given, part, entry["pathology"], state) < LEAST_PATIENTS:
            return None
    found = tuple(measured(given, part, entry["pathology"], name) for part in parts)
    return None if any(map(math.isnan, found)) else found  # type: ignore[return-value]


def estimates(found: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    for entry in found["gaps"]:
        for name, estimate in entry["estimates"].items():
            yield entry, name, estimate


def test_every_difference_is_that_of_two_loops_over_images() -> None:
    given = cases()
    found = gaps_of(given, policy="ignore", references={"view": "PA"})
    kinds = set()
    for entry, name, estimate in estimates(found):
        both = expected(given, entry, name)
        if both is None:
            assert set(estimate.values()) == {None}, (entry, name)
            continue
        kinds.add((entry["pathology"] is None, name, len(entry["group"]), entry["against"] is None))
        assert (estimate["here"], estimate["there"]) == pytest.approx(both, abs=1e-12)
        assert estimate["value"] == pytest.approx(both[0] - both[1], abs=1e-12)
    sides = [(1, True), (1, False), (2, True)]  # against the rest, against a reference, where two meet
    names = [*product([False, True], ["auroc", "sensitivity", "specificity"]), (True, "missed")]
    assert kinds == {(*name, *side) for name, side in product(names, sides)}


def test_every_comparison_is_there_or_counted_among_the_few() -> None:
    given = cases()
    found = gaps_of(given, policy="ignore")
    there = {(tuple(entry["group"].items()), entry["pathology"]) for entry in found["gaps"]}
    few = {
        (tuple(entry["group"].items()), pathology)
        for entry in found["gaps_left_out"]["few"]
        for pathology in entry["pathologies"]
    }
    assert not there & few
    pairs = pairs_of(given, {}).pairs
    for pair, pathology in product(pairs, given.pathologies):
        head = pair.head
        names = ("auroc", "sensitivity", "specificity")
        entry = head | {"pathology": pathology}
        known = any(expected(given, entry, name) is not None for name in names)
        assert ((tuple(head["group"].items()), pathology) in there) is known
    assert few


def literal_left_out(given: Cases, images: list[int], pathology: str, name: str) -> LeftOut:
    """A measure without each patient in turns."""
    without = [
        measured(given, [image for image in images if given.patients[image] != patient], pathology, name)
        for patient in range(given.groups)
    ]
    return LeftOut(np.array([measured(given, images, pathology, name)]), np.array([without]))


def literal_basis(given: Cases, images: list[int], pathology: str, name: str) -> Basis:
    states = given.states_of(pathology)
    bases = [
        Basis.of(
            np.bincount([given.patients[image] for image in images if states[image] == state]),
            "patient",
            of_hits=name != "auroc",
        )
        for state in ENOUGH[name]
    ]
    return min(bases, key=lambda basis: basis.patients)


Parts = list[tuple[LeftOut, Basis]]


def literal_interval(parts: Parts, level: float) -> tuple[float, float]:
    """The square-and-add interval of the parts' own, which are those of all other statistics."""
    (l1, u1), (l2, u2) = (
        tuple(end.item() for end in ends(left, [basis], level=level)) for left, basis in parts
    )
    (first, _), (second, _) = parts
    p1, p2 = first.value.item(), second.value.item()
    r = np.corrcoef(first.without[0], second.without[0])[0, 1]
    below = (p1 - l1) ** 2 + (u2 - p2) ** 2 - 2 * r * (p1 - l1) * (u2 - p2)
    above = (u1 - p1) ** 2 + (p2 - l2) ** 2 - 2 * r * (u1 - p1) * (p2 - l2)
    return max(-1, p1 - p2 - math.sqrt(below)), min(1, p1 - p2 + math.sqrt(above))


def test_an_interval_is_by_patient_also_of_one_who_is_in_both_groups() -> None:
    given = cases()
    found = gaps_of(given, policy="ignore", level=0.9)
    names = set()
    for entry, name, estimate in estimates(found):
        if (entry["group"], entry["pathology"]) == ({"view": "AP"}, "Mass"):
            images = inside(given, entry["group"]), others(given, entry)
            assert set.intersection(*({int(given.patients[image]) for image in part} for part in images))
            parts = [
                (literal_left_out(given, part, "Mass", name), literal_basis(given, part, "Mass", name))
                for part in images
            ]
            assert (estimate["low"], estimate["high"]) == pytest.approx(
                literal_interval(parts, 0.9), abs=1e-9
            )
            end = 0 if estimate["value"] > 0 else 1
            assert literal_interval(parts, 1 - estimate["p"])[end] == pytest.approx(0, abs=1e-6)
            names.add(name)
    assert names == {"auroc", "sensitivity", "specificity"}


def test_an_uncertain_label_counts_as_the_policy_says() -> None:
    given = cases()
    counts = {
        policy: sum(
            entry["positive_patients"] + entry["others"]["positive_patients"]
            for entry in gaps_of(given, policy=policy)["gaps"]
            if entry["column"] == "sex" and entry["pathology"] == "Mass"
        )
        for policy in ("ignore", "ones")
    }
    assert counts["ones"] > counts["ignore"]


def test_two_values_are_one_comparison_and_unknown_ones_are_in_no_part() -> None:
    given = cases()
    entries = [entry for entry in gaps_of(given, policy="ignore")["gaps"] if entry["column"] == "sex"]
    assert {(entry["value"], entry["against"], entry["whole"]) for entry in entries} == {("F", "M", True)}
    turned = gaps_of(given, policy="ignore", references={"sex": "F"})["gaps"]
    assert {(e["value"], e["against"]) for e in turned if e["column"] == "sex"} == {("M", "F")}
    mass, back = (
        next(e for e in each if (e["column"], e["pathology"]) == ("sex", "Mass"))
        for each in (entries, turned)
    )
    assert mass["estimates"]["auroc"]["value"] == -back["estimates"]["auroc"]["value"]
    assert mass["estimates"]["auroc"]["p"] == pytest.approx(back["estimates"]["auroc"]["p"])
    known = sum(value is not None for value in given.columns["sex"])
    total = next(e for e in entries if e["pathology"] is None)
    assert total["images"] + total["others"]["images"] == known


@pytest.mark.parametrize(
    ("references", "said"),
    [
        ({"race": "x"}, "a reference in the column 'race'; expected a column with groups: 'sex', 'view'"),
        ({"sex": "X"}, "the reference sex='X'; expected one of 'F', 'M'"),
    ],
)
def test_a_reference_that_no_image_has(references: dict[str, str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        gaps_of(cases(), policy="ignore", references=references)


def test_groups_where_two_columns_meet_are_those_with_the_most_images() -> None:
    rng = np.random.default_rng(0)
    n = 3000
    columns = {
        name: tuple(rng.choice([f"{name}{value}" for value in range(9)], n).tolist()) for name in "abc"
    }
    columns["twin"] = tuple(f"of {value}" for value in columns["a"])  # tells no more than a
    given = Cases(
        ids=tuple(map(str, range(n))),
        patients=np.arange(n),
        pathologies=("Mass",),
        operating_points=(0.5,),
        probabilities=rng.random((n, 1)),
        labels=("Mass",),
        states=rng.integers(0, 2, (n, 1)).astype(np.int8),
        columns=columns,
    )
    pairs = pairs_of(given, {})
    meeting = [pair for pair in pairs.pairs if len(pair.group.values) == 2]
    assert len(meeting) == MOST_INTERSECTIONS
    assert not any(set(pair.group.values) == {"a", "twin"} for pair in meeting)
    sizes = [
        size
        for first, second in (("a", "b"), ("a", "c"), ("b", "c"), ("b", "twin"), ("c", "twin"))
        for size in Counter(zip(columns[first], columns[second], strict=True)).values()
    ]
    assert sum(pair.group.images.sum() for pair in meeting) == sum(sorted(sizes)[-MOST_INTERSECTIONS:])
    assert pairs.intersections_left_out == len(sizes) - MOST_INTERSECTIONS


def test_ranges_are_fairlearns_definitions() -> None:
    """Bird et al. (2020): the largest less the smallest rate; of both rates, the larger difference."""
    given = cases()
    found = gaps_of(given, policy="ignore")["gap_ranges"]
    assert {entry["pathology"] for entry in found} == {"Mass", "Nodule"}  # Edema has no operating point
    for entry in found:
        names = sorted({value for value in given.columns[entry["column"]] if value})
        groups = {name: inside(given, {entry["column"]: name}) for name in names}
        hits, alarms = (
            {
                name: measured(given, images, entry["pathology"], measure)
                for name, images in groups.items()
                if patients(given, images, entry["pathology"], state) >= LEAST_PATIENTS
            }
            for measure, state in (("sensitivity", 1), ("specificity", 0))
        )
        opportunity = entry["equal_opportunity"]
        assert opportunity["value"] == pytest.approx(max(hits.values()) - min(hits.values()))
        assert hits[opportunity["largest"]] == max(hits.values())
        assert hits[opportunity["smallest"]] == min(hits.values())
        false = {name: 1 - value for name, value in alarms.items()}
        assert entry["false_positives"]["value"] == pytest.approx(max(false.values()) - min(false.values()))
        assert false[entry["false_positives"]["largest"]] == max(false.values())
        expected_odds = max(opportunity["value"], entry["false_positives"]["value"])
        assert entry["equalised_odds"]["value"] == pytest.approx(expected_odds)


def test_the_range_by_chance_is_that_of_groups_that_are_alike() -> None:
    """Two groups of 100 that share a sensitivity of a half: E |difference| = 2 sqrt(p (1 - p) / (n pi))."""
    n = 400
    states = np.tile([1, 0], n // 2).astype(np.int8)
    given = Cases(
        ids=tuple(map(str, range(n))),
        patients=np.arange(n),
        pathologies=("Mass",),
        operating_points=(0.5,),
        probabilities=np.tile([0.9, 0.1, 0.1, 0.1], n // 4)[:, None],
        labels=("Mass",),
        states=states[:, None],
        columns={"site": ("A",) * (n // 2) + ("B",) * (n // 2)},
    )
    (entry,) = gaps_of(given, policy="ignore")["gap_ranges"]
    assert entry["equal_opportunity"]["value"] == 0
    assert entry["equal_opportunity"]["by_chance"] == pytest.approx(
        2 * math.sqrt(0.25 / 100 / math.pi), rel=0.05
    )


def test_the_document_is_plain_json_and_reads_as_tables() -> None:
    given = cases()
    found = statistics(given, references={"view": "PA"})
    document = json.loads(found.to_json())
    assert document["references"] == {"view": "PA"}
    assert document["gaps"] == found.document["gaps"]
    titles = [table.title for table in section(document).tables]
    assert titles == [
        "Gaps by sex, against M",
        "Gaps by view, against the rest",
        "Gaps by view, against PA",
        "Equal opportunity and equalised odds",
        "Gaps where two columns meet, against the rest",
    ]
    text = found.to_text()
    assert "All pathologies" in text
    assert "nan" not in text


def test_without_groups_there_is_nothing() -> None:
    given = cases()
    for columns in ({}, {"sex": ("F",) * len(given)}, {"sex": (None,) * len(given)}):
        bare = Cases(**{**vars(given), "columns": columns})
        found = gaps_of(bare, policy="ignore")
        assert (found["gaps"], found["gap_ranges"]) == ([], [])
        assert not any(table.rows for table in section(found | {"level": 0.95, "joined": None}).tables)


def planted(n: int, *, failing: int, seed: int, pathology: int = 0) -> Cases:
    """A good model, but for one pathology in one site: there, its score knows nothing and is low."""
    rng = np.random.default_rng(seed)
    states = (rng.random((n, 4)) < 0.35).astype(np.int8)
    logits = rng.normal(size=(n, 4)) - 1.1 + 2.4 * states
    at = np.arange(n) < failing
    logits[at, pathology] = rng.normal(size=failing) - 1.1
    return Cases(
        ids=tuple(map(str, range(n))),
        patients=np.arange(n),
        pathologies=("Mass", "Nodule", "Edema", "Effusion"),
        probabilities=1 / (1 + np.exp(-logits)),
        operating_points=(0.5,) * 4,
        labels=("Mass", "Nodule", "Edema", "Effusion"),
        states=states,
        columns={
            "site": tuple(np.where(at, "C", rng.choice(["A", "B"], n)).tolist()),
            "sex": tuple(rng.choice(["F", "M"], n).tolist()),
        },
    )


def findings(given: Cases) -> list[Any]:
    document = gaps_of(given, policy="ignore") | {"level": 0.95}
    return sorted((found for found in rule(document) if found.enough), key=lambda found: found.p)


@pytest.mark.parametrize(("n", "failing"), [(400, 40), (2000, 400)])
def test_a_group_that_was_made_to_fail_is_found_first(n: int, failing: int) -> None:
    found = 0
    for seed in range(3):
        compared = findings(planted(n, failing=failing, seed=seed))
        first = compared[0]
        assert first.kind == "subgroup"
        found += first.cases.get("site") == "C" and first.cases.get("subject") == "Mass"
        assert first.p < 0.05 / 3 / len(compared), (seed, first)
    assert found == 3


def test_every_comparison_of_the_rule_is_a_finding_of_a_group_that_does_worse_or_not() -> None:
    given = planted(400, failing=0, seed=1)
    compared = findings(given)
    # A and B against each other, both ways, F and M too; four pathologies and all of them together
    assert len(compared) == 2 * 2 * 5
    assert {next(iter(finding.cases)) for finding in compared} == {"site", "sex"}
    for finding in compared:
        assert 0 < finding.p <= 1
        assert finding.estimate["low"] <= finding.estimate["value"] <= finding.estimate["high"]
        assert set(finding.counts) == {"positive patients", "negative patients"}
        assert "-" not in finding.text.replace("−", "")


@pytest.mark.slow
def test_without_a_fault_the_smallest_p_is_not_too_small() -> None:
    """The share of audits with any p below 0.05 by Holm within the rule."""
    alarms = 0
    for seed in range(400):
        compared = findings(planted(300, failing=0, seed=seed))
        alarms += compared[0].p < 0.05 / len(compared)
    assert alarms <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)
