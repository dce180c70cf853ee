"""What the rules that read a transformer's attention cost, beside the bare forward pass and Grad-CAM.

python -m benchmarks.attention_cost --threads 1 --clock cpu

torchvision's ViT-B/16 at 224 x 224 with random weights, on which the cost does not depend.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from benchmarks.facts import machine
from benchmarks.timing import measure
from cxr_explain.cam.attention import LeGrad
from cxr_explain.cam.registry import Method
from cxr_explain.cam.rules import Rule, class_maps
from cxr_explain.models.hooked import HookedClassifier, imagenet_input
from cxr_explain.support.plain_table import PlainTable
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

NAMES = [f"finding {number}" for number in range(14)]
ASKED: dict[str, Method | Rule] = {
    "Grad-CAM": "grad-cam",
    "LeGrad": "legrad",
    "LeGrad, last 2 blocks": LeGrad(blocks=2),
    "Attention relevance": "attention-relevance",
}


def vit() -> HookedClassifier:
    """Explained before the last attention by rules that read a layer."""
    ensure_torchvision_imports()
    from torchvision.models import vit_b_16

    torch.manual_seed(0)
    module = vit_b_16(num_classes=len(NAMES))
    nn.init.normal_(module.heads.head.weight, std=0.02)  # torchvision's zeros pass on no gradient
    layer = "encoder.layers.encoder_layer_11.ln_1"
    return HookedClassifier(module, layer, NAMES, prepare=imagenet_input)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's own choice")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: use with --threads 1")
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    classifier = vit()
    inputs = torch.rand(1, 1, 224, 224) * 2048 - 1024
    contestants: dict[str, Callable[[], object]] = {}
    for name, method in ASKED.items():
        for k in (1, 5):
            wanted = torch.arange(k)
            contestants[f"{name}, K = {k}"] = partial(class_maps, classifier, inputs, wanted, method=method)
    rounds = dict.fromkeys(contestants, given.rounds)
    bare = partial(classifier.logits, inputs)
    times, samples = measure(bare, contestants, rounds, clock=given.clock)
    lines = []
    for name, each in samples.items():
        low, high = each.ratio_quartiles
        lines.append([name, f"{each.median_ms:.0f}", f"{each.ratio:.2f} ({low:.2f} to {high:.2f})"])
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    title = f"ViT-B/16, one image; a bare forward pass takes {sorted(times)[len(times) // 2] * 1e3:.0f} ms"
    print(PlainTable(title, ("class maps", "median ms", "ratio to bare"), lines, "").to_text())


if __name__ == "__main__":
    main()
