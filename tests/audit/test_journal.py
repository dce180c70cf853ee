"""An image that brings the process down does not keep an audit from its end."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from cxr_explain import Explainer, Radiograph
from cxr_explain.audit import run as run_module
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.journal import Journal, try_apart
from cxr_explain.audit.place import LocalPlace
from cxr_explain.audit.run import run_audit
from cxr_explain.errors import RadiographError
from cxr_explain.reference.manifest import Manifest
from tests.audit.conftest import RUNNING


class Crashing(ImageFolder):
    """Images of which one ends the process, as a decoder's segmentation fault would.

    A file that really does so would be mended at its root, and the test with it.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return Crashing, (self.where,)

    def read(self, path: str, options: Any) -> Radiograph:
        if "crash" in path:
            time.sleep(0.1)
            os._exit(139)
        if "hang" in path:
            time.sleep(3600)
        return super().read(path, options)


def test_an_image_that_crashes_the_process_becomes_a_failure(
    explainer: Explainer, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    good = sorted((phantoms / "images").glob("*.png"))
    for number in range(10):
        shutil.copy(good[number], images / f"{number}{'-crash' if number == 6 else ''}.png")
    names = sorted(path.name for path in images.iterdir())
    manifest = Manifest([name[0] for name in names], names)
    monkeypatch.setattr(run_module, "ImageFolder", lambda where, links: Crashing(where))
    where = tmp_path / "run"
    context = multiprocessing.get_context("fork")
    ends = []
    for _ in range(4):
        child = context.Process(
            target=run_audit, args=(explainer, manifest, images, where), kwargs={"running": RUNNING}
        )
        child.start()
        child.join()
        ends.append(child.exitcode)
        if child.exitcode == 0:
            break
    assert ends == [139, 139, 0], "twice it takes the process with it, then it is tried apart"
    run = run_audit(explainer, manifest, images, where, running=RUNNING)
    assert len(run.results) == 9
    assert run.failures.to_pylist() == [
        {
            "row": 6,
            "image_id": "6",
            "code": "corrupt-image",
            "message": "a file that crashes its decoder.",
            "sha256": None,
        }
    ]
    assert not (where / ".reading").exists()


def test_a_decoder_that_does_not_come_back(tmp_path: Path) -> None:
    with pytest.raises(RadiographError, match="did not come back within 1 s"):
        try_apart(Crashing(tmp_path), "hang.png", {}, seconds=1.0)


def test_an_end_that_was_said_leaves_no_suspects(tmp_path: Path) -> None:
    with Journal(LocalPlace(tmp_path)) as journal, journal.reading(3):
        assert (tmp_path / ".reading").read_text() == "+3\n"
    assert not (tmp_path / ".reading").exists()


@pytest.mark.parametrize(
    ("left_behind", "suspects"),
    [
        ("+1\n+2\n-1\n", []),
        ("=2 1\n+2\n", [2]),
        ("=2 1\n+2\n-2\n", []),
        ("=5 2\n", [5]),
        ("=5 2\n+7\n+", [5]),
        ("\x00\xff garbage\n=a b\n", []),
        ("=" + "9" * 5000 + " 1\n+" + "9" * 5000 + "\n=3 2\n", [3]),
    ],
)
def test_what_a_kill_leaves_behind(left_behind: str, suspects: list[int], tmp_path: Path) -> None:
    (tmp_path / ".reading").write_text(left_behind, encoding="latin-1")
    with Journal(LocalPlace(tmp_path)) as journal:
        assert [row for row in range(10) if journal.is_suspect(row)] == suspects
