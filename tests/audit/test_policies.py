"""What reference labels count as: literally, as CheXpert's authors and as TorchXRayVision count them."""

from __future__ import annotations

import csv
import itertools
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from cxr_explain.audit.cases import Cases, counted, counting_as, says_nothing_found
from cxr_explain.audit.sections import sections_of
from cxr_explain.audit.sections.policies import shared_name
from cxr_explain.audit.statistics import statistics
from cxr_explain.errors import OptionError
from cxr_explain.options import Blanks, LabelPolicy, NoFinding, Uncertain
from cxr_explain.reference import Manifest, make_manifest
from cxr_explain.reference.states import STATE_CODES

ALL = [
    LabelPolicy(uncertain, blanks, no_finding)
    for uncertain, blanks, no_finding in itertools.product(
        ("ignore", "zeros", "ones"), ("ignore", "negative"), ("ignore", "negative")
    )
]
CHEXPERT = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip


def cases(*, no_finding: bool = True) -> Cases:
    rng = np.random.default_rng(0)
    n = 120
    every = rng.choice([1, 0, -1, -2, -3], n).astype(np.int8)
    certain = rng.choice([1, 0, -3], n).astype(np.int8)
    blank = rng.choice([1, -2], n).astype(np.int8)
    return Cases(
        ids=tuple(map(str, range(n))),
        patients=np.arange(n),
        pathologies=("Mass", "Nodule", "Edema", "Support Devices"),
        probabilities=rng.random((n, 4)),
        operating_points=(0.5,) * 4,
        labels=("Mass", "Nodule", "Edema", "Support Devices"),
        states=np.column_stack([every, certain, blank, every]),
        no_finding=rng.random(n) < 0.3 if no_finding else None,
    )


def literal_count(state: int, policy: LabelPolicy, *, absent: bool) -> bool | None:
    """Whether one label counts as positive; None where it does not count."""
    if state == STATE_CODES["not labelled"]:  # type: ignore[index]
        return None
    if absent and policy.no_finding == "negative":
        return False
    if state in (0, 1):
        return state == 1
    if state == -1:
        return {"ignore": None, "zeros": False, "ones": True}[policy.uncertain]
    return {"ignore": None, "negative": False}[policy.blanks]


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
def test_every_label_counts_as_its_policy_says(policy: LabelPolicy) -> None:
    given = cases()
    for pathology in given.pathologies:
        states, absent = given.states_of(pathology), given.absent(pathology)
        found = counted(states, policy, absent)
        expected = [
            literal_count(state, policy, absent=no)
            for state, no in zip(states.tolist(), absent.tolist(), strict=True)
        ]
        assert found.included.tolist() == [each is not None for each in expected]
        assert found.positive.tolist() == [each is True for each in expected]
        assert sum(found.excluded.values()) == expected.count(None)
        said = {1: True, 0: False}
        changed = sum(
            each is not None and said.get(state) is not each
            for state, each in zip(states.tolist(), expected, strict=True)
        )
        assert sum(found.changed.values()) == changed


def test_no_finding_says_nothing_of_devices() -> None:
    given = cases()
    assert given.no_finding is not None
    assert np.array_equal(given.absent("Mass"), given.no_finding)
    assert not given.absent("Support Devices").any()
    assert not given.absent("No Finding").any()
    assert not cases(no_finding=False).absent("Mass").any()


def test_not_labelled_is_never_negative() -> None:
    states = np.full(3, -3, np.int8)
    for policy in ALL:
        assert not counted(states, policy, np.ones(3, bool)).included.any()


@pytest.fixture(scope="module")
def chexpert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random labels, also such as contradict "No Finding", in CheXpert's table."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("chexpert")
    with (folder / "train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", *CHEXPERT])
        for number in range(300):
            path = f"CheXpert-v1.0-small/train/patient{number + 1:05}/study1/view1_frontal.jpg"
            labels = rng.choice(["1.0", "0.0", "-1.0", ""], len(CHEXPERT))
            table.writerow(
                [path, "Female", 50, "Frontal", "PA", rng.choice(["1.0", "", ""]), *labels.tolist()]
            )
    return folder


