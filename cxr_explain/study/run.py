"""A study on several cores, kept on disk as it grows: what is killed goes on where it was."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from cxr_explain._version import __version__
from cxr_explain.cam.evidence import Track, silent
from cxr_explain.engines.registry import ENGINES
from cxr_explain.errors import OutputError
from cxr_explain.explaining.explainer import Explainer, Pretrained
from cxr_explain.study.cases import Case
from cxr_explain.study.measure import MeasureRow, Tables, measure
from cxr_explain.study.plan import Plan
from cxr_explain.support.spreadsheet import safe_csv
from cxr_explain.support.strict_json import DIGEST, digest_of, is_as_written, read_json, with_digest
from cxr_explain.support.whole_file import output_errors, write_output

PARTS, RECORD = "parts", "study.json"
CASES, STUDY = "cases", "study"
"""Where a part names its cases and the digest of its study's record, beside its tables."""

_CASES = 2  # of a part: in one forward pass, and lost at most when a process is killed
_AHEAD = 2  # parts that wait for each process
_explainer: Explainer  # of a worker process, which `_start` has started


def run_study(
    model: Pretrained,
    cases: Iterable[Case],
    plan: Plan,
    folder: Path,
    *,
    of: str,
    jobs: int = 1,
    explainer: Explainer | None = None,
    advance: Callable[[int], None] = lambda _: None,
    track: Track = silent,
) -> Tables:
    """Measure all cases, and write a CSV of each table.

    Parts are written as they are done. What is there already is not measured again, and gives the same rows.

    Args:
        model: the model that is explained, as it is loaded.
        cases: the cases, in a fixed order.
        plan: what is compared.
        folder: folder for the parts and the tables.
        of: what the cases are, in words; a folder that holds a study of others is refused.
        jobs: processes of one thread each, torch's and the engine's alike; 1 works in this one.
        explainer: the model, where it is loaded already.
        advance: called with the number of cases that were just done.
        track: shows the progress within a part, where this process does the work.

    Raises:
        OutputError: a folder that holds another study, or cannot be written to.
    """
    explainer = model.load() if explainer is None else explainer
    settings = explainer.settings
    record = {
        "version": __version__,
        "cases": of,
        "weights": model.weights,
        "SHA-256 of the weights": explainer.classifier.weights_sha256,
        "fit": settings.fit,
        "engine": ENGINES[settings.engine].version or settings.engine,
        "precision": settings.dtype,
        "plan": asdict(plan),
    }
    study = _begin(folder, record)
    parts: list[Path] = []

    def missing() -> Iterator[tuple[int, list[Case]]]:
        for number, batch in enumerate(_batches(cases)):
            parts.append(_part(folder, number))
            if _holds(parts[-1], batch, study):
                advance(len(batch))
            else:
                yield number, batch

    if jobs == 1:
        done = _measured_here(explainer, missing(), plan, track)
    else:  # "auto" is what it was found to be here, in every process
        chosen = replace(model, options={**model.options, "engine": settings.engine})
        done = _measured(chosen, missing(), plan, jobs)
    for number, batch, tables in done:
        content = with_digest({STUDY: study, CASES: _digests(batch)} | _without_nan(vars(tables)))
        write_output(_part(folder, number), json.dumps(content).encode(), "a part of a study")
        advance(len(batch))
    return _collect(folder, parts, study)


def _collect(folder: Path, parts: Iterable[Path], study: str) -> Tables:
    """The parts, in their order, as one; written as CSV."""
    tables = Tables()
    for path in parts:
        part = _read(path, study)
        for name in (DIGEST, STUDY, CASES):
            del part[name]
        tables.extend(Tables(**{name: [_with_nan(row) for row in rows] for name, rows in part.items()}))
    for name, rows in vars(tables).items():
        write_output(folder / f"{name}.csv", _as_csv(rows), "a table")
    return tables


def _batches(cases: Iterable[Case]) -> Iterator[list[Case]]:
    iterator = iter(cases)
    while batch := list(islice(iterator, _CASES)):
        yield batch


# -- processes ----

_Awaited = tuple[int, list[Case], Future[Tables]]


