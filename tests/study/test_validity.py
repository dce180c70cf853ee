"""The validity: a perfect classifier is at the top, a blind one at chance, and the tables add up."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from skimage.measure import label, regionprops
from torch import Tensor, nn

from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.models.base import Outputs
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.phantom import FINDINGS, render, sample_patient, to_radiograph
from cxr_explain.study.cases import Case, phantom_cases
from cxr_explain.study.measure import measure
from cxr_explain.study.plan import PRESENT, validity_plan
from cxr_explain.study.report import Findings
from cxr_explain.study.session import UNSEEN
from cxr_explain.study.validity import ALIKE, ALL, AREAS, DIAMETERS, beside, validity_of

SIZE, N, MOST = 64, 16, 40
PLAN = replace(validity_plan(), resamples=20)
METHOD = "grad-cam"
SHARES = [
    {"method": METHOD, "K": k, "normalisation": name, "activation": "relu"}
    for k in (PRESENT, 5)
    for name in ("joint", "per-class", "released")
]


class Oracle(nn.Module):
    """Knows each image it may be shown, and answers with its masks; one channel a finding, a cell a pixel."""

    def __init__(self, seeds: range) -> None:
        super().__init__()
        self.known: dict[bytes, Tensor] = {}
        for seed in seeds:
            whole = render(sample_patient(seed), size=SIZE)
            for name in (None, *whole.masks):
                phantom = render(whole.patient, whole.findings, size=SIZE, without=name or ())
                self.known[self._key(prepare(to_radiograph(phantom), SIZE).tensor)] = self._cells(
                    phantom.masks
                )
        self.head = nn.Linear(len(FINDINGS), len(FINDINGS))
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(len(FINDINGS)) * 1e4)
            self.head.bias.fill_(-0.1)

    @staticmethod
    def _key(image: Tensor) -> bytes:
        return image.contiguous().numpy().tobytes()

    @staticmethod
    def _cells(masks: dict[str, np.ndarray]) -> Tensor:
        empty = np.zeros((SIZE, SIZE), bool)
        return torch.from_numpy(np.stack([masks.get(name, empty) for name in FINDINGS]).astype(np.float32))

    def body(self, inputs: Tensor) -> Tensor:
        return torch.stack([self.known[self._key(image)] for image in inputs])


class Blind(nn.Module):
    """Random numbers that have nothing to do with the image, and speak for every finding somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(32, len(FINDINGS))
        with torch.no_grad():
            self.head.weight.abs_()
        self.draws = torch.Generator().manual_seed(3)

    def body(self, inputs: Tensor) -> Tensor:
        return torch.rand(len(inputs), 32, 8, 8, generator=self.draws)


def explainer_of(module: Oracle | Blind, **outputs: tuple[float, ...]) -> Explainer:
    return Explainer(
        PooledLinearClassifier(
            module,
            module.body,
            module.head,
            Outputs(FINDINGS, **outputs),
            input_size=SIZE,
            name=type(module).__name__,
            target_layer="body",
        )
    )


