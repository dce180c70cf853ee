"""Killed at any moment, a run goes on and ends in the table of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cxr_explain import Explainer
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.place import LocalPlace
from cxr_explain.audit.run import run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.reference.manifest import Manifest
from tests.audit.conftest import RUNNING
from tests.audit.test_audit_run import assert_same_table


def kill_until(
    explainer: Explainer, manifest: Manifest, images: Path, folder: Path, kills: int, seed: int
) -> list[Path]:
    """Kill audits at random moments, so often; where one comes to its end, the next begins.

    Returns:
        The folders of all of them; the last one may be unfinished.
    """
    moments = random.Random(seed)
    context = multiprocessing.get_context(
        "fork"
    )  # the model is loaded: what is killed is the audit's own work
    places = [folder / "run0"]
    killed = 0
    while killed < kills:
        if (places[-1] / "results.parquet").exists():
            places.append(folder / f"run{len(places)}")
        arguments = (explainer, manifest, images, places[-1])
        child = context.Process(target=run_audit, args=arguments, kwargs={"running": RUNNING})
        child.start()
        time.sleep(moments.uniform(0.0, 0.5))
        if child.is_alive():
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            killed += 1
        child.join()
        check_whole(places[-1])
    return places


def check_whole(where: Path) -> None:
    """Each file that has its name can be read, and no row is there twice."""
    rows: list[int] = []
    for path in sorted((where / "parts").glob("*.parquet")):
        rows += pq.read_table(path, columns=["row"])["row"].to_pylist()
    assert len(rows) == len(set(rows))
    if (where / "results.parquet").exists():
        pq.read_table(where / "results.parquet")


@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_run_ends_like_an_undisturbed_one(
    kills: int, finished: AuditRun, explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    for where in kill_until(explainer, manifest, phantoms / "images", tmp_path, kills, seed=7):
        run = run_audit(explainer, manifest, phantoms / "images", where, running=RUNNING)
        assert_same_table(finished, run)
        assert not list(where.rglob(".*")), "nothing half-written, and no lock"


def test_the_end_of_a_run_can_be_killed_too(
    finished: AuditRun,
    explainer: Explainer,
    manifest: Manifest,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the last part and the last table, at the moment each table is to be written."""
    where = tmp_path / "run"
    write = LocalPlace.write

    def dies_at(table: str) -> None:
        def write_or_die(self: LocalPlace, name: str, content: bytes) -> None:
            if name == table:
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, name, content)

        monkeypatch.setattr(LocalPlace, "write", write_or_die)
        run_audit(explainer, manifest, phantoms / "images", where, running=RUNNING)

    for table in ("failures.parquet", "failures.csv"):
        child = multiprocessing.get_context("fork").Process(target=dies_at, args=(table,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        run = AuditRun.open(where)
        assert not run.joined
        assert_same_table(finished, run)
    assert_same_table(finished, run_audit(explainer, manifest, phantoms / "images", where, running=RUNNING))


def test_no_copy_of_a_remote_image_stays(phantoms: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """An image of an object store is never copied to a disk, where a kill would leave it."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    image = next((phantoms / "images").iterdir())
    fsspec.filesystem("memory").pipe("/kills/a.png", image.read_bytes())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def read_and_die() -> None:
        monkeypatch.setattr(ReadSettings, "read_bytes", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        ImageFolder("memory://kills").read("a.png", ReadSettings())

    child = multiprocessing.get_context("fork").Process(target=read_and_die)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL, "it was killed with the image in its memory"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_retry_that_was_stopped_leaves_no_stale_table(
    finished: AuditRun, explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    images, where = tmp_path / "images", tmp_path / "run"
    shutil.copytree(phantoms / "images", images)
    for path in (manifest.paths[3], manifest.paths[9]):
        (images / path).rename(tmp_path / path)
    assert len(run_audit(explainer, manifest, images, where, running=RUNNING).failures) == 2
    for path in (manifest.paths[3], manifest.paths[9]):
        (tmp_path / path).rename(images / path)
    retry = replace(RUNNING, batch_size=1, part_rows=1, retry_failed=True)
    stopped = run_audit(explainer, manifest, images, where, running=retry, stop=lambda: True)
    assert len(stopped.failures) == 1
    plain = run_audit(explainer, manifest, images, where, running=RUNNING)
    assert plain.joined
    assert len(plain.results) == len(manifest) - 1, "what was explained meanwhile is in the table"
    assert_same_table(finished, run_audit(explainer, manifest, images, where, running=retry))
