"""Tables and outlines take a multiple of what lies on the disk; those of data sets are far below."""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest

from cxr_explain.errors import CxrExplainError, ManifestError, ReferenceLabelError
from cxr_explain.reference import csv_lines
from cxr_explain.reference.chexlocalize import read_annotations, read_segmentations
from cxr_explain.reference.csv_file import parse_manifest, read_manifest
from cxr_explain.reference.csv_lines import CsvLines
from cxr_explain.reference.data_sets.padchest import manifest_of_padchest
from cxr_explain.reference.outlines import Polygons, RunLengths
from cxr_explain.reference.standard import read_references
from cxr_explain.reference.table import parse_table, read_table


def gzipped(*pieces: tuple[bytes, int]) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(piece * times) for piece, times in pieces) + packer.flush()


def parse_gzip(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        read_table(Path(file.name), "a.csv.gz", gzipped=True)


def peak_of(content: bytes, match: str) -> int:
    """Bytes that reading takes before it refuses."""
    tracemalloc.start()
    try:
        with pytest.raises(ManifestError, match=match):
            parse_gzip(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        (b"\n", "unpacks to more than|more than .* bytes of memory"),
        (b"a,b\n", "bytes of memory"),
        (b",", "unpacks to more than"),
        (b"a," * 20_000 + b"\n", "a row of 20,001 cells; expected at most 16,384"),
        (b"a," + b"b" * 9_000 + b"\n", "unpacks to more than"),
        (b"a,\xf0\x9f\x98\x80" + b"b" * 9_000 + b"\n", "bytes of memory"),
        (b"\0", "a NUL byte"),
    ],
    ids=["blank lines", "rows", "cells", "columns", "long cells", "wide letters", "NULs"],
)
def test_a_gzip_archive_is_unpacked_as_far_as_a_table_may_go(
    monkeypatch: pytest.MonkeyPatch, piece: bytes, match: str
) -> None:
    monkeypatch.setattr(csv_lines, "_SPARE_MEMORY", 2**22)
    monkeypatch.setattr(csv_lines, "_SPARE_UNPACKED", 2**21)
    content = gzipped((b"image,labels\n", 1), (piece, 20_000_000 // len(piece)))
    assert peak_of(content, match) < 2**25 + 64 * len(content)


def test_the_same_table_is_read_where_it_is_not_packed(tmp_path: Path) -> None:
    rows = b"image,labels\n" + b"".join(b"a%d.png,Mass\n" % at for at in range(4000))
    (tmp_path / "a.csv").write_bytes(rows)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(rows))
    plain, packed = (read_references(labels=tmp_path / name).manifest for name in ("a.csv", "a.csv.gz"))
    assert len(plain) == len(packed) == 4000
    assert plain.states.tolist() == packed.states.tolist()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"a" * 5_000_000, "a row of more than 4,194,304 bytes"),
        (b"image_id,path\n" + b"a" * 5_000_000, "a row of more than 4,194,304 bytes"),
        (b"image_id,path\n" + (b'"' + b"a" * 60 + b'\n",') * 70_000, "a row of more than 4,194,304 bytes"),
        (b'image_id,path\n"' + b"a\n" * 100_000, "something else than CSV text"),
        (b"a," * 16_384 + b"\n", "a row of 16,385 cells"),
        ("image_id,path\nä,a.png\n".encode("latin-1"), r"something else than UTF-8 \(byte 14\)"),
        (b"image_id,path\n" + b"a,b\n" * 50_000 + b"\xff", r"something else than UTF-8 \(byte 200014\)"),
        (b"image_id,path\n" + b"a,b\n" * 50_000 + b"\0", "a NUL byte"),
        (b"image_id,path,boxes\na,a.png," + b"[" * 130_000, "which are no JSON"),
        (b"image_id,path,age\na,a.png," + b"9" * 130_000, "the age"),
    ],
    ids=range(10),
)
def test_long_rows_and_cells_are_one_clear_error(content: bytes, match: str) -> None:
    with pytest.raises(ManifestError, match=match) as caught:
        parse_manifest(content)
    assert len(str(caught.value)) < 500


def lines_of(content: bytes) -> CsvLines:
    return CsvLines(io.BytesIO(content), len(content))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_those_of_the_text(end: str) -> None:
    text = end.join(["a,b", "", '"1', '2",ä', ""])
    assert "".join(lines_of(text.encode())) == text
    assert list(lines_of(b"\xef\xbb\xbf" + text.encode())) == list(lines_of(text.encode()))
    assert parse_table(text.encode(), "a.csv").columns == {"a": (f"1{end}2",), "b": ("ä",)}


