"""CheXlocalize's saliency maps: a pickle for each pathology in each radiograph, `<id>_<pathology>_map.pkl`.

Each is a dictionary that its authors' code unpickles: `map`, a tensor (1, 1, h, w) over the whole radiograph;
`cxr_dims`, width and height of the radiograph in pixels; `prob`, the model's probability; `task`, the
pathology; `gt`, its reference label; `cxr_img`, the pixels that the model saw.

To unpickle a file is to run it. Here nothing is run: a file is interpreted by a closed table, see
:mod:`cxr_explain.weights.pickled_tensors`, and one that asks for anything else is refused. `cxr_img` is
neither read nor written.

Source:
    Saporta et al., Benchmarking saliency methods for chest X-ray interpretation, Nature Machine Intelligence
    4 (2022) 867; https://github.com/rajpurkarlab/cheXlocalize, README.md and `heatmap_to_segmentation.py`.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import OptionError, ReferenceLabelError, WeightsError, naming
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.reference.chexlocalize import CHEXLOCALIZE_NAMES, chexlocalize_pathology
from cxr_explain.reference.outlines import checked_shape
from cxr_explain.reference.problems import quoted
from cxr_explain.support.arrays import Shape
from cxr_explain.support.bounded import read_bounded
from cxr_explain.support.links import is_inside
from cxr_explain.support.prose import counted
from cxr_explain.support.whole_file import safe_stem, write_output
from cxr_explain.weights.inert_pickle import TensorRecord
from cxr_explain.weights.pickled_tensors import PickledValue, read_pickled

_ENDING = "_map.pkl"
_LARGEST_FILE = 256 * 2**20  # bytes; CheXlocalize's own have 1.6 MB
_PROTOCOL = 4  # of Python 3.8, which the authors' code asks for
_KEYS = ("map", "prob", "task", "cxr_dims")
_OUTPUTS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
"""CheXpert's order, in which some files hold all probabilities of the model."""


@dataclass(frozen=True, eq=False)
class SaliencyMap:
    """The saliency map of one pathology in one radiograph.

    Args:
        image_id: the radiograph's id.
        pathology: one of the ten, by this package's name.
        values: (h, w) float32 or float64, over the whole radiograph.
        shape: (H, W) of the radiograph in pixels.
        probability: the model's.
        label: reference label, 0 or 1; None where it is not known.

    Raises:
        ReferenceLabelError: another pathology, a size beyond the limit, or a probability that is no number.
        OptionError: values of another shape, or not finite.

    >>> one = SaliencyMap("patient1_study1_view1_frontal", "Edema", np.float32([[0, 1]]), (1, 4), 0.7)
    >>> one.full_size().tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """

    image_id: str
    pathology: str
    values: NDArray[np.floating[Any]] = field(repr=False)
    shape: Shape
    probability: float
    label: int | None = None

    def __post_init__(self) -> None:
        chexlocalize_pathology(self.pathology)
        checked_shape(self.shape)
        if self.values.ndim != 2 or not self.values.size:
            raise OptionError(f"a map of shape {self.values.shape}", expected="(h, w)")
        if not np.isfinite(self.values).all():
            raise OptionError("a map with NaN or infinite values", expected="finite values")
        if not isfinite(self.probability):
            raise ReferenceLabelError(f"the probability {self.probability}", expected="a number")

    def full_size(self) -> NDArray[np.floating[Any]]:
        """The map at the radiograph's resolution, (H, W), to the last bit as CheXlocalize's code has it.

        That is torch's bilinear interpolation, in the precision of the values.
        """
        import torch
        from torch.nn.functional import interpolate

        small = torch.from_numpy(np.ascontiguousarray(self.values))[None, None]
        large = interpolate(small, size=self.shape, mode="bilinear", align_corners=False)
        return np.asarray(large[0, 0].numpy())


