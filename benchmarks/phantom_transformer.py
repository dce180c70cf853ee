"""Where Grad-CAM, LeGrad and attention relevance of a small vision transformer lie, on phantoms.

    python -m benchmarks.phantom_transformer          # meant for half an hour on two quiet cores
    python -m benchmarks.phantom_transformer --quick  # that it runs; no measurement

torchvision's VisionTransformer, 14 x 14 patches behind four convolutions, is trained on phantoms' labels
alone: no map takes part in the loss. Then each rule's class maps of findings that are there, in phantoms that
it has not seen, are judged by the package's ruler, and compared with Grad-CAM's finding by finding. Grad-CAM
reads the norm before the last attention, behind which no gradient reaches the patches.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.facts import machine
from benchmarks.phantom_model.store import each_seed
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.measures.statistics.discrimination import auroc
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.phantom import FINDINGS, render, sample_findings, sample_patient, to_radiograph
from cxr_explain.study.cases import phantom_cases
from cxr_explain.study.measure import Tables, measure
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.report import cell, each, measured, signed, table_of
from cxr_explain.study.session import UNSEEN
from cxr_explain.study.summary import differences, summarise
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

RULES = ("grad-cam", "legrad", "attention-relevance")
SIDE, PATCH = 224, 16
OFTEN = dict.fromkeys(FINDINGS, 0.2) | {"Nodule": 0.35}
"""The chance of each finding in training: more than a user would draw."""

COHORT = 900_000
"""The seed of the first phantom of which the scores are judged; those of training are below."""

WHERE = (("peak, tolerant", "hit, tolerant"), ("peak", "hit, strict"), ("energy", "energy"), ("IoU", "IoU"))


_BOTH = (
    "* where the 95 % interval leaves 0 out. A finding without anything positive in a rule's map has no "
    "number there; differences are of findings with both."
)


@dataclass(frozen=True)
class Settings:
    """What decides the outcome.

    Args:
        patients: chests that are rendered for training.
        variants: images a chest, each with findings of its own.
        epochs: times that each image is seen.
        batch: images a step.
        rate: the highest learning rate.
        width, layers, heads: of the transformer.
        cohort: phantoms of which the scores are judged.
        cases: phantoms with a finding of which the maps are judged.
        seed: of the parameters, the order and the augmentation.
    """

    patients: int = 4000
    variants: int = 3
    epochs: int = 4
    batch: int = 16
    rate: float = 7e-4
    width: int = 144
    layers: int = 6
    heads: int = 6
    cohort: int = 500
    cases: int = 200
    seed: int = 0


QUICK = Settings(patients=16, variants=2, epochs=1, batch=8, width=24, layers=2, heads=2, cohort=40, cases=8)


def transformer(settings: Settings) -> nn.Module:
    """torchvision's ViT; the convolutions before it make it learn from thousands of images, not millions."""
    ensure_torchvision_imports()
    from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

    channels = [settings.width // 6, settings.width // 3, settings.width * 2 // 3, settings.width]
    stem = [ConvStemConfig(each, 3, 2) for each in channels]
    sizes = (settings.layers, settings.heads, settings.width, 3 * settings.width)
    torch.manual_seed(settings.seed)
    module = VisionTransformer(SIDE, PATCH, *sizes, num_classes=len(FINDINGS), conv_stem_configs=stem)
    nn.init.trunc_normal_(module.heads.head.weight, std=0.02)  # torchvision's zeros pass on no gradient
    return module


def as_vit_input(inputs: Tensor) -> Tensor:
    """(B, 1, S, S) in [-1024, 1024] -> (B, 3, S, S) in about [-2, 2]."""
    return (inputs / 512).expand(-1, 3, -1, -1)


def images(seeds: Sequence[int], variants: int, jobs: int) -> tuple[Tensor, Tensor]:
    """(N, S, S) int16 inputs as the package prepares them, and (N, F) labels; NaN of a hidden finding."""
    pixels, labels = zip(*each_seed(partial(_of_patient, variants=variants), seeds, jobs), strict=True)
    return torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(labels))


def _of_patient(seed: int, variants: int) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """A chest is built once; its variants cost little. One variant has findings as a user draws them."""
    patient = sample_patient(seed)
    pixels, labels = [], np.zeros((variants, len(FINDINGS)), np.float32)
    for variant in range(variants):
        stream = seed + 1_000_000 * variant
        findings = sample_findings(seed) if variants == 1 else sample_findings(stream, prevalence=OFTEN)
        phantom = render(patient, findings, size=256)
        pixels.append(prepare(to_radiograph(phantom), SIDE).tensor[0].round().to(torch.int16).numpy())
        for name, mask in phantom.masks.items():
            labels[variant, FINDINGS.index(name)] = 1 if mask.any() else np.nan
    return np.stack(pixels), labels


