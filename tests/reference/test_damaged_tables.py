"""Damaged tables give a manifest or one clear error, never another exception."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from tables import EXAMPLES, ON_DISK

from cxr_explain.errors import CxrExplainError
from cxr_explain.reference import make_manifest, parse_manifest
from cxr_explain.reference.csv_file import csv_bytes

PIECES = [
    b"",
    b",",
    b'"',
    b"\n",
    b"\x00",
    b"\xff",
    b"1e999",
    b"nan",
    b"-1",
    b"../..",
    b"\\",
    b"{}",
    b"[[",
    b"|",
    b"\xc3\xa9",
]
ROUNDS = 40


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Some bytes of a file replaced, cut out or repeated."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice([0, 1, 2, 8, 60]))
        piece = chance.choice([*PIECES, data[start:end] * 2])
        data = data[:start] + piece + data[end:]
    return data


@pytest.mark.parametrize("name", ON_DISK)
def test_damaged_sources(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    source = shutil.copytree(EXAMPLES / name, tmp_path / name)
    files = sorted(path for path in source.rglob("*") if path.is_file())
    kept = {path: path.read_bytes() for path in files}
    for _ in range(ROUNDS):
        path = chance.choice(files)
        path.write_bytes(damaged(kept[path], chance))
        with suppress(CxrExplainError):
            manifest = make_manifest(name, source / "images.csv" if name == "csv" else source)
            assert parse_manifest(csv_bytes(manifest)) == manifest
        path.write_bytes(kept[path])


def test_damaged_manifests() -> None:
    chance = random.Random(0)
    for path in sorted(EXAMPLES.glob("manifest-*.csv")):
        data = path.read_bytes()
        for _ in range(ROUNDS):
            with suppress(CxrExplainError):
                manifest = parse_manifest(damaged(data, chance))
                assert parse_manifest(csv_bytes(manifest.select(range(len(manifest))))) == manifest
