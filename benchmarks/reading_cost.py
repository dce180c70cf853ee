"""What decoding costs with Pillow, OpenCV and imagecodecs, and what reading costs besides.

    python -m benchmarks.reading_cost [--quick] [FILE OR FOLDER ...]

Each file is decoded by every library in turns, in one thread, and timed by the processor's clock of that
thread. The package's own decoder is Pillow for rasters, and for DICOM the one that `loaders/codecs.py` takes;
each time is divided by its time of the same round. A library whose pixels are others is named and has no
time. Without files: phantoms as PNG of 1024 x 1024 and as JPEG of 2320 x 2828, as CheXpert's are.
The last rows have the rest of an image's way: reading it whole, preparing it, and its chest regions.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import generate_frames

from benchmarks.facts import machine
from cxr_explain import read_radiograph
from cxr_explain.chest.regions import regions_of
from cxr_explain.errors import CxrExplainError
from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.loaders.codecs import codec_for, decode_frame
from cxr_explain.loaders.decode_settings import DecodeSettings
from cxr_explain.loaders.dicom import _layout
from cxr_explain.loaders.header import parse_dicom
from cxr_explain.loaders.voi import parse_voi
from cxr_explain.phantom.dataset import write_dataset

Decoder = Callable[[], NDArray[Any]]
OWN = "as the package decodes"
_OTHERS: dict[str, dict[str, Callable[[bytes], NDArray[Any]]]] = {
    "PNG": {"imagecodecs, libpng": imagecodecs.png_decode, "imagecodecs, spng": imagecodecs.spng_decode},
    "JPEG": {"imagecodecs": imagecodecs.jpeg8_decode},
    "JPEG Lossless": {"imagecodecs": imagecodecs.ljpeg_decode},
    "JPEG 2000": {"imagecodecs": imagecodecs.jpeg2k_decode},
    "JPEG-LS": {"imagecodecs": imagecodecs.jpegls_decode},
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cost of decoding with several libraries, and of the rest.")
    parser.add_argument("paths", nargs="*", type=Path, help="files, or folders of them")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=int, default=16, help="files of one kind")
    parser.add_argument("--quick", action="store_true", help="three rounds of two files")
    options = parser.parse_args(arguments)
    rounds, most = (3, 2) if options.quick else (options.rounds, options.most)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        files = _files(options.paths) or _phantoms(Path(folder), most)
        times = _times(files, rounds, most)
    print(json.dumps(machine()))
    print(_markdown(times))


def _times(files: Iterable[Path], rounds: int, most: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Milliseconds, and each by the own decoder's of its round, by kind of file and by what is done."""
    times: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for path in files:
        try:
            kind, works = _works(path)
        except CxrExplainError:
            continue  # what is no radiograph has no place here
        counts[kind] += 1
        if counts[kind] > most:
            continue
        for name in [name for name in works if not _agrees(works[name], works[OWN])]:
            print(f"{kind}, {name}: other pixels, or none, of {path.name}")
            del works[name]
        for work in works.values():
            work()
        for _ in range(rounds):
            taken = {name: _milliseconds(work) for name, work in works.items()}
            for name, each in taken.items():
                times[kind, name].append((each, each / taken[OWN]))
    return times


def _works(path: Path) -> tuple[str, dict[str, Callable[[], object]]]:
    data = path.read_bytes()
    radiograph = read_radiograph(path)
    is_dicom = radiograph.format == "DICOM"
    kind, decoders = _of_dicom(data) if is_dicom else _of_raster(data, radiograph.format)
    rest = {
        "the file read whole": lambda: read_radiograph(path).shape,
        "prepared": lambda: prepare(radiograph, 224).steps,
        "chest regions": lambda: regions_of(radiograph).shape,
    }
    return kind, decoders | rest


def _of_raster(data: bytes, kind: str) -> tuple[str, dict[str, Callable[[], object]]]:
    def own() -> NDArray[Any]:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image)

    return f"{kind} {own().dtype}", {OWN: own} | _others(kind, data)


def _of_dicom(data: bytes) -> tuple[str, dict[str, Callable[[], object]]]:
    dataset = parse_dicom(data)
    settings = DecodeSettings(format="DICOM", sha256="", stem="", voi=parse_voi("auto"))
    layout = _layout(dataset, settings)
    kind = codec_for(layout.syntax).name
    stream = b""
    if layout.syntax.is_compressed:
        stream = next(generate_frames(dataset.PixelData, number_of_frames=layout.frames))
    packed = dataset["PixelData"]

    def own() -> NDArray[Any]:
        dataset["PixelData"] = packed  # decoding takes it out
        return decode_frame(dataset, layout, 0, settings.limits).stored

    decoders: dict[str, Callable[[], object]] = {OWN: own}
    return f"DICOM {kind}, {layout.bits_stored} bits", decoders | (_others(kind, stream) if stream else {})


def _others(kind: str, data: bytes) -> dict[str, Callable[[], object]]:
    codes = np.frombuffer(data, np.uint8)
    named = next((name for name in sorted(_OTHERS, key=len, reverse=True) if kind.startswith(name)), None)
    others: dict[str, Callable[[], object]] = {
        name: partial(decode, data) for name, decode in _OTHERS.get(named or "", {}).items()
    }
    if named in ("PNG", "JPEG", "JPEG 2000"):
        others["OpenCV"] = lambda: cv2.imdecode(codes, cv2.IMREAD_UNCHANGED)
    return others


def _agrees(work: Callable[[], object], own: Callable[[], object]) -> bool:
    """Whether what is decoded has the same values; what decodes nothing is no contestant."""
    try:
        found = work()
    except Exception:  # a library may fail in any way
        return False
    if isinstance(found, np.ndarray):
        return np.array_equal(np.squeeze(found), np.squeeze(np.asarray(own())))
    return found is not None


def _milliseconds(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.thread_time()
    work()
    return (time.thread_time() - began) * 1000


def _files(paths: Sequence[Path]) -> list[Path]:
    found = [sorted(path.rglob("*")) if path.is_dir() else [path] for path in paths]
    return [path for each in found for path in each if path.is_file()]


def _phantoms(folder: Path, count: int) -> list[Path]:
    for _ in write_dataset(folder, n=count, seed=11, size=1024):
        pass
    files = sorted((folder / "images").glob("*.png"))
    for path in files:
        with Image.open(path) as image:
            image.convert("L").resize((2320, 2828)).save(path.with_suffix(".jpg"), quality=90)
    return [*files, *(path.with_suffix(".jpg") for path in files)]


def _markdown(times: dict[tuple[str, str], list[tuple[float, float]]]) -> str:
    lines = ["| file | what | ms of a core | beside the package's decoder (quartiles) |", "|:--|:--|--:|--:|"]
    for (kind, name), values in sorted(times.items(), key=lambda item: item[0][0]):
        low, middle, high = np.quantile([ratio for _, ratio in values], [0.25, 0.5, 0.75])
        milliseconds = median(each for each, _ in values)
        lines.append(f"| {kind} | {name} | {milliseconds:.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