def train(settings: Settings, jobs: int) -> nn.Module:
    """Binary cross-entropy of the labels, AdamW, one cycle of the rate."""
    pixels, labels = images(range(settings.patients), settings.variants, jobs)
    module = transformer(settings).train()
    steps = len(pixels) // settings.batch * settings.epochs
    optimiser = torch.optim.AdamW(module.parameters(), lr=settings.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=steps, pct_start=0.15
    )
    start, mean, step = time.monotonic(), 0.0, 0
    for epoch in range(settings.epochs):
        order = torch.randperm(len(pixels))
        for chosen in order.split(settings.batch)[: len(pixels) // settings.batch]:
            logits = module(as_vit_input(_augmented(pixels[chosen].float()[:, None])))
            known = ~labels[chosen].isnan()
            loss = F.binary_cross_entropy_with_logits(logits[known], labels[chosen][known])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            mean, step = 0.98 * mean + 0.02 * loss.item(), step + 1
            if step % 50 == 0:
                minutes = (time.monotonic() - start) / 60
                loss_now = mean / (1 - 0.98**step)
                print(
                    f"epoch {epoch + 1}  step {step}/{steps}  loss {loss_now:.3f}  {minutes:.1f} min",
                    flush=True,
                )
    return module.eval()


def _augmented(inputs: Tensor) -> Tensor:
    """Moved by up to a patch, with other contrast, brightness and noise."""
    each_image = (len(inputs), 1, 1, 1)
    down, right = torch.randint(-PATCH, PATCH + 1, (2,)).tolist()
    moved = inputs.roll((down, right), dims=(2, 3))
    contrast, brightness = 1 + 0.1 * torch.randn(each_image), 40 * torch.randn(each_image)
    return (moved * contrast + brightness + 15 * torch.randn(inputs.shape)).clamp(-1024, 1024)


def classifier_of(module: nn.Module, settings: Settings) -> HookedClassifier:
    """The transformer, explained at the norm before the last attention by rules that read a layer."""
    layer = f"encoder.layers.encoder_layer_{settings.layers - 1}.ln_1"
    return HookedClassifier(
        module, layer, FINDINGS, input_size=SIDE, prepare=as_vit_input, name="phantom ViT", phantom_only=True
    )


def discrimination(classifier: HookedClassifier, settings: Settings, jobs: int) -> dict[str, float | None]:
    """AUROC of each finding, on phantoms as a user draws them."""
    pixels, labels = images(range(COHORT, COHORT + settings.cohort), 1, jobs)
    logits = classifier.logits(pixels.float()[:, None])
    known = ~labels.isnan()
    return {
        name: auroc(logits[known[:, f], f].numpy(), labels[known[:, f], f].bool().numpy())
        for f, name in enumerate(FINDINGS)
    }


def judged(classifier: HookedClassifier, cases: int) -> Tables:
    """Every finding that is there, by the class map of each rule."""
    nothing_more = Plan(
        contenders(RULES), (1,), ("joint",), ("relu",), (), (), faithful=0, randomised=0, robust=0, ranked=()
    )
    explainer, tables = Explainer(classifier), Tables()
    every = list(phantom_cases(cases, seed=UNSEEN))
    for first in range(0, cases, 8):
        tables.extend(measure(explainer, every[first : first + 8], nothing_more, first=first))
    return tables


def report(tables: Tables, resamples: int = 1000) -> None:
    """Means by rule, and each rule less Grad-CAM, with intervals over patients."""
    rows = tables.alone
    alone = summarise(rows, ("method",), strata=("all", "small", "large"), resamples=resamples)
    less = differences(rows, ("method",), {"method": RULES[0]}, resamples=resamples)
    methods = [str(name) for name in alone.values("method")]
    print(
        table_of(
            "Where each class map lies",
            "rule",
            alone,
            each("method", methods),
            measured(WHERE),
            count="n",
            show=cell,
        ).to_text()
    )
    print(
        table_of(
            "Each rule less Grad-CAM, finding by finding",
            "rule",
            less,
            each("method", RULES[1:]),
            measured(WHERE),
            note=_BOTH,
            show=signed,
        ).to_text()
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="see that it runs")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="of torch, and processes that render"
    )
    for name in ("patients", "epochs", "cases"):
        parser.add_argument(f"--{name}", type=int, help="another number than the default")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    changed = {name: getattr(given, name) for name in ("patients", "epochs", "cases") if getattr(given, name)}
    settings = Settings(**(asdict(QUICK if given.quick else Settings()) | changed))
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(settings)
    start = time.monotonic()
    classifier = classifier_of(train(settings, given.threads), settings)
    areas = discrimination(classifier, settings, given.threads)
    known = [area for area in areas.values() if area is not None]
    print("AUROC:", ", ".join(f"{name} {area:.2f}" for name, area in areas.items() if area is not None))
    print(f"mean AUROC {sum(known) / len(known):.3f}; {(time.monotonic() - start) / 60:.1f} min")
    report(judged(classifier, settings.cases))
    print(f"{(time.monotonic() - start) / 60:.1f} min in all")


if __name__ == "__main__":
    main()
