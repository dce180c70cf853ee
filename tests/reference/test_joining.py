"""Columns joined to a manifest from a table of one's own, and every table that cannot be."""

from __future__ import annotations

import hashlib
import random
from contextlib import suppress
from pathlib import Path

import pytest

from cxr_explain.errors import CxrExplainError, ManifestError
from cxr_explain.reference import Manifest, join_columns, parse_manifest
from cxr_explain.reference.csv_file import csv_bytes
from cxr_explain.reference.joining import LONGEST_VALUE, MOST_COLUMNS, MOST_VALUES

PERSON = "PAT-777"
"""A patient's number that must stand nowhere but in the manifest."""


@pytest.fixture
def manifest() -> Manifest:
    """Three images of two patients, and one of nobody known."""
    return Manifest(
        ["a", "b", "c", "d"],
        ["a.png", "b.png", "c.png", "d.png"],
        patients=["007", "007", PERSON, None],
        extra={"ward": ["1", "1", "2", "2"]},
    )


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "further.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_by_patient_every_image_gets_its_patients_row(manifest: Manifest, tmp_path: Path) -> None:
    path = table(tmp_path, f"patient,race,scanner\n007,white,A\n{PERSON},,B\n")
    found = join_columns(manifest, path)
    assert found.manifest.extra["race"] == ("white", "white", "", "")
    assert found.manifest.extra["scanner"] == ("A", "A", "B", "")
    assert found.manifest.extra["ward"] == ("1", "1", "2", "2")
    assert (found.key, found.images, found.columns) == ("patient", 3, ("race", "scanner"))
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.notes == ("1 of 4 images without a row in the table: unknown.",)
    assert parse_manifest(csv_bytes(found.manifest)) == found.manifest


def test_by_image(manifest: Manifest, tmp_path: Path) -> None:
    found = join_columns(manifest, table(tmp_path, "insurance;image_id\nprivate;c\n public ;a\n"))
    assert found.manifest.extra["insurance"] == ("public", "", "private", "")
    assert found.record == {
        "columns": ["insurance"],
        "by": "image_id",
        "images": 2,
        "table_sha256": found.sha256,
    }


def test_keys_that_are_unknown_are_counted_and_named_by_their_line(
    manifest: Manifest, tmp_path: Path
) -> None:
    rows = "".join(f"{number},x\n" for number in range(100, 108))
    found = join_columns(manifest, table(tmp_path, f"patient,race\n{rows}007,y\n"))
    assert found.notes[0] == (
        "8 of 9 patients of the table are not in the manifest (lines 2, 3, 4, 5, 6, ...)."
    )


