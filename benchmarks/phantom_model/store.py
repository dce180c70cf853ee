"""Arrays on disk that are filled seed by seed: what is stopped goes on where it was, and is filled once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cxr_explain.errors import OutputError
from cxr_explain.support.whole_file import output_errors, write_output

T = TypeVar("T")

Rows = Mapping[str, NDArray[Any]]
"""Arrays by name; the first dimension is the same for all."""

_AT_ONCE = 100  # seeds between two records
_CHECKED = 20  # seeds that are rendered anew, to see that the renderer is still the same
_RECORD = "record.json"


def filled(
    folder: Path,
    of: Mapping[str, Any],
    work: Callable[[int], Rows],
    seeds: Sequence[int],
    *,
    jobs: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, NDArray[Any]]:
    """Memory-mapped arrays with the rows of all seeds; what the folder lacks is made.

    What is written into the arrays stays in memory.

    Args:
        folder: one .npy file for each array, and a record.
        of: what the rows are, as JSON can say it; a folder of something else is refused.
        work: makes the rows of a seed, as many for each.
        seeds: the seeds, in the order of the rows.
        jobs: processes.
        say: takes lines of progress.

    Raises:
        OutputError: a folder that holds other rows, or rows that this machine's renderer does not give.
    """
    record = json.loads(json.dumps({**of, "seeds": [seeds[0], seeds[-1], len(seeds)]}))
    done, first = _done(folder, record), work(seeds[0])
    at = len(next(iter(first.values())))
    arrays = {
        name: _opened(folder / f"{name}.npy", rows, len(seeds), bool(done)) for name, rows in first.items()
    }
    for number, seed in enumerate(seeds[: min(done, _CHECKED)]):
        for name, rows in work(seed).items():
            if arrays[name][at * number : at * (number + 1)].tobytes() != rows.tobytes():
                raise _other(folder, f"{name} of seed {seed} that are rendered in another way now")
    for number, rows in enumerate(each_seed(work, seeds[done:], jobs), start=done):
        for name, array in arrays.items():
            array[at * number : at * (number + 1)] = rows[name]
        if (number + 1) % _AT_ONCE == 0 or number + 1 == len(seeds):
            for array in arrays.values():
                array.flush()
            _write(folder, record, number + 1)
            say(f"{folder.name}: {number + 1} of {len(seeds)}")
    return {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in arrays}


def _done(folder: Path, record: Mapping[str, Any]) -> int:
    """How many seeds are there."""
    path = folder / _RECORD
    with output_errors("examples", folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return 0
        there = json.loads(path.read_bytes())
    done = int(there.pop("done"))
    if there != record:
        raise _other(folder, "other examples")
    return done


def _write(folder: Path, record: Mapping[str, Any], done: int) -> None:
    write_output(folder / _RECORD, json.dumps({**record, "done": done}).encode(), "a record of examples")


def _other(folder: Path, what: str) -> OutputError:
    return OutputError(
        what,
        expected="a new folder, or one with examples of these settings",
        source=folder,
        remedy="Choose another --examples, or remove the folder.",
    )


def _opened(path: Path, rows: NDArray[Any], seeds: int, there: bool) -> NDArray[Any]:
    if there:
        return np.load(path, mmap_mode="r+")
    shape = (len(rows) * seeds, *rows.shape[1:])
    return np.lib.format.open_memmap(path, mode="w+", dtype=rows.dtype, shape=shape)


def each_seed(work: Callable[[int], T], seeds: Sequence[int], jobs: int) -> Iterator[T]:
    """The results in the order of the seeds, from this process or from several."""
    if jobs == 1 or len(seeds) < 2:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(work, seeds, chunksize=8)


def _one_thread() -> None:
    torch.set_num_threads(1)
