"""Data sets of phantoms in NIH ChestX-ray14's file layout, with DICOM, masks and counterfactuals."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxr_explain._version import __version__
from cxr_explain.errors import OptionError, OutputError
from cxr_explain.phantom.dicom import Photometric, to_dicom
from cxr_explain.phantom.patient import AgeBand, sample_patient
from cxr_explain.phantom.render import Phantom, render
from cxr_explain.phantom.seeds import generator
from cxr_explain.radiograph import PHANTOM_MAKER
from cxr_explain.reference.data_sets.nih import NIH_PIXELS
from cxr_explain.support.whole_file import is_temporary, output_errors, write_whole

LABELS = "Data_Entry_2017_v2020.csv"
BOXES = "BBox_List_2017.csv"
UNFINISHED = "unfinished.json"
"""What a data set is to become, for as long as it is not."""

_PARTS = ("images", "dicom", "masks", "counterfactuals")
_TEST_SHARE = 0.2
_AGES = {AgeBand.YOUNG: 28, AgeBand.MIDDLE: 52, AgeBand.OLD: 74}
_LABEL_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def write_dataset(
    folder: Path,
    *,
    n: int,
    seed: int = 0,
    size: int = 512,
    bits: int = 12,
) -> Iterator[Phantom]:
    """Render n phantoms, write all that is known of each, and yield it.

    - `images/<id>.png`: 8 bits, as NIH's; its Software text says that it is a phantom;
    - `dicom/<id>.dcm`: all bits, every other one stored as MONOCHROME1;
    - `masks/<id>-<pathology>.png`: 255 where the finding changes the line integral; the blur that follows
      changes pixels beside it, too;
    - `counterfactuals/<id>-without-<pathology>.png`: the same chest and noise without that finding;
    - `Data_Entry_2017_v2020.csv`, `BBox_List_2017.csv`, `train_val_list.txt`, `test_list.txt`: NIH's tables;
      boxes are in 1024 x 1024 pixels whatever the size. They are written last: where they are, all is.

    The same arguments give the same bytes. A folder in which this was stopped or killed holds a file
    `unfinished.json`; the same arguments, in the same version, finish it.

    Args:
        folder: folder to write in; made if it is missing, and refused if it holds something else.
        n: number of phantoms.
        seed: seed of the first phantom; the others follow.
        size: pixels a side.
        bits: bits stored in the DICOM files, 9 to 16.

    Yields:
        Each phantom, once its files are written.

    Raises:
        OptionError: n below 1, or a size or depth out of range.
        OutputError: a folder that is not empty or cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     phantoms = list(write_dataset(Path(folder, "phantoms"), n=1, size=64))
    ...     sorted(path.name for path in Path(folder, "phantoms").iterdir() if path.is_dir())
    ['counterfactuals', 'dicom', 'images', 'masks']
    """
    if n < 1:
        raise OptionError(f"{n} phantoms", expected="at least 1")
    if not 9 <= bits <= 16:
        raise OptionError(f"bits {bits}", expected="bits from 9 to 16")
    wanted = {"version": __version__, "n": n, "seed": seed, "size": size, "bits": bits}
    with output_errors("phantoms", folder):
        _begin(folder, wanted)
        labels, boxes, names = [_LABEL_HEADER], [_BOX_HEADER], []
        for number in range(seed, seed + n):
            phantom = render(sample_patient(number), size=size, bits=bits)
            _write_images(folder, phantom, "MONOCHROME1" if number % 2 else "MONOCHROME2")
            labels.append(_label_row(phantom))
            boxes += _box_rows(phantom)
            names.append((f"{phantom.id}.png", _is_test(number)))
            yield phantom
        _write_lines(folder / "train_val_list.txt", (name for name, test in names if not test))
        _write_lines(folder / "test_list.txt", (name for name, test in names if test))
        _write_lines(folder / BOXES, boxes)
        _write_lines(folder / LABELS, labels)
        (folder / UNFINISHED).unlink(missing_ok=True)


def _begin(folder: Path, wanted: Mapping[str, object]) -> None:
    """Make the folders, and say what is to be in them; or see that the same was begun there.

    Raises:
        OutputError: something else is there.
    """
    said = f"{json.dumps(wanted)}\n".encode()
    path = folder / UNFINISHED
    if path.is_file():
        if path.read_bytes() != said:
            raise OutputError(
                f"a folder in which other phantoms are unfinished ({UNFINISHED} says which)",
                expected="the same options, to finish them, or a new folder",
                remedy="Remove the folder if nobody needs them.",
                source=folder,
            )
    elif folder.exists() and not all(is_temporary(name) for name in os.listdir(folder)):
        raise OutputError("a folder that is not empty", expected="a new or an empty one", source=folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, said)
    for part in _PARTS:
        (folder / part).mkdir(exist_ok=True)


def _write_images(folder: Path, phantom: Phantom, photometric: Photometric) -> None:
    write_whole(folder / "images" / f"{phantom.id}.png", _image(phantom))
    write_whole(folder / "dicom" / f"{phantom.id}.dcm", to_dicom(phantom, photometric))
    for pathology in _visible(phantom):
        mask = phantom.masks[pathology].astype(np.uint8) * 255
        write_whole(folder / "masks" / f"{phantom.id}-{pathology.lower()}.png", _png(mask))
        without = render(
            phantom.patient,
            phantom.findings,
            size=len(phantom.pixels),
            bits=phantom.bits,
            without=pathology,
        )
        write_whole(folder / "counterfactuals" / f"{without.id}.png", _image(without))


def _visible(phantom: Phantom) -> tuple[str, ...]:
    """The findings that changed a pixel; a nodule inside a consolidation may not, and is no label then."""
    return tuple(name for name in phantom.pathologies if phantom.masks[name].any())


def _eight_bits(phantom: Phantom) -> NDArray[np.uint8]:
    return (phantom.pixels >> (phantom.bits - 8)).astype(np.uint8)


def _image(phantom: Phantom) -> bytes:
    """The phantom as a PNG that says what it is, so that the reader knows it for one."""
    said = PngInfo()
    said.add_text("Software", " ".join(PHANTOM_MAKER))
    return _png(_eight_bits(phantom), said)


def _png(pixels: NDArray[np.uint8], said: PngInfo | None = None) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", pnginfo=said)
    return out.getvalue()


def _label_row(phantom: Phantom) -> str:
    patient, size = phantom.patient, len(phantom.pixels)
    cells = (
        *(f"{phantom.id}.png", "|".join(_visible(phantom)) or "No Finding", 0, patient.seed),
        *(_AGES[patient.age], patient.sex, patient.projection, size, size),
        *(f"{phantom.pixel_spacing:.4f}", f"{phantom.pixel_spacing:.4f}"),
    )
    return _csv_line(cells)


def _box_rows(phantom: Phantom) -> list[str]:
    scale = NIH_PIXELS / len(phantom.pixels)
    return [
        _csv_line(
            (
                *(f"{phantom.id}.png", box.pathology),
                *(f"{scale * edge:g}" for edge in (box.x, box.y, box.width, box.height)),
                *("", "", ""),
            )
        )
        for box in phantom.boxes
    ]


def _csv_line(cells: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def _is_test(seed: int) -> bool:
    """Drawn by patient, apart from everything that is in the image."""
    return bool(generator(seed, "split").random() < _TEST_SHARE)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_whole(path, "".join(f"{line}\n" for line in lines).encode())