class Projection(nn.Module):
    """A fixed random filter bank: maps that depend on the image."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, 32, 8, stride=8)
        self.head = nn.Linear(32, outputs)

    def body(self, inputs: Tensor) -> Tensor:
        return self.filters(inputs / 1024).relu()


def projection(names: tuple[str, ...]) -> Explainer:
    torch.manual_seed(2)
    module = Projection(len(names))
    description = {"input_size": SIZE, "name": "projection", "target_layer": "filters"}
    return Explainer(PooledLinearClassifier(module, module.body, module.head, Outputs(names), **description))


@functools.cache
def rendered() -> tuple[Case, ...]:
    return tuple(phantom_cases(MOST, seed=UNSEEN, size=SIZE, counterfactuals=True))


def phantoms(n: int) -> list[Case]:
    return list(rendered()[:n])


def validity(explainer: Explainer, cases: list[Case]) -> Findings:
    return validity_of("Validity", PLAN, measure(explainer, cases, PLAN))


def value(found: Findings, table: str, measure: str, *, stratum: str = "all", **chosen: object) -> float:
    estimate = found.summaries[table].of(measure, stratum=stratum, **chosen)
    assert estimate.value is not None, (table, measure, chosen)
    return estimate.value


@pytest.fixture(scope="module")
def perfect() -> Findings:
    return validity(explainer_of(Oracle(range(UNSEEN, UNSEEN + N))), phantoms(N))


def test_a_perfect_classifier_is_at_the_top(perfect: Findings) -> None:
    assert value(perfect, "scores", "AUROC", pathology=ALIKE) == 1
    assert value(perfect, "removed", "logit falls", pathology=ALL) == 1
    assert value(perfect, "removed", "median fall", pathology=ALL) > 0
    for measured in ("peak", "peak, tolerant"):
        assert value(perfect, "by finding", measured, method=METHOD, pathology=ALIKE) == 1
    one = {"AUROC", "sensitivity", "specificity", "logit falls", "peak", "peak, tolerant"}
    of_maps = {("method", METHOD)}
    for table in ("scores", "removed", "by finding"):
        for line in perfect.summaries[table].lines:
            if line.measure in one and of_maps >= {each for each in line.chosen if each[0] == "method"}:
                assert line.estimate.value == 1, line


def test_each_finding_is_in_one_row_by_area(perfect: Findings) -> None:
    found = [perfect.summaries["by area"].of("logit falls", method=METHOD, area=area) for area in AREAS]
    assert sum(each.cases for each in found) == len(perfect.tables.removed)
    assert {each.value for each in found} <= {1.0, None}
    cells = [row["cells"] for row in perfect.tables.removed]
    assert [each.cases for each in found] == np.histogram(cells, [*AREAS.values(), np.inf])[0].tolist()


def test_each_nodule_is_in_one_row_by_its_diameter(perfect: Findings) -> None:
    """Against scikit-image's parts and their equivalent diameters."""
    expected = {}
    for case in phantoms(N):
        if "Nodule" in case.masks:
            parts = regionprops(label(case.masks["Nodule"], connectivity=2))
            spacing = case.radiograph.pixel_spacing
            assert spacing is not None
            assert spacing[0] == spacing[1]
            expected[case.id] = max(part.equivalent_diameter_area for part in parts) * spacing[0]
    rows = {row["case"]: row for row in perfect.tables.removed if row["pathology"] == "Nodule"}
    assert {case: row["millimetres"] for case, row in rows.items()} == pytest.approx(expected)
    by_size = perfect.summaries["nodules, by size"]
    cases = [by_size.of("peak", method=METHOD, diameter=band).cases for band in DIAMETERS]
    assert cases == np.histogram(list(expected.values()), [*DIAMETERS.values(), np.inf])[0].tolist()
    assert sum(cases) > 0
    assert "Nodules by size: grad-cam" in perfect.to_text()


def test_without_a_spacing_no_nodule_has_a_size() -> None:
    case = next(case for case in phantoms(N) if "Nodule" in case.masks)
    bare = replace(case, radiograph=replace(case.radiograph, pixel_spacing=None, pixel_spacing_source=None))
    found = validity(projection(FINDINGS), [bare])
    assert not found.summaries["nodules, by size"].lines
    assert "Nodules by size" not in found.to_text()


def test_models_side_by_side_have_their_own_numbers_and_paired_differences(perfect: Findings) -> None:
    other = validity(projection(FINDINGS), phantoms(N))
    found = beside("Two", {"perfect": perfect, "random": other})
    for model, own in (("perfect", perfect), ("random", other)):
        for table, summary in own.summaries.items():
            for line in summary.lines:
                chosen = dict(line.chosen)
                same = found.summaries[table].of(line.measure, stratum=line.stratum, weights=model, **chosen)
                assert same == line.estimate
    peaks = [
        {(row["case"], row["pathology"]): row["peak"] for row in each.tables.alone if row["method"] == METHOD}
        for each in (perfect, other)
    ]
    paired = [peaks[1][key] - peaks[0][key] for key in peaks[0]]
    less = found.summaries[f"less the first model: {METHOD}"]
    estimate = less.of("peak", method=METHOD, weights="random")
    assert estimate.value == pytest.approx(np.nanmean(paired))
    assert not any(line.estimate.value for line in less.lines if dict(line.chosen)["weights"] == "perfect")
    text = found.to_text()
    for title in ("At a glance", "AUROC", "Pointing game, tolerant", "by area", "nodules by size"):
        assert title in text
    assert f"Each model less perfect, finding by finding: {METHOD}" in text
    assert f"in {N} images of {N} patients" in found.to_markdown()


