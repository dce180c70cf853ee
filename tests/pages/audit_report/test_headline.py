"""The first page and the PDF open with what was found, and each finding leads to its cases."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import until
from synthetic_audit import SyntheticAudit, statistics

from cxr_explain.audit.document import Statistics
from cxr_explain.pages.audit_report import build_report, write_pdf

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of an audit with five findings, the first of them with an evil name."""
    audit = SyntheticAudit(rows=6)
    found = statistics(audit)
    found["findings"]["found"][0]["text"] = f"{HOSTILE}: AUROC 0.520."
    found["findings"]["found"][0]["cases"] = {"subject": HOSTILE, "queue": "disagreements"}
    folder = tmp_path_factory.mktemp("page")
    return build_report(audit, folder / "report", cases=0, statistics=found).read_text(encoding="utf-8")


def test_the_headline_comes_before_everything_else(page: str) -> None:
    titles = re.findall(r"<h2[^>]*>([^<]+)", page)
    assert titles[0] == "What this audit found"
    assert "5 findings in 14 comparisons." in page
    assert "Not enough cases: pathology: Hernia (0 patients with, 500 without)." in page


def test_each_finding_leads_to_its_cases(page: str) -> None:
    links = re.findall(r'<a href="(#cases\?[^"]+)">Cases</a>', page)
    assert len(links) == 6
    assert links[0] == "#cases?subject=%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E&amp;queue=disagreements"
    assert links[4].startswith("#cases?patient=")
    assert links[5].startswith("#cases?subject=Mass&amp;search=")


def test_what_a_finding_says_is_text(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=alert(1)&gt;: AUROC 0.520." in page


def test_three_of_a_kind_are_shown_and_the_fourth_is_a_click_away(page: str) -> None:
    assert page.count("<summary>1 more</summary>") == 1
    assert '<ol start="4">' in page


def test_each_finding_says_what_it_rests_on(page: str) -> None:
    assert (
        "AUROC 95 % interval 0.450 to 0.600; 40 positive patients; 260 negative patients; adjusted p = 0.002"
        in page
    )


@pytest.mark.browser
def test_the_list_obeys_the_address_of_every_kind_of_finding(
    opened: Callable[..., Any], audit: SyntheticAudit, tmp_path: Path
) -> None:
    found, subject = statistics(audit), audit.labelled[0]
    asked: list[dict[str, str]] = [
        {"queue": "disagreements", "subject": subject},
        {"subject": subject, "side": "above", "state": "negative"},
        {"subject": subject, "side": "below", "state": "positive"},
        {"view": "PA", "subject": subject, "agreement": "disagrees", "state": "negative"},
        {"queue": "outside"},
        {"queue": "edges"},
        {"queue": "failures", "view": "PA"},
        {"age": "60-79", "subject": subject},
        {"patient": audit.results["image_id"][0].as_py()},
    ]
    (first, *_) = found["findings"]["found"]
    found["findings"]["found"] = [first | {"cases": each} for each in asked]
    folder = build_report(audit, tmp_path / "report", cases=1, statistics=found).parent
    page = opened(folder, "#overview")
    links = page.locator("#view-overview .findings ol").first.locator("xpath=../..").locator("a")
    addresses = [link.get_attribute("href") for link in links.all()]
    for each, address in zip(asked, addresses, strict=False):
        page.evaluate(f"location.hash = {address!r}")
        until(page, "!document.getElementById('view-cases').hidden")
        page.wait_for_timeout(100)
        assert page.locator("#address-note").inner_text() == "", each
        for name in each.keys() & {"queue", "side", "state", "agreement", "patient"}:
            assert page.locator(f"#{name}").input_value() == each[name]


def test_a_report_without_statistics_has_no_headline(tmp_path: Path) -> None:
    page = build_report(SyntheticAudit(rows=3, failed=()), tmp_path / "report", cases=0, statistics={})
    assert "What this audit found" not in page.read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs Debian's poppler-utils")
def test_the_pdf_opens_with_the_findings(tmp_path: Path) -> None:
    audit = SyntheticAudit(rows=6)
    path = write_pdf(audit, tmp_path / "report.pdf", cases=0, statistics=statistics(audit))
    shown = subprocess.run(
        ["pdftotext", "-l", "1", path, "-"], capture_output=True, text=True, check=True
    ).stdout
    assert "What this audit found" in shown
    assert "AUROC 0.520, below 0.7." in shown
    assert shown.index("Which pathologies fail?") < shown.index("Which labels should be checked?")
    assert "and 1 more" in shown


def test_a_notebook_shows_the_findings_and_names_no_image() -> None:
    audit = SyntheticAudit(rows=6)
    card = Statistics(statistics(audit))._repr_html_()
    assert "5 findings in 14 comparisons." in card
    assert "Which labels should be checked?" in card
    assert audit.results["image_id"][0].as_py() not in card
