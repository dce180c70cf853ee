"""From settings to a file: render, train, calibrate, save."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.phantom_model.calibration import calibrate, logits_of, operating_points
from benchmarks.phantom_model.examples import INPUT_SIZE, render_cohort, render_examples
from benchmarks.phantom_model.fitting import areas_of, fit
from benchmarks.phantom_model.network import Network
from benchmarks.phantom_model.settings import Settings
from cxr_explain.phantom.findings import FINDINGS
from cxr_explain.support.whole_file import write_whole
from cxr_explain.weights import CheckpointFacts
from cxr_explain.weights.digests import digest_of, pin_path

CALIBRATION = range(900_000, 901_500)
"""Seeds of the phantoms for calibration; training uses those below."""


def make(
    settings: Settings,
    path: Path,
    *,
    calibration: Sequence[int] = CALIBRATION,
    jobs: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Train a phantom model and write its file, with the digest beside it.

    The file is written after each epoch, so that a run that is stopped leaves a model, if a worse one.

    Args:
        settings: see :class:`Settings`.
        path: where the weights go.
        calibration: seeds of the phantoms for calibration.
        jobs: processes that render.
        say: takes lines of progress.

    Returns:
        The SHA-256 of the file.
    """
    say(f"rendering {len(calibration)} phantoms for calibration")
    pixels, labels = render_cohort(calibration, jobs=jobs)
    truth = torch.from_numpy(labels)
    for network in train(settings, jobs=jobs, say=say):
        save(network, path, operating_points(logits_of(network, pixels), truth), settings)
    logits = calibrate(network, logits_of(network, pixels), truth)
    return save(network, path, operating_points(logits, truth), settings)


def train(
    settings: Settings, *, jobs: int = 1, say: Callable[[str], None] = lambda _: None
) -> Iterator[Network]:
    """All stages; yields the network, which goes on changing, after each epoch.

    Args:
        settings: see :class:`Settings`.
        jobs: processes that render.
        say: takes lines of progress.
    """
    network, first = None, 0
    for number, stage in enumerate(settings.stages):
        say(f"stage {number + 1} of {len(settings.stages)}: rendering {stage.patients} patients")
        patients = range(first, first + stage.patients)
        examples = render_examples(patients, prevalence=stage.prevalence, variants=stage.variants, jobs=jobs)
        first += stage.patients
        seed = settings.seed + number
        torch.manual_seed(seed)
        network = network or Network(settings, areas_of(examples))
        for _ in fit(network, examples, stage, pairs=settings.pairs, seed=seed, say=say):
            yield network


def save(network: Network, path: Path, points: tuple[float | None, ...], settings: Settings) -> str:
    """Write the weights with all that is needed to use them; returns their SHA-256.

    Args:
        network: trained.
        path: a .safetensors file.
        points: operating point of each output.
        settings: recorded in the file.
    """
    from safetensors.torch import save as to_bytes

    facts = CheckpointFacts(FINDINGS, points, ("phantoms",), INPUT_SIZE, "phantoms")
    tensors = {name: value.detach().contiguous() for name, value in network.folded().state_dict().items()}
    metadata = {**facts.to_metadata(), "training": json.dumps(asdict(settings))}
    write_whole(path, to_bytes(tensors, metadata))
    return write_pin(path)


def write_pin(path: Path) -> str:
    """Pin the bytes of a weights file as they are; returns their SHA-256.

    The pin is a line as `sha256sum` writes it, so that `sha256sum --check` can read it.
    """
    digest = digest_of(path.read_bytes())
    write_whole(pin_path(path), f"{digest}  {path.name}\n".encode())
    return digest
