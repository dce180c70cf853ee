"""The phantom model's examples, objective, calibration, and a whole run in miniature."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import max_pool2d

from benchmarks.phantom_model.calibration import calibrate, logits_of, operating_points
from benchmarks.phantom_model.card import card
from benchmarks.phantom_model.examples import CELLS, Examples, _member, _pairs, render_cohort, render_examples
from benchmarks.phantom_model.fitting import areas_of, at_cells, fit
from benchmarks.phantom_model.making import make, save, trained
from benchmarks.phantom_model.network import Network
from benchmarks.phantom_model.objective import HARDEST, RIM, Batch, parts
from benchmarks.phantom_model.settings import MODELS, Chests, Settings, Weights
from cxr_explain.errors import OutputError
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.phantom import FINDINGS

CHESTS = Chests(patients=4, prevalence=dict.fromkeys(FINDINGS, 0.2))
SMALL = Settings(
    chests=CHESTS,
    epochs=2,
    ramp=4,
    images=8,
    precision="float32",
    growth_rate=4,
    block_config=(1, 2),
    bn_size=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Examples that trainings share."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def examples(folder: Path) -> Examples:
    return render_examples(CHESTS, folder / "training")


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
    assert len(examples) == CHESTS.patients * CHESTS.variants
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


def test_a_folder_gives_what_is_rendered_by_one_process_or_two_at_once_or_after_a_stop(
    examples: Examples, tmp_path: Path
) -> None:
    said: list[str] = []
    apart = render_examples(replace(CHESTS, patients=2), tmp_path / "two", jobs=2, say=said.append)
    direct = [_pairs(seed, variants=CHESTS.variants, prevalence=CHESTS.prevalence) for seed in range(2)]
    for name in ("pixels", "cover", "labels", "removed"):
        rendered = np.concatenate([rows[name] for rows in direct])
        for kept in (getattr(apart, name), getattr(examples, name)[: len(apart)]):
            assert kept.dtype == rendered.dtype
            assert (kept == rendered).all()
    assert said == ["two: 2 of 2"]
    render_examples(replace(CHESTS, patients=2), tmp_path / "two", say=said.append)
    assert said == ["two: 2 of 2"]


def test_a_folder_that_was_half_filled_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, worked = range(900_000, 900_003), []

    def stopped(seed: int) -> dict[str, np.ndarray]:
        worked.append(seed)
        if seed == 900_002:
            raise KeyboardInterrupt
        return dict(_member(seed))

    monkeypatch.setattr("benchmarks.phantom_model.store._AT_ONCE", 1)
    monkeypatch.setattr("benchmarks.phantom_model.store._CHECKED", 1)
    with monkeypatch.context() as patched:
        patched.setattr("benchmarks.phantom_model.examples._member", stopped)
        with pytest.raises(KeyboardInterrupt):
            render_cohort(seeds, tmp_path)
        patched.setattr(
            "benchmarks.phantom_model.examples._member", lambda seed: worked.append(seed) or _member(seed)
        )
        worked.clear()
        pixels, labels = render_cohort(seeds, tmp_path)
    assert worked == [900_000, 900_000, 900_002]  # twice the first: its shapes, and that it is still the same
    expected = [_member(seed) for seed in seeds]
    assert (pixels == np.concatenate([rows["pixels"] for rows in expected])).all()
    assert np.array_equal(labels, np.concatenate([rows["labels"] for rows in expected]), equal_nan=True)


def test_a_folder_of_other_examples_is_refused(examples: Examples, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="other examples"):
        render_examples(replace(CHESTS, variants=1), folder / "training")
    render_cohort([900_000], tmp_path)
    pixels = np.load(tmp_path / "pixels.npy", mmap_mode="r+")
    pixels[0, 100, 100] += 1
    pixels.flush()
    with pytest.raises(OutputError, match="pixels of seed 900000 that are rendered in another way now"):
        render_cohort([900_000], tmp_path)


def test_a_cohort_has_one_phantom_a_seed_at_the_models_size(tmp_path: Path) -> None:
    pixels, labels = render_cohort([900_000, 900_001, 900_002], tmp_path)
    assert pixels.shape == (3, 224, 224)
    assert labels.shape == (3, len(FINDINGS))
    assert np.isin(labels[~np.isnan(labels)], (0, 1)).all()


def test_shares_of_coarse_cells_are_means_of_fine_ones(examples: Examples) -> None:
    cover = torch.from_numpy(examples.cover[:2])
    assert torch.equal(at_cells(cover, CELLS), cover.float() / 255)
    coarse = at_cells(cover, 7)
    blocks = (cover.double() / 255).unflatten(-1, (7, 4)).unflatten(-3, (7, 4)).mean((-3, -1))
    assert coarse.shape == (2, 2, len(FINDINGS), 7, 7)
    assert torch.allclose(coarse.double(), blocks, atol=1e-6)
    assert ((coarse > 0) == (blocks > 0)).all()


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


@pytest.mark.parametrize("cells", [7, 14, 28])
def test_the_cells_count_alike_at_every_resolution(cells: int) -> None:
    """Against loops over cells, in float64."""
    draw = torch.Generator().manual_seed(cells)
    cover = torch.zeros(3, cells, cells, dtype=torch.float64)
    quarter = cells // 7
    cover[0, quarter : 3 * quarter, quarter : 3 * quarter] = 1.0
    cover[1, -quarter, -quarter], cover[1, -quarter, -1] = 0.3, 0.1  # a nodule fills no cell
    batch = batch_of(cover, removed=0)
    evidence = torch.randn(1, 2, 3, cells, cells, generator=draw, dtype=torch.float64)
    rim, worst = {7: (0, 2), 14: (0, 8), 28: (1, 32)}[cells]
    assert (round(RIM * cells), round(HARDEST * cells**2)) == (rim, worst)
    losses = []
    for image in range(2):
        for k in range(3):
            shares = batch.cover[0, image, k].tolist()
            most = min(max(map(max, shares)), 0.5)
            within, outside = [], []
            for i in range(cells):
                for j in range(cells):
                    score = 8 * (float(evidence[0, image, k, i, j]) - 0.5)
                    near = [
                        shares[y][x]
                        for y in range(max(i - rim, 0), min(i + rim + 1, cells))
                        for x in range(max(j - rim, 0), min(j + rim + 1, cells))
                    ]
                    if shares[i][j] > 0 and shares[i][j] >= most:
                        within.append(float(np.logaddexp(0, -score)))
                    outside.append(float(np.logaddexp(0, score)) if max(near) == 0 else 0.0)
            counted = sum(value > 0 for value in outside)
            hardest = sorted(outside, reverse=True)[:worst]
            losses.append(
                sum(within) / max(len(within), 1) + sum(outside) / counted + 0.5 * sum(hardest) / worst
            )
    logits = torch.zeros(1, 2, 3, dtype=torch.float64)
    found = parts(evidence, logits, KAPPA.double(), batch, ["cell"])["cell"]
    assert float(found) == pytest.approx(np.mean(losses), abs=1e-9)


def test_what_does_not_count_is_not_computed(pair: Batch) -> None:
    alone = Batch(pair.inputs[:, :1], pair.cover[:, :1], pair.labels[:, :1], pair.removed)
    weights = MODELS["labels"].weights
    losses = parts(torch.zeros(1, 1, 3, 8, 8), torch.zeros(1, 1, 3), KAPPA, alone, weights.counted)
    assert list(losses) == ["label"]
    assert MODELS["counterfactuals"].weights.counted == ("label", "fall", "others")


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


def test_a_file_gives_the_logits_of_what_was_trained(examples: Examples, tmp_path: Path) -> None:
    network, points = trained(SMALL, examples), (0.25,) * len(FINDINGS)
    save(network, tmp_path / "small.safetensors", points, SMALL)
    classifier = from_pretrained(tmp_path / "small.safetensors")
    assert classifier.pathologies == FINDINGS
    assert classifier.operating_points == points
    pixels = examples.pixels[:, 0]
    loaded = classifier.forward(torch.from_numpy(pixels).float()[:, None]).logits
    assert torch.allclose(loaded, logits_of(network, pixels), atol=1e-4)


def test_training_makes_the_cells_of_findings_stand_out(examples: Examples) -> None:
    torch.manual_seed(0)
    network = Network(SMALL, areas_of(examples, CELLS))
    settings = replace(SMALL, epochs=30, rate=3e-2)
    assert list(fit(network, examples, settings)) == list(range(30))
    network.eval()
    with torch.inference_mode():
        evidence, _ = network(torch.from_numpy(examples.pixels[:, 0]).float()[:, None])
    cover = torch.from_numpy(examples.cover[:, 0])
    large = [FINDINGS.index(name) for name in ("Edema", "Emphysema", "Pneumothorax")]
    inside = evidence[:, large][cover[:, large] > 127].mean()
    outside = evidence[:, large][cover[:, large] == 0].mean()
    assert inside > outside + 0.01


SEEDS = range(900_000, 900_008)


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "made.safetensors"
    make(SMALL, path, examples=folder, calibration=SEEDS)
    return path.read_bytes()


@pytest.mark.parametrize("stopped", [None, 1])
def test_a_training_that_was_stopped_makes_the_same_file(
    stopped: int | None, uninterrupted: bytes, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "made.safetensors"
    if stopped:  # after so many of the two epochs
        pairs = render_examples(CHESTS, folder / "training")
        torch.manual_seed(SMALL.seed)
        network = Network(SMALL, areas_of(pairs, CELLS))
        epochs = fit(network, pairs, SMALL, state=path.with_suffix(".state"))
        assert [next(epochs) for _ in range(stopped)] == list(range(stopped))
        assert path.with_suffix(".state").exists()
        torch.rand(3)  # what was drawn in between does not matter
    make(SMALL, path, examples=folder, calibration=SEEDS)
    assert path.read_bytes() == uninterrupted
    assert not path.with_suffix(".state").exists()


def test_the_state_of_another_training_is_refused(examples: Examples, tmp_path: Path) -> None:
    state = tmp_path / "some.state"
    next(fit(Network(SMALL, areas_of(examples, CELLS)), examples, SMALL, state=state))
    other = replace(SMALL, weights=Weights(cell=0))
    with pytest.raises(OutputError, match="the state of a training with other settings"):
        next(fit(Network(other, areas_of(examples, CELLS)), examples, other, state=state))


@pytest.mark.parametrize("name", MODELS)
def test_each_model_goes_the_whole_way_to_a_file(name: str, folder: Path, tmp_path: Path) -> None:
    small = {"growth_rate": 4, "bn_size": 2, "num_init_features": 4}
    settings = replace(MODELS[name], **small, chests=CHESTS, epochs=1, images=8)
    path, said = tmp_path / f"{name}.safetensors", []
    sha256 = make(settings, path, examples=folder, calibration=SEEDS, say=said.append)
    assert said
    classifier = from_pretrained(path)
    assert classifier.weights_sha256 == sha256
    assert classifier.phantom_only
    assert any(point is not None for point in classifier.operating_points)
    with torch.inference_mode():
        passed = classifier.forward(torch.zeros(1, 1, 224, 224))
    assert passed.activations.shape[-2:] == (settings.cells,) * 2
    with safe_open(path, "pt") as file:
        assert f'"precision": "{settings.precision}"' in file.metadata()["training"]


def test_an_output_without_positives_has_no_operating_point() -> None:
    labels = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert operating_points(torch.tensor([[-1.0, 0.0], [1.0, 2.0]]), labels) == (0.5, None)


REPORT = (
    "# Validity of the weights /some/where, on phantoms\n\n1 finding.\n\n![plot](a.png)\n\n### At a glance\n"
)


def test_a_card_says_what_the_file_holds(uninterrupted: bytes, tmp_path: Path) -> None:
    path = tmp_path / "densenet-res224-some.safetensors"
    path.write_bytes(uninterrupted)
    (tmp_path / "report.md").write_text(REPORT)
    text = card(path, tmp_path)
    module = from_pretrained(path).module
    parameters = sum(parameter.numel() for parameter in module.parameters())
    for said in (
        f"{parameters:,} parameters, 28 x 28 feature maps",
        hashlib.sha256(uninterrupted).hexdigest(),
        f"makes it: {CHESTS.patients} chests",
        "epochs: 2, of 2 steps of 4 pairs",
        "that the other logits then stay (0.1)",
        "--weights densenet-res224-some`, on phantoms: 1 finding. ### At a glance ## Limits",
        "makes it an instrument",
    ):
        assert said in " ".join(text.split())
    assert str(tmp_path) not in text
    assert max(map(len, text.splitlines())) <= 120
    assert "## Validity" not in card(path)
