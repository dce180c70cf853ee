"""The page beside the figures: what it says, what it must not say, and that nothing in it can run."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from synthetic import synthetic_explanation, synthetic_radiograph

from cxr_explain.errors import CorruptImageError, CxrExplainError, OutputError
from cxr_explain.figures.texts import DISCLAIMER
from cxr_explain.pages import index_page
from cxr_explain.pages.index_page import IndexEntry, IndexPage
from cxr_explain.pathologies import LabelState, ReferenceLabels

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></title><svg onload=alert(1)>",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "line\nbreak\r\x00\x07",
    "javascript:alert(1)",
    "{{ page }} {% raw %}",
    "surrogate \udcff",
)
VOID = {"meta", "img", "link", "br", "hr", "input", "rect"}


class Document(HTMLParser):
    """Elements, their attributes and the text of a page; fails where tags are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.style = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += " ".join(data.split()) + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def entry(labels=None, k: int = 5, **provenance) -> IndexEntry:
    radiograph = synthetic_radiograph((64, 64))
    explanation = synthetic_explanation(radiograph, k=k, **provenance)
    return IndexEntry.of(
        explanation, radiograph, labels, figure="a.png", saved="a.json", figure_size=(1200, 900)
    )


def page_of(*entries: IndexEntry) -> IndexPage:
    page = IndexPage()
    for each in entries:
        page.add(each)
    return page


def test_the_page_says_what_was_explained_by_which_model() -> None:
    document = Document(page_of(entry("Effusion|Cardiomegaly=negative|Nodule=uncertain")).html())
    for text in (
        *(
            "Explained chest radiographs",
            f"{DISCLAIMER}",
            "1 explained, 0 failed",
            "densenet121-res224-synthetic",
        ),
        *("SHA-256 5e5e5e5e5e5e", "none: invented scores", "normalisation joint", "resized to 224 x 224"),
        *("Reference labels: given by the caller", "reference positive: Effusion", "no operating point"),
    ):
        assert text in " ".join(document.text.split()).replace(" ,", ","), text


def test_agreement_is_said_in_words() -> None:
    document = Document(page_of(entry("Effusion|Cardiomegaly")).html())
    agreed = re.findall(r"[✓✗] (agrees|disagrees)", " ".join(document.text.split()))
    rows = page_of(entry("Effusion|Cardiomegaly")).entries[0].rows
    assert agreed == [str(row.agreement) for row in rows if row.agreement != "–"]
    assert f"{agreed.count('agrees')} agree with their reference label" in document.text


def test_without_reference_labels_there_are_no_columns_for_them() -> None:
    text = Document(page_of(entry()).html()).text
    assert "Reference label" not in text
    assert "Agreement" not in text
    assert "agree" not in text


def test_the_alternative_text_says_what_the_figure_shows() -> None:
    page = page_of(entry("Effusion"))
    (image,) = Document(page.html()).all("img")
    assert image["alt"] == page.entries[0].alternative
    assert "Effusion (probability 0.8" in str(image["alt"])
    assert "reference label positive" in str(image["alt"])
    assert (image["width"], image["height"]) == ("1200", "900")


def test_what_no_gradient_reaches_is_named_apart_from_what_wins_nowhere() -> None:
    made = replace(entry(without_gradient=("Effusion", "Mass")), without_evidence=("Nodule",))
    text = " ".join(Document(page_of(made).html()).text.split())
    assert "Ranked, but the strongest nowhere in the fused map: Nodule." in text
    assert "Without a map, as no gradient reaches the layer: Effusion, Mass." in text
    assert "no gradient" not in Document(page_of(entry()).html()).text


def test_links_lead_to_files_beside_the_page(tmp_path: Path) -> None:
    name = "50% #1?<b>.png"
    page = page_of(replace(entry(), figure=name, explanation="50% #1?<b>.json"))
    document = Document(page.write(tmp_path).read_text(encoding="utf-8"))
    anchors = {identity for _, attributes in document.elements if (identity := attributes.get("id"))}
    for link in (str(attributes["href"]) for attributes in document.all("a")):
        if link.startswith("#"):
            assert link[1:] in anchors
        else:
            assert unquote_to_bytes(link).decode() in (name, "50% #1?<b>.json")
            assert re.fullmatch(r"[\w%.~-]+", link)


