"""The code in README and CONTRIBUTING runs as it stands, from the import to the figure."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).parent / "loaders"))


def python_blocks(name: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with study.dcm, and with a checkpoint of the published file's name and format."""
    import torch
    from radiograph_files import dataset, encode, phantom

    from cxr_explain import ensure_torchvision_imports
    from cxr_explain.models.weights import find_entry

    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    torch.manual_seed(11)
    torch.save(DenseNet(), tmp_path / find_entry("densenet121-res224-all").file_name)
    (tmp_path / "study.dcm").write_bytes(encode(dataset(phantom(rows=300, columns=260))))
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_six_lines_of_the_readme_draw_a_figure(study: Path) -> None:
    blocks = [block for block in python_blocks("README.md") if "from_pretrained(" in block]
    assert len(blocks) == 1
    names: dict[str, object] = {}
    exec(blocks[0], names)  # noqa: S102 - running the documentation is the test
    assert (study / "figure.png").stat().st_size > 10_000
    assert names["explanation"].ranking.k == 5  # type: ignore[attr-defined]


def test_the_block_on_tensors_runs() -> None:
    (block,) = (block for block in python_blocks("README.md") if "torch.rand" in block)
    names: dict[str, object] = {}
    exec(block, names)  # noqa: S102
    assert tuple(names["fused"].maps.shape[2:]) == (7, 7)  # type: ignore[attr-defined]


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
    import subprocess

    import numpy as np
    from PIL import Image

    for folder in ("notebooks", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.png", "__pycache__")
        )
    subprocess.run([sys.executable, str(tmp_path / "notebooks" / "make_figure.py")], check=True, cwd=tmp_path)
    drawn, stored = (
        np.asarray(Image.open(folder / "notebooks" / "figure.png").convert("L").resize((160, 120)), int)
        for folder in (tmp_path, ROOT)
    )
    assert np.abs(drawn - stored).mean() < 0.5