@dataclass(frozen=True)
class SaliencyMapFolder:
    """The files of saliency maps in a folder; they are read one by one, since they may be gigabytes.

    Args:
        paths: path by the radiograph's id and the pathology (this package's name), in the order of the paths.
        others: number of files of each other pathology, which are passed over.
    """

    paths: Mapping[tuple[str, str], Path]
    others: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of maps."""
        return len(self.paths)

    def notes(self) -> tuple[str, ...]:
        """What a person should know: maps that are passed over, and maps that are not there."""
        notes = [
            f"{counted(count, 'map')} of {quoted(task)} passed over: not one of the ten pathologies"
            for task, count in sorted(self.others.items())
        ]
        cases = len({image_id for image_id, _ in self.paths}) * len(CHEXLOCALIZE_NAMES)
        if missing := cases - len(self):
            notes.append(f"{missing} of {counted(cases, 'case')} without a map: empty masks, no hits")
        return tuple(notes)

    def maps(self) -> Iterator[SaliencyMap]:
        """Read the maps one after the other.

        Raises:
            ReferenceLabelError: a file that holds none.
        """
        return map(read_saliency_map, self.paths.values())


def find_saliency_maps(folder: str | PathLike[str]) -> SaliencyMapFolder:
    """The files `<id>_<pathology>_map.pkl` in a folder and in the folders below it; they are not read.

    Args:
        folder: the folder.

    Raises:
        ReferenceLabelError: no such folder, no such file in it, two files of one radiograph and pathology
            (where `eval.py` would stop, and say nothing), or a link out of the folder.

    >>> from tempfile import TemporaryDirectory
    >>> one = SaliencyMap("patient1_study1_view1_frontal", "Edema", np.float32([[0, 1]]), (1, 4), 0.75)
    >>> with TemporaryDirectory() as folder:
    ...     _ = write_saliency_map(folder, one)
    ...     found = find_saliency_maps(folder)
    ...     list(found.paths), [each.probability for each in found.maps()]
    ([('patient1_study1_view1_frontal', 'Edema')], [0.75])
    """
    root = Path(folder)
    found: dict[tuple[str, str], Path] = {}
    others: Counter[str] = Counter()
    for path in sorted(root.rglob(f"*{_ENDING}")):
        with naming(path):
            image_id, task = _parts(path.name)
            if canonical_pathology(task) not in CHEXLOCALIZE_NAMES:
                others[task] += 1
                continue
            if not is_inside(root, path.relative_to(root).as_posix()):
                raise ReferenceLabelError("a link out of the folder", expected="files inside of it")
            key = (image_id, chexlocalize_pathology(task))
            if key in found:
                raise ReferenceLabelError(
                    f"a second map of {key[1]} for {quoted(image_id)}", expected="one, in all folders"
                )
            found[key] = path
    if not found:
        raise ReferenceLabelError(
            f"no map of one of CheXlocalize's ten pathologies in {counted(sum(others.values()), 'map')}",
            expected=f"files ID_PATHOLOGY{_ENDING}",
            source=root,
        )
    return SaliencyMapFolder(found, dict(others))


def read_saliency_map(path: str | PathLike[str]) -> SaliencyMap:
    """Read one of CheXlocalize's saliency maps; nothing in the file is executed.

    Args:
        path: the file `<id>_<pathology>_map.pkl`; its name says what it is of.

    Raises:
        ReferenceLabelError: no such file, a pickle that asks for more than tensors and numbers, or anything
            in it that is not as it should be.

    >>> from tempfile import TemporaryDirectory
    >>> one = SaliencyMap("patient1_study1_view1_frontal", "Edema", np.float32([[0, 1]]), (1, 4), 0.75)
    >>> with TemporaryDirectory() as folder:
    ...     read = read_saliency_map(write_saliency_map(folder, one))
    >>> read.image_id, read.pathology, read.shape, read.probability, read.label
    ('patient1_study1_view1_frontal', 'Edema', (1, 4), 0.75, None)
    """
    file = Path(path)
    with naming(file):
        image_id, task = _parts(file.name)
        pathology = chexlocalize_pathology(task)
        try:
            pickled = read_pickled(read_bounded(file, _LARGEST_FILE))
            return _map_in(pickled, image_id, pathology)
        except OSError as error:
            raise ReferenceLabelError(f"no readable file ({error.strerror})") from error
        except (WeightsError, OptionError) as error:
            raise ReferenceLabelError(error.found, expected="one of CheXlocalize's saliency maps") from error


def write_saliency_map(folder: str | PathLike[str], saliency: SaliencyMap) -> Path:
    """Write a saliency map so that CheXlocalize's code reads it; the file is whole or not there at all.

    The file holds no pixel of the radiograph (`cxr_img` is empty) and no path.

    Args:
        folder: where to; made if it is missing.
        saliency: the map.

    Returns:
        The path written.

    Raises:
        OptionError: an id that no file's name should have.
        OutputError: a folder that cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> one = SaliencyMap("patient1_study1_view1_frontal", "Effusion", np.float32([[0, 1]]), (1, 4), 0.75)
    >>> with TemporaryDirectory() as folder:
    ...     write_saliency_map(folder, one).name
    'patient1_study1_view1_frontal_Pleural Effusion_map.pkl'
    """
    import torch

    if not saliency.image_id or safe_stem(saliency.image_id) != saliency.image_id:
        raise OptionError(
            f"the id {quoted(saliency.image_id)}",
            expected="letters, digits, '.', '_' and '-', at most 100, for the name of a file",
        )
    height, width = saliency.shape
    task = CHEXLOCALIZE_NAMES[chexlocalize_pathology(saliency.pathology)]
    entries = {
        "map": torch.from_numpy(saliency.values.copy())[None, None],
        "prob": float(saliency.probability),
        "task": task,
        "gt": saliency.label,
        "cxr_img": torch.empty((3, 0, 0)),
        "cxr_dims": (width, height),
    }
    path = Path(folder) / f"{saliency.image_id}_{task}{_ENDING}"
    return write_output(path, pickle.dumps(entries, protocol=_PROTOCOL), "a saliency map")


def _parts(name: str) -> tuple[str, str]:
    """The id and the pathology in a file's name."""
    image_id, _, task = name.removesuffix(_ENDING).rpartition("_")
    if not name.endswith(_ENDING) or not image_id:
        raise ReferenceLabelError(f"the name {quoted(name)}", expected=f"ID_PATHOLOGY{_ENDING}")
    return image_id, task