def test_a_table_that_is_wrong_in_each_row_does_not_look_for_each_name(tmp_path: Path) -> None:
    rows = (f"a{at}.png,word{at} no{at} label{at}\n" for at in range(5_000))
    (tmp_path / "a.csv").write_text("image,labels\n" + "".join(rows))
    began = time.process_time()
    with pytest.raises(ManifestError, match=r"line 2: .*line 21: .* and at least 980 more"):
        read_references(labels=tmp_path / "a.csv")
    assert time.process_time() - began < 3
    rows = (f"a{at}.png,word{at}\n" for at in range(30))
    (tmp_path / "a.csv").write_text("image,labels\n" + "".join(rows))
    with pytest.raises(ManifestError, match=r"line 2: .*line 21: .* and 10 more"):
        read_references(labels=tmp_path / "a.csv")


def test_problems_beyond_ten_thousand_are_counted_only() -> None:
    rows = b"".join(b"%d,../a.png\n" % at for at in range(12_000))
    with pytest.raises(ManifestError, match=r"line 2: .* and 11980 more"):
        parse_manifest(b"image_id,path\n" + rows)


@pytest.mark.parametrize("cell", ["[" + " " * 100_000, "[" + "'a' , " * 16_000, "['a'" + " ," * 50_000])
def test_blanks_in_padchests_lists_take_no_time(tmp_path: Path, cell: str) -> None:
    head = "ImageID,Labels,PatientID,Projection,MethodLabel,StudyDate_DICOM,PatientBirth,PatientSex_DICOM"
    (tmp_path / "a.csv").write_text(f'{head}\na.png,"{cell}",1,PA,x,20100101,1950,F\n')
    began = time.process_time()
    with pytest.raises(CxrExplainError):
        manifest_of_padchest(tmp_path / "a.csv")
    assert time.process_time() - began < 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_pipes_devices_and_holes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(50 * 2**30)
    with (tmp_path / "short holes").open("wb") as file:
        file.write(b"image_id,path\n")
        file.truncate(1_000_000_000)
    tracemalloc.start()
    with pytest.raises(ManifestError, match="a NUL byte"):
        read_manifest(tmp_path / "short holes")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    for name in ("pipe", "zero", "holes"):
        for read in (read_manifest, read_annotations, read_segmentations):
            with pytest.raises(
                CxrExplainError,
                match=r"no regular file|more than [\d,]+ bytes|a file of (more than )?[\d,]+ (bytes|MiB)",
            ):
                read(tmp_path / name)


def outlines(text: str, folder: Path) -> Path:
    path = folder / "a.json"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"a":' + "[" * 100_000, "nested too deeply"),
        (
            '{"a":[' + "{}," * 4_000_000 + "0]}",
            "more values than there is memory for|[0-9,]+ values; expected",
        ),
        ('{"a":' + "9" * 5000 + "}", "no JSON"),
        (
            '{"a":{"img_size":[9999,9],"Edema":[[' + "[1,1],[1,9999]," * 20_000 + "[2,2]]]}}",
            "polygons whose edges cross",
        ),
        ("{" + "".join(f'"{at}":0,' for at in range(200_000)) + '"7":0}', "'7' twice"),
    ],
    ids=["nested", "objects", "digits", "points", "names"],
)
def test_outlines_are_limited_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, match: str
) -> None:
    monkeypatch.setattr("cxr_explain.support.bounded._SPARE_MEMORY", 2**28)
    with pytest.raises(ReferenceLabelError, match=match) as caught:
        read_annotations(outlines(text, tmp_path))
    assert len(str(caught.value)) < 500


def test_outlines_as_people_draw_them_are_within_the_limits(tmp_path: Path) -> None:
    polygon = [[at % 2000 + 0.5, at % 1900 + 0.25] for at in range(5000)]
    entry = {"img_size": [2320, 2828], "Edema": [polygon], "Cardiomegaly": [polygon]}
    path = outlines(json.dumps({f"p{at}_study1_view1_frontal": entry for at in range(5)}), tmp_path)
    assert len(read_annotations(path).ids) == 5
    assert not Polygons((4000, 9), (((1.0, 1.0),) * 20_000,)).is_empty


def test_run_lengths_are_limited_by_their_text() -> None:
    with pytest.raises(ReferenceLabelError, match="run lengths of 5,000,000 characters"):
        RunLengths((5000, 5000), "0" * 5_000_000)
