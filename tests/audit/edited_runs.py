"""Edits of a run's folder, at random places; what a run says; and its remedies, followed to the letter."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cxr_explain.audit.place import LocalPlace
from cxr_explain.audit.rows import RECORD_DIGEST
from cxr_explain.audit.seal import SEAL, seal, with_digest
from cxr_explain.audit.statistics import statistics_of
from cxr_explain.audit.store import SEALED, AuditRun
from cxr_explain.errors import AuditError, CxrExplainError
from cxr_explain.pages.audit_report.cases import case_page
from cxr_explain.pages.audit_report.contents import Contents
from cxr_explain.support import strict_json

Edit = Callable[[Path, Path, random.Random], str]
"""Changes a folder, with another run at hand; says what it did."""

WRONG = (
    None, True, False, 0, -1, 1, 10**13, 10**400, 2**31, 2**63, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "x", "Mass", "../..", "\x1b[2J\n", "a" * 5000, [], [[]], [None], ["Mass", 3], {}, {"a": {}}, "0" * 64,
)  # fmt: skip
"""Values of the types and sizes that no field of a run's JSON has all of."""


def files(folder: Path) -> list[Path]:
    """A run's files without those that are empty by design."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def flipped(folder: Path, other: Path, draw: random.Random) -> str:
    path = draw.choice(files(folder))
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 2, 8))):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return f"{path.name} flipped"


def truncated(folder: Path, other: Path, draw: random.Random) -> str:
    path = draw.choice(files(folder))
    content = path.read_bytes()
    path.write_bytes(content[: draw.choice((0, 1, len(content) // 2, max(len(content) - 1, 0)))])
    return f"{path.name} truncated"


def lengthened(folder: Path, other: Path, draw: random.Random) -> str:
    path = draw.choice(files(folder))
    more = draw.choice((b"\0", b" ", b"\n{}", path.read_bytes(), draw.randbytes(40)))
    path.write_bytes(path.read_bytes() + more)
    return f"{path.name} lengthened"


def removed(folder: Path, other: Path, draw: random.Random) -> str:
    there = files(folder)
    if not (folder / SEAL).exists():  # a part that is not there is one that was not made yet
        there = [path for path in there if path.parent == folder]
    path = draw.choice(there)
    path.unlink()
    return f"{path.name} removed"


def of_another_run(folder: Path, other: Path, draw: random.Random) -> str:
    path = draw.choice(files(other))
    shutil.copy(path, folder / path.relative_to(other))
    return f"{path.name} of another run"


def several_of_another_run(folder: Path, other: Path, draw: random.Random) -> str:
    there = [path for path in files(other) if path.parent == other]
    chosen = draw.sample(there, k=2)
    for path in chosen:
        shutil.copy(path, folder / path.name)
    return f"{' and '.join(path.name for path in chosen)} of another run"


def duplicated(folder: Path, other: Path, draw: random.Random) -> str:
    one, two = draw.choice(files(folder)), draw.choice(files(folder))
    target = two if draw.random() < 0.5 else one.with_name(f"part-{draw.randrange(99):08d}-0a0a0a0a.parquet")
    if target != one:
        shutil.copy(one, target)
    return f"{one.name} copied to {target.name}"


def of_another_kind(folder: Path, other: Path, draw: random.Random) -> str:
    path = draw.choice(files(folder))
    path.unlink()
    if draw.random() < 0.3:
        path.mkdir()
        return f"{path.name} became a folder"
    path.write_bytes(draw.choice((b"", b"null", b"[]", b"{}", b"[" * 100_000, b"PAR1PAR1", b"\xff\xfe" * 9)))
    return f"{path.name} became something else"


def changed_json(folder: Path, other: Path, draw: random.Random) -> str:
    path = folder / draw.choice(("run.json", "run.json", "place.json"))
    document = json.loads(path.read_text())
    at = document
    while True:
        key = draw.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if isinstance(at[key], dict | list) and at[key] and draw.random() < 0.7:
            at = at[key]
            continue
        break
    text = None
    kind = draw.choice(("wrong", "wrong", "near", "gone", "more", "twice", "deep"))
    if kind == "wrong":
        at[key] = draw.choice(WRONG)
    elif kind == "near":
        at[key] = _near(at[key], draw)
    elif kind == "gone":
        del at[key]
    elif kind == "more" and isinstance(at, dict):
        at["more"] = draw.choice(WRONG)
    elif kind == "twice":
        text = json.dumps(document).replace("{", '{"rows": 3, "images": 5, ', 1)
    else:
        at[key] = "DEEP"
        text = json.dumps(document).replace('"DEEP"', "[" * 50_000 + "]" * 50_000)
    path.write_text(json.dumps(document) if text is None else text)
    return f"{path.name}: {key} {kind}"


def _near(value: Any, draw: random.Random) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + draw.choice((1, -1, 0.001))
    if isinstance(value, str):
        return value[::-1] + "a"
    return value[::-1] if isinstance(value, list) else value


def changed_digit(folder: Path, other: Path, draw: random.Random) -> str:
    """In a text file, one digit that is another digit then."""
    path = draw.choice([path for path in files(folder) if path.suffix != ".parquet"])
    text = path.read_text()
    digits = [match.start() for match in re.finditer(r"\d", text)]
    if digits:
        at = draw.choice(digits)
        path.write_text(text[:at] + str((int(text[at]) + draw.randrange(1, 10)) % 10) + text[at + 1 :])
    return f"{path.name}: a digit"


def changed_cell(folder: Path, other: Path, draw: random.Random) -> str:
    path = folder / draw.choice(("manifest.csv", "manifest.csv", "failures.csv"))
    if not path.exists():
        path = folder / "manifest.csv"
    cells = list(csv.reader(path.read_text().splitlines()))
    row = draw.choice(cells)
    column = draw.randrange(len(row))
    row[column] = draw.choice(("", "1", "0", "-1", "x", "F", "nan", "1e9", "[]", "../x.png"))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(cells)
    path.write_text(text.getvalue())
    return f"{path.name}: a cell"


def changed_value(folder: Path, other: Path, draw: random.Random) -> str:
    """A table whose reader finds nothing wrong: written anew with another value, or another type."""
    path = draw.choice([path for path in files(folder) if path.suffix == ".parquet"])
    table = pq.read_table(path, partitioning=None)
    if not len(table):
        return flipped(folder, other, draw)
    at = draw.randrange(table.num_columns)
    pq.write_table(table.set_column(at, table.schema.field(at).name, _other_column(table[at], draw)), path)
    return f"{path.name}: another {table.schema.field(at).name}"


def _other_column(column: pa.ChunkedArray, draw: random.Random) -> pa.Array:
    values = column.to_pylist()
    kind = draw.choice(("order", "value", "null", "type", "all"))
    if kind == "order":
        return pa.array(values[::-1], column.type)
    if kind == "type":
        return pa.array([str(value) for value in values])
    if kind == "all":
        return pa.nulls(len(values), column.type)
    at = draw.randrange(len(values))
    values[at] = None
    if kind == "value":
        choices: dict[bool, tuple[Any, ...]] = {
            pa.types.is_integer(column.type): (-1, 0, 1, 999, 2**31 - 1),
            pa.types.is_floating(column.type): (0.25, -1.0, float("nan"), float("inf"), 1e30),
            pa.types.is_boolean(column.type): (True,),
            pa.types.is_string(column.type): ("x", "", "0" * 64, "\x1b[2J"),
        }
        values[at] = draw.choice(choices.get(True, (None,)))
        if pa.types.is_list(column.type):
            item = column.type.value_type
            lists = (
                ([], [None], [0] * 3, [2**31 - 1] * 3)
                if not pa.types.is_string(item)
                else ([], ["x"], [None])
            )
            values[at] = draw.choice(lists)
            if pa.types.is_float16(item):
                values[at] = [np.float16(value or 0) for value in values[at]]
    return pa.array(values, column.type)


def noise_in_what_is_kept_for_the_next_run(folder: Path, other: Path, draw: random.Random) -> str:
    name = draw.choice((".reading", ".lock", "audit.log", "parts/x.txt", "statistics.json"))
    lines = (
        b"+3\n",
        b"+1\n",
        b"=2 9\n",
        b"=" + b"9" * 5000 + b" 1\n",
        b"+" + b"9" * 30 + b"\n",
        draw.randbytes(30),
    )
    (folder / name).write_bytes(b"".join(draw.choices(lines, k=6)))
    return f"{name}: noise"


EDITS: tuple[Edit, ...] = (
    flipped, flipped, truncated, lengthened, removed, of_another_run, several_of_another_run, duplicated,
    of_another_kind, changed_json, changed_json, changed_digit, changed_cell, changed_value, changed_value,
    noise_in_what_is_kept_for_the_next_run,
)  # fmt: skip


def resealed(folder: Path) -> None:
    """Write the digests anew, as somebody would who means to deceive."""
    record = folder / "run.json"
    document = json.loads(record.read_text())
    document.pop("sha256", None)
    written = strict_json.with_digest(document)
    record.write_text(json.dumps(written))
    for path in files(folder):
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            metadata = (table.schema.metadata or {}) | {RECORD_DIGEST: written["sha256"].encode()}
            pq.write_table(table.replace_schema_metadata(metadata), path)
            if path.parent.name == "parts":
                path.write_bytes(with_digest(path.read_bytes()))
    if (folder / SEAL).exists():
        seal(LocalPlace(folder), SEALED)


def said_of(folder: Path) -> dict[str, Any]:
    """Every number that a reader is told: statistics, the report's data, a figure's maps.

    Raises:
        CxrExplainError: one line.
    """
    run = AuditRun.open(folder)
    found = statistics_of(run)
    contents = Contents.of(run, found.document, 3)
    cases = [case_page(run, at).data for at in range(0, len(run.results), 4)]
    for case in cases:
        case["image"].pop("missing", None)
    return {
        "statistics": found.to_json(),
        "text": found.to_text(),
        "listing": contents.listing.to_data(),
        "about": {name: value for name, value in contents.to_data().items() if name != "run"},
        "cases": cases,
        "failures": run.failures.to_pylist(),
        "joined": run.is_complete,
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two readings tell the same; an image that is not found is a case without pixels."""
    pairs = zip(one["cases"], other["cases"], strict=False)
    images = all(not mine["image"] or mine["image"] == theirs["image"] for mine, theirs in pairs)
    return images and _without_images(one) == _without_images(other)


def _without_images(said: dict[str, Any]) -> dict[str, Any]:
    return said | {"cases": [case | {"image": None} for case in said["cases"]]}


def told(read: Callable[[], Any]) -> Any:
    """What it gives, or its error, which must be of one line."""
    try:
        return read()
    except CxrExplainError as error:
        line = str(error)
        assert "\n" not in line
        assert "unexpected" not in line
        return error


def follow(error: AuditError) -> bool:
    """Do what a message says, to the letter; False where it says nothing that can be done here."""
    assert error.source is not None
    assert error.remedy is not None
    if not error.remedy.startswith("Remove"):
        return error.remedy.startswith("Copy it again, or run the same")
    source = Path(error.source)
    for path in (source, *(source.with_name(name) for name in re.findall(r"part-[^, ]+", error.remedy))):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True
