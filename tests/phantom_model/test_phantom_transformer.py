"""A small vision transformer on phantoms, a whole run in miniature."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.phantom_transformer import (
    QUICK,
    RULES,
    as_vit_input,
    classifier_of,
    discrimination,
    images,
    judged,
    report,
    train,
    transformer,
)
from cxr_explain.phantom import FINDINGS

SMALL = replace(QUICK, patients=2, batch=2, cohort=3, cases=2)


def test_each_image_of_a_patient_has_its_own_findings() -> None:
    pixels, labels = images(range(2), 3, jobs=1)
    assert pixels.shape == (6, 224, 224)
    assert pixels.dtype == torch.int16
    assert labels.shape == (6, len(FINDINGS))
    assert set(labels.unique()[:2].tolist()) == {0.0, 1.0}
    assert not torch.equal(pixels[0], pixels[1])
    assert len({tuple(row.nan_to_num(2).tolist()) for row in labels}) > 3


def test_training_moves_every_weight() -> None:
    before, module = transformer(SMALL), train(SMALL, jobs=1)
    assert not module.training
    changed = [not torch.equal(a, b) for a, b in zip(before.parameters(), module.parameters(), strict=True)]
    assert all(changed)
    assert module(as_vit_input(torch.zeros(1, 1, 224, 224))).shape == (1, len(FINDINGS))


def test_the_maps_of_each_rule_are_judged_beside_grad_cam_s(capsys: pytest.CaptureFixture[str]) -> None:
    classifier = classifier_of(transformer(SMALL).eval(), SMALL)
    assert set(discrimination(classifier, SMALL, jobs=1)) == set(FINDINGS)
    tables = judged(classifier, SMALL.cases)
    assert {row["method"] for row in tables.alone} >= {*RULES}
    assert len({row["case"] for row in tables.alone}) == SMALL.cases
    report(tables, resamples=20)
    said = capsys.readouterr().out
    assert "Each rule less Grad-CAM, finding by finding" in said
    assert all(rule in said for rule in RULES)