def _measured_here(
    explainer: Explainer, parts: Iterable[tuple[int, list[Case]]], plan: Plan, track: Track
) -> Iterator[tuple[int, list[Case], Tables]]:
    """Number, cases and rows of each part."""
    for number, batch in parts:
        yield number, batch, measure(explainer, batch, plan, first=number * _CASES, track=track)


def _measured(
    model: Pretrained, parts: Iterable[tuple[int, list[Case]]], plan: Plan, jobs: int
) -> Iterator[tuple[int, list[Case], Tables]]:
    """The same by processes, in the order of the parts."""
    waiting: deque[_Awaited] = deque()
    context = get_context("spawn")  # a fork of a process with torch's threads may hang
    with ProcessPoolExecutor(jobs, context, initializer=_start, initargs=(model,)) as pool:
        try:
            for number, batch in parts:
                waiting.append((number, batch, pool.submit(_work, batch, plan, number * _CASES)))
                while len(waiting) >= _AHEAD * jobs:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _next(waiting: deque[_Awaited]) -> tuple[int, list[Case], Tables]:
    number, batch, future = waiting.popleft()
    return number, batch, future.result()


def _start(model: Pretrained) -> None:
    global _explainer
    torch.set_num_threads(1)
    _explainer = model.load()


def _work(batch: list[Case], plan: Plan, first: int) -> Tables:
    return measure(_explainer, batch, plan, first=first)


# -- files ----


def _part(folder: Path, number: int) -> Path:
    return folder / PARTS / f"{number:05d}.json"


def _digests(batch: Iterable[Case]) -> list[str]:
    return [case.digest for case in batch]


def _holds(path: Path, batch: Sequence[Case], study: str) -> bool:
    """Whether a part is there and whole; one of fewer or more cases, at the end of a study, is not.

    Raises:
        OutputError: a part of other cases.
    """
    if not path.exists():
        return False
    now = _digests(batch)
    before = _read(path, study)[CASES]
    if before[: len(now)] != now[: len(before)]:
        raise _another("choice of cases", path.parent.parent)
    return len(before) == len(now)


def _read(path: Path, study: str) -> dict[str, Any]:
    """A part, which carries a digest of itself and that of the record it belongs to.

    Raises:
        OutputError: something else.
    """
    try:
        part = read_json(path.read_bytes())
    except ValueError:
        part = None
    if not isinstance(part, dict) or not is_as_written(part) or part.get(STUDY) != study:
        raise OutputError(
            "something else than a part of this study as it was written",
            source=path,
            remedy="Remove the file: the same command measures its cases again.",
        )
    return part


def _another(what: str, folder: Path) -> OutputError:
    return OutputError(
        f"a study of another {what}",
        expected="a new folder, or one that holds a part of this study",
        source=folder,
        remedy="Choose another --out, or remove the folder.",
    )


def _begin(folder: Path, record: Mapping[str, Any]) -> str:
    """Make the folder, or see that it holds a part of the same study; the digest of the record."""
    path = folder / RECORD
    text = json.dumps(record, indent=2, default=list) + "\n"
    try:
        with output_errors("a study", folder):
            (folder / PARTS).mkdir(parents=True, exist_ok=True)
            before = read_json(path.read_text(encoding="utf-8")) if path.exists() else None
    except ValueError as error:
        raise OutputError("something else than the record of a study", source=path) from error
    now = json.loads(text)
    if before is None:
        write_output(path, text.encode(), "the record of a study")
        return digest_of(now)
    known = before if isinstance(before, dict) else {}
    other = [name for name in now if known.get(name) != now[name]]
    if other:
        raise _another(" and another ".join(other), folder)
    return digest_of(now)


def _as_csv(rows: list[MeasureRow]) -> bytes:
    """Numbers to six digits; empty where one is not estimable."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return safe_csv([names, *([_cell(row.get(name)) for name in names] for row in rows)]).encode()


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


def _without_nan(tables: Mapping[str, list[MeasureRow]]) -> dict[str, list[MeasureRow]]:
    """JSON knows no NaN; null stands for it."""
    return {
        name: [{key: None if value != value else value for key, value in row.items()} for row in rows]
        for name, rows in tables.items()
    }


def _with_nan(row: MeasureRow) -> MeasureRow:
    return {key: math.nan if value is None else value for key, value in row.items()}
