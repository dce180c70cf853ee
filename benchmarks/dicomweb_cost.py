"""Studies through a real Orthanc: images a second and peak memory, beside explaining alone.

    python -m benchmarks.dicomweb_cost

Needs Debian's orthanc and orthanc-dicomweb. As many phantoms as are asked for are stored in an Orthanc on
loopback, each in a study of its own. Then they are explained four times, each in a process of its own, with
the model that comes with the package: explained alone, from files; retrieved and explained, the figures'
overlay stored; all objects made and stored; and a second time, when all is there already. The clock is that
of the wall, or of the process, on a machine that others use as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.facts import machine
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.loaders.header import parse_dicom
from cxr_explain.phantom import render, sample_patient
from cxr_explain.phantom.dicom import to_dicom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from orthanc_server import Orthanc, orthanc

ROWS = {
    "explained alone": "alone",
    "retrieved, explained, one object stored": "overlay",
    "retrieved, explained, all objects stored": "all",
    "again: all is there": "again",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Studies through a real Orthanc.")
    parser.add_argument("--n", type=int, default=200, help="number of phantoms")
    parser.add_argument("--pixels", type=int, default=512, help="side of the phantoms")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS.values()), default=list(ROWS.values()))
    parser.add_argument("--alone", nargs=4, metavar=("WHAT", "FOLDER", "URL", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        what, folder, url, out = options.alone
        _work(what, Path(folder), url, Path(out))
        return
    print(json.dumps(machine()))
    with TemporaryDirectory() as folder, orthanc(Path(folder) / "pacs") as pacs:
        files = Path(folder) / "files"
        files.mkdir()
        _fill(pacs, files, options.n, options.pixels)
        print(f"{options.n} phantoms of {options.pixels} x {options.pixels} pixels")
        print("| | images/s (wall) | images/s (CPU) | peak at a quarter | peak at the end | objects there |")
        print("|---|---|---|---|---|---|")
        for name, what in ROWS.items():
            if what in options.rows:
                print(f"| {name} | {_row(what, files, pacs, Path(folder))} |", flush=True)


def _fill(pacs: Orthanc, files: Path, n: int, pixels: int) -> None:
    server = DicomWebServer(pacs.url)
    for seed in range(n):
        data = to_dicom(render(sample_patient(seed), size=pixels))
        (files / f"{seed:06d}.dcm").write_bytes(data)
        server.store([data], str(parse_dicom(data).StudyInstanceUID))


def _row(what: str, files: Path, pacs: Orthanc, folder: Path) -> str:
    words = ["--alone", what, str(files), pacs.url, str(folder / ("all" if what == "again" else what))]
    command = [sys.executable, "-m", "benchmarks.dicomweb_cost", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wall, cpu, quarter, end = json.loads(done.stdout.splitlines()[-1])
    objects = len(pacs.uids()) - len(list(files.iterdir()))
    return f"{wall:.2f} | {cpu:.2f} | {quarter:.0f} MiB | {end:.0f} MiB | {objects}"


def _work(what: str, files: Path, url: str, out: Path) -> None:
    """One row, in a process of its own; what is loaded before the first image does not count."""
    from cxr_explain import Explainer
    from cxr_explain.dicom.kinds import OBJECT_KINDS
    from cxr_explain.dicom.studies import explain_studies
    from cxr_explain.explaining.many import explain_in_batches
    from cxr_explain.explaining.settings import RankingSettings
    from cxr_explain.loaders.settings import ReadSettings

    explainer = Explainer.from_pretrained("phantom", device="cpu")
    paths = sorted(files.iterdir())
    explainer.explain(paths[0])
    server = DicomWebServer(url)
    studies = [study.uid for study in server.find_studies({"ModalitiesInStudy": "DX"})]
    wall, cpu, peaks = time.perf_counter(), time.process_time(), [_peak()]
    if what == "alone":
        reading = ReadSettings()
        coming = ((path, explainer.prepare(reading.read(path))) for path in paths)
        for outcomes in explain_in_batches(explainer, coming, RankingSettings(), 8):
            peaks += [_peak()] * len(outcomes)
            outcomes.clear()
    else:
        kinds = ("overlay",) if what == "overlay" else tuple(OBJECT_KINDS)
        for study in explain_studies(explainer, server, studies, store=True, output=out, kinds=kinds):
            if study.error or any(image.error or image.not_made for image in study.images):
                raise SystemExit(
                    f"{study.error}, {[(image.error, image.not_made) for image in study.images]}"
                )
            peaks.append(_peak())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps([len(paths) / wall, len(paths) / cpu, peaks[len(peaks) // 4], peaks[-1]]))


def _peak() -> float:
    """The most memory that this process had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
