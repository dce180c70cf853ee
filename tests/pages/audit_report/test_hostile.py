"""Names and texts that try to run, to leave the folder, to break a line or to turn the page's text around."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import MISSING, until
from synthetic_audit import SyntheticAudit, statistics

from cxr_explain.pages.audit_report import build_report, write_pdf
from cxr_explain.pages.viewer.script_data import as_script

HOSTILE = (
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "../../../etc/passwd",
    "..\\..\\windows",
    "/absolute/path.png",
    "=HYPERLINK(\"http://example.org\")",
    "@SUM(1+1)|cmd",
    "line\nbreak\r\x00\x07\x1b[31m",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "a\u2028b\u2029c",
    "javascript:alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "x" * 10_000,
    "名前 \U0001f600 é",
    "",
    "__proto__",
    "');CXR.receive('listing','",
    "&lt;b&gt; &amp; &#60;",
    "]]>--><!--",
)  # fmt: skip


def hostile_audit() -> SyntheticAudit:
    """Hostile ids, outputs, labels, sources, views, splits, messages and training sets."""
    outputs = ("Effusion", "Mass", *HOSTILE[:3], "x" * 10_000)
    n = len(HOSTILE)
    return SyntheticAudit(
        rows=n,
        ids=HOSTILE,
        outputs=outputs,
        labelled=(*outputs, HOSTILE[9]),
        failed=(3, 4),
        messages=(HOSTILE[2], HOSTILE[9]),
        facts={"view": list(HOSTILE), "split": [HOSTILE[6]] * n},
        extra={name: [HOSTILE[0], "b"] * (n // 2) for name in (HOSTILE[1], "__proto__", HOSTILE[9])},
        source=HOSTILE[1],
        training_sets=(HOSTILE[0],),
        shape=(60, 80),
    )


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    audit = hostile_audit()
    said = statistics(audit)
    said["notes"] = [HOSTILE[2], HOSTILE[9]]
    for each in said["subgroups"]:
        each["value"], each["column"] = HOSTILE[1], HOSTILE[0]
    said["where"][0]["share"] = HOSTILE[2]
    return build_report(
        audit, tmp_path_factory.mktemp("hostile") / "report", cases=None, statistics=said
    ).parent


def test_names_of_files_are_numbers(hostile_report: Path) -> None:
    files = [
        path.relative_to(hostile_report).as_posix() for path in hostile_report.rglob("*") if path.is_file()
    ]
    assert all(
        re.fullmatch(r"index\.html|(static|data)/[a-z]+\.(js|css)|(cases|thumbnails)/\d{6}\.js", name)
        for name in files
    )
    assert sorted(path.name for path in hostile_report.parent.iterdir()) == ["report"]


def test_no_name_ends_a_script_or_opens_a_tag(hostile_report: Path) -> None:
    for path in hostile_report.rglob("*.js"):
        if path.parent.name != "static":
            text = path.read_text(encoding="ascii")
            assert not set(text) & set("<>&"), path.name
            assert text.count("\n") == 1
            assert re.fullmatch(r'CXR\.receive\("[a-z]+(-\d+)?",[\[{].*[\]}]\);\n', text)
    html = (hostile_report / "index.html").read_text(encoding="utf-8")
    assert "<script>" not in html
    assert html.count("<img") == len(re.findall(r'<img src="data:image/png;base64,[\w+/=]+" width', html))
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u2028\u2029\x00-\x08]", html)
    assert "\u202e" not in html


def test_what_is_written_is_read_back_the_same(hostile_report: Path) -> None:
    text = (hostile_report / "data" / "listing.js").read_text(encoding="ascii")
    listing = json.loads(text[text.index(",") + 1 : text.rindex(");")])
    assert listing["ids"] == list(HOSTILE)
    lone = as_script("a", ["\ud800"]).decode("ascii")
    assert "\\ud800" in lone


def test_the_pdf_takes_any_text(tmp_path: Path) -> None:
    audit = hostile_audit()
    said = statistics(audit)
    said["notes"] = [HOSTILE[2], HOSTILE[9], "word " * 3000]
    said["subgroups"][0]["column"] = HOSTILE[13]
    content = write_pdf(audit, tmp_path / "a.pdf", cases=0, statistics=said).read_bytes()
    assert b"/JavaScript" not in content
    assert b"/URI" not in content
    assert b"/Launch" not in content


@pytest.mark.browser
def test_nothing_runs_and_all_is_shown_as_text(opened: Callable[..., Any], hostile_report: Path) -> None:
    page = opened(hostile_report, "#cases")
    page.locator("#grid-body [role=row]").first.wait_for()
    shown = page.locator("#grid-body").inner_text()
    assert "<script>document.title='owned'</script>" in shown
    assert "gnp.exe x" in shown
    assert page.evaluate("document.title") == "Images · audit"
    assert page.evaluate("document.querySelectorAll('#grid-body script').length") == 0
    pictures = page.locator("#grid-body img").evaluate_all("all => all.map((e) => e.getAttribute('src'))")
    assert all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    assert page.evaluate(
        "Array.from(document.querySelectorAll('[role=gridcell].id')).every(e => e.querySelector('bdi'))"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for row in range(len(HOSTILE)):
        page.evaluate(f"location.hash = 'case={row}'")
        until(page, f"CXR.app.page.row === {row} && (CXR.app.page.data || {MISSING})")
        assert "owned" not in page.evaluate("document.title").replace(HOSTILE[row][:50], "")
        assert page.evaluate("document.querySelectorAll('main script, #view-case img').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), HOSTILE[row][:30]
        assert "NaN" not in page.locator("#view-case").inner_text()
    page.evaluate("location.hash = 'case=13'")
    page.get_by_text("full id").click()
    assert page.locator("#title-case details bdi").inner_text() == "x" * 10_000
    page.evaluate("location.hash = 'overview'")
    page.wait_for_timeout(50)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
def test_tables_for_spreadsheets_hold_no_formulas(opened: Callable[..., Any], hostile_report: Path) -> None:
    page = opened(hostile_report, "#cases")
    page.locator("#grid-body [role=row]").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this list").click()
    text = Path(download.value.path()).read_bytes().decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [row[1] for row in rows[1:]] == [
        "'" + name if name[:1] in tuple("=@") else name for name in HOSTILE
    ]
    assert not any(cell[:1] in tuple("=+-@\t\r\n") and cell[:1] for row in rows[1:] for cell in row[1:3])


@pytest.mark.browser
def test_hostile_addresses(opened: Callable[..., Any], report: Path) -> None:
    page = opened(report)
    for address in (
        "case=<script>",
        "case=../../x",
        "cases?queue=__proto__",
        "cases?__proto__=x&constructor=y&toString=z&subject=%00<img src=x>&sort=__proto__&age=-",
        "cases?%E0%A4%A=%",
        "%",
        "<img src=x>",
        "case=1e3",
        "=",
        "a.b#c",
    ):
        page.evaluate("(address) => { location.hash = address }", address)
        page.wait_for_timeout(100)
        assert page.locator("main > section:not([hidden])").count() == 1
        drawn = "main img:not(.thumbnail):not([src^='data:image/png;base64,'])"
        assert page.locator(drawn).count() == 0


def test_nothing_of_the_patient_or_the_machine_is_in_the_report(tmp_path: Path, report: Path) -> None:
    every = b"".join(path.read_bytes() for path in report.rglob("*") if path.is_file())
    paths = (tmp_path.parent, Path(__file__).resolve().parents[3], sys.prefix)  # of this machine
    for secret in (b"secret-patient", b"secret-folder", *(str(path).encode() for path in paths)):
        assert secret not in every
    assert b"Exif" not in every


def test_a_message_about_a_missing_image_names_no_path(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=4, failed=(), gone=(1,))
    folder = build_report(audit, tmp_path / "report", cases=None, statistics={}).parent
    text = (folder / "cases" / "000001.js").read_text()
    assert '"missing":"no such file."' in text
    assert "secret" not in text


def test_old_people_are_not_told_apart(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=3, failed=())
    audit.manifest.ages = [97.0, 104.0, 89.4]
    folder = build_report(replace(audit), tmp_path / "report", cases=0, statistics={}).parent
    assert (folder / "data" / "listing.js").is_file()
    from cxr_explain.pages.audit_report.listing import Listing

    assert Listing.of(audit).ages.tolist() == [90, 90, 89]
