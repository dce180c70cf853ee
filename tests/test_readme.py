"""The rule of CONTRIBUTING explains a phantom, and the README's figure is the one its script draws.

That all blocks of all pages run is the matter of tests/docs.
"""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def python_blocks(name: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def test_the_rule_of_contributing_explains_a_phantom() -> None:
    from cxr_explain.phantom import render, sample_patient, to_radiograph

    (block,) = python_blocks("CONTRIBUTING.md")
    names: dict[str, object] = {}
    exec(block, names)  # noqa: S102
    radiograph = to_radiograph(render(sample_patient(42), size=96))
    explanation = names["explainer"].explain(radiograph, top_k=3)  # type: ignore[attr-defined]
    assert explanation.maps.any()
    assert explanation.provenance.method == "FM-G-CAM of energy_cam"


def test_the_figure_in_the_readme_is_the_one_that_the_script_draws(tmp_path: Path) -> None:
    """Compared as pictures: another build of the font renderer may move a pixel."""
    import numpy as np
    from PIL import Image

    script = shutil.copy(ROOT / "notebooks" / "make_figure.py", tmp_path)
    runpy.run_path(script, run_name="__main__")
    drawn, stored = (
        np.asarray(Image.open(folder / "figure.png").convert("L").resize((160, 120)), int)
        for folder in (tmp_path, ROOT / "notebooks")
    )
    assert np.abs(drawn - stored).mean() < 0.5
