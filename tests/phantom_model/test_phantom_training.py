"""The phantom model's examples, objective, calibration, and a whole run in miniature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from benchmarks.phantom_model.calibration import calibrate, logits_of, operating_points
from benchmarks.phantom_model.examples import Examples, render_cohort, render_examples
from benchmarks.phantom_model.fitting import areas_of, fit
from benchmarks.phantom_model.making import make, save, train
from benchmarks.phantom_model.network import Network
from benchmarks.phantom_model.objective import Batch, parts
from benchmarks.phantom_model.settings import Settings, Stage
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.phantom import FINDINGS

STAGE = Stage(patients=4, variants=2, prevalence=dict.fromkeys(FINDINGS, 0.2), epochs=2, rate=5e-3, ramp=4)
SMALL = Settings(
    stages=(STAGE, replace(STAGE, patients=2)), pairs=4, growth_rate=4, block_config=(1, 2), bn_size=2
)


@pytest.fixture(scope="module")
def examples() -> Examples:
    return render_examples(range(STAGE.patients), prevalence=STAGE.prevalence, variants=STAGE.variants)


def batch_of(cover: Tensor, removed: int) -> Batch:
    """One pair whose second image lacks one finding; the pixels do not matter here."""
    second = cover.clone()
    second[removed] = 0
    both = torch.stack([cover, second])[None]
    labels = (both > 0).flatten(3).any(3).float()
    return Batch(torch.zeros(1, 2, 1, 4, 4), both, labels, torch.tensor([removed]))


@pytest.fixture
def pair() -> Batch:
    """Three findings, two of them there, on 8 x 8 cells."""
    cover = torch.zeros(3, 8, 8)
    cover[0, 1:3, 1:3] = 1.0
    cover[1, 5:7, 4:8] = 0.7
    return batch_of(cover, removed=0)


KAPPA = torch.tensor([2.0, 1.0, 4.0])


def test_the_second_of_a_pair_lacks_the_removed_finding_and_differs_only_there(examples: Examples) -> None:
    assert len(examples) == STAGE.patients * STAGE.variants
    for pixels, cover, labels, removed in zip(
        examples.pixels, examples.cover, examples.labels, examples.removed, strict=True
    ):
        assert labels[0, removed]
        assert not labels[1, removed]
        assert (labels == cover.any(axis=(2, 3))).all()
        # one cell more on each side: the detector's blur, and the resizing to the model's input
        near = max_pool2d(torch.from_numpy(cover[0, removed])[None].float(), 3, 1, 1)[0] > 0
        far = ~near.repeat_interleave(8, 0).repeat_interleave(8, 1).numpy()
        assert (pixels[0] != pixels[1]).any()
        assert (pixels[0][far] == pixels[1][far]).all()


def test_processes_render_what_one_does(examples: Examples) -> None:
    apart = render_examples(range(2), prevalence=STAGE.prevalence, variants=STAGE.variants, jobs=2)
    for name in ("pixels", "cover", "labels", "removed"):
        assert (getattr(apart, name) == getattr(examples, name)[: len(apart)]).all()


def test_a_cohort_has_one_phantom_a_seed_at_the_models_size() -> None:
    pixels, labels = render_cohort([900_000, 900_001, 900_002])
    assert pixels.shape == (3, 224, 224)
    assert labels.shape == (3, len(FINDINGS))
    assert np.isin(labels[~np.isnan(labels)], (0, 1)).all()


def test_right_evidence_costs_little_and_wrong_evidence_much(pair: Batch) -> None:
    right = (pair.cover > 0).float() * 2
    sure = torch.where(pair.labels > 0, 12.0, -12.0)
    good, bad = parts(right, sure, KAPPA, pair), parts(2 - right, -sure, KAPPA, pair)
    assert all(good[name] < 0.05 for name in good)
    assert all(bad[name] > 1 for name in ("label", "cell", "fall"))
    assert bad["owner"] > good["owner"] + 0.5


def test_each_part_pulls_the_evidence_the_right_way(pair: Batch) -> None:
    evidence = torch.zeros(1, 2, 3, 8, 8, requires_grad=True)
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    losses = parts(evidence, logits, KAPPA, pair)
    (cell,) = torch.autograd.grad(losses["cell"], evidence, retain_graph=True)
    assert (cell[0, 0, 0, 1:3, 1:3] < 0).all()
    assert (cell[0, 0, 0, 5:, :] > 0).all()
    (owner,) = torch.autograd.grad(losses["owner"], evidence, retain_graph=True)
    assert (owner[0, 0, 0, 1:3, 1:3] < 0).all()
    assert (owner[0, 0, 1:, 1:3, 1:3] > 0).all()
    (fall,) = torch.autograd.grad(losses["fall"], logits)
    assert fall[0, 0].tolist()[0] < 0 < fall[0, 1].tolist()[0]
    assert not fall[0, :, 1:].any()


def test_the_owners_lead_is_taken_over_the_cells_it_has_alone() -> None:
    """Against a loop over cells, in float64."""
    draw = torch.Generator().manual_seed(0)
    cover = torch.zeros(3, 6, 6, dtype=torch.float64)
    cover[0, :4, :4], cover[1, 2:, 2:] = 1.0, 1.0
    batch = batch_of(cover, removed=1)
    evidence = torch.randn(1, 2, 3, 6, 6, generator=draw, dtype=torch.float64)
    kappa = KAPPA.double()
    scaled = evidence * (kappa / kappa.prod() ** (1 / 3))[:, None, None]
    total, cells = 0.0, 0
    for image in range(2):
        for i in range(6):
            for j in range(6):
                there = [k for k in range(3) if batch.cover[0, image, k, i, j] > 0]
                if len(there) != 1:
                    continue
                cells += 1
                own = scaled[0, image, there[0], i, j]
                for k in {0, 1, 2} - set(there):
                    total += float(torch.log1p(torch.exp(6 * (scaled[0, image, k, i, j] + 0.5 - own))) / 6)
    found = parts(evidence, torch.zeros(1, 2, 3, dtype=torch.float64), kappa, batch)["owner"]
    assert float(found) == pytest.approx(total / cells, abs=1e-9)  # softplus is linear above 20


def test_a_small_finding_counts_by_its_best_cell() -> None:
    cover = torch.zeros(1, 8, 8)
    cover[0, 3, 3], cover[0, 3, 4] = 0.2, 0.1
    batch = batch_of(cover, removed=0)
    evidence = torch.zeros(1, 2, 1, 8, 8, requires_grad=True)
    loss = parts(evidence, torch.zeros(1, 2, 1), torch.ones(1), batch)["cell"]
    (pull,) = torch.autograd.grad(loss, evidence)
    assert pull[0, 0, 0, 3, 3] < 0
    assert pull[0, 0, 0, 3, 4] == 0


def test_calibrated_probabilities_have_the_labels_means() -> None:
    draw = torch.Generator().manual_seed(1)
    labels = (torch.rand(400, 3, generator=draw) < torch.tensor([0.1, 0.3, 0.5])).float()
    logits = 9 * labels - 2 + 4 * torch.randn(400, 3, generator=draw)
    labels[:7, 1] = torch.nan
    network = Network(SMALL, torch.tensor([4.0, 9.0, 16.0]))
    directions = network.directions.detach().clone()
    calibrated = calibrate(network, logits, labels)
    known = ~labels.isnan()
    for k in range(3):
        mean = calibrated[known[:, k], k].sigmoid().mean()
        assert mean == pytest.approx(float(labels[known[:, k], k].mean()), abs=2e-3)
    ratio = network.directions.detach() / directions
    assert ratio.std() < 1e-5 * ratio.mean()


def test_operating_points_are_the_best_of_all_thresholds() -> None:
    draw = torch.Generator().manual_seed(2)
    labels = (torch.rand(120, 1, generator=draw) < 0.3).float()
    logits = 2 * labels + torch.randn(120, 1, generator=draw)

    def youden(threshold: float) -> float:
        called = logits.sigmoid() >= threshold
        return float(called[labels == 1].float().mean() - called[labels == 0].float().mean())

    (point,) = operating_points(logits, labels)
    assert youden(point) == pytest.approx(max(youden(float(p)) for p in logits.sigmoid()), abs=1e-6)


def test_one_seed_gives_one_model_and_its_file_gives_the_same_logits(
    examples: Examples, tmp_path: Path
) -> None:
    networks = [list(train(SMALL))[-1] for _ in range(2)]
    for first, second in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(first, second)
    points = (0.25,) * len(FINDINGS)
    save(networks[0], tmp_path / "small.safetensors", points, SMALL)
    classifier = from_pretrained(tmp_path / "small.safetensors")
    assert classifier.pathologies == FINDINGS
    assert classifier.operating_points == points
    pixels = examples.pixels[:, 0]
    loaded = classifier.forward(torch.from_numpy(pixels).float()[:, None]).logits
    assert torch.allclose(loaded, logits_of(networks[0], pixels), atol=1e-4)


def test_training_makes_the_cells_of_findings_stand_out(examples: Examples) -> None:
    torch.manual_seed(0)
    network = Network(SMALL, areas_of(examples))
    assert list(fit(network, examples, replace(STAGE, epochs=30, rate=3e-2), pairs=4, seed=0)) == list(
        range(30)
    )
    network.eval()
    with torch.inference_mode():
        evidence, _ = network(torch.from_numpy(examples.pixels[:, 0]).float()[:, None])
    cover = torch.from_numpy(examples.cover[:, 0])
    large = [FINDINGS.index(name) for name in ("Edema", "Emphysema", "Pneumothorax")]
    inside = evidence[:, large][cover[:, large] > 127].mean()
    outside = evidence[:, large][cover[:, large] == 0].mean()
    assert inside > outside + 0.01


def test_the_whole_way_from_settings_to_a_file(tmp_path: Path) -> None:
    path, said = tmp_path / "made.safetensors", []
    sha256 = make(replace(SMALL, stages=(STAGE,)), path, calibration=range(900_000, 900_008), say=said.append)
    assert said
    classifier = from_pretrained(path)
    assert classifier.weights_sha256 == sha256
    assert classifier.phantom_only
    assert any(point is not None for point in classifier.operating_points)


def test_an_output_without_positives_has_no_operating_point() -> None:
    labels = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert operating_points(torch.tensor([[-1.0, 0.0], [1.0, 2.0]]), labels) == (0.5, None)
