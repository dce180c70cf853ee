"""CheXlocalize's saliency maps: written so that its own code reads them, read back, and files that lie."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cxr_explain.errors import OptionError, OutputError, ReferenceLabelError
from cxr_explain.reference.chexlocalize import CHEXLOCALIZE_NAMES
from cxr_explain.reference.saliency_maps import (
    SaliencyMap,
    find_saliency_maps,
    read_saliency_map,
    write_saliency_map,
)

ID = "patient64541_study1_view1_frontal"
NAME = f"{ID}_Pleural Effusion_map.pkl"
VALUES = np.random.default_rng(0).random((5, 7)).astype(np.float32)
ONE = SaliencyMap(ID, "Effusion", VALUES, (23, 31), 0.625, 1)


class Torch1(pickle.Unpickler):
    """How CheXlocalize's code unpickles its files."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch.storage" and name == "_load_from_bytes":
            return lambda content: torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
        return super().find_class(module, name)


def entries(**changed: Any) -> dict[str, Any]:
    """What a file of CheXlocalize holds, pixels included."""
    found = {
        "map": torch.from_numpy(VALUES)[None, None],
        "prob": 0.625,
        "task": "Pleural Effusion",
        "gt": 1,
        "cxr_img": torch.rand(3, 8, 8),
        "cxr_dims": (31, 23),
    }
    return {name: value for name, value in (found | changed).items() if value is not None}


def pickled(folder: Path, value: Any, name: str = NAME) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value))
    return path


def test_its_own_code_reads_what_is_written(tmp_path: Path) -> None:
    path = write_saliency_map(tmp_path / "maps", ONE)
    assert path.name == NAME
    for read in (pickle.loads, lambda content: Torch1(io.BytesIO(content)).load()):
        info = read(path.read_bytes())
        assert list(info) == ["map", "prob", "task", "gt", "cxr_img", "cxr_dims"]
        assert info["map"].shape == (1, 1, 5, 7)
        assert info["map"].dtype == torch.float32
        assert (info["prob"], info["task"], info["gt"]) == (0.625, "Pleural Effusion", 1)
        assert info["cxr_dims"] == (31, 23)
        assert info["cxr_img"].numel() == 0, "pixels of the radiograph"
        size = (info["cxr_dims"][1], info["cxr_dims"][0])
        large = F.interpolate(info["map"], size=size, mode="bilinear", align_corners=False)
        np.testing.assert_array_equal(read_saliency_map(path).full_size(), large[0, 0].numpy())


def test_what_is_written_says_nothing_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "Doe^Jane"
    content = write_saliency_map(folder, ONE).read_bytes()
    for word in (b"Doe", str(tmp_path).encode(), os.path.expanduser("~").encode(), ID.encode()):
        assert word not in content


@pytest.mark.parametrize("pathology", list(CHEXLOCALIZE_NAMES))
def test_a_map_comes_back_as_it_was(pathology: str, tmp_path: Path) -> None:
    for label in (0, 1, None):
        given = SaliencyMap(ID, pathology, VALUES, (23, 31), 0.625, label)
        read = read_saliency_map(write_saliency_map(tmp_path, given))
        np.testing.assert_array_equal(read.values, VALUES)
        assert (read.image_id, read.pathology, read.shape) == (ID, pathology, (23, 31))
        assert (read.probability, read.label) == (0.625, label)


def test_double_precision_stays(tmp_path: Path) -> None:
    values = VALUES.astype(np.float64) / 3
    read = read_saliency_map(write_saliency_map(tmp_path, SaliencyMap(ID, "Effusion", values, (23, 31), 0.5)))
    np.testing.assert_array_equal(read.values, values)
    assert read.full_size().dtype == np.float64


