"""Manifests as CSV files: they read back as they were, and any bytes give one clear error."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tables import written

from cxr_explain.errors import CxrExplainError, ManifestError, OutputError
from cxr_explain.pathologies import PATHOLOGIES, ReferenceBox
from cxr_explain.reference import Manifest, MaskReference, parse_manifest, read_manifest, write_manifest
from cxr_explain.reference.csv_file import csv_bytes

HOSTILE = [
    "=1+1",
    "+cmd",
    "-2",
    "@x",
    '"',
    'a"b""',
    "a\nb",
    "a\r\nb",
    "\r",
    "\u202eabc\u200f",
    ",",
    "x" * 10_000,
]
HOSTILE += [" ", "\ufeff", "n/a", "NULL", "\u0085", "'", "\\", "\ud7ff\U0010ffff", "1e5", "\t"]

cells = st.one_of(
    st.sampled_from(HOSTILE), st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
)
optional = st.one_of(st.none(), cells.filter(bool))
ids = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=9).map("x".__add__)
paths = st.lists(
    ids.filter(lambda part: "\\" not in part and "/" not in part and ":" not in part), min_size=1, max_size=3
)
sides = st.floats(0.001, 400)
boxes = st.builds(ReferenceBox, names, sides, sides, sides, sides)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    found = draw(st.lists(ids, max_size=4, unique=True))
    n = len(found)

    def column(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=n, max_size=n))

    def some_rows(values: st.SearchStrategy) -> dict:
        return draw(st.dictionaries(st.integers(0, n - 1), values)) if n else {}

    pathologies = draw(st.lists(st.sampled_from(PATHOLOGIES), unique=True, max_size=4))
    extra = draw(st.lists(names.filter(lambda name: name not in pathologies), unique=True, max_size=2))
    masks = st.dictionaries(names, st.builds(MaskReference, st.just("png"), st.just("m/x.png")), max_size=2)
    return Manifest(
        found,
        ["x" + "/x".join(parts) for parts in column(paths)],
        pathologies=pathologies,
        states=np.array(column(st.lists(st.integers(-3, 1), min_size=4, max_size=4))).reshape(n, 4)[
            :, : len(pathologies)
        ],
        patients=column(optional),
        views=column(optional),
        sexes=column(st.sampled_from(["F", "M", None])),
        ages=column(st.one_of(st.none(), st.floats(0, 150))),
        splits=column(optional),
        label_sources=column(cells),
        boxes=some_rows(st.lists(boxes, max_size=3).map(tuple)),
        box_spaces=some_rows(st.tuples(st.integers(900, 9999), st.integers(900, 9999))),
        masks=some_rows(masks),
        extra={name: column(cells) for name in extra},
    )


@given(manifests())
@example(Manifest(["a"], ["a.png"], patients=HOSTILE[-1:], extra={"x": ["y" * 131_072]}))
@example(Manifest(list("abcdefghijklmnopqrstuv"), ["a.png"] * 22, patients=HOSTILE, extra={"x": HOSTILE}))
def test_what_is_written_reads_back_as_it_was(manifest: Manifest) -> None:
    data = csv_bytes(manifest)
    again = parse_manifest(data)
    assert again == manifest
    assert csv_bytes(again) == data


def test_a_file_has_the_manifests_bytes(tmp_path: Path) -> None:
    manifest = Manifest(["a"], ["a.png"], patients=["=HYPERLINK(1)"])
    path = write_manifest(manifest, tmp_path / "new" / "m.csv")
    assert path.read_bytes() == b"image_id,path,patient,view,sex,age,split\r\na,a.png,=HYPERLINK(1),,,,\r\n"
    assert read_manifest(path) == manifest
    assert csv_bytes(read_manifest(path)) == path.read_bytes()
    assert os.listdir(path.parent) == ["m.csv"]


def test_a_manifest_has_the_same_bytes_however_it_was_typed(tmp_path: Path) -> None:
    """The digest in a run's record is of these bytes, which stand beside it."""
    path = written(tmp_path / "m.csv", "path,image_id,label:pleural effusion", "a.png,a,1")
    manifest = read_manifest(path)
    copy = write_manifest(manifest, tmp_path / "copy.csv")
    assert copy.read_bytes() == csv_bytes(manifest) != path.read_bytes()
    assert copy.read_bytes().splitlines() == [
        b"image_id,path,patient,view,sex,age,split,label:Effusion",
        b"a,a.png,,,,,,1",
    ]
    assert csv_bytes(read_manifest(copy)) == csv_bytes(manifest)