def _map_in(pickled: PickledValue, image_id: str, pathology: str) -> SaliencyMap:
    entries = pickled.value
    if not isinstance(entries, dict) or not set(_KEYS) <= set(entries):
        raise ReferenceLabelError(
            f"a dictionary of {quoted(list(entries))}" if isinstance(entries, dict) else quoted(entries),
            expected=f"a dictionary with {', '.join(_KEYS)}",
        )
    task = entries["task"]
    if not isinstance(task, str) or canonical_pathology(task) != pathology:
        raise ReferenceLabelError(
            f"a map of {quoted(task)}", expected=f"{pathology}, as the file's name says"
        )
    return SaliencyMap(
        image_id,
        pathology,
        _values(pickled, entries["map"]),
        _shape(entries["cxr_dims"]),
        _probability(pickled, entries["prob"], pathology),
        _label(entries.get("gt")),
    )


def _values(pickled: PickledValue, value: Any) -> NDArray[np.floating[Any]]:
    if not isinstance(value, TensorRecord) or len(value.size) != 4 or value.size[:2] != (1, 1):
        raise ReferenceLabelError(
            f"a map of shape {value.size}" if isinstance(value, TensorRecord) else f"the map {quoted(value)}",
            expected="a tensor of shape (1, 1, h, w)",
        )
    checked_shape(value.size[2:])
    tensor = pickled.tensor(value)
    if not tensor.is_floating_point():
        raise ReferenceLabelError(f"a map of {tensor.dtype}", expected="floating-point numbers")
    return np.asarray((tensor if tensor.itemsize == 8 else tensor.float())[0, 0].numpy())


def _shape(value: Any) -> Shape:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ReferenceLabelError(f"the size {quoted(value)}", expected="cxr_dims, (width, height)")
    return checked_shape((value[1], value[0]))


def _probability(pickled: PickledValue, value: Any, pathology: str) -> float:
    """A number; or, as some files have it, the probabilities of all fourteen outputs."""
    if isinstance(value, TensorRecord) and value.size in ((), (1,), (len(_OUTPUTS),)):
        numbers = pickled.tensor(value).reshape(-1).tolist()
        value = numbers[_OUTPUTS.index(pathology)] if len(numbers) > 1 else numbers[0]
    if not isinstance(value, (int, float)):
        raise ReferenceLabelError(f"the probability {quoted(value)}", expected="a number")
    return float(value)


def _label(value: Any) -> int | None:
    """Nobody asks for it, and files have it in several forms."""
    return int(value) if isinstance(value, (int, float)) and value in (0, 1) else None
