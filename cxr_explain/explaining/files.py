"""Many files through one explainer: results as they come, failures as values, memory that stays flat."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cxr_explain.errors import CxrExplainError, OptionError, OutputError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.ranking import Prediction
from cxr_explain.loaders import read_radiograph
from cxr_explain.loaders.sniff import sniff
from cxr_explain.options import FigureFormat, RankBy
from cxr_explain.pages.index_page import IndexEntry
from cxr_explain.pathologies import LabelState, ReferenceLabels
from cxr_explain.radiograph import Radiograph
from cxr_explain.reference.label_tables import ReferenceTable

_IMAGE_ENDINGS = frozenset({".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
_SNIFFED_BYTES = 2048
_GLOB_SIGNS = frozenset("*?[")


@dataclass(frozen=True)
class Job:
    """What to do with each file.

    Args:
        output: folder for `<id>.png`, `<id>.json` and `<id>.npz`.
        figure_format: "png", "pdf" or "svg".
        top_k: K.
        rank_by: see `Explainer.explain`.
        pathologies: see `Explainer.explain`.
        above_operating_point: see `Explainer.explain`.
        read_options: passed on to `read_radiograph`.
        references: reference labels for every file, or a table that has them by file name.
        hashed_ids: name outputs after the SHA-256 of the file rather than after its name.
        batch_size: images in one forward pass.
    """

    output: Path
    figure_format: FigureFormat = "png"
    top_k: int = 5
    rank_by: RankBy = "probability"
    pathologies: tuple[str, ...] | None = None
    above_operating_point: bool = False
    read_options: Mapping[str, Any] = field(default_factory=dict)
    references: ReferenceLabels | ReferenceTable | None = None
    hashed_ids: bool = False
    batch_size: int = 8

    def labels_for(self, path: Path, radiograph: Radiograph) -> ReferenceLabels | None:
        """The reference labels of one file."""
        if isinstance(self.references, ReferenceTable):
            return self.references.labels_for(path, radiograph.shape)
        return self.references


@dataclass(frozen=True)
class FileResult:
    """What became of one file: an error, or a row (image, top pathologies, reference positives, figure).

    Args:
        path: the file.
        error: why it gave no explanation.
        row: for a table of one line for each file.
        card: the same in full, as text; None after an error.
    """

    path: Path
    error: CxrExplainError | None = None
    row: tuple[str, str, str, str] = ("", "", "", "")
    card: IndexEntry | None = None


def expand_inputs(inputs: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Turn files, folders and globs into files, each once, and notes on what was passed over.

    A folder is searched for files that are images by content or by extension; the extension counts so that a
    broken image becomes a failure with a name rather than a silent gap.

    Raises:
        OptionError: a glob that matches nothing, or no file at all that is there.
    """
    files: dict[Path, None] = {}
    notes: list[str] = []
    for text in inputs:
        for path in _matches(text):
            if path.is_dir():
                images, others = _images_in(path)
                files.update(dict.fromkeys(images))
                if others:
                    notes.append(f"{path}: {others} files that are no images passed over")
            else:
                files[path] = None
    if not any(path.exists() for path in files):  # said before weights are fetched in vain
        raise OptionError(f"no image in {', '.join(inputs)}", expected="files, folders with images, or globs")
    unique: dict[str, Path] = {}
    for path in files:
        unique.setdefault(os.path.realpath(path), path)
    return list(unique.values()), notes


def explain_files(explainer: Explainer, files: Sequence[Path], job: Job) -> Iterator[FileResult]:
    """Read, explain, draw and save file by file, `batch_size` in one forward pass.

    Raises:
        OutputError: an output folder that cannot be made; every other error becomes a `FileResult`.
    """
    try:
        job.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"an output folder that cannot be made ({error.strerror})", source=job.output
        ) from error
    ids: dict[str, str] = {}
    for start in range(0, len(files), job.batch_size):
        pending: list[tuple[Path, Radiograph]] = []
        for path in files[start : start + job.batch_size]:
            radiograph = _attempt(path, lambda path=path: _read(path, job, ids))
            if isinstance(radiograph, CxrExplainError):
                yield FileResult(path, radiograph)
            else:
                pending.append((path, radiograph))
        for (path, radiograph), explanation in zip(pending, _explain(explainer, pending, job), strict=True):
            if isinstance(explanation, CxrExplainError):
                yield FileResult(path, explanation)
                continue
            result = _attempt(path, lambda p=path, r=radiograph, e=explanation: _write(p, r, e, job))
            yield FileResult(path, result) if isinstance(result, CxrExplainError) else result