def test_only_two_columns_are_needed(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path / "m.csv", "image_id,path", "a,a.png", "", "b,b.png,,"))
    assert manifest == Manifest(["a", "b"], ["a.png", "b.png"])
    assert manifest.source == "source not stated"
    assert [entry.line for entry in manifest] == [2, 4]


def test_a_byte_order_mark_and_other_line_ends(tmp_path: Path) -> None:
    for newline in ("\n", "\r\n", "\r"):
        path = written(tmp_path / "m.csv", "\ufeffimage_id,path", "a,a.png", newline=newline)
        assert read_manifest(path).ids == ("a",)


def test_all_bad_rows_are_named(tmp_path: Path) -> None:
    path = written(
        tmp_path / "m.csv",
        "image_id,path,sex,age,label:Mass,boxes,box_space,masks",
        "a,a.png,F,57,1,,,",
        "a,/etc/passwd,f,old,2,[,10,{",
        'b,C:\\x,,-3,,"[{""pathology"":""Mass"",""x"":0,""y"":0,""width"":99,""height"":9}]",50x50,',
        "c,c.png",
    )
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: line 3: ")
    for expected in (
        "line 3: the image_id 'a' again, after line 2",
        "line 3: the path '/etc/passwd', which is absolute",
        "line 3: the sex 'f'",
        "line 3: the age 'old'",
        "line 3: the label '2' of 'Mass'",
        "line 3: the boxes '[', which are no JSON",
        "line 3: the box space '10'",
        "line 3: the masks '{', which are no JSON",
        "line 4: the age '-3'",
        "line 4: the box 'Mass' at x=0, y=0, width=99, height=9, which is not in its space",
        "has a backslash",
        "line 5: 2 cells where the header has 8",
    ):
        assert expected in text


@pytest.mark.parametrize(
    "cell",
    [
        "{}",
        "[1]",
        '[{"pathology":"Mass","x":0,"y":0,"width":1}]',
        '[{"pathology":"Mass","x":0,"y":0,"width":1,"height":1,"z":1}]',
        '[{"pathology":1,"x":0,"y":0,"width":1,"height":1}]',
        '[{"pathology":" ","x":0,"y":0,"width":1,"height":1}]',
        '[{"pathology":"Mass","x":true,"y":0,"width":1,"height":1}]',
        '[{"pathology":"Mass","x":"0","y":0,"width":1,"height":1}]',
        '[{"pathology":"Mass","x":NaN,"y":0,"width":1,"height":1}]',
        '[{"pathology":"Mass","x":0,"y":0,"width":1e999,"height":1}]',
        '[{"pathology":"Mass","x":0,"y":0,"width":' + "9" * 5000 + ',"height":1}]',
        '[{"pathology":"Mass","x":0,"x":1,"y":0,"width":1,"height":1}]',
        "[" * 100_000,
    ],
)
def test_boxes_that_are_none(cell: str) -> None:
    row = cell.replace('"', '""')
    with pytest.raises(ManifestError, match="line 2: "):
        parse_manifest(f'image_id,path,boxes\na,a.png,"{row}"\n'.encode())


