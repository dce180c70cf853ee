"""The page on exported graphs: its code explains as this package does, where this package is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import exported
import numpy as np
import onnx
import pytest
from blocks import blocks_of
from numpy.typing import NDArray
from PIL import Image

from cxr_explain import Explainer, Radiograph, read_radiograph
from cxr_explain.explaining.preprocessing import prepare

PAGE = "docs/how_to/export.md"
NOTHING_ELSE = """
import sys
for name in ("cxr_explain", "torch", "torchvision", "torchxrayvision"):
    sys.modules[name] = None
"""
KEEP = """
import numpy
numpy.savez("given.npz", pixels=pixels, inputs=inputs, logits=logits, probabilities=probabilities,
            ranked=ranked, class_maps=class_maps, maps=maps, fused=fused)
"""


def code_of_the_page() -> str:
    """The blocks that run a graph, without those that make one."""
    return "".join(
        block.text
        for block in blocks_of(PAGE)
        if block.language == "python" and "cxr_explain" not in block.text
    )


def test_the_page_takes_nothing_of_this_package() -> None:
    imports = {
        line.split()[1].split(".")[0]
        for line in code_of_the_page().splitlines()
        if line[:7] in ("import ", "from PI")
    }
    assert imports == {"json", "numpy", "onnxruntime", "PIL"}


def stripes(height: int, width: int, white: int) -> NDArray[Any]:
    """Sharp edges, of several widths, up to the borders."""
    y, x = np.mgrid[:height, :width]
    waves = np.sin(x / 3) + np.sin(y / 7) + ((x // 5 + y // 11) % 3)
    return np.round((waves - waves.min()) / np.ptp(waves) * white)


IMAGES: dict[str, tuple[NDArray[Any], str]] = {
    "larger": (stripes(211, 163, 255).astype(np.uint8), "L"),
    "smaller": (stripes(41, 59, 255).astype(np.uint8), "L"),
    "of that size": (stripes(64, 64, 255).astype(np.uint8), "L"),
    "16 bits": (stripes(150, 301, 65535).astype(np.uint16), "I;16"),
    "colour": (
        np.dstack([stripes(90, 70, 255), stripes(70, 90, 200).T, stripes(90, 70, 100)]).astype(np.uint8),
        "RGB",
    ),
}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One graph, once for each way to cut the square: that is a matter of the metadata alone."""
    folder = tmp_path_factory.mktemp("graphs")
    model = onnx.load_from_string(exported.of_densenet()[1].content)
    found = {"crop": folder / "crop.onnx", "pad": folder / "pad.onnx"}
    found["crop"].write_bytes(model.SerializeToString())
    for each in model.metadata_props:
        if each.key == "preparation":
            each.value = json.dumps(json.loads(each.value) | {"fit": "pad"})
    found["pad"].write_bytes(model.SerializeToString())
    return found


@pytest.mark.parametrize(
    ("image", "fit"),
    [
        (image, fit)
        for image in IMAGES
        for fit in ("crop", "pad")
        if fit == "crop" or image in ("larger", "16 bits")
    ],
)
def test_its_code_alone_explains_as_this_package_does(
    image: str, fit: Any, graphs: dict[str, Path], tmp_path: Path
) -> None:
    values, mode = IMAGES[image]
    Image.fromarray(values).save(tmp_path / "other.png")
    with Image.open(tmp_path / "other.png") as stored:
        assert stored.mode == mode
    (tmp_path / "explainer.onnx").write_bytes(graphs[fit].read_bytes())
    script = tmp_path / "alone.py"
    script.write_text(NOTHING_ELSE + code_of_the_page() + KEEP, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-I", script.name], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    given = np.load(tmp_path / "given.npz")

    explainer = Explainer(exported.of_densenet()[0].classifier, fit=fit)
    radiograph = read_radiograph(tmp_path / "other.png")
    explanation = explainer.explain(radiograph, top_k=exported.K)
    np.testing.assert_array_equal(given["pixels"], radiograph.pixels)
    ours = prepare(radiograph, exported.SIZE, fit=fit).tensor.numpy()
    np.testing.assert_allclose(given["inputs"][0], ours, atol=2e-3)  # of 2048
    assert given["ranked"][0].tolist() == [each.index for each in explanation.ranking.top]
    for each in explanation.ranking.predictions:
        assert given["probabilities"][0, each.index] == pytest.approx(each.probability, abs=1e-5)
    np.testing.assert_allclose(given["class_maps"][0], explanation.class_maps, atol=1e-6)
    np.testing.assert_allclose(given["maps"][0], explanation.maps, atol=1e-4)
    over = explanation.geometry.maps_to_radiograph(explanation.maps)
    np.testing.assert_allclose(given["fused"], over, atol=1e-4)
    said = ran.stdout.splitlines()
    assert [line.rsplit(maxsplit=2)[0] for line in said] == list(explanation.ranking.pathologies)
    with Image.open(tmp_path / "explained.png") as picture:
        assert (picture.size, picture.mode) == (values.shape[1::-1], "RGB")
        drawn = np.asarray(picture).astype(int)
    grey = (radiograph.pixels[..., None] + 1024) / 2048 * 255
    coloured = np.abs(drawn - grey).max(axis=2)
    dense = (over / over.max()).max(axis=0)
    assert (coloured[dense > 0.5] > 10).mean() > 0.95
    assert (coloured[dense == 0] <= 0.5).all()


def test_pillow_resizes_alike_where_the_page_says_so() -> None:
    square = stripes(163, 163, 255).astype(np.float32) / 255 * 2048 - 1024
    resized = np.asarray(Image.fromarray(square).resize((64, 64), Image.Resampling.BILINEAR))
    ours = prepare(Radiograph.from_array(square), 64).tensor[0].numpy()
    np.testing.assert_allclose(resized, ours, atol=2e-3)
