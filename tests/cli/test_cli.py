"""The command line, run as a user runs it: in a process of its own, or through its own parser."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxr_explain import Explanation
from cxr_explain.cli.app import app

RUN = CliRunner()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TorchXRayVision's DenseNet with one layer a block and random weights, as safetensors."""
    import torch
    from safetensors.torch import save_file

    from cxr_explain import ensure_torchvision_imports

    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    small = DenseNet(growth_rate=8, block_config=(1, 1, 1, 1), num_init_features=16, bn_size=2)
    save_file(small.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_DIR", str(tmp_path / "no-weights"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    for name, seed in (("a.png", 1), ("b.png", 2), ("deeper/a.png", 3)):
        noise = np.random.default_rng(seed).integers(0, 256, (90, 70), np.uint8)
        Image.fromarray(noise).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_layers_are_listed_with_their_maps(checkpoint: Path) -> None:
    result = RUN.invoke(app, ["layers", "--weights", str(checkpoint)])
    assert result.exit_code == 0, result.output
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert rows[0] == "layer kind gives channels maps"
    assert rows[-1] == "without --layer: features (post-ReLU)"
    assert "features.norm5 BatchNorm2d 1 x 17 x 7 x 7 17 7 x 7" in rows
    assert "features.denseblock3 _DenseBlock 1 x 18 x 14 x 14 18 14 x 14" in rows
    assert not [row for row in rows if row.startswith("classifier")]


def test_all_layers_are_listed_with_why_not(tmp_path: Path) -> None:
    result = RUN.invoke(app, ["layers", "--weights", "phantom", "--all"])
    shown = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert shown["layer"].split()[-2:] == ["why", "not"]
    assert "features.norm5" in shown
    result = RUN.invoke(app, ["layers", "--weights", str(tmp_path / "none.pt")])
    assert result.exit_code == 1
    assert "no such checkpoint file" in result.stderr


def test_a_layer_that_is_not_there_fails_with_those_that_would_do(images: Path, tmp_path: Path) -> None:
    result = explain(
        images / "a.png", "--layer", "features.7", "--weights", "phantom", "--allow-phantom-weights",
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "no layer named 'features.7' in DenseNet" in result.stderr
    assert "Layers that would do: features (216 channels, 28 x 28)" in " ".join(result.stderr.split())


def explain(*arguments: object):
    return RUN.invoke(app, ["explain", *map(str, arguments)])


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_writes_a_figure_a_json_and_an_npz_for_each_input(
    images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = explain(
        images / "a.png", images / "b.png", "--weights", checkpoint, "--labels", "Effusion|Mass", "-o", out
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        f"{i}.{e}" for i in "ab" for e in ("json", "npz", "png")
    ]
    with Image.open(out / "a.png") as figure:
        assert figure.size[0] > 1000
    assert Explanation.load(out / "a").maps.shape == (5, 7, 7)
    assert "reference" in result.stdout
    assert "positive" in result.stdout
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:12] in result.stderr


def test_same_input_gives_the_same_bytes(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    for figure_format in ("png", "pdf", "svg"):
        for out in ("one", "two"):
            result = explain(
                images / "a.png", "--weights", checkpoint, "--top-k", 2, "-o", tmp_path / out,
                "--format", figure_format,
            )  # fmt: skip
            assert result.exit_code == 0, result.output
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) == 5


def test_a_folder_is_searched_and_equal_names_do_not_overwrite_each_other(
    images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = explain(images, images / "a.png", "--weights", checkpoint, "-o", out, "--top-k", 1)
    assert result.exit_code == 0, result.output
    assert len(list(out.glob("*.png"))) == 3
    assert "passed over what is no image: 'notes.txt'\n" in result.stderr
    sources = {Explanation.load(path).provenance.radiograph_sha256 for path in out.glob("*.json")}
    assert len(sources) == 3


def test_failures_are_named_and_the_others_done(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:500])
    (images / "page.dcm").write_bytes(b"<!DOCTYPE html><html></html>")
    out = tmp_path / "out"
    result = explain(
        images, tmp_path / "missing.png", "--weights", checkpoint, "-o", out, "--batch-size", 2, "--top-k", 1
    )
    assert result.exit_code == 1
    assert len(list(out.glob("*.json"))) == 3
    failures = [line for line in result.stderr.splitlines() if line.startswith("failed:")]
    assert [
        name in line for name, line in zip(("broken.png", "page.dcm", "missing.png"), failures, strict=True)
    ] == [True] * 3
    assert "3 of 6 inputs failed" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("*.nothing",), "no file that matches"),
        (("{images}/a.png", "--weights", "densenet"), "found weights named 'densenet'"),
        (("{images}/a.png", "--pathologies", "Flu"), "pathologies that this model predicts"),
        (("{images}/a.png", "--pathologies", ""), "pathologies that this model predicts"),
        (("{images}/a.png", "--labels", "Mass=maybe"), "label state 'maybe'"),
        (("{images}/a.png", "--labels", "no.csv"), "no readable file"),
        (("{images}/a.png", "--labels", "{images}/b.png"), "something else than text"),
        (("{images}/a.png", "--boxes", "{images}/notes.txt"), "expected a column 'Image Index'"),
        (("{images}/a.png", "--device", "cuda:77"), "device='cuda:77'"),
        (("{images}/a.png", "--voi", "wide"), "voi"),
        (("{images}/a.png", "--top-k", "0"), "top-k"),
        (("{images}/a.png", "--activation", "tanh"), "tanh"),
        ((), "Missing argument"),
    ],
)
def test_usage_errors_exit_with_2_in_one_line(
    arguments: tuple[str, ...], message: str, images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    filled = [argument.format(images=images) for argument in arguments]
    if "--weights" not in filled:
        filled += ["--weights", str(checkpoint)]
    result = explain(*filled, "-o", tmp_path / "out")
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_table_of_labels_and_boxes_finds_each_image(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(4).integers(0, 256, (256, 256), np.uint8)).save(images / "c.png")
    labels = tmp_path / "Data_Entry_2017.csv"
    labels.write_text(
        "Image Index,Finding Labels,Follow-up #,\na.png,No Finding,0,\nc.png,Mass|Effusion,0,\n"
    )
    boxes = tmp_path / "BBox_List_2017.csv"
    boxes.write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,,,,\nc.png,Mass,100,200,300,400,,,\n")
    out = tmp_path / "out"
    result = explain(
        images / "*.png", "--weights", checkpoint, "--labels", labels, "--boxes", boxes, "-o", out
    )
    assert result.exit_code == 0, result.output
    of_image: dict[str, str] = {}
    name = ""
    for line in result.stdout.splitlines()[1:-2]:
        name = line.split()[0] if line[0] != " " else name
        of_image[name] = of_image.get(name, "") + line
    assert "negative" in of_image["a"]
    assert "positive" not in of_image["a"]
    assert of_image["b"].count("not given") == 5
    assert of_image["c"].count("positive") == 2


def test_boxes_for_an_image_that_is_no_square_are_refused_for_that_image(
    images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\na.png,Mass,1,2,3,4\n")
    result = explain(
        images / "*.png", "--weights", checkpoint, "--boxes", boxes, "--top-k", 1,
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "boxes in 1024 x 1024 pixels for an image of 70 x 90" in result.stderr
    assert [path.stem for path in (tmp_path / "out").glob("*.json")] == ["b"]


def test_hashed_ids_keep_the_file_name_out_of_the_results(
    images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    (images / "a.png").rename(images / "Wibblefish_Jane_1970.png")
    out = tmp_path / "out"
    result = explain(
        images / "Wibblefish_Jane_1970.png",
        "--weights",
        checkpoint,
        "--top-k",
        1,
        "-o",
        out,
        "--ids",
        "sha256",
    )
    assert result.exit_code == 0, result.output
    assert len(list(out.iterdir())) == 3
    for path in out.iterdir():
        assert b"wibblefish" not in path.read_bytes().lower()
        assert "wibblefish" not in path.name.lower()


def test_an_output_folder_that_cannot_be_made(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = explain(images / "a.png", "--weights", checkpoint, "-o", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "output folder that cannot be written" in result.stderr


def test_a_figure_never_replaces_a_radiograph(images: Path, checkpoint: Path) -> None:
    before = (images / "a.png").read_bytes()
    for output in (images, images / "deeper" / ".."):
        result = explain(images, "--weights", checkpoint, "-o", output)
        assert result.exit_code == 2
        assert "a.png in the folder for the results, where its figure would replace it" in result.stderr
    assert (images / "a.png").read_bytes() == before
    assert sorted(path.name for path in images.iterdir()) == ["a.png", "b.png", "deeper", "notes.txt"]


def test_an_output_without_a_name_is_not_the_current_folder(images: Path, checkpoint: Path) -> None:
    result = explain(images / "a.png", "--weights", checkpoint, "-o", "")
    assert result.exit_code == 2
    assert "a path without a name" in result.output


def test_figures_of_another_format_may_lie_beside_radiographs(images: Path, checkpoint: Path) -> None:
    before = (images / "a.png").read_bytes()
    result = explain(images / "a.png", "--weights", checkpoint, "-o", images, "--format", "svg", "--top-k", 1)
    assert result.exit_code == 0, result.output
    assert (images / "a.svg").is_file()
    assert (images / "a.png").read_bytes() == before


def test_a_figure_that_cannot_be_written_fails_under_its_inputs_name(
    images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    result = explain(
        images / "a.png", images / "b.png", "--weights", checkpoint, "--top-k", 1, "-o", tmp_path / "out"
    )
    assert result.exit_code == 1
    (failure,) = [line for line in result.stderr.splitlines() if line.startswith("failed:")]
    assert failure.startswith(f"failed: {images / 'a.png'}: ")
    assert "cannot be written" in failure
    assert [path.stem for path in (tmp_path / "out").glob("*.json")] == ["b"]


def test_a_model_that_gives_nan_fails_without_a_figure(
    images: Path, checkpoint: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(checkpoint)
    state["classifier.weight"] *= float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    result = explain(images / "a.png", "--weights", tmp_path / "nan.safetensors", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "NaN" in result.stderr
    assert not list((tmp_path / "out").iterdir())


def test_version_and_module_entry_point() -> None:
    from cxr_explain import __version__

    process = subprocess.run(
        [sys.executable, "-m", "cxr_explain", "--version"], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == f"cxr-explain {__version__}"


def test_weights_commands(tmp_path: Path, checkpoint: Path) -> None:
    listed = RUN.invoke(app, ["weights", "list"])
    assert listed.exit_code == 0
    assert "densenet121-res224-mimic_ch" in listed.stdout
    missing = RUN.invoke(app, ["weights", "path", "nih"])
    assert missing.exit_code == 1
    assert "https://" in missing.stderr
    assert str(tmp_path / "no-weights") in missing.stderr.replace("\n", "")
    verified = RUN.invoke(app, ["weights", "verify", str(checkpoint)])
    assert verified.exit_code == 0
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() in verified.stdout
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(checkpoint.read_bytes())
    assert RUN.invoke(app, ["weights", "verify", str(copy)]).exit_code == 0
    copy.write_bytes(checkpoint.read_bytes()[:-4] + b"\0\0\1\0")
    changed = RUN.invoke(app, ["weights", "verify", str(copy)])
    assert changed.exit_code == 1
    assert "--accept" in changed.stderr
    assert RUN.invoke(app, ["weights", "verify", str(copy), "--accept"]).exit_code == 0


@pytest.mark.real_data
def test_the_main_job_on_real_radiographs_with_the_stand_in(real_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = explain(
        *(real_data / "nih1024" / name for name in ("00012045_005.png", "00003528_024.png")),
        *("--weights", "densenet121-res224-nih", "--weights-dir", real_data / "standin", "--offline"),
        *("--labels", real_data / "Data_Entry_2017_v2020.csv", "--boxes", real_data / "BBox_List_2017.csv"),
        *("--top-k", 5, "--out", out),
    )
    assert result.exit_code == 0, result.output
    assert "f5261ae21d1c" in result.stderr
    document = json.loads((out / "00012045_005.json").read_text())
    assert document["provenance"]["gradient"] == "closed form"
    assert len(document["ranking"]["predictions"]) == 14


def test_a_file_that_is_not_there_is_named_before_any_weights_are_wanted(tmp_path: Path) -> None:
    result = explain(tmp_path / "typo.dcm", "--weights", "densenet121-res224-all", "-o", tmp_path / "out")
    assert result.exit_code != 0
    assert "no image in" in result.stderr
    assert "typo.dcm" in result.stderr.replace("\n", "")
    assert "densenet121" not in result.stderr
