"""Bundles: what is written, that MONAI's own tools take it, and that it runs in a process of its own."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, load, verify_net_in_out
from networks import small_xrv
from typer.testing import CliRunner

from cxr_explain import Explainer, Explanation, XRVResNet, read_radiograph
from cxr_explain.cli.app import app
from cxr_explain.errors import (
    OptionError,
    OutputError,
    UnknownWeightsError,
    WeightsError,
    WeightsIntegrityError,
)
from cxr_explain.integrations.monai import bundle as bundles
from cxr_explain.integrations.monai.bundle import radiographs_in, write_bundle
from cxr_explain.integrations.monai.network import (
    bundled_explainer,
    configuration_of,
    empty_network,
    facts_of,
)
from cxr_explain.models.coercion import as_classifier
from cxr_explain.models.loaded import TRAINED_UNKNOWN

RUN = CliRunner()
FILES = {
    "LICENSE",
    "configs/inference.json",
    "configs/logging.conf",
    "configs/metadata.json",
    "docs/README.md",
    "models/model.json",
    "models/model.pt",
}


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_DIR", str(tmp_path / "no-weights"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle("phantom", tmp_path_factory.mktemp("bundles") / "chest")


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def metadata(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))


def facts(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "models" / "model.json").read_text(encoding="utf-8"))


def test_the_files_of_monais_specification(bundle: Path) -> None:
    assert files_of(bundle) == FILES
    assert [path.name for path in bundle.parent.iterdir()] == ["chest"]
    tensors = torch.load(bundle / "models" / "model.pt", weights_only=True)
    expected = Explainer.from_pretrained("phantom", device="cpu").classifier.module.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_metadata_have_what_monais_schema_asks_for(bundle: Path) -> None:
    """The names and types that meta_schema_20240725.json requires, written down from it."""
    found = metadata(bundle)
    texts = "schema version monai_version pytorch_version numpy_version task description authors copyright"
    assert all(isinstance(found[name], str) and found[name] for name in texts.split())
    assert "cxr-explain" in found["required_packages_version"]
    formats = found["network_data_format"]
    tensors = [*formats["inputs"].values(), *formats["outputs"].values()]
    for tensor in (*tensors, *formats["post_processed_outputs"].values()):
        assert isinstance(tensor["type"], str)
        assert isinstance(tensor["format"], str)
        assert isinstance(tensor["num_channels"], int)
        assert isinstance(tensor["dtype"], str)
        assert all(isinstance(size, int | str) for size in tensor["spatial_shape"])
        assert all(isinstance(value, int | float) for value in tensor["value_range"])
    names = [*formats["outputs"]["pred"]["channel_def"].values()]
    assert names == facts(bundle)["pathologies"]
    weights = (bundle / "models" / "model.pt").read_bytes()
    assert found["model"]["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def test_monais_own_tools_take_it(
    bundle: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config, meta = str(bundle / "configs" / "inference.json"), str(bundle / "configs" / "metadata.json")
    verify_net_in_out("network_def", meta_file=meta, config_file=config, device="cpu")
    workflow = ConfigWorkflow(
        config,
        workflow_type="inference",
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(phantoms / "images"),
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    module = Explainer.from_pretrained("phantom", device="cpu").classifier.module
    inputs = torch.rand(1, 1, 224, 224) * 2048 - 1024
    loaded = load(bundle.name, bundle_dir=bundle.parent, workflow_type="inference", device="cpu").eval()
    torch.testing.assert_close(loaded(inputs), module(inputs), atol=1e-4, rtol=1e-4)


NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


def anew(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Run MONAI's command in a new process: its exit code, and what it says."""
    command = [sys.executable, "-m", "monai.bundle", *arguments]
    ran = subprocess.run(
        command, cwd=folder, env=os.environ | NO_NETWORK, capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


def forked(arguments: list[str], folder: Path) -> tuple[int, str]:
    """The same in a fork of this process, which has imported MONAI already: that takes most of the time."""
    with (folder / "said.txt").open("w+", encoding="utf-8") as said:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = _main(arguments, folder, said)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()


def _main(arguments: list[str], folder: Path, said: TextIO) -> int:
    torch.set_num_threads(1)  # the threads of the process that was forked are not here
    os.environ.update(NO_NETWORK)
    os.chdir(folder)
    sys.argv = ["monai.bundle", *arguments]
    sys.stdout = sys.stderr = said
    try:
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        said.flush()
    return 0


@pytest.mark.parametrize("start", [forked, pytest.param(anew, marks=pytest.mark.slow)])
def test_it_runs_in_a_process_of_its_own(
    start: Callable[[list[str], Path], tuple[int, str]], bundle: Path, phantoms: Path, tmp_path: Path
) -> None:
    """As a user runs it, from another folder, with settings of the command line, and no network."""
    results = tmp_path / "results"
    code, said = start(
        [
            *("run", "--bundle_root", str(bundle)),
            *("--config_file", str(bundle / "configs" / "inference.json")),
            *("--dataset_dir", str(phantoms / "images")),
            *("--output_dir", str(results)),
            *("--top_k", "3", "--device", "cpu"),
        ],
        tmp_path,
    )
    assert code == 0, said[-2000:]
    assert "3 explanations" in said
    explainer = Explainer.from_pretrained("phantom", device="cpu")
    for path in sorted((phantoms / "images").glob("*.png")):
        assert (results / f"{path.stem}.png").stat().st_size > 10_000
        saved = Explanation.load(results / path.stem)
        expected = explainer.explain(read_radiograph(path), top_k=3)
        assert saved.ranking.pathologies == expected.ranking.pathologies
        assert saved.provenance.weights_sha256 == metadata(bundle)["model"]["weights_sha256"]
        assert saved.provenance.model == "densenet-res224-phantom"
        np.testing.assert_allclose(saved.maps, expected.maps, atol=1e-4)
    with (results / "predictions.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 3


def test_what_the_evaluator_puts_out_are_the_probabilities(
    bundle: Path, phantoms: Path, tmp_path: Path
) -> None:
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser.read_meta(bundle / "configs" / "metadata.json")
    parser.update(
        {
            "bundle_root": str(bundle),
            "dataset_dir": str(phantoms / "dicom"),
            "output_dir": str(tmp_path),
            "figure_format": None,
            "device": "cpu",
        }
    )
    evaluator = parser.get_parsed_content("evaluator")
    evaluator.run()
    last = sorted((phantoms / "dicom").glob("*.dcm"))[-1]
    ranking = Explainer.from_pretrained("phantom", device="cpu").explain(read_radiograph(last)).ranking
    (output,) = evaluator.state.output
    for prediction in ranking.predictions:
        assert float(output["pred"][prediction.index]) == pytest.approx(prediction.probability, abs=1e-4)
    explained = parser.get_parsed_content("explainer").classifier.module
    assert explained is parser.get_parsed_content("network")
    assert not list(tmp_path.glob("*.png"))


def test_other_weights_than_the_metadata_name_are_refused(bundle: Path, tmp_path: Path) -> None:
    explainer = Explainer.from_pretrained("phantom", device="cpu")
    network = empty_network(**configuration_of(explainer.classifier))
    changed = tmp_path / "model.pt"
    changed.write_bytes((bundle / "models" / "model.pt").read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsIntegrityError, match="as in the bundle's facts"):
        bundled_explainer(network, changed, facts(bundle))
    with pytest.raises(WeightsError, match="Say where the bundle is: --bundle_root FOLDER"):
        bundled_explainer(network, tmp_path / "nowhere.pt", facts(bundle))
    with pytest.raises(WeightsError, match=r"nowhere\.json: .* Say where the bundle is"):
        bundled_explainer(network, changed, tmp_path / "nowhere.json")
    with pytest.raises(OptionError, match="architecture='vgg'"):
        empty_network(architecture="vgg")


def test_weights_of_a_user_and_a_resnet(tmp_path: Path) -> None:
    from networks import small_xrv
    from safetensors.torch import save_file

    from cxr_explain import Outputs
    from cxr_explain.weights import CheckpointFacts

    names = tuple(f"Finding {index}" for index in range(7))
    said = CheckpointFacts(names, (0.25, None, *[0.5] * 5), ("Ours",), 64)
    save_file(small_xrv(7).state_dict(), tmp_path / "ours.safetensors", said.to_metadata())
    folder = write_bundle(tmp_path / "ours.safetensors", tmp_path / "bundle")
    model = facts(folder)
    assert model["pathologies"] == list(names)
    assert model["operating_points"][:2] == [0.25, None]
    assert (
        model["weights_from_sha256"]
        == hashlib.sha256((tmp_path / "ours.safetensors").read_bytes()).hexdigest()
    )
    config = json.loads((folder / "configs" / "inference.json").read_text())["network_def"]
    config.pop("_target_")
    explainer = bundled_explainer(empty_network(**config), folder / "models" / "model.pt", model)
    x = torch.rand(2, 1, 64, 64) * 2048 - 1024
    torch.testing.assert_close(explainer.classifier.logits(x), small_xrv(7).eval()(x), atol=1e-4, rtol=1e-4)
    assert (explainer.classifier.input_size, explainer.classifier.phantom_only) == (64, False)
    resnet = XRVResNet(empty_network(architecture="xrv-resnet50", num_classes=3), Outputs(names[:3]))
    assert configuration_of(resnet) == {"architecture": "xrv-resnet50", "num_classes": 3}
    assert facts_of(resnet, sha256="a", from_sha256="b")["input_size"] == 512


def test_the_network_of_a_bundle_keeps_what_is_known_of_it(bundle: Path, tmp_path: Path) -> None:
    """Taken out of its explainer, it has seen phantoms alone as before."""
    network = empty_network(**configuration_of(Explainer.from_pretrained("phantom").classifier))
    explainer = bundled_explainer(network, bundle / "models" / "model.pt", facts(bundle))
    again = as_classifier(network)
    assert again.phantom_only
    assert again.outputs == explainer.classifier.outputs
    assert again.name == explainer.classifier.name


def test_a_bundle_of_weights_whose_outputs_are_unknown_says_so(tmp_path: Path) -> None:
    torch.save(small_xrv(18).state_dict(), tmp_path / "bare.pt")
    classifier = Explainer.from_pretrained(tmp_path / "bare.pt").classifier
    folder = write_bundle(str(tmp_path / "bare.pt"), tmp_path / "bundle")
    network = empty_network(**configuration_of(classifier))
    explainer = bundled_explainer(network, folder / "models" / "model.pt", folder / "models" / "model.json")
    assert explainer.classifier.notes == (TRAINED_UNKNOWN,)
    assert as_classifier(network).notes == (TRAINED_UNKNOWN,)


def test_the_command(tmp_path: Path) -> None:
    ran = RUN.invoke(app, ["bundle", "--weights", "phantom", "--offline", "--out", str(tmp_path / "new")])
    assert ran.exit_code == 0, ran.output
    assert "python -m monai.bundle run --bundle_root" in ran.output
    assert files_of(tmp_path / "new") == FILES
    readme = (tmp_path / "new" / "docs" / "README.md").read_text(encoding="utf-8")
    assert metadata(tmp_path / "new")["model"]["weights_sha256"] in readme
    assert "computed phantoms" in readme
    again = RUN.invoke(app, ["bundle", "--weights", "phantom", "--out", str(tmp_path / "new")])
    assert again.exit_code == 1
    assert "found a folder that is not empty" in again.output
    missing = RUN.invoke(app, ["bundle", "--offline", "--out", str(tmp_path / "other")])
    assert missing.exit_code == 1
    assert "error:" in missing.output
    assert not (tmp_path / "other").exists()


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    assert files_of(write_bundle("phantom", tmp_path / "empty")) == FILES
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a folder that is not empty"):
        write_bundle("phantom", tmp_path / "file")
    with pytest.raises(UnknownWeightsError):
        write_bundle("phantoms", tmp_path / "new")
    whole, written = bundles.write_whole, []

    def fail(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        whole(path, content)

    monkeypatch.setattr(bundles, "write_whole", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_bundle("phantom", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "state") == ["empty", "file"]


@pytest.mark.parametrize("module", ["fire", "ignite"])
def test_without_the_extra_one_line_says_what_to_install(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(app, ["bundle", "--weights", "phantom", "--out", str(tmp_path / "bundle")])
    assert result.exit_code == 1
    assert f"found no module {module}; expected the packages of the extra monai" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_data(phantoms: Path, tmp_path: Path) -> None:
    listed = radiographs_in(phantoms / "images")
    assert listed == [{"image": str(path)} for path in sorted((phantoms / "images").glob("*.png"))]
    with pytest.raises(OptionError, match="no image in"):
        radiographs_in(tmp_path)


def test_help_does_not_import_monai() -> None:
    code = (
        "import sys; from cxr_explain.cli.app import app\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['bundle', '--help']).exit_code == 0\n"
        "sys.exit('imported' if {'monai', 'torch', 'ignite'} & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
