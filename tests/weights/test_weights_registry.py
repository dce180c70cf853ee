from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_explain.errors import UnknownWeightsError
from cxr_explain.weights import ENTRIES, find_entry, list_weights, weights_folder
from cxr_explain.weights.folder import state_folder

RESNET = "resnet50-res512-all"


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_entries_state_what_torchxrayvision_states(entry):
    from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

    ensure_torchvision_imports()
    from torchxrayvision.models import model_urls

    theirs = model_urls[entry.name]
    assert entry.url == theirs["weights_url"]
    assert entry.url.endswith("/" + entry.file_name)
    never_trained = {"Lung Lesion", "Enlarged Cardiomediastinum"} if entry.name == RESNET else set()
    assert list(entry.pathologies) == ["" if name in never_trained else name for name in theirs["labels"]]
    scale = sigmoid if entry.name == RESNET else float
    assert [math.nan if point is None else scale(point) for point in entry.operating_points] == pytest.approx(
        theirs["op_threshs"], rel=1e-12, nan_ok=True
    )
    assert entry.input_size == theirs["input_resolution"]
    assert all(model_urls[alias] is theirs for alias in entry.aliases)


def test_the_resnets_thresholds_are_sigmoids_of_probabilities():
    """What the registry concludes from, in TorchXRayVision's own table; those of a DenseNet are not."""
    from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

    ensure_torchvision_imports()
    from torchxrayvision.models import model_urls

    def within(name):
        thresholds = [*model_urls[name]["op_threshs"], *model_urls[name]["ppv80_thres"]]
        return [0.5 < value < sigmoid(1) for value in thresholds if not math.isnan(value)]

    assert len(within(RESNET)) == 32
    assert all(within(RESNET))
    assert max(model_urls[RESNET]["ppv80_thres"]) == pytest.approx(sigmoid(1), abs=1e-6)
    assert sum(within("densenet121-res224-all")) < 12


def test_the_resnets_points_are_probabilities_like_those_of_a_densenet():
    points = dict(zip(find_entry(RESNET).pathologies, find_entry(RESNET).operating_points, strict=True))
    assert points["Atelectasis"] == pytest.approx(0.06283, abs=1e-5)
    assert points["Infiltration"] == pytest.approx(0.15181, abs=1e-5)
    assert points["Hernia"] == pytest.approx(0.00834, abs=1e-5)


def test_no_training_set_of_the_resnet_has_labels_for_two_of_its_outputs():
    import inspect

    from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

    ensure_torchvision_imports()
    import torchxrayvision as xrv

    sets = ("NIH", "PC", "RSNA_Pneumonia", "SIIM_Pneumothorax", "VinBrain")
    code = "".join(inspect.getsource(getattr(xrv.datasets, f"{name}_Dataset")) for name in sets)
    for name in ("Lung Lesion", "Enlarged Cardiomediastinum"):
        assert name not in code
        assert name not in find_entry(RESNET).pathologies
    for name in find_entry(RESNET).trained_pathologies:
        assert f'"{name}"' in code or f"'{name}'" in code


def test_every_set_of_torchxrayvision_is_there():
    from cxr_explain.support.torchvision_repair import ensure_torchvision_imports

    ensure_torchvision_imports()
    from torchxrayvision.models import model_urls

    assert {entry.name for entry in ENTRIES} == {name for name in model_urls if "-" in name}


def test_alias_and_name_give_the_same_entry():
    assert find_entry("nih") is find_entry("densenet121-res224-nih")


@pytest.mark.parametrize(
    ("asked", "near"), [("NIH", "nih"), ("densenet121-res224-chexpert", "densenet121-res224-chex")]
)
def test_unknown_name_suggests_the_nearest(asked, near):
    with pytest.raises(UnknownWeightsError, match=f"{asked}.*Did you mean.*{near}"):
        find_entry(asked)


def test_unknown_name_far_from_all_lists_them():
    with pytest.raises(UnknownWeightsError, match="resnet50-res512-all") as caught:
        find_entry("zzzzzz")
    assert "Did you mean" not in str(caught.value)


def test_untrained_outputs_and_overlaps():
    nih, rsna = find_entry("nih"), find_entry("rsna")
    assert nih.pathologies[14:] == ("", "", "", "")
    assert nih.operating_points[14:] == (None,) * 4
    assert rsna.trained_pathologies == ("Pneumonia", "Lung Opacity")
    assert rsna.saw_images_of("NIH")  # RSNA's images are NIH's
    assert nih.saw_images_of("RSNA")
    assert not nih.saw_images_of("CheXpert")


def test_folder_precedence(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CXR_EXPLAIN_WEIGHTS_DIR", raising=False)
    assert weights_folder() == tmp_path / ".torchxrayvision" / "models_data"
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_DIR", "~/elsewhere")
    assert weights_folder() == tmp_path / "elsewhere"
    assert weights_folder("explicit") == Path("explicit")


def test_state_folder_ignores_a_relative_xdg_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_folder() == tmp_path / ".local" / "state" / "cxr-explain" / "weights"


def test_list_names_missing_files_too(tmp_path):
    rows = list_weights(tmp_path / "nowhere")
    assert len(rows) == 11
    assert [row.name for row in rows if row.present] == ["densenet-res224-phantom"]


def test_listing_imports_no_torch(tmp_path):
    script = (
        "import sys; from cxr_explain.weights import list_weights; "
        f"list_weights({str(tmp_path)!r}); print('torch' in sys.modules, 'requests' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
