"""Shares of the saliency beside an even map's on NIH's radiographs, and the flags by either rule.

    python -m benchmarks.uniform_shares FOLDER [--images 120]

The folder has `nih256/` and `nih1024/` with images and `standin/` with weights. "Before": flagged where a
share is 0.5 or more, which an even map reaches, too; "after": where it exceeds an even map's by a quarter of
what that has elsewhere. Beside both, how many an even map would have flagged. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.engine_agreement import WEIGHTS
from cxr_explain import Explainer
from cxr_explain.audit.cases import Cases
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.chest.shares import FLAGGED_FROM, excess_over_uniform
from cxr_explain.reference.csv_file import parse_manifest

BEFORE = 0.5
"""Share from which an image was flagged, whatever an even map has."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Shares of the saliency beside an even map's.")
    parser.add_argument("folder", type=Path, help="with nih256/, nih1024/ and standin/")
    parser.add_argument("--images", type=int, default=120, help="of each folder, at most")
    asked = parser.parse_args(arguments)
    explainer = Explainer.from_pretrained(
        WEIGHTS, weights_dir=asked.folder / "standin", fetch=False, device="cpu"
    )
    for name in ("nih256", "nih1024"):
        files = sorted((asked.folder / name).glob("*.png"))
        step = max(1, len(files) // asked.images)
        print(f"**{name}**\n\n{_measured(explainer, files[::step][: asked.images])}\n")


def _measured(explainer: Explainer, files: Sequence[Path]) -> str:
    rows = "".join(f"{file.stem},{file.name},{file.stem.partition('_')[0]}\n" for file in files)
    manifest = parse_manifest(f"image_id,path,patient\n{rows}".encode(), source="NIH ChestX-ray14, a part")
    with TemporaryDirectory() as folder:
        run = run_audit(
            explainer, manifest, files[0].parent, folder, running=RunSettings(batch_size=8, workers=1)
        )
        cases, document = Cases.of(run), statistics_of(run).document
    lines = [
        "| share | images | not estimable | mean | even map | above (95 %) | before | even, before | after |",
        "|:--|--:|--:|--:|--:|:--|--:|--:|--:|",
    ]
    for found in document["where"]:
        share, even = cases.shares[found["share"]], cases.uniform_shares[found["share"]]
        above = found["above_uniform"]
        interval = "" if above["low"] is None else f" ({above['low']:.3f} to {above['high']:.3f})"
        counts = (
            np.nansum(share >= BEFORE),
            np.nansum(even[~np.isnan(share)] >= BEFORE),
            np.nansum(excess_over_uniform(share, even) >= FLAGGED_FROM),
        )
        numbers = " | ".join(f"{int(count)}" for count in counts)
        lines.append(
            f"| {found['share'].replace('_', ' ')} | {found['images']} | {found['missing']} "
            f"| {found['estimate']['value']:.3f} | {found['uniform']['value']:.3f} "
            f"| {above['value']:+.3f}{interval} | {numbers} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
