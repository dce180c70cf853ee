"""Files, folders and globs: what is taken, and what is passed over, each by its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxr_explain.errors import CxrExplainError, NotAnImageError, OptionError
from cxr_explain.explaining.files import expand_inputs
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.loaders import read_radiograph
from cxr_explain.radiograph import PHANTOM_MAKER

PNG = b"\x89PNG\r\n\x1a\n"
DICOM = bytes(128) + b"DICM"
DICOMDIR = DICOM + b"\x02\x00\x02\x00UI\x14\x001.2.840.10008.1.3.10"


def file(path: Path, content: bytes = PNG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(folder: Path) -> tuple[list[str], list[str]]:
    files, notes = expand_inputs([str(folder)])
    prefix = f"{folder}: passed over "
    return [path.relative_to(folder).as_posix() for path in files], [n.removeprefix(prefix) for n in notes]


def test_links(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    file(folder / "a.png")
    file(elsewhere / "b.png")
    (folder / "linked.png").symlink_to(elsewhere / "b.png")
    (folder / "more").symlink_to(elsewhere)
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("..")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "circle.png").symlink_to("circle.png")
    assert found(folder) == (
        ["a.png", "linked.png"],
        [
            "linked folders, which are searched where they are named themselves: 'more', 'sub/up'",
            "links that lead nowhere: 'circle.png', 'gone.png'",
        ],
    )
    named = expand_inputs([str(folder / "more")])
    assert named == ([folder / "more" / "b.png"], []), "a linked folder that is named is searched"


def test_a_disc(tmp_path: Path) -> None:
    file(tmp_path / "DICOM" / "ST000001" / "IM000001", DICOM)
    file(tmp_path / "DICOMDIR", DICOMDIR)
    file(tmp_path / "AUTORUN.INF", b"x")
    file(tmp_path / "VIEWER.EXE", b"MZ")
    assert found(tmp_path) == (
        ["DICOM/ST000001/IM000001"],
        ["the index of a disc: 'DICOMDIR'", "what is no image: 'AUTORUN.INF', 'VIEWER.EXE'"],
    )


def test_what_three_systems_leave_behind(tmp_path: Path) -> None:
    for name in (".DS_Store", "._a.png", ".hidden/b.png", "__MACOSX/._a.png"):
        file(tmp_path / name)
    file(tmp_path / "a.png")
    file(tmp_path / "Thumbs.db", b"\xd0\xcf\x11\xe0")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    images, notes = found(tmp_path)
    assert images == ["a.png"]
    assert sorted(notes) == [
        "hidden files: '.DS_Store', '._a.png', '.hidden/b.png', '__MACOSX/._a.png'",
        "pipes and devices: 'pipe.png'",
        "what is no image: 'Thumbs.db'",
    ]


def test_figures_of_an_earlier_run_are_no_radiographs(tmp_path: Path) -> None:
    said = PngInfo()
    said.add_text("Software", " ".join(PHANTOM_MAKER))
    Image.new("L", (40, 40), 9).save(tmp_path / "phantom.png", pnginfo=said)
    ExplanationFigure(figsize=(1, 1)).save(tmp_path / "figures" / "phantom.png")
    assert found(tmp_path) == (["phantom.png"], ["figures that cxr-explain drew: 'figures/phantom.png'"])
    with pytest.raises(NotAnImageError, match="a figure that cxr-explain drew; expected a radiograph"):
        read_radiograph(tmp_path / "figures" / "phantom.png")
    assert read_radiograph(tmp_path / "phantom.png").phantom


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(OptionError, match="an input without a name"):
        expand_inputs([""])


def test_a_folder_with_nothing_in_it_is_named(tmp_path: Path) -> None:
    image = file(tmp_path / "in" / "a.png")
    (tmp_path / "empty").mkdir()
    named = expand_inputs([str(image), str(tmp_path / "empty")])
    assert named == ([image], [f"{tmp_path / 'empty'}: there is nothing in it"])


def test_many_are_counted(tmp_path: Path) -> None:
    file(tmp_path / "a.png")
    for number in range(9):
        file(tmp_path / f"{number}.txt", b"text")
    assert found(tmp_path)[1] == ["what is no image: '0.txt', '1.txt', '2.txt', '3.txt', '4.txt' and 4 more"]


def test_the_same_file_under_two_names(tmp_path: Path) -> None:
    file(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    files, notes = expand_inputs([str(tmp_path), str(tmp_path / "a.png")])
    assert files == [tmp_path / "a.png"]
    assert notes == [f"{tmp_path / 'b.png'}: passed over, the same file as {tmp_path / 'a.png'}"]


def test_a_folder_without_images_says_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(tmp_path)
    with pytest.raises(OptionError, match=r"found no image in .*passed over linked folders.*: 'images'\.$"):
        expand_inputs([str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("missing.png", "no-such-file", "no such file"),
        ("a.png/b.png", "no-such-file", "no such file"),
        ("gone.png", "no-such-file", "a link that leads nowhere"),
        ("circle.png", "unreadable-file", "a file that cannot be read (Too many levels of symbolic links)"),
        (f"{'x' * 300}.png", "unreadable-file", "a file that cannot be read (File name too long)"),
        ("nul\0.png", "unreadable-file", "not a valid path"),
        ("folder", "not-an-image", "found a folder; expected one image file"),
        ("pipe", "not-an-image", "found no regular file"),
        ("a.png", "corrupt-image", "PNG"),
        ("text.png", "not-an-image", "a text file"),
        ("DICOMDIR", "not-an-image", "a DICOM object without pixel data"),
    ],
)
def test_the_code_is_the_right_one(tmp_path: Path, name: str, code: str, says: str) -> None:
    file(tmp_path / "a.png")
    file(tmp_path / "text.png", b"text")
    file(tmp_path / "DICOMDIR", DICOMDIR + bytes(8))
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CxrExplainError) as caught:
        read_radiograph(tmp_path / name)
    assert caught.value.code == code
    assert says in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = file(tmp_path / "a.png")
    path.chmod(0)
    with pytest.raises(CxrExplainError, match="may not be read") as caught:
        read_radiograph(path)
    assert caught.value.code == "unreadable-file"
