"""The page in a browser: it asks no server for anything, takes hostile files, and can be used."""

from __future__ import annotations

import random
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import FAINT, NOWHERE, TWICE, UNLABELLED, check_zoom_and_pan, overlay_bytes
from open_page import Opened, Server, phantom_explainer
from PIL import Image
from pydicom import uid
from radiograph_files import dataset, encode, phantom
from raster_files import chunk, png, saved

from cxr_explain.errors import RadiographError
from cxr_explain.explaining.export import ExportedGraph
from cxr_explain.loaders.read import read_radiograph_bytes
from cxr_explain.pages.in_browser.page import page_html, write_page
from cxr_explain.pages.in_browser.runtime import runtime_files
from cxr_explain.phantom import render, sample_patient
from cxr_explain.phantom.dicom import to_dicom

pytestmark = pytest.mark.browser

GREY = phantom(60, 47, bits=8)
STORED = phantom(40, 44, bits=12)
PNG = png(GREY)
JPEG = saved(Image.fromarray(GREY), "JPEG")
DICOM = encode(dataset(STORED))


@pytest.fixture(scope="module")
def phantom_dicom() -> bytes:
    return to_dicom(render(sample_patient(5), size=300))


def test_nothing_is_asked_for_after_loading(browser: Any, server: Server, phantom_dicom: bytes) -> None:
    opened = Opened(browser, server.address)
    asked, loaded = len(server.asked), len(opened.requests)
    opened.context.set_offline(True)
    said = opened.give(("a.dcm", phantom_dicom), ("b.png", PNG), ("c.jpg", JPEG), ("d", b"no image"))
    assert [bool(re.search(r" \d", each)) for each in said] == [True, True, True, False]
    assert len(server.asked) == asked
    assert opened.requests[loaded:] == []
    assert opened.problems == []
    assert all(url.startswith((server.address, "data:")) for url in opened.requests)
    opened.context.set_offline(False)
    beyond = opened.page.evaluate("fetch('/index.html').then(() => 'answered', (error) => error.name)")
    assert beyond == "TypeError", "the page may not ask even its own server"
    assert len(server.asked) == asked
    opened.context.close()