def test_the_policy_allows_this_style_and_the_figures_alone() -> None:
    html = page_of(entry("Effusion")).html()
    document = Document(html)
    (policy,) = (m["content"] for m in document.all("meta") if m.get("http-equiv"))
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src 'self' file:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not {"script", "iframe", "object", "link", "form"} & {tag for tag, _ in document.elements}
    assert not any(
        name == "style" or name.startswith("on") for _, attributes in document.elements for name in attributes
    )
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in document.style
    assert "@import" not in document.style


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_files_stays_text(text: str, tmp_path: Path) -> None:
    made = entry(
        ReferenceLabels({text: LabelState.POSITIVE}),
        model=text,
        training_sets=(text,),
        warnings=(text,),
        view=text,
    )
    made = replace(
        made, id=text, figure=f"{text}.png", explanation=f"{text}.json", label_source=text, boxes=(text,)
    )
    page = page_of(made)
    page.fail(CxrExplainError(text, expected=text, remedy=text), f"/secret/{text}", 1)
    plain = Document(page_of(entry("Effusion")).html())
    html = page.write(tmp_path).read_bytes().decode("utf-8")
    document = Document(html)
    assert {tag for tag, _ in document.elements} - {tag for tag, _ in plain.elements} <= {"code", "ul", "li"}
    assert not any(name.startswith("on") for _, attributes in document.elements for name in attributes)
    assert not set("\u202e\u202c\u2066\u2069\x00\x07\r") & set(html)
    assert not any(str(a["href"]).startswith("javascript:") for a in document.all("a"))
    assert "/secret" not in html


def test_failures_show_code_and_message_without_the_file(tmp_path: Path) -> None:
    page = IndexPage()
    path = tmp_path / "Wibblefish_Jane.dcm"
    page.fail(CorruptImageError(f"too few bytes in {path.name}", expected="more", source=path), path, 7)
    document = Document(page.html())
    assert "corrupt-image too few bytes in the file. Expected: more." in " ".join(document.text.split())
    assert "Wibblefish" not in page.html()
    assert str(tmp_path) not in page.html()
    assert "0 explained, 1 failed" in " ".join(document.text.split()).replace(" ,", ",")


def test_phantoms_and_a_model_that_knows_nothing_else_are_named() -> None:
    phantom = entry(phantom=True, phantom_only=True)
    text = Document(page_of(phantom).html()).text
    assert "Explained chest phantoms" in text
    assert "This image is a computed chest phantom" in text
    assert "These images are computed chest phantoms" in Document(page_of(phantom, phantom).html()).text
    assert "has never seen a radiograph" in text
    assert "phantom, not a patient" in text
    mixed = Document(page_of(phantom, entry()).html()).text
    assert "Explained chest radiographs" in mixed
    assert "1 of 2 images are computed chest phantoms" in mixed
    assert "phantom" not in Document(page_of(entry()).html()).text


def test_a_large_run_lists_what_fits_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_page, "MOST_SHOWN", 2)
    page = page_of(*[entry("Effusion")] * 5)
    for number in range(4):
        page.fail(CxrExplainError("nothing"), "a.png", number)
    text = " ".join(Document(page.html()).text.split())
    assert (len(page.entries), len(page.failures)) == (2, 2)
    assert "5 explained" in text
    assert "3 more are explained in this folder" in text
    assert "2 more failed" in text


@pytest.mark.parametrize("k", [0, 1, 18])
def test_any_number_of_pathologies(k: int) -> None:
    Document(page_of(entry("Support Devices|Mass", k=k)).html())


def test_a_pdf_is_linked_and_not_shown() -> None:
    document = Document(page_of(replace(entry(), figure="a.pdf")).html())
    assert document.all("img") == []
    assert any(attributes["href"] == "a.pdf" for attributes in document.all("a"))


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"index\.html: found a page that cannot be written"):
        page_of(entry()).write(tmp_path / "file")


def test_the_same_run_gives_the_same_page() -> None:
    assert page_of(entry("Mass")).html() == page_of(entry("Mass")).html()
