"""Two audits of the same images: every number against a literal reading, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from cxr_explain import Explainer
from cxr_explain.audit.cases import Cases
from cxr_explain.audit.comparison.document import RunComparison, compare_runs
from cxr_explain.audit.comparison.localisation import POINTING
from cxr_explain.audit.comparison.matching import MatchedRuns, Pair, matched
from cxr_explain.audit.comparison.performance import COMPARED, performance_of
from cxr_explain.audit.comparison.rankings import kendall_tau
from cxr_explain.audit.run import run_audit
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.holm import holm
from cxr_explain.measures.statistics.jackknife import LeftOut
from cxr_explain.reference.csv_file import csv_bytes, parse_manifest
from cxr_explain.reference.manifest import Manifest
from cxr_explain.support.strict_json import is_as_written
from tests.audit import literal_statistics as literal
from tests.audit.conftest import COUNT, RUNNING

PATIENTS = 24


def simulated(seed: int = 5) -> MatchedRuns:
    """Two models of 24 patients with 1 to 3 images, who agree more or less with a label."""
    draw = np.random.default_rng(seed)
    patients = np.repeat(np.arange(PATIENTS), draw.integers(1, 4, PATIENTS))
    n = len(patients)
    there = draw.random(n) < 0.45
    of_both = [1 / (1 + np.exp(-(shift * there + draw.normal(size=n).round(1)))) for shift in (1.4, 0.6)]
    states = np.where(there, 1, 0).astype(np.int8)
    states[::9] = -1
    a, b = (
        Cases(
            tuple(map(str, range(n))),
            patients,
            ("Mass",),
            chances[:, None],
            (point,),
            ("Mass",),
            states[:, None],
        )
        for chances, point in zip(of_both, (0.55, 0.5), strict=True)
    )
    nobody = Pair((), ())
    return MatchedRuns(Pair(None, None), Pair(None, None), Pair(a, b), nobody, (), "ignore")  # type: ignore[arg-type]


def counting(found: MatchedRuns, which: int, without: int | None = None) -> tuple[list[float], list[bool]]:
    """Probabilities and labels of the images that count, without a patient."""
    cases = found.cases[which]
    kept = [i for i in range(len(cases)) if cases.states[i, 0] in (0, 1) and cases.patients[i] != without]
    return [float(cases.probabilities[i, 0]) for i in kept], [bool(cases.states[i, 0] == 1) for i in kept]


def measures(found: MatchedRuns, which: int, without: int | None = None) -> dict[str, float]:
    return literal.measures(*counting(found, which, without), found.cases[which].operating_points[0])


def test_differences_are_those_of_loops_over_images_and_patients() -> None:
    found = simulated()
    (entry,) = performance_of(found, level=0.9)
    whole = [measures(found, which) for which in (0, 1)]
    without = [[measures(found, which, patient) for patient in range(PATIENTS)] for which in (0, 1)]
    for name in COMPARED:
        cell = entry["differences"][name]
        assert cell["a"] == pytest.approx(whole[0][name], abs=1e-12)
        assert cell["b"] == pytest.approx(whole[1][name], abs=1e-12)
        apart = whole[0][name] - whole[1][name]
        left = [one[name] - other[name] for one, other in zip(*without, strict=True)]
        assert cell["difference"] == pytest.approx(apart, abs=1e-12)
        known = LeftOut(np.array([apart]), np.array([left]))
        ends = [end.item() for end in known.interval(0.9)]
        assert [cell["low"], cell["high"]] == pytest.approx(ends, abs=1e-9)
        assert cell["p"] == pytest.approx(known.p().item(), abs=1e-9)


def test_both_models_are_those_of_scikit_learn() -> None:
    found = simulated(seed=8)
    (entry,) = performance_of(found, level=0.95)
    for which, name in enumerate("ab"):
        chances, there = counting(found, which)
        cells = {measure: cell[name] for measure, cell in entry["differences"].items()}
        assert cells["auroc"] == pytest.approx(roc_auc_score(there, chances), abs=1e-12)
        assert cells["auprc"] == pytest.approx(average_precision_score(there, chances), abs=1e-12)
        assert cells["brier"] == pytest.approx(brier_score_loss(there, chances), abs=1e-12)


def test_calls_are_counted_by_the_reference_label() -> None:
    found = simulated()
    (entry,) = performance_of(found, level=0.95)
    counts = {label: dict.fromkeys(("both", "a", "b", "neither"), 0) for label in ("positive", "negative")}
    (one, there), (other, _) = (counting(found, which) for which in (0, 1))
    for p, q, positive in zip(one, other, there, strict=True):
        who = {(True, True): "both", (True, False): "a", (False, True): "b"}.get(
            (p >= 0.55, q >= 0.5), "neither"
        )
        counts["positive" if positive else "negative"][who] += 1
    assert entry["calls"] == counts


def test_few_patients_have_a_difference_without_an_interval() -> None:
    found = simulated()
    few = found.cases.a.patients < 8
    cases = Pair(
        *(
            replace(
                each,
                ids=tuple(np.array(each.ids)[few].tolist()),
                patients=each.patients[few],
                probabilities=each.probabilities[few],
                states=each.states[few],
            )
            for each in found.cases
        )
    )
    (entry,) = performance_of(replace(found, cases=cases), level=0.95)
    cell = entry["differences"]["auroc"]
    assert cell["difference"] is not None
    assert [cell["low"], cell["high"], cell["p"]] == [None] * 3
    assert cell["withheld"].endswith("patients")


def test_predictive_values_need_patients_of_either_kind() -> None:
    found = simulated()
    rare = found.cases.a.patients < 11
    cases = Pair(
        *(replace(each, states=np.where(rare[:, None], each.states, np.int8(0))) for each in found.cases)
    )
    (entry,) = performance_of(replace(found, cases=cases), level=0.95)
    assert 5 <= entry["positive_patients"] < 10 <= entry["negative_patients"]
    for measure in ("ppv", "npv", "auroc"):
        cell = entry["differences"][measure]
        assert (cell["p"], cell["withheld"]) == (None, f"{entry['positive_patients']} positive patients")
    assert entry["differences"]["specificity"]["p"] is not None


@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_his_steps_reject(seed: int) -> None:
    p = (np.random.default_rng(seed).random(12) ** 3).round(3).tolist()
    p[3] = p[5]  # equals
    adjusted = holm([*p[:4], None, *p[4:], math.nan])
    assert adjusted[4] is None
    assert adjusted[-1] is None
    numbers = [each for each in adjusted if each is not None]
    for alpha in (0.01, 0.05, 0.2, 0.7):
        rejected = set[int]()
        for step, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
            if p[at] > alpha / (len(p) - step):
                break
            rejected.add(at)
        assert {at for at, value in enumerate(numbers) if value <= alpha} == rejected


@pytest.mark.parametrize("digits", [3, 1, 0])
def test_kendalls_tau_is_scipys(digits: int) -> None:
    draw = np.random.default_rng(digits)
    a, b = draw.random((2, 40, 7)).round(digits)
    expected = [stats.kendalltau(one, other).statistic for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(kendall_tau(a, b), expected, atol=1e-12)


# -- two audits of phantoms ----


@pytest.fixture(scope="module")
def other(manifest: Manifest, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    """The same images, prepared as torchxrayvision does, explained by another rule."""
    explainer = Explainer.from_pretrained("phantom", method="layercam", xrv_compatible=True)
    where = tmp_path_factory.mktemp("other") / "run"
    return run_audit(explainer, manifest, phantoms / "images", where, running=RUNNING, top_k=3)


@pytest.fixture(scope="module")
def compared(finished: AuditRun, other: AuditRun) -> RunComparison:
    return compare_runs(finished, other, cases=4)


def test_the_statistics_are_those_of_each_run(
    compared: RunComparison, finished: AuditRun, other: AuditRun
) -> None:
    assert compared.document["images"] == COUNT
    for name, run in (("a", finished), ("b", other)):
        document = statistics_of(run).document
        for entry, known in zip(compared.document["pathologies"], document["pathologies"], strict=True):
            assert entry["pathology"] == known["pathology"]
            assert [entry["positive"], entry["negative"]] == [known["positive"], known["negative"]]
            for measure, cell in entry["differences"].items():
                assert cell[name] == pytest.approx(known["estimates"][measure]["value"], abs=1e-12)
        located = {each["pathology"]: each["estimates"] for each in document["localisation"]}
        assert {each["pathology"] for each in compared.document["localisation"]} == set(located)
        for entry in compared.document["localisation"]:
            assert entry["differences"]["energy"][name] == pytest.approx(
                located[entry["pathology"]]["energy"]["value"], abs=1e-12
            )
            assert set(entry["differences"]) == set(POINTING)


def test_rankings_agree_as_loops_say(compared: RunComparison, finished: AuditRun, other: AuditRun) -> None:
    pairs = list(zip(*(run.results["ranking"].to_pylist() for run in (finished, other)), strict=True))
    ranking = compared.document["ranking"]
    assert ranking["k"] == 3
    assert ranking["first"]["value"] == mean(float(a[0] == b[0]) for a, b in pairs)
    assert ranking["overlap"]["value"] == pytest.approx(mean(len(set(a[:3]) & set(b)) / 3 for a, b in pairs))


def test_maps_agree_as_their_cells_say(compared: RunComparison, finished: AuditRun, other: AuditRun) -> None:
    correlations, distances, masses = [], [], []
    for at in range(COUNT):
        one, two = (run.case(at).explanation for run in (finished, other))
        a, b = (np.maximum(each.maps, 0).sum(axis=0) for each in (one, two))
        correlations.append(np.corrcoef(a.ravel(), b.ravel())[0, 1])
        peaks = [np.unravel_index(each.argmax(), each.shape) for each in (a, b)]
        distances.append(math.dist(*peaks) / len(a))
        drawn = [stored(run, at) for run in (finished, other)]
        if all("Mass" in each for each in drawn):
            masses.append(np.corrcoef(*(each["Mass"].ravel() for each in drawn))[0, 1])
    fused = compared.document["maps"]["fused"]
    assert fused["correlation"]["value"] == pytest.approx(mean(correlations), abs=1e-6)
    assert fused["distance"]["value"] == pytest.approx(mean(distances), abs=1e-9)
    (mass,) = (each for each in compared.document["maps"]["pathologies"] if each["pathology"] == "Mass")
    assert mass["images"] == len(masses)
    assert mass["correlation"]["value"] == pytest.approx(mean(masses), abs=1e-6)


def stored(run: AuditRun, at: int) -> dict[str, NDArray[np.float32]]:
    """All class maps of an image: of what was ranked, and of what has a box."""
    case = run.case(at)
    maps = {}
    for explanation in (case.reference_explanation, case.explanation):
        if explanation is not None:
            maps |= dict(zip(explanation.ranking.pathologies, explanation.class_maps, strict=True))
    return maps


def test_the_cases_that_part_most(compared: RunComparison, finished: AuditRun, other: AuditRun) -> None:
    names = finished.record.pathologies
    tables = [run.results for run in (finished, other)]
    apart = {}
    for at, image_id in enumerate(finished.manifest.ids):
        gaps = {
            name: abs(
                tables[0][f"probability {name}"][at].as_py() - tables[1][f"probability {name}"][at].as_py()
            )
            for name in names
        }
        apart[image_id] = max(gaps.values())
    first = sorted(apart, key=lambda each: -apart[each])[:4]
    cases = compared.document["cases"]["probability"]["cases"]
    assert [case["image_id"]["a"] for case in cases] == first
    for key, right, wrong in (("a_right", "a", "b"), ("b_right", "b", "a")):
        for case in compared.document["cases"][key]["cases"]:
            is_there = case["reference"] == "positive"
            called = {name: case["probability"][name] >= case["operating_point"][name] for name in "ab"}
            assert called[right] == is_there
            assert called[wrong] != is_there
    correlations = [case["correlation"] for case in compared.document["cases"]["maps"]["cases"]]
    assert correlations == sorted(correlations)


def test_the_document_is_whole_and_names_no_place_and_no_patient(
    compared: RunComparison, finished: AuditRun, tmp_path: Path
) -> None:
    text = compared.to_json().decode()
    assert is_as_written(json.loads(text))
    assert str(Path(finished.place.name).parent) not in text
    named = {each["what"] for each in compared.document["differ_in"]}
    assert {"method", "xrv compatible", "top k"} <= named
    tests = [
        cell["p"] for entry in compared.document["pathologies"] for cell in entry["differences"].values()
    ]
    tests += [
        cell["p"] for entry in compared.document["localisation"] for cell in entry["differences"].values()
    ]
    assert compared.document["comparisons"] == sum(p is not None for p in tests)
    assert any("xrv compatible" in sentence for sentence in compared.headline)
    assert "Images called positive" in compared.to_text(tables=True)
    assert "Images called positive" not in compared.to_text()


def copied(finished: AuditRun, folder: Path) -> AuditRun:
    """A copy of a run, read anew."""
    shutil.copytree(finished.place.name, folder)
    return AuditRun.open(folder)


def test_an_audit_and_a_copy_of_it_do_not_differ(finished: AuditRun, tmp_path: Path) -> None:
    found = compare_runs(finished, copied(finished, tmp_path / "copy"))
    cells = [cell for entry in found.document["pathologies"] for cell in entry["differences"].values()]
    assert {cell["difference"] for cell in cells} <= {0.0, None}
    assert {cell["p"] for cell in cells} == {None}
    assert found.document["ranking"]["first"]["value"] == 1
    assert found.document["maps"]["fused"]["correlation"]["value"] == pytest.approx(1)
    assert all(not each["cases"] for each in found.document["cases"].values())
    assert "Nothing that is recorded of them differs." in found.headline
    assert any(sentence.startswith("No statistic could be compared") for sentence in found.headline)


@pytest.fixture(scope="module")
def few(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, AuditRun]:
    """Audits of three of the images, by manifests that say this and that of them."""
    header, *rows = csv.reader(io.StringIO(csv_bytes(manifest.select([1, 3, 4])).decode()))
    mass, patient, name = map(header.index, ("label:Mass", "patient", "image_id"))
    cells = {
        "same": {},
        "other labels": {(0, mass): "0" if rows[0][mass] == "1" else "1"},
        "other patients": {(1, patient): rows[0][patient]},
        "other names": {(row, name): f"image {row}" for row in range(3)},
    }
    texts = {what: text_of(header, rows, changed) for what, changed in cells.items()}
    found_nothing = [[*row, "1" if at == 1 else ""] for at, row in enumerate(rows)]
    texts["other words"] = text_of([*header, "No Finding"], found_nothing, {})
    folder = tmp_path_factory.mktemp("few")
    return {
        what: run_audit(
            explainer,
            parse_manifest(text.encode(), source=what),
            phantoms / "images",
            folder / what,
        )
        for what, text in texts.items()
    }


def text_of(header: list[str], rows: list[list[str]], changed: dict[tuple[int, int], str]) -> str:
    """A table as CSV, with other texts in some cells."""
    text = io.StringIO()
    cells = [[changed.get((r, c), cell) for c, cell in enumerate(row)] for r, row in enumerate(rows)]
    csv.writer(text, lineterminator="\n").writerows([header, *cells])
    return text.getvalue()


def test_images_of_two_manifests_are_known_by_their_bytes(
    finished: AuditRun, few: dict[str, AuditRun], manifest: Manifest
) -> None:
    found = matched(finished, few["other names"])
    assert found.cases.a.ids == tuple(manifest.ids[at] for at in (1, 3, 4))
    assert found.cases.b.ids == ("image 0", "image 1", "image 2")
    assert len(found.only.a) == COUNT - 3
    assert found.only.b == ()
    np.testing.assert_allclose(*found.probabilities, rtol=1e-4)
    document = compare_runs(few["other names"], finished).document
    assert document["only"]["b"] == list(found.only.a)
    assert document["images"] == 3


def test_words_that_make_labels_negative_are_the_same(finished: AuditRun, few: dict[str, AuditRun]) -> None:
    with pytest.raises(OptionError, match="have other words on “No Finding” for 1 of 3 common images"):
        matched(finished, few["other words"], policy="xrv")
    assert matched(finished, few["other words"]).groups == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [("other labels", "have other reference labels of "), ("other patients", "to other patients")],
)
def test_manifests_that_say_something_else_are_refused(
    finished: AuditRun, few: dict[str, AuditRun], name: str, said: str
) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        matched(finished, few[name])
    assert "\n" not in str(caught.value)


def test_what_cannot_be_compared_is_refused_in_a_line(
    finished: AuditRun,
    few: dict[str, AuditRun],
    explainer: Explainer,
    manifest: Manifest,
    phantoms: Path,
    tmp_path: Path,
) -> None:
    images = phantoms / "images"
    ones = run_audit(explainer, manifest.select([1]), images, tmp_path / "ones", policy="ones")
    nothing = run_audit(explainer, manifest.select([0]), images, tmp_path / "nothing")
    for pair, said in (
        ((finished, finished), "one audit twice"),
        ((finished, ones), "“strict” in A and “strict, uncertain ones” in B"),
        ((few["same"], nothing), "no image in common"),
    ):
        with pytest.raises(OptionError, match=said) as caught:
            matched(*pair)
        assert "\n" not in str(caught.value)
    assert matched(finished, ones, policy="zeros").policy.uncertain == "zeros"