def test_xrv_counts_as_torchxrayvisions_own_class(chexpert: Path) -> None:
    from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

    ensure_torchvision_imports()
    import torchxrayvision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torchxrayvision.datasets.CheX_Dataset(
            imgpath=str(chexpert), csvpath=str(chexpert / "train.csv"), unique_patients=False
        )
    manifest = make_manifest("chexpert", chexpert)
    nothing = says_nothing_found(manifest)
    assert 50 < nothing.sum() < 150
    for at, pathology in enumerate(theirs.pathologies):
        label = theirs.labels[:, at]
        states = manifest.states[:, manifest.pathologies.index(pathology)]
        absent = nothing & (pathology != "Support Devices")
        found = counted(states, "xrv", absent)
        assert np.array_equal(found.included, ~np.isnan(label)), pathology
        assert np.array_equal(found.positive, label == 1), pathology


@pytest.mark.parametrize(
    ("uncertain", "counts"), [("ignore", {}), ("zeros", {"-1.0": 0}), ("ones", {"-1.0": 1})]
)
def test_chexpert_counts_as_its_authors_say(
    chexpert: Path, uncertain: Uncertain, counts: dict[str, int]
) -> None:
    """ "We treated 0 and void as negative, 1 as positive" (chexpert-labeler, issue 29)."""
    manifest = make_manifest("chexpert", chexpert)
    with (chexpert / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in CHEXPERT:
        label = [{"1.0": 1, "0.0": 0, "": 0, **counts}.get(row[name]) for row in rows]
        pathology = name.removeprefix("Pleural ") if name == "Pleural Effusion" else name
        states = manifest.states[:, manifest.pathologies.index(pathology)]
        policy = LabelPolicy.of("chexpert").but(uncertain=uncertain)
        found = counted(states, policy, says_nothing_found(manifest))
        assert found.included.tolist() == [each is not None for each in label]
        assert found.positive.tolist() == [each == 1 for each in label]


@pytest.mark.parametrize("cell", ["1", "1.0", "True", " yes "])
def test_no_finding_in_any_spelling(cell: str) -> None:
    manifest = Manifest("abc", ["a.png", "b.png", "c.png"], extra={"No_Findings": [cell, "0", ""]})
    assert says_nothing_found(manifest).tolist() == [True, False, False]


def test_no_finding_as_a_label_of_its_own() -> None:
    manifest = Manifest("ab", ["a.png", "b.png"], pathologies=["No Finding"], states=[[1], [-2]])
    assert says_nothing_found(manifest).tolist() == [True, False]


def test_policies_of_a_pathology_where_they_make_a_difference() -> None:
    given = cases()
    found = statistics(given).document["policies"]
    names = {each["pathology"]: [] for each in found}  # type: dict[str, list[list[str]]]
    for each in found:
        names[each["pathology"]].append(each["policies"])
    assert names == {
        "Mass": [
            ["strict"], ["strict, uncertain zeros"], ["strict, uncertain ones"],
            ["chexpert"], ["chexpert, uncertain zeros"], ["chexpert, uncertain ones"], ["xrv"],
        ],
        "Nodule": [
            ["strict", "strict, uncertain zeros", "strict, uncertain ones",
             "chexpert", "chexpert, uncertain zeros", "chexpert, uncertain ones"],
            ["xrv"],
        ],
        "Edema": [
            ["strict", "strict, uncertain zeros", "strict, uncertain ones"],
            ["chexpert", "chexpert, uncertain zeros", "chexpert, uncertain ones"], ["xrv"],
        ],
        "Support Devices": [
            ["strict", "xrv"], ["strict, uncertain zeros"], ["strict, uncertain ones"],
            ["chexpert"], ["chexpert, uncertain zeros"], ["chexpert, uncertain ones"],
        ],
    }  # fmt: skip
    assert [each["policies"] for each in found if each["chosen"]] == [
        names[pathology][0] for pathology in given.pathologies
    ]
    for each in found:
        at = given.pathologies.index(each["pathology"])
        policy = next(one for one in ALL if one.name == each["policies"][0])
        states, absent = given.states_of(each["pathology"]), given.absent(each["pathology"])
        labels = [
            literal_count(state, policy, absent=no)
            for state, no in zip(states.tolist(), absent.tolist(), strict=True)
        ]
        kept = np.array([label is not None for label in labels])
        positive = np.array([label is True for label in labels])
        chances = given.probabilities[:, at]
        assert (each["positive"], each["negative"]) == (positive.sum(), (kept & ~positive).sum())
        if 0 < positive.sum() < kept.sum():
            auroc = metrics.roc_auc_score(positive[kept], chances[kept])
            assert each["estimates"]["auroc"]["value"] == pytest.approx(auroc)
        sensitivity = (chances[positive] >= 0.5).mean()
        assert each["estimates"]["sensitivity"]["value"] == pytest.approx(sensitivity)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["strict"], "strict"),
        (["strict", "chexpert", "xrv"], "strict/chexpert/xrv"),
        (["chexpert, No Finding negative, uncertain ones"], "chexpert, No Finding negative, uncertain ones"),
        (
            ["strict, uncertain zeros", "chexpert, uncertain zeros", "xrv"],
            "strict/chexpert, uncertain zeros or xrv",
        ),
        (
            [
                f"{name}{how}"
                for name in ("strict", "chexpert")
                for how in ("", ", uncertain zeros", ", uncertain ones")
            ],
            "strict/chexpert",
        ),
    ],
)
def test_policies_that_count_alike_share_a_name(names: list[str], shown: str) -> None:
    assert shared_name(names) == shown


