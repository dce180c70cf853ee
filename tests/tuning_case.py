"""A tiny classifier, small images of patients, and their labels: quick to fit operating points on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from cxr_explain import Explainer
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.explaining.operating_points import OperatingPoints
from cxr_explain.models.base import Outputs
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.reference.manifest import Manifest

NAMES = ("Mass", "Edema", "Hernia")
SHA256 = "ab" * 32
RUNNING = RunSettings(batch_size=32, workers=1, regions=False)


def classifier(
    sha256: str | None = SHA256, names: tuple[str, ...] = NAMES, **more: object
) -> HookedClassifier:
    """Brightness is what it looks at: Mass and Hernia in bright images, Edema in dark ones."""
    convolution, head = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, len(names))
    with torch.no_grad():
        convolution.weight.fill_(1 / (9 * 1024))
        convolution.weight[1] *= -1
        convolution.bias.fill_(1.0)
        head.weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 5.0], [1.0, 0.0]])[: len(names)])
        head.bias.copy_(torch.tensor([-3.0, -6.0, -1.5])[: len(names)])
    module = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    outputs = Outputs(names, (0.5, 0.25, None)[: len(names)])
    return HookedClassifier(module, "1", outputs, input_size=32, name="tiny", weights_sha256=sha256, **more)


@dataclass(frozen=True)
class Folder:
    """Images in a folder, and their manifest: 90 images of 60 patients, of which every third has two."""

    path: Path
    manifest: Manifest

    def run(self, where: Path, points: OperatingPoints | None = None, **options: object) -> AuditRun:
        """Audit the manifest, or another one of the same images."""
        manifest = options.pop("manifest", self.manifest)
        explainer = Explainer(classifier(), operating_points=points)
        return run_audit(explainer, manifest, self.path, where, running=RUNNING, top_k=2, **options)


def folder(path: Path, *, seed: int = 0, patients: int = 60) -> Folder:
    """Draw the images: brightness tells of the labels, and errs."""
    draws = np.random.default_rng(seed)
    path.mkdir(parents=True)
    names, people, states, splits = [], [], [], []
    for patient in range(patients):
        for image in range(2 if patient % 2 == 0 else 1):
            brightness = draws.uniform(60, 200)
            pixels = np.clip(draws.normal(brightness, 12, (40, 40)), 0, 255).astype(np.uint8)
            names.append(f"p{patient:03d}-{image}")
            Image.fromarray(pixels).save(path / f"{names[-1]}.png")
            chance = 1 / (1 + np.exp(-(brightness - 130) / 15))
            states.append([draws.random() < chance, draws.random() < 1 - chance, patient in (1, 3, 5)])
            people.append(f"person {patient}")
            splits.append("valid" if patient < patients // 2 and image == 0 else "train")
    manifest = Manifest(
        names,
        [f"{name}.png" for name in names],
        pathologies=NAMES,
        states=np.array(states, np.int8),
        patients=people,
        splits=splits,
        label_sources="drawn",
    )
    return Folder(path, manifest)
