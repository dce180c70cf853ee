"""From settings to a file: render, train, calibrate, save."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.phantom_model.calibration import calibrate, logits_of, operating_points
from benchmarks.phantom_model.examples import Examples, render_cohort, render_examples
from benchmarks.phantom_model.fitting import areas_of, fit
from benchmarks.phantom_model.network import Network
from benchmarks.phantom_model.settings import INPUT_SIZE, Settings
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
    examples: Path,
    calibration: Sequence[int] = CALIBRATION,
    jobs: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Train a phantom model and write its file, with the digest beside it.

    What is stopped goes on when it is called again: rendering where it was, training after the last whole
    epoch, and to the same file.

    Args:
        settings: see :class:`Settings`.
        path: where the weights go; until they are there, the state of the training lies beside.
        examples: folder of the examples, filled where it is not; trainings share it.
        calibration: seeds of the phantoms for calibration.
        jobs: processes that render.
        say: takes lines of progress.

    Returns:
        The SHA-256 of the file.

    Raises:
        OutputError: a folder of other examples, or the state of another training.
    """
    pixels, labels = render_cohort(calibration, examples / "calibration", jobs=jobs, say=say)
    pairs = render_examples(settings.chests, examples / "training", jobs=jobs, say=say)
    network = trained(settings, pairs, state=(state := path.with_suffix(".state")), say=say)
    logits, truth = logits_of(network, pixels), torch.from_numpy(labels)
    sha256 = save(network, path, operating_points(calibrate(network, logits, truth), truth), settings)
    state.unlink()
    return sha256


def trained(
    settings: Settings,
    pairs: Examples,
    *,
    state: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Network:
    """A network after all epochs; see :func:`~benchmarks.phantom_model.fitting.fit`.

    Args:
        settings: see :class:`Settings`.
        pairs: what it sees.
        state: file to go on from.
        say: takes lines of progress.
    """
    torch.manual_seed(settings.seed)
    network = Network(settings, areas_of(pairs, settings.cells))
    for _ in fit(network, pairs, settings, state=state, say=say):
        pass
    return network


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
    write_whole(path, _in_order(to_bytes(tensors, metadata)))
    return write_pin(path)


def _in_order(content: bytes) -> bytes:
    """The same safetensors file with what it says of itself sorted: the library's order changes by chance."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def write_pin(path: Path) -> str:
    """Pin the bytes of a weights file as they are; returns their SHA-256.

    The pin is a line as `sha256sum` writes it, so that `sha256sum --check` can read it.
    """
    digest = digest_of(path.read_bytes())
    write_whole(pin_path(path), f"{digest}  {path.name}\n".encode())
    return digest
