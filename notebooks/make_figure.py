"""Draw the README's picture: a synthetic image with invented evidence, nobody's radiograph."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from synthetic import synthetic_explanation, synthetic_radiograph  # noqa: E402 - found through the line above

from cxr_explain import ReferenceBox, ReferenceLabels  # noqa: E402


def main() -> None:
    """Write figure.png beside this file."""
    radiograph = synthetic_radiograph((1024, 1180), view="PA", patient_orientation=("L", "F"), id="synthetic")
    labels = ReferenceLabels(
        {"Effusion": 1, "Cardiomegaly": 1, "Mass": 0, "Atelectasis": -1, "Hernia": 0},  # type: ignore[dict-item]
        boxes=(ReferenceBox("Effusion", 130, 690, 260, 230),),
        source="invented",
    )
    figure = synthetic_explanation(radiograph, k=5).figure(labels, dpi=120)
    figure.save(HERE / "figure.png")


if __name__ == "__main__":
    main()