@pytest.mark.parametrize(
    ("prob", "expected"),
    [
        (0.25, 0.25),
        (np.float32(0.25), 0.25),
        (np.float64(0.25), 0.25),
        (torch.tensor(0.25), 0.25),
        (torch.tensor([0.25]), 0.25),
        (torch.arange(14) / 16, 10 / 16),  # Pleural Effusion is the eleventh of CheXpert's
        (1, 1.0),
    ],
)
def test_probabilities_come_in_several_forms(prob: Any, expected: float, tmp_path: Path) -> None:
    assert read_saliency_map(pickled(tmp_path, entries(prob=prob))).probability == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (entries(map=None), "a dictionary of .*expected a dictionary with map, prob, task, cxr_dims"),
        (entries(cxr_dims=None), "a dictionary of"),
        ([1, 2], r"\[1, 2\]"),
        (3, "found 3"),
        (entries(map=VALUES.tolist()), "the map .*expected a tensor"),
        (entries(map=torch.from_numpy(VALUES)), r"a map of shape \(5, 7\)"),
        (entries(map=torch.zeros(1, 2, 5, 7)), r"a map of shape \(1, 2, 5, 7\)"),
        (entries(map=torch.zeros(1, 1, 0, 7)), "the size"),
        (entries(map=torch.zeros(1, 1, 5, 7, dtype=torch.int64)), "a map of torch.int64"),
        (entries(map=torch.full((1, 1, 2, 2), float("nan"))), "NaN or infinite"),
        (entries(map=torch.tensor([[[[0.0, float("inf")]]]])), "NaN or infinite"),
        (entries(map=torch.zeros(1).expand(1, 1, 100_000, 100_000)), "a mask of the size"),
        (entries(map=torch.zeros(1).expand(1, 1, 1000, 1000)), "larger than its storage"),
        (entries(cxr_dims=(31, 23, 1)), "the size"),
        (entries(cxr_dims=(31, -23)), "the size"),
        (entries(cxr_dims=(31.0, 23.0)), "the size"),
        (entries(cxr_dims=(100_000, 100_000)), "a mask of the size"),
        (entries(prob=float("nan")), "the probability nan"),
        (entries(prob="0.5"), "the probability"),
        (entries(prob=torch.zeros(3)), "the probability"),
        (entries(task="Edema"), "a map of 'Edema'"),
        (entries(task=7), "a map of 7"),
        (b"", "truncated or malformed"),
        (b"<html>404</html>", "."),
        (pickle.dumps(entries())[:400], "truncated or malformed"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", r"asks for posix\.system"),
        (entries(gt=np.zeros(3)), "asks for numpy"),
    ],
)
def test_what_is_no_map_is_refused_by_name_in_a_line(content: Any, said: str, tmp_path: Path) -> None:
    path = pickled(tmp_path, content)
    with pytest.raises(ReferenceLabelError, match=said) as raised:
        read_saliency_map(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("map.pkl", "the name 'map.pkl'"),
        ("Edema_map.pkl", "the name"),
        ("_Edema_map.pkl", "the name"),
        (f"{ID}_Hernia_map.pkl", "the pathology 'Hernia'"),
        (f"{ID}_Pleural Effusion_map.pickle", "the name"),
    ],
)
def test_a_name_that_says_nothing_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ReferenceLabelError, match=said):
        read_saliency_map(pickled(tmp_path, entries(), name))


def test_no_file_a_folder_and_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(ReferenceLabelError, match="no readable file"):
        read_saliency_map(tmp_path / NAME)
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(ReferenceLabelError, match="no readable file"):
        read_saliency_map(tmp_path / NAME)


def test_maps_are_found_in_all_folders_and_read_one_by_one(tmp_path: Path) -> None:
    first = write_saliency_map(tmp_path / "b", ONE)
    second = write_saliency_map(
        tmp_path / "a" / "deep", SaliencyMap("p2", "Lung Opacity", VALUES, (9, 9), 0.1)
    )
    assert second.name == "p2_Airspace Opacity_map.pkl"
    pickled(tmp_path, b"never read", "p2_Hernia_map.pkl")
    pickled(tmp_path, b"never read", "notes.pkl")
    found = find_saliency_maps(tmp_path)
    assert dict(found.paths) == {("p2", "Lung Opacity"): second, (ID, "Effusion"): first}
    assert found.notes() == (
        "1 map of 'Hernia' passed over: not one of the ten pathologies",
        "18 of 20 cases without a map: empty masks, no hits",
    )
    assert [(each.image_id, each.pathology) for each in found.maps()] == list(found.paths)


def test_two_maps_of_a_case_and_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    outside = write_saliency_map(tmp_path / "outside", ONE)
    folder = tmp_path / "maps"
    folder.mkdir()
    with pytest.raises(ReferenceLabelError, match=r"no map of one of .* ten pathologies in 0 maps"):
        find_saliency_maps(folder)
    (folder / NAME).symlink_to(outside)
    with pytest.raises(ReferenceLabelError, match="a link out of the folder"):
        find_saliency_maps(folder)
    (folder / NAME).unlink()
    for part in ("a", "b"):
        write_saliency_map(folder / part, ONE)
    with pytest.raises(ReferenceLabelError, match=f"a second map of Effusion for '{ID}'"):
        find_saliency_maps(folder)


@pytest.mark.parametrize("image_id", ["../up", "a/b", "", "..", "a\nb", "-rf", "a" * 101, "CON"])
def test_no_file_is_written_that_leaves_its_folder(image_id: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="the id"):
        write_saliency_map(tmp_path / "maps", SaliencyMap(image_id, "Edema", VALUES, (9, 9), 0.5))
    assert list(tmp_path.rglob("*")) == []


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a saliency map that cannot be written"):
        write_saliency_map(tmp_path / "file" / "maps", ONE)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"pathology": "Hernia"}, ReferenceLabelError),
        ({"values": VALUES[None]}, OptionError),
        ({"values": VALUES[:0]}, OptionError),
        ({"values": VALUES * np.float32(np.nan)}, OptionError),
        ({"shape": (0, 3)}, ReferenceLabelError),
        ({"probability": float("inf")}, ReferenceLabelError),
    ],
)
def test_a_map_that_is_none_cannot_be_made(changed: dict[str, Any], error: type[Exception]) -> None:
    given = {"image_id": ID, "pathology": "Edema", "values": VALUES, "shape": (9, 9), "probability": 0.5}
    with pytest.raises(error):
        SaliencyMap(**given | changed)  # type: ignore[arg-type]
