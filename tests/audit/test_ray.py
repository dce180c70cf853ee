"""The same audit on Ray, with local workers that are killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxr_explain import Explainer
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError
from cxr_explain.explaining.explainer import Pretrained
from cxr_explain.reference.manifest import Manifest
from tests.audit.test_audit_run import assert_same_table

pytestmark = [
    pytest.mark.ray,
    # Ray Data reads its own settings, an old one among them.
    # Ray tells of its own deprecated settings as it reads them.
    pytest.mark.filterwarnings("ignore:`use_\\w+` is deprecated:DeprecationWarning"),
]
ray = pytest.importorskip("ray", reason="needs the package of the `ray` extra")

RUNNING = RunSettings(batch_size=4, workers=1, part_rows=4)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=3, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    yield
    ray.shutdown()


def on_ray(
    explainer: Explainer, manifest: Manifest, images: Path, where: Path, **options: object
) -> AuditRun:
    from cxr_explain.integrations.ray_crew import RayCrew

    crew = RayCrew(Pretrained("phantom"), workers=2)
    return run_audit(explainer, manifest, images, where, running=RUNNING, crew=crew, **options)


@pytest.mark.long
def test_two_workers_give_the_same_table(
    cluster: None,
    finished: AuditRun,
    explainer: Explainer,
    manifest: Manifest,
    phantoms: Path,
    tmp_path: Path,
) -> None:
    seen: list[int] = []
    run = on_ray(
        explainer, manifest, phantoms / "images", tmp_path / "run",
        advance=lambda progress: seen.append(progress.explained),
    )  # fmt: skip
    assert_same_table(finished, run)
    assert sum(seen) == len(manifest)


@pytest.mark.slow
def test_a_server_that_does_not_answer_ends_it_in_one_line(
    cluster: None, explainer: Explainer, tmp_path: Path
) -> None:
    pytest.importorskip("dicomweb_client", reason="needs the packages of the `dicom` extra")
    from cxr_explain.integrations.ray_crew import RayCrew

    manifest = Manifest(["a", "b"], [f"studies/1.2/series/1.3/instances/1.{each}" for each in (4, 5)])
    crew = RayCrew(Pretrained("phantom"), workers=1)
    place = "dicomweb+http://127.0.0.1:9/dicom-web"
    with pytest.raises(AuditError, match=r"no image can be fetched any more.*the same command goes on"):
        run_audit(explainer, manifest, place, tmp_path / "run", running=RUNNING, crew=crew)
    assert len(AuditRun.open(tmp_path / "run").failures) == 0


@pytest.mark.slow
def test_it_goes_on_where_one_machine_stopped(
    cluster: None,
    finished: AuditRun,
    explainer: Explainer,
    manifest: Manifest,
    phantoms: Path,
    tmp_path: Path,
) -> None:
    where = tmp_path / "run"
    run_audit(explainer, manifest, phantoms / "images", where, running=RUNNING, stop=lambda: True)
    seen: list[int] = []
    run = on_ray(
        explainer,
        manifest,
        phantoms / "images",
        where,
        advance=lambda progress: seen.append(progress.explained),
    )
    assert sum(seen) == len(manifest) - 4
    assert_same_table(finished, run)


@pytest.mark.slow
def test_workers_that_are_killed_lose_and_double_nothing(
    cluster: None,
    finished: AuditRun,
    explainer: Explainer,
    manifest: Manifest,
    phantoms: Path,
    tmp_path: Path,
) -> None:
    """Ten kills, over as many runs as they take."""
    moments, killed, run_number = random.Random(3), 0, 0
    while killed < 10:
        done = threading.Event()
        count = [0]
        hunter = threading.Thread(target=_hunt, args=(moments, done, count, 10 - killed))
        hunter.start()
        try:
            run = on_ray(explainer, manifest, phantoms / "images", tmp_path / f"run{run_number}")
        finally:
            done.set()
            hunter.join()
        killed += count[0]
        run_number += 1
        assert_same_table(finished, run)
        assert run_number <= 10, f"only {killed} kills"


def _hunt(moments: random.Random, done: threading.Event, count: list[int], most: int) -> None:
    """Kill a worker's process at random moments, while the run is under way."""
    while not done.is_set() and count[0] < most:
        time.sleep(moments.uniform(0.2, 3.0))
        workers = _worker_processes()
        if workers and not done.is_set():
            os.kill(moments.choice(workers), signal.SIGKILL)
            count[0] += 1


def _worker_processes() -> list[int]:
    """Of the actors that explain."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::") and b"Worker" in title:
                found.append(int(entry.name))
    return found
