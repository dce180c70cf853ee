"""Links are followed as the operating system follows them, and never to another machine."""

from __future__ import annotations

import os
import random
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from cxr_explain.support import links
from cxr_explain.support.links import LeadsToHostError, followed, host_of, is_inside, leads_to_host

TO_HOSTS = ("/net/host/a", "//net/host/a", "/../net/host/a", "/afs/cell/a", "/Network/host", "/NET/host")


@pytest.mark.parametrize("seed", range(20))
def test_random_links_lead_where_resolve_says(seed: int, tmp_path: Path) -> None:
    """Folders, files and links among them, relative, absolute, dangling, through others and through `..`."""
    rng = random.Random(seed)
    folders = [tmp_path / name for name in ("a", "b", "a/c", "b/d", "a/c/e")]
    for folder in folders:
        folder.mkdir()
    for number in range(8):
        link, target = rng.choice(folders) / f"l{number}", rng.choice([*folders, tmp_path / "nowhere"])
        written = target if rng.random() < 0.5 else Path(os.path.relpath(target, link.parent))
        link.symlink_to(written / rng.choice(("", "..", f"l{rng.randrange(8)}", "../a")))
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    for name in [*names, "a/../b/./l1/x", "nowhere/../b", ".", ""]:
        try:
            expected = (tmp_path / name).resolve(strict=True)
        except FileNotFoundError:
            expected = (tmp_path / name).resolve()
        except (OSError, RuntimeError):
            with pytest.raises(OSError, match=r"[Ll]inks"):
                followed(tmp_path, name)
            continue
        assert followed(tmp_path, name) == expected
        root = (tmp_path / "a").resolve()
        assert is_inside(tmp_path / "a", f"../{name}") == expected.is_relative_to(root)


@pytest.mark.parametrize("target", TO_HOSTS)
def test_a_link_to_a_host_is_refused_before_it_is_asked(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "further").symlink_to("link/images")
    asked, readlink = [], os.readlink

    def spied(path: Path) -> str:
        asked.append(PurePosixPath(path))
        return readlink(path)

    monkeypatch.setattr(links.os, "readlink", spied)
    for name in ("link", "further"):
        with pytest.raises(LeadsToHostError):
            followed(tmp_path, name)
        assert leads_to_host(tmp_path, name)
        assert not is_inside(tmp_path, name)
    assert not any(host_of(path) for path in asked), "nobody looked"


def test_a_folder_on_a_host_stays_with_it() -> None:
    nas = Path("/net/host/images")
    assert followed(nas, "a.png") == nas / "a.png"
    for path in ("../../other/a.png", "../../../net/other/a.png"):
        with pytest.raises(LeadsToHostError):
            followed(nas, path)
    for folder, path in (("/", "net/host/a.png"), ("/net", "host/a.png"), ("/data/..", "net/host/a.png")):
        assert leads_to_host(Path(folder), path), "a manifest's path may name a host as well as a link"


def test_which_paths_name_a_host() -> None:
    assert host_of(PureWindowsPath(r"\\host\share\a")) == r"\\host\share"
    assert host_of(PureWindowsPath(r"C:\net")) is None
    assert host_of(PurePosixPath("net/host")) is None
    assert host_of(PurePosixPath("/net")) == ""