def test_rows_that_agree_may_come_twice(manifest: Manifest, tmp_path: Path) -> None:
    found = join_columns(manifest, table(tmp_path, "patient,race\n007,x\n007, x \n"))
    assert found.manifest.extra["race"] == ("x", "x", "", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient,image_id,race\n007,a,x\n", "both columns image_id and patient"),
        ("subject,race\n007,x\n", "one column of keys: image_id or patient"),
        ("patient\n007\n", "a column of keys alone"),
        ("patient,sex\n007,F\n", "the column 'sex', which the manifest has already"),
        ("patient,Age\n007,60\n", "the column 'Age', which the manifest has already"),
        ("patient,ward\n007,3\n", "the column 'ward', which the manifest has already"),
        ("patient,label:Mass\n007,1\n", "the column 'label:Mass', which the manifest has already"),
        ("patient,race,race\n007,x,y\n", "two columns 'race'"),
        (
            "patient,race\n007,x\n8,x\n007,y\n007,z\n",
            "line 4: another 'race' than line 2 has of the same patient; line 5: another",
        ),
        ("patient,race\n007,x\n ,y\n", "line 3: no patient"),
        ("patient,race\n007,x\n8\n", "line 3: 1 cells where the header has 2"),
        ("patient,race\n1,x\n2,y\n", "patient: none of 2 keys in the manifest"),
        ("patient,race\n7,x\n", "Zeros in front were lost"),
        ("", "an empty file"),
        (b"patient,race\n007,\xff\n", "something else than UTF-8"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"patient,race\n007,\x00\n", "a NUL byte"),
        ('patient,race\n007,"x\n', "unexpected end of data"),
    ],
)
def test_what_cannot_be_joined_is_one_line_that_names_the_file(
    text: str | bytes, said: str, manifest: Manifest, tmp_path: Path
) -> None:
    path = table(tmp_path, text)
    with pytest.raises(ManifestError) as raised:
        join_columns(manifest, path)
    assert said in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(manifest: Manifest, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(ManifestError, match=r"no readable file|no regular file"):
            join_columns(manifest, path)


def test_no_patient_is_named_whatever_is_wrong(manifest: Manifest, tmp_path: Path) -> None:
    for text in (
        f"patient,race\n{PERSON},x\n{PERSON},y\n",
        f"patient,race\n{PERSON}9,x\n",
        f"patient,race\n{PERSON}9,x\n007,y\n",
    ):
        try:
            said = str(join_columns(manifest, table(tmp_path, text)).notes)
        except ManifestError as error:
            said = str(error)
        assert PERSON not in said


def people(count: int) -> Manifest:
    ids = [f"i{number}" for number in range(count)]
    return Manifest(ids, [f"{name}.png" for name in ids], patients=[f"p{number}" for number in range(count)])


def test_many_numbers_become_bands_by_quantiles(tmp_path: Path) -> None:
    count = 40
    rows = "".join(f"p{number},{18.123456 + number / 2}\n" for number in range(count))
    found = join_columns(people(count), table(tmp_path, f"patient,bmi\n{rows}"))
    bands = found.manifest.extra["bmi"]
    assert list(dict.fromkeys(bands)) == ["under 23", "23 to 27.9", "27.9 to 32.7", "32.7 and more"]
    assert [bands.count(name) for name in dict.fromkeys(bands)] == [10, 10, 10, 10]
    assert found.notes == (
        "The column 'bmi' has numbers, cut into bands: under 23; 23 to 27.9; 27.9 to 32.7; 32.7 and more.",
    )


def test_an_edge_is_nobodys_number(tmp_path: Path) -> None:
    """Numbers of a hospital's register: what is shown of them is rounded to three digits."""
    count = 40
    rows = "".join(f"p{number},{50414267 + 1009 * number}\n" for number in range(count))
    found = join_columns(people(count), table(tmp_path, f"patient,register\n{rows}"))
    shown = " ".join({*found.manifest.extra.get("register", ()), *found.notes})
    assert not any(str(50414267 + 1009 * number) in shown for number in range(count))


def test_few_numbers_stay_as_they_are(tmp_path: Path) -> None:
    rows = "".join(f"p{number},{number % MOST_VALUES}\n" for number in range(40))
    found = join_columns(people(40), table(tmp_path, f"patient,grade\n{rows}"))
    assert set(found.manifest.extra["grade"]) == set(map(str, range(MOST_VALUES)))
    assert found.notes == ()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("name {}", f"has 40 different texts, more than {MOST_VALUES}, and is left out"),
        ("1e999{}", "has 40 different texts"),
        ("nan", "says nothing of these images, and is left out"),
        ("x" * (LONGEST_VALUE + 1), f"has texts of more than {LONGEST_VALUE} characters, and is left out"),
    ],
)
def test_what_makes_no_groups_is_left_out_and_said_to_be(cell: str, said: str, tmp_path: Path) -> None:
    rows = "".join(f"p{number},{cell.format(number)},x\n" for number in range(40))
    found = join_columns(people(40), table(tmp_path, f"patient,note,race\n{rows}"))
    assert list(found.manifest.extra) == ["race"]
    assert len(found.notes) == 1
    assert said in found.notes[0]


@pytest.mark.parametrize("people_there", [3, 5, 12])
def test_what_tells_few_patients_apart_may_be_their_names(people_there: int, tmp_path: Path) -> None:
    rows = "".join(f"p{number},Name{number},{70 + number},{number % 2}\n" for number in range(people_there))
    found = join_columns(people(people_there), table(tmp_path, f"patient,who,room,sort\n{rows}"))
    assert list(found.manifest.extra) == ["sort"]
    assert found.notes == tuple(
        f"The column '{name}' has {people_there} different values in {people_there} rows, as names have, and "
        "is left out."
        for name in ("who", "room")
    )
    assert "Name" not in csv_bytes(found.manifest).decode()


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(MOST_COLUMNS + 1)]
    text = f"patient,{','.join(names)}\np0{',x' * len(names)}\n"
    with pytest.raises(ManifestError, match=f"{len(names)} columns that make groups"):
        join_columns(people(2), table(tmp_path, text))


def test_damaged_tables_give_columns_or_one_clear_error(tmp_path: Path) -> None:
    chance = random.Random(5)
    good = "".join(f"p{number},{'xy'[number % 2]},{number * 1.5}\n" for number in range(30)).encode()
    good = b"patient,race,bmi\n" + good
    pieces = [b"", b",", b'"', b"\n", b"\r", b"\x00", b"\xff", b"1e999", b"-", b";", b"patient", b"\xc3\xa9"]
    for _ in range(300):
        data = good
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(data) + 1)
            data = data[:start] + chance.choice(pieces) + data[start + chance.choice([0, 1, 2, 30]) :]
        with suppress(CxrExplainError):
            found = join_columns(people(30), table(tmp_path, data))
            assert parse_manifest(csv_bytes(found.manifest)) == found.manifest