def test_without_a_difference_there_is_nothing_to_show() -> None:
    given = cases(no_finding=False)
    shown = {each["pathology"] for each in statistics(given).document["policies"]}
    assert shown == {"Mass", "Edema", "Support Devices"}


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
def test_the_chosen_policy_is_the_one_shown_beside_the_others(policy: LabelPolicy) -> None:
    document = statistics(cases(), policy=policy).document
    assert document["policy"] == asdict(policy)
    assert "policy “" + policy.name + "”" in " ".join(sections_of(document)[0].basis)
    for each in document["pathologies"]:
        beside = [
            one for one in document["policies"] if one["pathology"] == each["pathology"] and one["chosen"]
        ]
        assert len(beside) == 1
        assert policy.name in beside[0]["policies"]
        assert (each["positive"], each["negative"]) == (beside[0]["positive"], beside[0]["negative"])
        for name, estimate in beside[0]["estimates"].items():
            assert each["estimates"][name] == estimate  # without the same patients in turns


def test_how_many_labels_count_as_what_is_said() -> None:
    given = cases()
    document = statistics(given, policy="chexpert").document
    mass = document["pathologies"][0]
    states = given.states_of("Mass")
    assert mass["excluded"] == {
        "uncertain": (states == -1).sum(), "not mentioned": 0, "not labelled": (states == -3).sum()
    }  # fmt: skip
    assert mass["changed"] == {"not mentioned as negative": (states == -2).sum()}
    blanks = sum(int((given.states_of(name) == -2).sum()) for name in given.pathologies)
    sections = {each.key: each for each in sections_of(document)}
    words = " ".join(sections["performance"].basis)
    assert "those not mentioned are counted as negative" in words
    assert f"Reference labels that count as something else than they say: {blanks} not mentioned as" in words
    assert any("chexpert (counted so here)" in row.heads for row in sections["policies"].tables[0].rows)


def test_positives_that_no_finding_overrules_are_counted() -> None:
    found = counted(np.array([1, 1, -2, 0, -3], np.int8), "xrv", np.array([True, False, True, True, True]))
    assert found.positive.tolist() == [False, True, False, False, False]
    assert found.changed == {"positive as negative": 1, "not mentioned as negative": 1}


def test_names_and_what_they_stand_for() -> None:
    assert LabelPolicy.of("strict") == LabelPolicy.of("ignore") == LabelPolicy()
    assert LabelPolicy.of("xrv") == LabelPolicy(no_finding="negative")
    assert LabelPolicy.of("chexpert") == LabelPolicy(blanks="negative")
    assert LabelPolicy.of("ones") == LabelPolicy("ones")
    assert len({policy.name for policy in ALL}) == len(ALL)
    assert LabelPolicy.of("xrv").but(blanks="negative", no_finding="ignore") == LabelPolicy.of("chexpert")


@pytest.mark.parametrize("bad", ["twos", "CheXpert", "", None])
def test_another_policy_is_refused(bad: object) -> None:
    with pytest.raises(OptionError, match="strict, xrv, chexpert, ignore, zeros, ones"):
        counting_as(np.zeros(1, np.int8), bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [{"uncertain": "strict"}, {"blanks": "ones"}, {"no_finding": "zeros"}], ids=str
)
def test_another_value_is_refused(bad: dict[str, Uncertain | Blanks | NoFinding]) -> None:
    with pytest.raises(OptionError, match=next(iter(bad))):
        LabelPolicy(**bad)  # type: ignore[arg-type]