def test_a_perfect_classifier_owns_its_own_pixels_however_they_are_fused(perfect: Findings) -> None:
    for chosen in SHARES:
        share, own, chance = (
            perfect.summaries["fused, by finding"].of(measured, stratum="several kinds", **chosen)
            for measured in ("class share", "class share, own pixels", "1 / K")
        )
        assert share.cases >= 2
        assert own.value == pytest.approx(1.0)
        assert (chance.value or 1) < (share.value or 0) <= 1.0


def test_a_blind_classifier_is_near_chance() -> None:
    torch.manual_seed(0)
    found = validity(explainer_of(Blind()), phantoms(MOST))
    assert value(found, "scores", "AUROC", pathology=ALIKE) == pytest.approx(0.5, abs=0.12)
    assert value(found, "removed", "logit falls", pathology=ALL) == pytest.approx(0.5, abs=0.2)
    chosen = {"method": METHOD, "pathology": ALIKE}
    for measured, baseline in (("peak", "energy, spread evenly"), ("peak, tolerant", "peak, at random")):
        chance = value(found, "by finding", baseline, **chosen)
        assert value(found, "by finding", measured, **chosen) == pytest.approx(chance, abs=0.12)
    for chosen in SHARES:
        share, chance = (
            value(found, "fused, by finding", measured, stratum="several kinds", **chosen)
            for measured in ("class share", "1 / K")
        )
        assert share == pytest.approx(chance, abs=0.15)


def test_the_counts_are_those_of_the_phantoms(perfect: Findings) -> None:
    shown = phantoms(N)
    assert any(not case.masks for case in shown)
    for name in FINDINGS:
        rows = [row for row in perfect.tables.scores if row["pathology"] == name]
        assert sum(row["there"] for row in rows) == sum(name in case.masks for case in shown)
        assert len(rows) + sum(name in case.hidden for case in shown) == N
        removed = perfect.summaries["removed"].of("logit falls", pathology=name)
        assert removed.cases == sum(row["there"] for row in rows)


def test_the_tables_are_complete(perfect: Findings) -> None:
    text, markdown = perfect.to_text(), perfect.to_markdown()
    for name in (*FINDINGS, "joint", "per-class", "released", "Youden", "32 and more", "top 5"):
        assert name in text
        assert name in markdown
    assert f"in {N} images of {N} patients" in markdown


def test_operating_points_of_the_classifier_are_used() -> None:
    oracle = Oracle(range(UNSEEN, UNSEEN + 4))
    found = validity(explainer_of(oracle, operating_points=(0.25,) * len(FINDINGS)), phantoms(4))
    lines = found.summaries["scores"].lines
    assert {line.estimate.value for line in lines if line.measure == "threshold"} == {0.25}
    assert "the classifier's operating point" in found.to_text()


def test_a_hidden_finding_is_neither_present_nor_absent() -> None:
    case = next(case for case in phantoms(N) if len(case.masks) == 1)
    (there,) = case.masks
    other = next(name for name in FINDINGS if name != there)
    explainer = projection((there, other))
    plain, hidden = (validity(explainer, [each]).tables for each in (case, replace(case, hidden=(other,))))
    assert [row["pathology"] for row in hidden.scores] == [there]
    assert {row["pathology"] for row in plain.scores} == {there, other}
    assert plain.removed[0]["others' change"] >= 0
    assert np.isnan(hidden.removed[0]["others' change"])
    assert plain.removed[0]["fall"] == hidden.removed[0]["fall"]


def test_the_falls_are_those_of_the_logits() -> None:
    case = next(case for case in phantoms(N) if len(case.masks) > 1)
    explainer = projection(FINDINGS)
    rows = validity(explainer, [case]).tables.removed
    assert [row["pathology"] for row in rows] == list(case.masks)
    for row in rows:
        at = FINDINGS.index(row["pathology"])
        before, after = (
            explainer.classifier.logits(explainer.prepare(radiograph).tensor[None])[0].double().numpy()
            for radiograph in (case.radiograph, case.without[row["pathology"]])
        )
        assert row["fall"] == pytest.approx(before[at] - after[at], abs=1e-4)
        assert row["logit falls"] == float(before[at] > after[at])
        assert row["others' change"] == pytest.approx(np.delete(abs(before - after), at).mean(), abs=1e-4)
        assert row["cells"] == pytest.approx(case.masks[row["pathology"]].sum() * (28 / SIZE) ** 2)