REFUSED = {
    "empty": b"",
    "text": b"no image at all",
    "1 bit": png((GREY > 99).astype(np.uint8), depth=1),
    "cut PNG": PNG[: len(PNG) // 2],
    "wrong checksum": PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:],
    "too large": png(GREY).replace(
        PNG[8:33], chunk(b"IHDR", bytes([0, 0, 255, 0, 0, 0, 255, 0, 8, 0, 0, 0, 0]))
    ),
    "no pixels": png(GREY).replace(PNG[8:33], chunk(b"IHDR", bytes([0, 0, 0, 0, 0, 0, 0, 9, 8, 0, 0, 0, 0]))),
    "animated": png(GREY, before=chunk(b"acTL", bytes([0, 0, 0, 3, 0, 0, 0, 0]))),
    "own figure": png(GREY, before=chunk(b"tEXt", b"Software\0cxr-explain")),
    "cut JPEG": JPEG[: len(JPEG) // 2],
    "CMYK": saved(Image.fromarray(GREY).convert("CMYK"), "JPEG"),
    "CT": encode(dataset(STORED, Modality="CT")),
    "for processing": encode(dataset(STORED, PresentationIntentType="FOR PROCESSING")),
    "colour": encode(dataset(STORED, photometric="RGB")),
    "two samples": encode(dataset(STORED, SamplesPerPixel=2)),
    "cut DICOM": DICOM[:-900],
    "few bytes": encode(dataset(STORED, Rows=400)),
    "high bit": encode(dataset(STORED, HighBit=15)),
    "32 bits": encode(dataset(STORED, BitsAllocated=32)),
    "useless slope": encode(dataset(STORED, RescaleSlope="0", RescaleIntercept="5")),
    "padding only": encode(dataset(STORED * 0 + 7, PixelPaddingValue=7)),
}
HERE_ALONE = {"empty", "text"}  # expect the formats that the page reads
UNSAID = {"cut JPEG", "no pixels"}  # in words of Pillow


@pytest.mark.parametrize("kind", REFUSED)
def test_what_python_refuses_is_refused_in_its_words(page: Opened, kind: str) -> None:
    with pytest.raises(RadiographError) as refused:
        read_radiograph_bytes(REFUSED[kind], "image")
    (said,) = page.give(("image", REFUSED[kind]))
    assert page.page.get_attribute("#files li", "class") == "refused"
    if kind in HERE_ALONE:
        assert said.endswith("; expected PNG, JPEG or uncompressed DICOM.")
    elif kind not in UNSAID:
        wanted = str(refused.value).removesuffix(
            " Raise the limit with max_pixels= / --max-pixels where you trust the file."
        )
        assert said == wanted


def test_what_the_page_does_not_read_it_says(page: Opened) -> None:
    compressed = encode(dataset(STORED), uid.RLELossless)
    frames = encode(dataset(np.stack([STORED, STORED])))
    shutter = encode(dataset(STORED, ShutterShape="CIRCULAR"))
    deflated = encode(dataset(STORED), uid.DeflatedExplicitVRLittleEndian)
    tiff = saved(Image.fromarray(GREY), "TIFF")
    said = page.give(("a", compressed), ("b", frames), ("c", shutter), ("d", deflated), ("e", tiff))
    assert [each.split(";")[0] for each in said] == [
        "found the transfer syntax 1.2.840.10008.1.2.5",
        "found 2 frames",
        "found a display shutter in the header",
        "found the transfer syntax 1.2.840.10008.1.2.1.99",
        "found a TIFF image",
    ]


def test_damaged_files_give_a_line_each_and_no_more(page: Opened, phantom_dicom: bytes) -> None:
    chance = random.Random(0)
    small = encode(dataset(phantom(20, 20, bits=12), VOILUTFunction="LINEAR"))
    sound = [png(GREY[:20, :20]), saved(Image.fromarray(GREY[:20, :20]), "JPEG"), small]
    files = [(f"{number}", damaged(chance, sound[number % 3])) for number in range(45)]
    said = page.give(*files)
    assert len(said) == 45
    assert all(each and "\n" not in each and "unexpected" not in each for each in said)
    refused = page.page.locator("#files li.refused").count()
    assert 15 < refused < 45


def damaged(chance: random.Random, data: bytes) -> bytes:
    """Some bytes of a file changed, cut out, or doubled; of half the PNGs the checksums are right again."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed))
        kind = chance.random()
        if kind < 0.6:
            changed[at] = chance.choice((0, 255, chance.randrange(256)))
        elif kind < 0.8:
            del changed[at : at + chance.randint(1, 40)]
        else:
            changed[at:at] = changed[at : at + chance.randint(1, 40)]
    return with_right_checksums(bytes(changed)) if chance.random() < 0.5 else bytes(changed)


def with_right_checksums(data: bytes) -> bytes:
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    position, mended = 8, data[:8]
    while position + 12 <= len(data):
        length = min(int.from_bytes(data[position : position + 4], "big"), len(data) - position - 12)
        mended += chunk(data[position + 4 : position + 8], data[position + 8 : position + 8 + length])
        position += 12 + length
    return mended


def test_a_file_that_unpacks_to_too_much_is_cut_short(page: Opened) -> None:
    sound = png(GREY[:16, :16])
    bomb = chunk(b"IDAT", zlib.compress(bytes(300_000_000)))
    (said,) = page.give(("bomb.png", sound[:33] + bomb + chunk(b"IEND", b"")))
    assert "refused" not in (page.page.get_attribute("#files li", "class") or ""), said


def test_names_are_text(page: Opened) -> None:
    name = '<img src=x onerror="alert(1)">\u202egnp.png'
    page.give((name, PNG))
    assert page.page.inner_text("#name") == name.replace("\u202e", "")
    assert page.page.locator("main img").count() == 0


def test_the_result_can_be_used(page: Opened, phantom_dicom: bytes) -> None:
    page.give(("one.dcm", phantom_dicom), ("two.png", PNG))
    assert page.page.inner_text("#name") == "two.png"
    page.page.get_by_role("button", name="one.dcm").click()
    page.page.wait_for_selector("#files li:first-child.shown")
    assert page.page.inner_text("#name") == "one.dcm"
    assert page.page.is_visible("#phantom")
    assert page.page.locator("#rows tr").count() == 10
    assert page.page.locator("#rows .layer").count() == 5
    assert page.page.inner_text("#side-left") == "R"
    before = overlay_bytes(page.page)
    assert before[:, 3].max() > 200
    page.page.get_by_role("checkbox", name="Layer 1", exact=False).uncheck()
    assert not np.array_equal(overlay_bytes(page.page), before)
    page.page.get_by_role("button", name="Reset").click()
    assert np.array_equal(overlay_bytes(page.page), before)
    check_zoom_and_pan(page.page)
    for asked in (UNLABELLED, TWICE, NOWHERE, FAINT):
        assert page.page.evaluate(asked) == []


def test_what_is_dropped_beside_the_field_is_explained(page: Opened) -> None:
    page.page.evaluate("document.getElementById('files').replaceChildren()")
    page.page.evaluate(
        """(bytes) => {
          const moved = new DataTransfer();
          moved.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
          document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: moved }));
        }""",
        list(PNG),
    )
    page.page.wait_for_selector("#files li.shown")
    assert page.page.inner_text("#name") == "dropped.png"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_scrolling_sideways(
    browser: Any, server: Server, phantom_dicom: bytes, scheme: str
) -> None:
    opened = Opened(browser, server.address, color_scheme=scheme)
    opened.page.set_viewport_size({"width": 390, "height": 800})
    opened.give(("a-very-long-name-of-a-file" * 4 + ".dcm", phantom_dicom), ("b", b"nothing"))
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.page.evaluate(FAINT) == []
    assert opened.problems == []
    opened.context.close()


def test_a_model_of_phantoms_refuses_other_images(
    browser: Any, graph: ExportedGraph, tmp_path: Path, phantom_dicom: bytes
) -> None:
    write_page(
        tmp_path / "page", phantom_explainer(allow_phantom_weights=False), graph, runtime_files(fetch=False)
    )
    server = Server(tmp_path / "page")
    opened = Opened(browser, server.address)
    said = opened.give(("phantom.dcm", phantom_dicom), ("other.png", PNG))
    assert said[0].count(",") == 2
    assert said[1].startswith("found an image which is no phantom; expected phantoms")
    assert "has never seen a radiograph" in opened.page.inner_text("header")
    assert opened.problems == []
    opened.context.close()
    server.close()


def test_a_model_of_phantoms_warns_of_other_images(page: Opened) -> None:
    page.give(("other.png", PNG))
    assert "have no meaning" in page.page.inner_text("#alert")
    assert page.page.is_visible("#alert")


def test_another_graph_is_refused(browser: Any, folder: Path, tmp_path: Path) -> None:
    for each in folder.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    with (tmp_path / "explainer.onnx").open("ab") as file:
        file.write(b"\0")
    server = Server(tmp_path)
    tab = browser.new_page()
    tab.goto(server.address)
    tab.wait_for_selector("text=could not be loaded: its file is not the one")
    tab.close()
    server.close()


def test_opened_from_a_disk_it_says_what_to_do(browser: Any, folder: Path) -> None:
    tab = browser.new_page()
    tab.goto((folder / "index.html").as_uri())
    assert "python -m http.server" in tab.inner_text("#unserved")
    assert not tab.is_visible("#drop")
    tab.close()


def test_the_page_says_which_weights_and_versions(graph: ExportedGraph) -> None:
    explainer = phantom_explainer(allow_phantom_weights=True)
    html = page_html(explainer, graph)
    assert html == page_html(explainer, graph)
    assert f"SHA-256 {explainer.classifier.weights_sha256}" in html
    assert "onnxruntime-web 1." in html
    assert "Research use only" in html
