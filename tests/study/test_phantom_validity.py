"""The validity command: a perfect classifier is at the top, a blind one at chance, and the tables add up."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
import typer
from torch import Tensor, nn

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.measures.statistics.bootstrap import Estimate
from cxr_explain.models.base import Outputs
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.phantom import FINDINGS, render, sample_patient, to_radiograph
from cxr_explain.study.validity import __main__ as command
from cxr_explain.study.validity.measure import findings_of, measure_validity
from cxr_explain.study.validity.specimen import UNSEEN, specimen, specimens
from cxr_explain.study.validity.summary import (
    AUROC,
    FALL,
    FELL,
    STRICT,
    TOLERANT,
    Records,
    Validity,
    summarise,
)

SIZE, N = 64, 16


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
    """Random numbers that have nothing to do with the image."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(32, len(FINDINGS))
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


@pytest.fixture(scope="module")
def perfect() -> Validity:
    oracle = Oracle(range(UNSEEN, UNSEEN + N))
    return measure_validity(explainer_of(oracle), n=N, size=SIZE, resamples=20)


def test_a_perfect_classifier_is_at_the_top(perfect: Validity) -> None:
    for name in (AUROC, FELL, STRICT, TOLERANT):
        assert (name, perfect.headlines[name]) == (name, Estimate(1.0, 1.0, 1.0))
    assert perfect.headlines[FALL].value > 0  # type: ignore[operator]
    for row in perfect.findings:
        assert {row.auroc, row.strict, row.tolerant, row.fell} <= {1.0, None}
        assert (row.strict is None) == (row.positives == 0)
        if row.operation:
            assert (row.operation.sensitivity, row.operation.specificity) == (1.0, 1.0)


def test_each_finding_is_in_one_row_by_area(perfect: Validity) -> None:
    assert sum(row.findings for row in perfect.areas) == sum(row.positives for row in perfect.findings)
    assert [row.least for row in perfect.areas[1:]] == [row.below for row in perfect.areas[:-1]]
    assert {row.tolerant for row in perfect.areas} <= {1.0, None}


def test_a_perfect_classifier_owns_its_own_pixels_however_they_are_fused(perfect: Validity) -> None:
    assert len(perfect.shares) == 6
    for share in perfect.shares:
        assert share.findings >= 2
        assert share.own.value == pytest.approx(1.0)
        assert share.whole.value is not None
        assert (share.chance or 1) < share.whole.value <= 1.0


def test_a_blind_classifier_is_near_chance() -> None:
    torch.manual_seed(0)
    found = measure_validity(explainer_of(Blind()), n=40, size=SIZE, resamples=20)
    assert found.headlines[AUROC].value == pytest.approx(0.5, abs=0.12)
    assert found.headlines[FELL].value == pytest.approx(0.5, abs=0.2)
    baseline = np.mean([row.random[0] for row in found.findings if row.random[0] is not None])
    assert found.headlines[STRICT].value == pytest.approx(baseline, abs=0.12)
    for share in found.shares:
        assert share.whole.value == pytest.approx(share.chance, abs=0.15)


def test_the_counts_are_those_of_the_phantoms(perfect: Validity) -> None:
    shown = list(specimens(range(UNSEEN, UNSEEN + N), size=SIZE))
    for row in perfect.findings:
        hidden = sum(row.pathology in unseen.hidden for unseen in shown)
        assert row.positives == sum(row.pathology in unseen.masks for unseen in shown)
        assert row.positives + row.negatives + hidden == N


def test_the_tables_are_neat_and_complete(perfect: Validity) -> None:
    text, markdown = perfect.to_text(), perfect.to_markdown()
    assert max(map(len, text.splitlines())) <= 100
    assert max(map(len, markdown.splitlines())) <= 100
    for name in (*FINDINGS, "joint", "per-class", "released", "Youden"):
        assert name in text
        assert name in markdown
    document = json.loads(perfect.to_json())
    assert document["n"] == N
    assert document["seed"] == UNSEEN
    assert len(document["findings"]) == len(FINDINGS)


def test_operating_points_of_the_classifier_are_used() -> None:
    oracle = Oracle(range(UNSEEN, UNSEEN + 4))
    explainer = explainer_of(oracle, operating_points=(0.25,) * len(FINDINGS))
    found = measure_validity(explainer, n=4, size=SIZE, resamples=2)
    assert {row.operation.threshold for row in found.findings if row.operation} == {0.25}
    assert "the classifier's operating point" in found.to_text()


def test_a_hidden_finding_is_neither_present_nor_absent() -> None:
    names = ("label", "logit", "fell", "fall", "others", "cells")
    pointing = (f"{where} {how}" for where in ("peak", "random", "centre") for how in ("strict", "tolerant"))
    shares = (
        f"{choice} {rest}"
        for choice in ("present", "top 5")
        for rest in (
            "chance",
            *(f"{n} {r}" for n in ("joint", "per-class", "released") for r in ("whole", "own")),
        )
    )
    columns = {name: np.full((3, 1), np.nan) for name in (*names, *pointing, *shares, "even")}
    columns["label"][:, 0] = [1, 0, np.nan]
    columns["logit"][:, 0] = [1, 0, 5]
    found = summarise(
        Records(("Mass",), columns, (None,)), model="m", weights_sha256=None, seed=0, size=64, resamples=5
    )
    row = found.findings[0]
    assert (row.positives, row.negatives, row.auroc, row.fell, row.strict) == (1, 1, 1.0, None, None)
    assert json.loads(found.to_json())["findings"][0]["fell"] is None


