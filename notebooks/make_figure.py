"""Draw the README's picture: a computed phantom with three findings, explained by the bundled model."""

from __future__ import annotations

from pathlib import Path

from cxr_explain import Explainer, LabelState, ReferenceLabels
from cxr_explain.phantom import FINDINGS, Finding, Side, render, sample_patient, to_radiograph

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Write figure.png beside this file."""
    findings = (
        Finding("Mass", seed=4, side=Side.RIGHT, size=0.8, contrast=0.8),
        Finding("Effusion", seed=2, side=Side.LEFT, size=0.5),
        Finding("Hernia", seed=1, size=0.7),
    )
    phantom = render(sample_patient(21), findings, size=1024)
    states = {
        name: LabelState.POSITIVE if name in phantom.pathologies else LabelState.NEGATIVE for name in FINDINGS
    }
    labels = ReferenceLabels(states, boxes=phantom.boxes, source="what was rendered")
    explanation = Explainer.from_pretrained("phantom").explain(to_radiograph(phantom), top_k=3)
    explanation.figure(labels, dpi=120).save(HERE / "figure.png")


if __name__ == "__main__":
    main()
