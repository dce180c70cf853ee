"""The folder is whole or not there, holds nothing it should not, and leaves a reader's files alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic import synthetic_radiograph
from synthetic_audit import SyntheticAudit, statistics

from cxr_explain.errors import OutputError
from cxr_explain.pages.audit_report import build, build_report, write_pdf
from cxr_explain.pages.audit_report.build import CASES
from cxr_explain.pages.audit_report.cases import case_page
from cxr_explain.pages.viewer.images import LONGEST, case_jpeg
from cxr_explain.support.locks import exclusive


def case_of(folder: Path, row: int) -> dict[str, Any]:
    text = (folder / "cases" / f"{row:06d}.js").read_text(encoding="ascii")
    return json.loads(text[text.index(",") + 1 : text.rindex(");")])


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def test_a_row_is_read_once_for_the_page_of_its_case(monkeypatch: pytest.MonkeyPatch) -> None:
    audit, rows = SyntheticAudit(), []
    plain = SyntheticAudit.case

    def case(self: SyntheticAudit, at: int) -> Any:
        rows.append(at)
        return plain(self, at)

    monkeypatch.setattr(SyntheticAudit, "case", case)
    shown = case_page(audit, 4).data
    assert shown["sha256"] == audit.results["sha256"][4].as_py()
    assert rows == [4]


def test_the_policy_allows_no_network_and_no_script_within_the_page(report: Path) -> None:
    html = (report / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "require-trusted-types-for" in policy[1]
    assert not re.search(r"unsafe|https?:|\*", policy[1])
    assert not re.search(r"<script(?![^>]* src=\"static/[a-z]+\.js\" defer)", html)
    assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:|https?://", html)
    for path in (report / "static").iterdir():
        text = path.read_text(encoding="utf-8").replace('"http://www.w3.org/2000/svg"', "")
        assert not re.search(
            r"https?://|innerHTML|insertAdjacentHTML|eval\(|fetch\(|XMLHttpRequest|url\(", text
        ), path.name


def test_the_same_audit_gives_the_same_bytes(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=6)
    first, second = (
        build_report(audit, tmp_path / name, cases=2, statistics=statistics(audit)).parent for name in "ab"
    )
    assert digest(first) == digest(second)


def test_a_report_is_replaced_and_a_readers_files_stay(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=6)
    folder = build_report(audit, tmp_path / "report", cases=4, statistics={}).parent
    (folder / "verdicts.json").write_text("mine")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("mine too")
    build_report(audit, folder, cases=1, statistics={})
    assert len(list((folder / "cases").iterdir())) == 1
    assert (folder / "verdicts.json").read_text() == "mine"
    assert (folder / "notes" / "a.txt").read_text() == "mine too"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_another_folder_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="something else than a report"):
        build_report(SyntheticAudit(rows=3, failed=()), folder, statistics={})
    assert (folder / "thesis.tex").read_text() == "years of work"
    (folder / "thesis.tex").unlink()
    build_report(SyntheticAudit(rows=3, failed=()), folder, cases=0, statistics={})


def test_what_fails_half_way_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = SyntheticAudit(rows=6)
    folder = build_report(audit, tmp_path / "report", cases=2, statistics={}).parent
    before = digest(folder)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "_write", full)
    with pytest.raises(OutputError, match="No space left"):
        build_report(audit, folder, cases=2, statistics={})
    assert digest(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


class Refusal:
    """A rename that is refused, after so many that are not."""

    def __init__(self, number: int, error: BaseException) -> None:
        self.left, self.error = number, error
        self.rename, self.replace = Path.rename, os.replace

    def __enter__(self) -> None:
        patch = self.patch = pytest.MonkeyPatch()
        patch.setattr(Path, "rename", lambda path, target: self.go(self.rename, path, target))
        patch.setattr(os, "replace", lambda path, target: self.go(self.replace, path, target))

    def __exit__(self, *_: object) -> None:
        self.patch.undo()

    def go(self, move: Callable[..., object], path: Path, target: Path) -> None:
        self.left -= 1
        if self.left == -1:
            raise self.error
        move(path, target)


def replace_report(folder: Path, text: str, *, pieces: Sequence[str] = build.PIECES) -> None:
    """Put another report of one text in place."""
    with build._replaced(folder) as new:
        for name in pieces:
            (new / name).mkdir()
            (new / name / "a.js").write_text(text)
        (new / "index.html").write_text(text)


@pytest.mark.parametrize("error", [OSError(13, "Permission denied"), KeyboardInterrupt()])
@pytest.mark.parametrize("pieces", [build.PIECES, ("static", "data"), ()])
@pytest.mark.parametrize("there", [build.PIECES, ("data",), ()])
def test_a_swap_that_fails_anywhere_is_undone(
    tmp_path: Path, there: Sequence[str], pieces: Sequence[str], error: BaseException
) -> None:
    """Whatever pieces the old report and the new one have."""
    (tmp_path / "verdicts.json").write_text("mine")
    if there:
        replace_report(tmp_path, "old", pieces=there)
    before = digest(tmp_path)
    moves = 1 + len(there) + len(pieces) + 1
    for number in range(moves):
        with pytest.raises((OutputError, KeyboardInterrupt)), Refusal(number, error):
            replace_report(tmp_path, "new", pieces=pieces)
        assert digest(tmp_path) == before
    with Refusal(moves, error):
        replace_report(tmp_path, "new", pieces=pieces)
    assert sorted(digest(tmp_path)) == sorted(
        [f"{name}/a.js" for name in pieces] + ["index.html", "verdicts.json"]
    )
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_while_pieces_are_moved_no_report_opens(tmp_path: Path) -> None:
    """A kill leaves what is there then; the page says so, and the next report replaces it."""
    audit = SyntheticAudit(rows=3, failed=())
    folder = build_report(audit, tmp_path / "report", cases=1, statistics={}).parent
    old, shown = (folder / "index.html").read_text(encoding="utf-8"), []

    class Look(Refusal):
        def go(self, move: Callable[..., object], path: Path, target: Path) -> None:
            shown.append((folder / "index.html").read_text(encoding="utf-8"))
            move(path, target)

    with Look(0, OSError()):
        replace_report(folder, "new")
    assert shown[0] == old
    assert ["This report is being replaced" in text for text in shown[1:]] == [True] * 9
    (folder / "index.html").write_text(shown[1], encoding="utf-8")
    build_report(audit, folder, cases=1, statistics={})
    assert (folder / "index.html").read_text(encoding="utf-8") == old


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=3, failed=())
    folder = build_report(audit, tmp_path / "report", cases=0, statistics={}).parent
    before = digest(folder)
    with exclusive(folder / build.LOCK), pytest.raises(OutputError, match="another process is writing"):
        build_report(audit, folder, cases=1, statistics={})
    assert digest(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_pipe_in_the_place_of_a_report_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index.html")
    with pytest.raises(OutputError, match="something else than a report"):
        build_report(SyntheticAudit(rows=3, failed=()), tmp_path, cases=0, statistics={})


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("leads_to", ["another report", "nowhere"])
def test_a_link_to_another_report_is_not_followed(leads_to: str, tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=3, failed=())
    other = build_report(audit, tmp_path / "another report", cases=0, statistics={}).parent
    before = digest(other)
    (tmp_path / "report").symlink_to(tmp_path / leads_to)
    with pytest.raises(OutputError, match="a link"):
        build_report(audit, tmp_path / "report", cases=2, statistics={})
    assert digest(other) == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_among_the_pieces_are_replaced_and_not_followed(tmp_path: Path) -> None:
    """As a run that somebody sent may have them."""
    mine, folder = tmp_path / "mine", tmp_path / "report"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    replace_report(tmp_path, "a report", pieces=())
    folder.mkdir()
    (folder / "index.html").symlink_to(tmp_path / "index.html")
    for name in build.PIECES:
        (folder / name).symlink_to(mine)
    (folder / build.LOCK).symlink_to(tmp_path / "made elsewhere")
    (folder / f".cxr-explain-{'0' * 16}.tmp.d").symlink_to(mine)
    replace_report(folder, "new")
    assert not any((folder / name).is_symlink() for name in (*build.PIECES, "index.html"))
    assert (mine / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "index.html").read_text() == "a report"
    assert not (tmp_path / "made elsewhere").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        build_report(SyntheticAudit(rows=3, failed=()), tmp_path / "no" / "such", statistics={})


def test_a_case_has_its_maps_as_they_were_fused(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=6, failed=())
    folder = build_report(audit, tmp_path / "report", cases=None, statistics={}).parent
    for row in range(6):
        case, explanation = case_of(folder, row), audit.case(row).explanation
        maps = np.frombuffer(base64.b64decode(case["maps"]["data"]), "<f4").reshape(case["cells"])
        np.testing.assert_array_equal(maps, explanation.maps)
        raw = np.frombuffer(base64.b64decode(case["classMaps"]["data"]), "<f4").reshape(case["cells"])
        np.testing.assert_array_equal(raw, explanation.class_maps)
        assert case["ranked"] == list(explanation.ranking.pathologies)
        assert case["square"] == [50, 0, 300]
        assert (case["referenceMaps"] is not None) == (row % 4 == 0)
        assert len(case["boxes"]) == (2 if row % 4 == 0 else 0)
        assert case["sides"] == (["R", "L"] if row % 2 else None)


def test_pixels_are_a_grey_image_without_metadata() -> None:
    display = np.tile(synthetic_radiograph((300, 300)).display, (5, 7))
    jpeg, size = case_jpeg(display)
    opened = Image.open(io.BytesIO(jpeg))
    assert (opened.mode, opened.size, size) == ("L", (LONGEST, 731), (LONGEST, 731))
    assert set(opened.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not opened.getexif()
    small, _ = case_jpeg(display[:300, :400])
    again = np.asarray(Image.open(io.BytesIO(small)), float)
    assert again.shape == (300, 400)
    assert np.abs(again - display[:300, :400]).mean() < 2


def test_an_image_that_is_gone_leaves_its_numbers(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=4, failed=(), gone=(2,))
    folder = build_report(audit, tmp_path / "report", cases=None, statistics={}).parent
    assert case_of(folder, 2)["image"] == {"missing": "no such file."}
    assert "url" in case_of(folder, 1)["image"]


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    build_report(SyntheticAudit(rows=6), tmp_path / "report", cases=3, statistics={}, progress=told.append)
    assert told == ["3 of 3 cases"]
    assert CASES == 300


def test_an_audit_of_failures_alone_has_a_report(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=2, failed=(0, 1))
    html = build_report(audit, tmp_path / "report", statistics={}).read_text(encoding="utf-8")
    assert "0 images explained, 2 failed" in html
    assert "No statistics were made" in html


def test_curves_have_the_points_of_the_statistics(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=3, failed=())
    said = statistics(audit)
    curves = said["pathologies"][0]["curves"]
    html = build_report(audit, tmp_path / "report", cases=0, statistics=said).read_text(encoding="utf-8")
    side = 132
    roc, pr = (
        np.array([point.split(",") for point in points.split()], float) / side
        for points in re.findall(r'<polyline class="line" points="([^"]+)"', html)[:2]
    )
    np.testing.assert_allclose(np.c_[roc[:, 0], 1 - roc[:, 1]], curves["roc"], atol=1e-3)
    # Precision holds back to the point before: every point of the curve, and a corner before each.
    np.testing.assert_allclose(np.c_[pr[1::2, 0], 1 - pr[1::2, 1]], curves["pr"], atol=1e-3)
    np.testing.assert_allclose(pr[::2, 1], pr[1::2, 1])


def test_what_must_be_known_first_stands_first(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=4, failed=(), phantom=True, complete=False)
    html = build_report(audit, tmp_path / "report", cases=0, statistics=statistics(audit)).read_text(
        encoding="utf-8"
    )
    order = (
        "Possible training overlap",
        "No patient is in them",
        "has never seen a radiograph",
        "not complete",
        "<nav",
    )
    places = [html.index(text) for text in order]
    assert places == sorted(places)


def test_the_pdf_has_a_page_for_each_case_and_no_date(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=3, failed=(), gone=(0, 1))
    said = statistics(audit)
    said |= {"pathologies": said["pathologies"][:1], "subgroups": said["subgroups"][:1]}
    said |= {"gaps": [], "gap_ranges": [], "policies": []}  # so that the contents fit on one page either way
    path = write_pdf(audit, tmp_path / "a.pdf", cases=None, statistics=said)
    content = path.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"CreationDate" not in content
    assert b"Matplotlib" not in content
    assert str(tmp_path).encode() not in content
    pages = int(
        re.search(rb"/Type /Pages.*?/Count (\d+)|/Count (\d+).*?/Type /Pages", content, re.DOTALL)[1] or 0
    )
    without = write_pdf(audit, tmp_path / "b.pdf", cases=0, statistics=said).read_bytes()
    overview = int(re.search(rb"/Count (\d+)", without)[1])
    assert pages == overview + 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "b.pdf"]


def test_a_pdf_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_pdf(SyntheticAudit(rows=3, failed=()), tmp_path / "no" / "a.pdf", cases=0, statistics={})
