"""What explaining costs on a GPU: passes, copies, an audit fed by reading threads, memory of the device.

    python -m benchmarks.gpu                      # on a machine with CUDA; `benchmarks/gpu.sh` prepares one
    python -m benchmarks.gpu --device cpu --quick # whether the script works

The model is DenseNet-121 with random weights: what scores say has no effect on what they cost. Each time of
an explanation stands between two bare passes, and is divided by their mean. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.facts import machine
from cxr_explain import Explainer, XRVDenseNet, ensure_torchvision_imports
from cxr_explain.explaining.transfer import in_one_copy
from cxr_explain.support.cores import available_cores

SIZE, K, CLASSES = 224, 5, 18
CUDA_BATCHES, CPU_BATCHES = (1, 16, 64, 256), (1, 2)
ARITHMETIC = ("float32", "TF32", "bfloat16")


@dataclass(frozen=True)
class Row:
    """One line: what was measured of one batch size in one arithmetic.

    Args:
        arithmetic: one of `ARITHMETIC`.
        batch: images in a pass.
        bare_ms: milliseconds of a bare forward pass.
        ratio: an explanation, K = 5, divided by the bare passes beside it.
        peak_mib: the most memory of the device that an explanation took; 0 on the CPU.
    """

    arithmetic: str
    batch: int
    bare_ms: float
    ratio: float
    peak_mib: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cost of explaining on a GPU.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("--images", type=int, default=2048, help="of the audit; 0 leaves it out")
    parser.add_argument("--workers", type=int, default=available_cores(), help="threads that read")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("No CUDA device here; --device cpu --quick shows that the script works.")
    device = torch.device(options.device)
    rounds, images = (2, 4) if options.quick else (15, options.images)
    batches = CUDA_BATCHES if device.type == "cuda" else CPU_BATCHES
    print(json.dumps(machine() | {"device": _name(device)}))
    print("\n| arithmetic | batch | bare pass, ms | images/s | explaining / bare | peak, MiB |")
    print("|---|---:|---:|---:|---:|---:|")
    for arithmetic in ARITHMETIC if device.type == "cuda" else ("float32", "bfloat16"):
        for batch in batches:
            row = explaining(device, arithmetic, batch, rounds)
            print(
                f"| {row.arithmetic} | {row.batch} | {row.bare_ms:.2f} | {1000 * batch / row.bare_ms:.0f} "
                f"| {row.ratio:.3f} | {row.peak_mib:.0f} |",
                flush=True,
            )
    print("\n| copy of a batch | batch | ms |\n|---|---:|---:|")
    for batch in batches:
        for what, milliseconds in copies(device, batch, rounds).items():
            print(f"| {what} | {batch} | {milliseconds:.3f} |")
    if images:
        print("\n| audit of 1024-pixel PNGs | images/s | peak, MiB |\n|---|---:|---:|")
        for dtype in ("float32",) if options.quick else ("float32", "bfloat16"):
            speed, peak = audit(
                device, dtype, images, options.workers, batches[-2 if len(batches) > 2 else -1]
            )
            print(f"| {dtype}, {options.workers} reading threads | {speed:.1f} | {peak:.0f} |", flush=True)


def explaining(device: torch.device, arithmetic: str, batch: int, rounds: int) -> Row:
    """A bare pass and an explanation of the same inputs, which are on the device already."""
    explainer = _explainer(device, "bfloat16" if arithmetic == "bfloat16" else "float32")
    classifier = explainer.classifier
    inputs = torch.rand(batch, 1, SIZE, SIZE, device=device) * 2048 - 1024

    def bare() -> Tensor:
        short = torch.autocast(device.type, torch.bfloat16) if arithmetic == "bfloat16" else nullcontext()
        with torch.inference_mode(), short:
            logits: Tensor = classifier.module(classifier.suited(inputs))
        return logits

    def explained() -> object:
        return explainer.explain_inputs(inputs, top_k=K)

    with _convolutions(tf32=arithmetic == "TF32"):
        for warm in (bare, explained, bare, explained):
            _seconds(warm, device)
        _forget_peak(device)
        _seconds(explained, device)
        peak = _peak(device)
        bares, ratios = [_seconds(bare, device)], []
        for _ in range(rounds):
            took = _seconds(explained, device)
            bares.append(_seconds(bare, device))
            ratios.append(2 * took / (bares[-1] + bares[-2]))
    return Row(arithmetic, batch, 1000 * statistics.median(bares), statistics.median(ratios), peak)


def copies(device: torch.device, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds of what goes to the device and comes back for a batch, in several ways."""
    inputs = torch.rand(batch, 1, SIZE, SIZE)
    maps = [torch.rand(1, K, 7, 7, device=device) for _ in range(2 * batch)]
    ways: dict[str, Callable[[], object]] = {
        "inputs, pageable": lambda: inputs.to(device),
        "maps, one by one": lambda: [each.cpu() for each in maps],
        "maps, together": lambda: in_one_copy(maps),
    }
    if device.type == "cuda":
        ways["inputs, pinned for each batch"] = lambda: inputs.pin_memory().to(device, non_blocking=True)
    found = {}
    for name, way in ways.items():
        _seconds(way, device)
        found[name] = 1000 * statistics.median(_seconds(way, device) for _ in range(rounds))
    return found


def audit(device: torch.device, dtype: str, count: int, workers: int, batch: int) -> tuple[float, float]:
    """Images a second of an audit with all that it writes, and the peak memory of the device in MiB."""
    from cxr_explain.audit.run import RunSettings, run_audit
    from cxr_explain.phantom.dataset import write_dataset
    from cxr_explain.reference.csv_file import parse_manifest

    with TemporaryDirectory() as folder:
        for _ in write_dataset(Path(folder) / "phantoms", n=min(count, 16), seed=3, size=1024):
            pass
        images = Path(folder) / "phantoms" / "images"
        names = sorted(path.name for path in images.glob("*.png"))
        rows = "".join(f"{number},{names[number % len(names)]}\n" for number in range(count))
        manifest = parse_manifest(f"image_id,path\n{rows}".encode(), source="repeated phantoms")
        explainer = _explainer(device, dtype)
        explainer.explain_inputs(torch.zeros(batch, 1, SIZE, SIZE))  # the first pass chooses algorithms
        _forget_peak(device)
        began = time.perf_counter()
        running = RunSettings(batch_size=batch, workers=workers)
        run = run_audit(explainer, manifest, images, Path(folder) / "run", running=running)
        took = time.perf_counter() - began
        if len(run.columns(["row"])) != count:
            raise SystemExit(f"{len(run.failures)} images failed")
    return count / took, _peak(device)


def _explainer(device: torch.device, dtype: str) -> Explainer:
    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    module = DenseNet(num_classes=CLASSES).eval().requires_grad_(False).to(device)
    if device.type == "cuda":
        module.to(memory_format=torch.channels_last)  # as `Explainer.from_pretrained` does
    return Explainer(XRVDenseNet(module), dtype=dtype)  # type: ignore[arg-type]


@contextmanager
def _convolutions(*, tf32: bool) -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """With all that the device still has to do."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"


if __name__ == "__main__":
    main()