def test_processes_render_what_one_renders() -> None:
    seeds = range(UNSEEN, UNSEEN + 3)
    for one, other in zip(specimens(seeds, size=SIZE), specimens(seeds, size=SIZE, jobs=2), strict=True):
        assert one.seed == other.seed
        np.testing.assert_array_equal(one.radiograph.pixels, other.radiograph.pixels)
        assert list(one.masks) == list(other.masks) == list(other.without)


def test_a_specimen_has_its_counterfactuals() -> None:
    unseen = next(s for s in specimens(range(UNSEEN, UNSEEN + 9), size=SIZE) if len(s.masks) > 1)
    for name, mask in unseen.masks.items():
        assert mask.any()
        assert (unseen.without[name].pixels != unseen.radiograph.pixels).any()
    assert specimen(unseen.seed, size=SIZE).radiograph.sha256 == unseen.radiograph.sha256


def test_a_classifier_without_any_finding_is_refused() -> None:
    module = Blind()
    classifier = PooledLinearClassifier(
        module,
        module.body,
        module.head,
        Outputs(("Fracture",) * len(FINDINGS)),
        input_size=SIZE,
        name="b",
        target_layer="b",
    )
    with pytest.raises(OptionError, match="Fracture"):
        findings_of(Explainer(classifier))
    with pytest.raises(OptionError, match="0 phantoms"):
        measure_validity(explainer_of(module), n=0)


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


@pytest.mark.parametrize("normalisation", ["joint", "per-class", "released"])
def test_shares_and_peaks_are_those_of_the_explanation_a_reader_gets(
    normalisation: Literal["joint", "per-class", "released"],
) -> None:
    unseen = next(s for s in specimens(range(UNSEEN, UNSEEN + N), size=SIZE) if len(s.masks) > 1)
    explainer = projection(FINDINGS)
    found = measure_validity(explainer, n=1, seed=unseen.seed, size=SIZE, resamples=1)
    explainer.settings = replace(explainer.settings, normalisation=normalisation)
    explanation = explainer.explain(unseen.radiograph, pathologies=list(unseen.masks))
    maps = explanation.maps_in_radiograph().astype(float)
    shares = []
    for name, mask in unseen.masks.items():
        k = explanation.ranking.pathologies.index(name)
        shares.append(maps[k][mask].sum() / maps[:, mask].sum() if maps[:, mask].any() else 0.0)
        class_map = explanation.geometry.maps_to_radiograph(explanation.class_maps[k])
        peak = np.unravel_index(class_map.argmax(), class_map.shape)
        row = found.findings[FINDINGS.index(name)]
        assert row.strict == pytest.approx(float(mask[peak]) if class_map.max() > 0 else 0.0)
    share = next(s for s in found.shares if (s.classes, s.normalisation) == ("present", normalisation))
    assert share.whole.value == pytest.approx(np.mean(shares))
    assert share.chance == pytest.approx(1 / len(unseen.masks))
    colours = np.sum(list(unseen.masks.values()), axis=0)
    even = [(1 / colours[mask]).mean() for mask in unseen.masks.values()]
    assert found.even_share == pytest.approx(np.mean(even))


def test_a_classifier_of_some_findings_under_other_names_is_measured_on_those() -> None:
    explainer = projection(("Pleural Effusion", "", "Fracture", "Mass"))
    assert findings_of(explainer) == ("Effusion", "Mass")
    found = measure_validity(explainer, n=6, size=SIZE, resamples=2)
    assert [row.pathology for row in found.findings] == ["Effusion", "Mass"]
    assert all(share.chance in (None, pytest.approx(1 / 3)) for share in found.shares[3:])


def test_help_answers_without_torch() -> None:
    code = (
        "import sys; from cxr_explain.study.validity.__main__ import main\n"
        "sys.argv = ['validity', '--help']\n"
        "try: main()\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--jobs" in result.stdout
    assert result.stdout.strip().endswith("False")


def test_unknown_weights_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as stopped:
        command.validity(n=1, size=SIZE, weights="no-such-weights", jobs=1)
    assert stopped.value.exit_code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_the_command_prints_the_tables_alone(
    form: Literal["text", "markdown", "json"],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    explainer = explainer_of(Blind())
    monkeypatch.setattr(Explainer, "from_pretrained", lambda weights: explainer)
    command.validity(n=2, size=SIZE, form=form, resamples=2, jobs=1)
    printed = capsys.readouterr().out
    if form == "json":
        assert json.loads(printed)["model"] == "Blind"
    else:
        assert printed.startswith(
            "Blind on 2 unseen phantoms of 64 x 64 pixels,\nseeds 10000000 to 10000001;"
        )


def test_the_command_and_the_renderer_agree_on_what_is_unseen() -> None:
    assert command._FIRST_UNSEEN == UNSEEN


def test_the_bundled_model_is_an_instrument() -> None:
    """A small version of the model card's tables, with room for a small number of phantoms."""
    found = measure_validity(Explainer.from_pretrained("phantom"), n=40, resamples=1)
    assert (found.headlines[AUROC].value or 0) > 0.93
    assert (found.headlines[FELL].value or 0) > 0.93
    assert (found.headlines[TOLERANT].value or 0) > 0.88
    assert all((share.own.value or 0) > 0.75 for share in found.shares[:3])