def _attempt(path: Path, work: Any) -> Any:
    """Do the work of one file; an error of ours comes back as a value, a fault under its type's name."""
    try:
        return work()
    except CxrExplainError as error:
        return error.at(path)
    except Exception as error:
        if os.environ.get("CXR_EXPLAIN_DEBUG"):
            raise
        return CxrExplainError(
            f"an unexpected {type(error).__name__}",
            remedy="Please report it, with the traceback that CXR_EXPLAIN_DEBUG=1 shows.",
            source=path,
        )


def _read(path: Path, job: Job, ids: dict[str, str]) -> Radiograph:
    radiograph = read_radiograph(path, **job.read_options)
    name = radiograph.sha256[:12] if job.hashed_ids else radiograph.id
    if ids.setdefault(name, radiograph.sha256) != radiograph.sha256:
        name = f"{name}-{radiograph.sha256[:8]}"  # two files of one name in different folders
    return replace(radiograph, id=name)


def _explain(
    explainer: Explainer, pending: Sequence[tuple[Path, Radiograph]], job: Job
) -> list[Explanation | CxrExplainError]:
    """Explain a batch; where it fails, one by one, so that only the culprit does."""

    def run(radiographs: Sequence[Radiograph]) -> list[Explanation]:
        return explainer.explain_batch(
            radiographs,
            top_k=job.top_k,
            rank_by=job.rank_by,
            pathologies=job.pathologies,
            above_operating_point=job.above_operating_point,
        )

    try:
        return list(run([radiograph for _, radiograph in pending]))
    except OptionError:
        raise
    except Exception:
        return [_attempt(path, lambda r=radiograph: run([r])[0]) for path, radiograph in pending]


def _write(path: Path, radiograph: Radiograph, explanation: Explanation, job: Job) -> FileResult:
    """The figure first, the JSON last: where a JSON file is, everything is."""
    labels = job.labels_for(path, radiograph)
    figure_path = job.output / f"{explanation.id}.{job.figure_format}"
    figure = explanation.figure(labels)
    figure.save(figure_path)
    saved = explanation.save(job.output / f"{explanation.id}.json")
    card = IndexEntry.of(
        explanation,
        radiograph,
        labels,
        figure=figure_path.name,
        saved=saved.name,
        figure_size=(round(figure.bbox.width), round(figure.bbox.height)),
    )
    top = (
        "  ".join(_cell(prediction) for prediction in explanation.ranking.top)
        or "none above its operating point"
    )
    return FileResult(path, row=(explanation.id, top, _positives(labels), figure_path.name), card=card)


def _cell(prediction: Prediction) -> str:
    sign = {True: "+", False: "-", None: ""}[prediction.above]
    return f"{prediction.pathology} {prediction.probability:.2f}{sign}"


def _positives(labels: ReferenceLabels | None) -> str:
    if labels is None:
        return "none given"
    positive = [name for name, state in labels.states.items() if state is LabelState.POSITIVE]
    return ", ".join(positive) or "no positive"


def _matches(text: str) -> list[Path]:
    path = Path(text)
    if path.exists() or not _GLOB_SIGNS & set(text):
        return [path]  # a missing file fails under its own name
    found = sorted(Path(name) for name in glob.glob(text, recursive=True))
    if not found:
        raise OptionError(f"no file that matches {text!r}", expected="a glob that matches something")
    return found


def _images_in(folder: Path) -> tuple[list[Path], int]:
    images, others = [], 0
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        if path.suffix.lower() in _IMAGE_ENDINGS or _is_image(path):
            images.append(path)
        else:
            others += 1
    return images, others


def _is_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return sniff(file.read(_SNIFFED_BYTES)) is not None
    except OSError:
        return True  # unreadable: let it fail under its own name