@pytest.mark.parametrize("normalisation", ["joint", "per-class", "released"])
def test_shares_and_peaks_are_those_of_the_explanation_a_reader_gets(
    normalisation: Literal["joint", "per-class", "released"],
) -> None:
    case = next(case for case in phantoms(N) if len(case.masks) > 1)
    explainer = projection(FINDINGS)
    found = validity(explainer, [case])
    explainer.settings = replace(explainer.settings, normalisation=normalisation)
    explanation = explainer.explain(case.radiograph, pathologies=list(case.masks))
    maps = explanation.maps_in_radiograph().astype(float)
    shares = []
    for name, mask in case.masks.items():
        k = explanation.ranking.pathologies.index(name)
        shares.append(maps[k][mask].sum() / maps[:, mask].sum() if maps[:, mask].any() else 0.0)
        class_map = explanation.geometry.maps_to_radiograph(explanation.class_maps[k])
        peak = np.unravel_index(class_map.argmax(), class_map.shape)
        hit = found.summaries["by finding"].of("peak", method=METHOD, pathology=name).value
        assert hit == (pytest.approx(float(mask[peak])) if class_map.max() > 0 else None)
    chosen = {"method": METHOD, "K": PRESENT, "normalisation": normalisation, "activation": "relu"}
    share, chance, spread = (
        value(found, "fused, by finding", measured, stratum="several kinds", **chosen)
        for measured in ("class share", "1 / K", "class share, spread evenly")
    )
    assert share == pytest.approx(np.mean(shares))
    assert chance == pytest.approx(1 / len(case.masks))
    colours = np.sum(list(case.masks.values()), axis=0)
    assert spread == pytest.approx(np.mean([(1 / colours[mask]).mean() for mask in case.masks.values()]))


def test_a_mean_of_findings_is_over_the_means_of_each(perfect: Findings) -> None:
    torch.manual_seed(0)
    found = validity(projection(FINDINGS), phantoms(N))
    by_finding = found.summaries["by finding"]
    for measured in ("peak", "peak, tolerant", "peak, at random"):
        each = [by_finding.of(measured, method=METHOD, pathology=name).value for name in FINDINGS]
        mean = np.mean([number for number in each if number is not None])
        estimate = by_finding.of(measured, method=METHOD, pathology=ALIKE)
        assert estimate.value == pytest.approx(mean)
        assert estimate.low is not None
        assert estimate.low < mean < estimate.high
    scores = found.summaries["scores"]
    each = [scores.of("AUROC", pathology=name).value for name in FINDINGS]
    mean = np.mean([number for number in each if number is not None])
    assert scores.of("AUROC", pathology=ALIKE).value == pytest.approx(mean)


def test_a_classifier_of_some_findings_under_other_names_is_measured_on_those() -> None:
    found = validity(projection(("Pleural Effusion", "", "Fracture", "Mass")), phantoms(N))
    assert {row["pathology"] for row in found.tables.scores} == {"Effusion", "Mass"}
    assert {row["1 / K"] for row in found.tables.fused if row["K"] == 5} <= {1 / 3}


def test_the_bundled_model_is_an_instrument(explainer: Explainer) -> None:
    """A small version of the model card's tables, with room for a small number of phantoms."""
    cases = list(phantom_cases(20, seed=UNSEEN, size=128, counterfactuals=True))
    found = validity(explainer, cases)
    assert value(found, "scores", "AUROC", pathology=ALIKE) > 0.93
    assert value(found, "removed", "logit falls", pathology=ALL) > 0.93
    assert value(found, "by finding", "peak, tolerant", method=METHOD, pathology=ALIKE) > 0.88
    for chosen in SHARES[:3]:
        table, measured = "fused, by finding", "class share, own pixels"
        assert value(found, table, measured, stratum="several kinds", **chosen) > 0.75