@pytest.mark.parametrize(
    "cell",
    [
        "[]",
        '{"Mass": 1}',
        '{"Mass": {"kind": "png"}}',
        '{"Mass": {"kind": "svg", "path": "a.svg"}}',
        '{"Mass": {"kind": "png", "path": "../a.png"}}',
        '{"Mass": {"kind": ["png"], "path": "a.png"}}',
        '{"Mass": {"kind": "png", "path": "a.png"}, "mass": {"kind": "png", "path": "a.png"}}',
    ],
)
def test_masks_that_are_none(cell: str) -> None:
    row = cell.replace('"', '""')
    with pytest.raises(ManifestError, match="line 2: "):
        parse_manifest(f'image_id,path,masks\na,a.png,"{row}"\n'.encode())


@pytest.mark.parametrize("age", ["nan", "inf", "1_0", " 5", "٣", "0x1", "1e400", "-0.5", "5Y", "1" * 30])
def test_ages_that_are_none(age: str) -> None:
    with pytest.raises(ManifestError, match="line 2: the age"):
        parse_manifest(f"image_id,path,age\na,a.png,{age}\n".encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an empty file"),
        (b"\n\n", "an empty file"),
        (b",,\n1,2,3\n", "the columns '1', '2', '3'"),
        (bytes(range(1, 256)), "something else than UTF-8"),
        (bytes(range(256)), "a NUL byte"),
        ("image_id,path\na,a.png\n".encode("utf-16"), "UTF-16"),
        ("image_id,path\na,a.png\n".encode("utf-32-be"), "NUL byte|UTF-8"),
        ("image_id,path\na,ä.png\n".encode("latin-1"), "something else than UTF-8"),
        (b"image_id,path\na,a\x00.png\n", "NUL byte"),
        (b'image_id,path\na,"a.png\n', "something else than CSV text"),
        (b'image_id,path\na,"a"b.png\n', "something else than CSV text"),
        (b"image_id,path\na," + b"x" * 2_000_000, "something else than CSV text"),
        (b"x" * 2_000_000, "something else than CSV text"),
        (b"image_id,path,x,x\n", "two columns 'x'"),
        (b"image_id,path,label:Effusion,label:Pleural Effusion\n", "two columns 'label:Effusion'"),
        (b"image_id,path,label:\n", "a column named ''"),
        (b"image_id,path,,\na,a.png,1,\n", "cells in column 3, which has no name"),
        (b"path\na.png\n", "the columns 'path'; expected a column 'image_id'"),
        (gzip.compress(b"image_id,path\n", mtime=0), "a gzip archive"),
        (b"\x89PNG\r\n\x1a\n\x00", "something else than text"),
        (b"a" * 10 + b"\n" + b"," * 1_000_000, "the columns"),
    ],
)
def test_bytes_that_are_no_manifest(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(data)
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 1000


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_give_a_manifest_or_a_manifest_error(data: bytes) -> None:
    with suppress(ManifestError):
        parse_manifest(b"image_id,path,age\n" + data)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no readable file"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(ManifestError, match="no regular file"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match=r"no (readable )?file"):
        read_manifest("a\x00b")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a manifest that cannot be written"):
        write_manifest(Manifest(["a"], ["a.png"]), tmp_path / "file" / "m.csv")


def test_a_table_of_other_columns_is_never_replaced(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,labels\na.png,Mass\n")
    with pytest.raises(OutputError, match=r"a file that is no manifest.* --out"):
        write_manifest(Manifest(["a"], ["a.png"]), table)
    assert table.read_text() == "path,labels\na.png,Mass\n"


@pytest.mark.parametrize("before", [b"", b"image_id,path\r\nb,b.png\r\n", b"\xef\xbb\xbfimage_id,path\n"])
def test_an_older_manifest_and_an_empty_file_are_replaced(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(before)
    manifest = Manifest(["a"], ["a.png"])
    assert read_manifest(write_manifest(manifest, path)) == manifest


def test_a_message_shows_no_control_characters() -> None:
    with pytest.raises(CxrExplainError) as caught:
        parse_manifest('image_id,path,sex\na,a.png,"\u202e\x1b[31m\n"\n'.encode())
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
