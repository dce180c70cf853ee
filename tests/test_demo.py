"""What `make demo` does, made small: phantoms, explanations, and a page that shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_explain.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
RUN = CliRunner()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """TorchXRayVision's DenseNet with one layer a block and random weights."""
    import torch
    from safetensors.torch import save_file

    from cxr_explain import ensure_torchvision_imports

    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    torch.manual_seed(5)
    path = tmp_path / "random.safetensors"
    small = DenseNet(growth_rate=8, block_config=(1, 1, 1, 1), num_init_features=16, bn_size=2)
    save_file(small.state_dict(), path)
    return path


def test_phantoms_are_explained_and_shown(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    phantoms, out = tmp_path / "phantoms", tmp_path / "explained"
    made = RUN.invoke(
        app, ["phantom", "--n", "2", "--bits", "16", "--size", "128", "--seed", "9", "--out", str(phantoms)]
    )
    assert made.exit_code == 0, made.output
    (phantoms / "dicom" / "broken.dcm").write_bytes(b"not DICOM")
    labels, boxes = phantoms / "Data_Entry_2017_v2020.csv", phantoms / "BBox_List_2017.csv"
    result = RUN.invoke(
        app,
        [
            *("explain", str(phantoms / "dicom"), str(phantoms / "images" / "phantom-000009.png")),
            *("--weights", str(checkpoint), "--labels", str(labels), "--boxes", str(boxes)),
            *("--out", str(out), "--page"),
        ],
    )
    assert result.exit_code == 1, result.output
    assert f"Look at {out / 'index.html'}" in result.stdout.replace("\n", "")
    html = (out / "index.html").read_text(encoding="utf-8")
    for name in re.findall(r'(?:href|src)="([^"#]+)"', html):
        assert (out / name).is_file()
    assert len(re.findall(r"<img ", html)) == 3
    assert "These images are computed chest phantoms" in html
    assert "reference positive: Mass" in html
    assert "<code>not-an-image</code>" in html
    assert str(tmp_path) not in html


def test_without_the_option_there_is_no_page(tmp_path: Path, checkpoint: Path) -> None:
    result = RUN.invoke(
        app,
        [
            "explain",
            str(ROOT / "notebooks" / "figure.png"),
            "--weights",
            str(checkpoint),
            "-o",
            str(tmp_path / "o"),
        ],
    )
    assert "index.html" not in result.output
    assert not (tmp_path / "o" / "index.html").exists()


def test_the_demo_removes_only_what_it_makes() -> None:
    recipe = re.search(r"^demo:.*?\n\n", (ROOT / "Makefile").read_text(), re.DOTALL | re.MULTILINE)
    assert recipe is not None
    removed = re.findall(r"rm -rf (.*)", recipe[0])
    assert removed == ["$(DEMO)/phantoms $(DEMO)/explained"]
    assert "/demo/" in (ROOT / ".gitignore").read_text().splitlines()
