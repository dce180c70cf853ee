"""What a manifest lacks beside a folder and a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxr_explain.errors import ManifestError
from cxr_explain.reference import Manifest, check_manifest, present


def folder(tmp_path: Path, *paths: str) -> Path:
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    return tmp_path


def of(*paths: str, **columns: object) -> Manifest:
    return Manifest([f"i{at}" for at in range(len(paths))], paths, **columns)


def test_missing_images_are_those_without_a_file(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.png", "x/b.png", "x/y/c.png", "unused.png")
    (root / "folder.png").mkdir()
    paths = (
        "a.png",
        "x/b.png",
        "x/y/c.png",
        "x/y/none.png",
        "no/folder/d.png",
        "folder.png",
        "a.png/x",
        "A.png",
    )
    found = check_manifest(of(*paths), root, [])
    literal = tuple(path for path in paths if not (root / path).is_file())
    assert found.missing == literal == ("x/y/none.png", "no/folder/d.png", "folder.png", "a.png/x", "A.png")
    assert not found.is_complete
    assert found.lines()[0] == (
        "5 of 8 images missing: 'x/y/none.png', 'no/folder/d.png', 'folder.png', 'a.png/x', 'A.png'. "
        "To leave them out, make the manifest with --present-in, present()."
    )
    fewer = check_manifest(of(*paths[:4], "unused.png"), root, [])
    assert fewer.lines()[0] == "1 of 5 images missing: 'x/y/none.png'"


def test_a_complete_folder(tmp_path: Path) -> None:
    found = check_manifest(
        of("a.png", "b/c.png", patients=["1", "2"]), folder(tmp_path, "a.png", "b/c.png"), []
    )
    assert found.is_complete
    assert found.lines() == ()


def test_links_that_leave_the_folder(tmp_path: Path) -> None:
    root = folder(tmp_path / "images", "a.png", "deep/b.png")
    outside = folder(tmp_path / "outside", "s.png", "t/u.png")
    (root / "inner.png").symlink_to("deep/b.png")
    (root / "inner").symlink_to("deep")
    (root / "outer.png").symlink_to(outside / "s.png")
    (root / "outer").symlink_to(outside)
    (root / "broken.png").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    paths = ("a.png", "inner.png", "inner/b.png", "outer.png", "outer/s.png", "outer/t/u.png", "broken.png")
    found = check_manifest(of(*paths, "loop", "loop/x"), root, [])
    assert found.outside == ("outer.png", "outer/s.png", "outer/t/u.png")
    assert found.missing == ("broken.png", "loop", "loop/x")
    assert found.lines()[1].startswith("3 of 9 images leave their folder: 'outer.png'")


def test_a_folder_named_through_a_link(tmp_path: Path) -> None:
    folder(tmp_path / "real", "a.png")
    (tmp_path / "link").symlink_to("real")
    assert check_manifest(of("a.png"), tmp_path / "link", []).is_complete


def test_a_path_of_2000_folders(tmp_path: Path) -> None:
    assert check_manifest(of("a/" * 2000 + "b"), folder(tmp_path, "a/a/x"), []).missing == (
        "a/" * 2000 + "b",
    )


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no folder"):
        check_manifest(of("a.png"), tmp_path / "none", [])


def test_labels_beside_the_models_outputs(tmp_path: Path) -> None:
    manifest = of(
        *("a.png", "a.png"),
        patients=["1", None],
        pathologies=["Effusion", "Support Devices", "Mass", "Hernia", "Nodule"],
        states=[[1, 1, 0, -3, -2], [-1, 0, -1, -3, -2]],
    )
    found = check_manifest(
        manifest, folder(tmp_path, "a.png"), ["Pleural Effusion", "", "Mass", "Hernia", "Edema"]
    )
    assert found.repeated == ("a.png",)
    assert found.without_output == ("Support Devices", "Nodule")
    assert found.without_labels == ("Hernia", "Edema")
    assert found.without_positive == ("Mass",)
    assert found.uncertain == (("Effusion", 1), ("Mass", 1))
    assert found.without_patient == 1
    assert found.is_complete
    assert found.lines() == (
        "1 files are named by several rows: 'a.png'",
        "labels without an output of the model: Support Devices, Nodule",
        "not labelled in any image: Hernia, Edema",
        "no positive image of: Mass",
        "uncertain labels: Effusion 1, Mass 1",
        "1 of 2 images without a patient: each is a group of its own",
    )


def test_the_part_of_a_data_set_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"")
    manifest = Manifest("abc", ["a.png", "b.png", "c.png"])
    assert present(manifest, tmp_path).ids == ("b",)
    with pytest.raises(ManifestError, match=r"none of the manifest's images.*'a\.png'"):
        present(manifest.select([0, 2]), tmp_path)
