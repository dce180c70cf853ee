"""Paths of a manifest stay in their folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.errors import ManifestError
from cxr_explain.reference.paths import file_inside, path_problem


@pytest.mark.parametrize(
    "path",
    [
        "a.png",
        "images/a.png",
        "a b/ä (1).png",
        "..a/b..",
        "a.b.c",
        ".hidden",
        "files/p10/x-1.jpg",
        "Straße/胸部.dcm",
    ],
)
def test_paths_that_are_fine(path: str) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "is empty"),
        ("/a", "absolute"),
        ("//host/a", "absolute"),
        ("C:a", "absolute"),
        ("c:/a", "absolute"),
        ("..", "'..'"),
        ("a/../b", "'..'"),
        ("a/..", "'..'"),
        ("./a", "'.'"),
        ("a//b", "''"),
        ("a/", "''"),
        ("a\\b", "backslash"),
        ("..\\b", "backslash"),
        ("a\x00", "control"),
        ("a\nb", "control"),
        ("a\x85", "control"),
        ("a" * 5000, "4096"),
    ],
)
def test_paths_that_are_not(path: str, reason: str) -> None:
    assert reason in str(path_problem(path))


@given(st.text(st.sampled_from("a./\\: \n\x00é"), max_size=12))
def test_what_passes_stays_below_its_folder(path: str) -> None:
    if path_problem(path) is None:
        parts = path.split("/")
        assert not path.startswith("/")
        assert all(part not in ("", ".", "..") for part in parts)
        assert not set(path) & set("\\\n\x00")
        assert Path("/root", path).resolve().is_relative_to("/root")


def test_links_are_followed_but_not_out(tmp_path: Path) -> None:
    images, outside = tmp_path / "images", tmp_path / "outside"
    images.mkdir()
    outside.mkdir()
    (outside / "secret.png").write_text("")
    (images / "a.png").write_text("")
    (images / "inner.png").symlink_to("a.png")
    (images / "outer.png").symlink_to(outside / "secret.png")
    (images / "folder").symlink_to(outside)
    (images / "loop").symlink_to("loop")
    assert file_inside(images, "inner.png") == images / "a.png"
    assert file_inside(images, "not-there.png") == images / "not-there.png"
    for path in ("outer.png", "folder/secret.png"):
        with pytest.raises(ManifestError, match="leaves its folder"):
            file_inside(images, path)
    with pytest.raises(ManifestError, match="cannot be followed"):
        file_inside(images, "loop")
    with pytest.raises(ManifestError, match=r"a part '\.\.'"):
        file_inside(images, "../outside/secret.png")


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "a.png").write_text("")
    assert file_inside(tmp_path / "link", "a.png") == tmp_path / "real" / "a.png"
