"""Draw the pictures of two jobs, of phantoms alone: a panel of patients, and the report of an audit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageFilter
from PIL.PngImagePlugin import PngInfo

import cxr_explain as cxr
from cxr_explain.audit.results import write_statistics
from cxr_explain.pages.audit_report import build_report
from cxr_explain.phantom import render, sample_patient, to_radiograph
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference import make_manifest

HERE = Path(__file__).resolve().parent
PHANTOMS = 240
"""Images of the audit; those of every other patient are blurred, as by a detector that is out of order."""


def main() -> None:
    """Write patients.png and report.png beside this file."""
    explainer = cxr.Explainer.from_pretrained("phantom")
    draw_patients(explainer)
    draw_report(explainer)


def draw_patients(explainer: cxr.Explainer) -> None:
    """Three phantoms, a row each."""
    phantoms = [render(sample_patient(seed), size=512) for seed in (42, 10_000_189, 10_000_202)]
    explanations = [explainer.explain(to_radiograph(phantom), top_k=3) for phantom in phantoms]
    labels = [
        cxr.ReferenceLabels(dict.fromkeys(phantom.pathologies, 1), boxes=tuple(phantom.boxes))
        for phantom in phantoms
    ]
    figure = cxr.panel(
        explanations,
        columns=["radiograph", "fused", "boxes", "predictions"],
        reference_labels=labels,
        width_mm=180,
        dpi=150,
    )
    figure.save(HERE / "patients.png")


def blur(path: Path) -> None:
    """Blur a PNG file in place; the words in it, which say that it is a phantom, stay."""
    with Image.open(path) as image:
        image.load()
    words = PngInfo()
    for name, text in image.text.items():
        words.add_text(name, text)
    image.filter(ImageFilter.GaussianBlur(4)).save(path, pnginfo=words)


def draw_report(explainer: cxr.Explainer) -> None:
    """The first page of a report, as a browser shows it."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as name:
        folder = Path(name)
        for _ in write_dataset(folder / "phantoms", n=PHANTOMS, seed=11, size=256):
            pass
        manifest = make_manifest("nih", folder / "phantoms")
        scanners = ["AB"[row % 2] for row in range(PHANTOMS)]
        for path, scanner in zip(manifest.paths, scanners, strict=True):
            if scanner == "B":
                blur(folder / "phantoms" / "images" / path)
        manifest = replace(manifest, extra={"scanner": scanners})
        run = cxr.run_audit(explainer, manifest, folder / "phantoms" / "images", folder / "run")
        page = build_report(run, folder / "report", statistics=write_statistics(run).document, cases=20)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            view = browser.new_page(viewport={"width": 1200, "height": 900})
            view.goto(Path(page).as_uri())
            view.wait_for_load_state("networkidle")
            view.screenshot(path=HERE / "report.png")
            browser.close()


if __name__ == "__main__":
    main()
