"""What ran the model, and in which precision, stands wherever a figure or a page says how it was made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn_texts import drawn_texts
from synthetic import synthetic_explanation, synthetic_radiograph

import cxr_explain as cxr
from cxr_explain import Explanation
from cxr_explain.figures.facts import model_facts
from cxr_explain.figures.texts import software_text

VINO = {"engine": "openvino", "engine_version": "OpenVINO 2026.4.1", "dtype": "bfloat16"}


def explained(**options: object) -> Explanation:
    return synthetic_explanation(synthetic_radiograph((200, 240)), k=2, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "ran in float32 on cpu, with cxr-explain"),
        ({"dtype": "bfloat16"}, "ran in bfloat16 (autocast; the maps in float32) on cpu, with cxr-explain"),
        (VINO, "was run by OpenVINO 2026.4.1 in bfloat16 (the maps in float32) on cpu, with cxr-explain"),
        (
            {"engine": "onnxruntime", "engine_version": "ONNX Runtime 1.32.0"},
            "was run by ONNX Runtime 1.32.0 in float32 on cpu, with cxr-explain",
        ),
    ],
)
def test_the_methods_section_names_engine_and_precision(options: dict[str, object], said: str) -> None:
    assert f"The forward pass {said} 0.1.0 and torch 2.0.0" in explained(**options).methods_text()


def test_the_facts_name_engine_and_precision() -> None:
    facts = dict(model_facts(explained(**VINO).provenance))
    assert facts["software"] == "cxr-explain 0.1.0, torch 2.0.0, OpenVINO 2026.4.1"
    assert facts["arithmetic"] == "bfloat16 on cpu"
    assert software_text(explained().provenance) == "cxr-explain 0.1.0, torch 2.0.0"


@pytest.mark.parametrize("language", ["light", "de", "zh"])
def test_the_figure_says_so_in_every_language(language: str) -> None:
    explanation = explained(**VINO)
    style = cxr.Style(language=language) if language != "light" else "light"
    figure = explanation.figure(style=style)
    drawn = " ".join(text.get_text() for text in drawn_texts(figure)).split()
    assert "OpenVINO 2026.4.1" in " ".join(drawn)
    assert any("bfloat16" in word for word in drawn)


def test_engines_beside_each_other_are_told_apart() -> None:
    plain, vino = explained(), explained(**VINO)
    models = {"torch": plain, "OpenVINO": replace(vino)}
    figure = cxr.compare(models, style="light", dpi=150, provenance=True)
    drawn = " ".join(" ".join(text.get_text() for text in drawn_texts(figure)).split())
    assert "cxr-explain 0.1.0, OpenVINO 2026.4.1, bfloat16." in drawn
    assert "cxr-explain 0.1.0." in drawn


def test_a_page_to_send_says_so(tmp_path: object) -> None:
    page = explained(**VINO).to_html(f"{tmp_path}/page.html").read_text(encoding="utf-8")
    assert "cxr-explain 0.1.0, torch 2.0.0, OpenVINO 2026.4.1" in page
    assert "bfloat16 on cpu" in page
