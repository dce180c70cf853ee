"""The files of the page: the model's graph, what runs it, and the scripts that read, prepare and show."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explainer import PHANTOM_WEIGHTS_WARNING, Explainer
from cxr_explain.explaining.export import ExportedGraph
from cxr_explain.explaining.output_names import PAGE_GENERATOR
from cxr_explain.figures.overlay import MAX_OPACITY
from cxr_explain.figures.palette import class_styles
from cxr_explain.figures.texts import (
    Fact,
    fusion_text,
    operating_point_text,
    phantom_texts,
    probability_text,
    training_text,
)
from cxr_explain.models.base import Classifier
from cxr_explain.options import ONE_LABEL
from cxr_explain.pages.in_browser.runtime import VERSION
from cxr_explain.pages.templating import environment
from cxr_explain.pages.viewer.reading import how_to_read
from cxr_explain.pages.viewer.script_data import safe_json
from cxr_explain.radiograph import PHANTOM_WARNING
from cxr_explain.support.whole_file import output_errors, write_together

GRAPH_NAME: Final = "explainer.onnx"
"""Name of the graph's file in the page's folder."""

_VIEWER: Final = ("core", "text", "maps", "fusion", "viewer", "controls")
_LONGEST: Final = 2048  # pixels of the longer side that are shown; the model's input is made of all
_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)


def write_page(
    folder: str | PathLike[str],
    explainer: Explainer,
    graph: ExportedGraph,
    runtime: Mapping[str, bytes],
) -> Path:
    """Write the folder of a page that explains radiographs in the browser, all of it or nothing.

    A web server has to hand it out, such as `python -m http.server`: a page that is opened from a disk may
    not load its model. It reads PNG, JPEG and uncompressed DICOM, and sends nothing anywhere.

    Args:
        folder: where to; made if it is missing, beside what is there.
        explainer: what explains.
        graph: the same as a graph; see `export_graph`.
        runtime: what runs the graph; see `runtime_files`.

    Returns:
        The page, index.html.

    Raises:
        OptionError: an explainer that prepares images as TorchXRayVision does.
        OutputError: a folder that cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.explaining.export import ExportedGraph
    >>> explainer = Explainer.from_pretrained("phantom", device="cpu")
    >>> graph = ExportedGraph(b"as export_graph gives it", {}, ())
    >>> with TemporaryDirectory() as folder:
    ...     write_page(folder, explainer, graph, {"ort.js": b"as runtime_files gives them"}).name
    'index.html'
    """
    if explainer.settings.xrv_compatible:
        raise OptionError(
            "xrv_compatible for a page", expected="this package's own preprocessing, which the page has"
        )
    parts = {**runtime, **_own_files(), GRAPH_NAME: graph.content}
    parts["index.html"] = page_html(explainer, graph).encode()
    place = Path(folder)
    with output_errors("a page", place):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_together(place, parts)
    return place / "index.html"


def page_html(explainer: Explainer, graph: ExportedGraph) -> str:
    """The page as text; the same explainer and graph give the same text.

    Args:
        explainer: what explains.
        graph: the same as a graph.
    """
    classifier, settings = explainer.classifier, explainer.settings
    return (
        environment()
        .get_template("in_browser.html")
        .render(
            title=classifier.name,
            banners=phantom_texts(0, 1, phantom_only=classifier.phantom_only),
            opacity=round(100 * MAX_OPACITY),
            facts=_facts(explainer),
            data=Markup(safe_json(_data(explainer, graph))),  # noqa: S704 - nothing in it ends a script
            readings={k: how_to_read(k, fused=settings.fused) for k in (1, 2)},
            viewer=_VIEWER,
            policy=_POLICY,
            generator=PAGE_GENERATOR,
        )
    )


def _data(explainer: Explainer, graph: ExportedGraph) -> dict[str, Any]:
    """What the page's scripts have to know of the model."""
    classifier, settings = explainer.classifier, explainer.settings
    named = [name for name in classifier.outputs.pathologies if name]
    styles = class_styles(named)
    return {
        "graph": GRAPH_NAME,
        "digest": hashlib.sha256(graph.content).hexdigest(),
        "model": classifier.name,
        "size": classifier.input_size,
        "fit": settings.fit,
        "names": list(classifier.outputs.pathologies),
        "points": list(classifier.outputs.operating_points),
        "oneLabel": classifier.outputs.kind in ONE_LABEL,
        "styles": {
            name: {"colour": style.colour, "ink": style.ink, "sign": style.sign}
            for name, style in zip(named, styles, strict=True)
        },
        "fusion": {
            "normalisation": settings.normalisation,
            "activation": settings.activation,
            "fused": settings.fused,
        },
        "methods": [explainer.facts.method_title(k) for k in (1, 2)],
        "notes": [*classifier.notes, *graph.notes],
        "phantomOnly": classifier.phantom_only,
        "allowPhantomWeights": settings.allow_phantom_weights,
        "phantomWarning": PHANTOM_WARNING,
        "phantomWeightsWarning": PHANTOM_WEIGHTS_WARNING,
        "longest": _LONGEST,
    }


def _facts(explainer: Explainer) -> list[Fact]:
    facts, classifier = explainer.facts, explainer.classifier
    return [
        ("Model", facts.model),
        ("Weights", _weights(classifier)),
        ("Trained on", training_text(facts.training_sets, phantom_only=facts.phantom_only)),
        ("Method", facts.method_title(2)),
        ("Fusion", fusion_text(facts.map_settings, 2)),
        ("Probability", probability_text(facts.probability_kind)),
        ("Operating point", operating_point_text(facts.tuning)),
        ("Software", f"cxr-explain {facts.package_version}, onnxruntime-web {VERSION}"),
        ("Arithmetic", "float32, by WebAssembly in this browser"),
    ]


def _weights(classifier: Classifier) -> str:
    return (
        f"SHA-256 {classifier.weights_sha256}" if classifier.weights_sha256 else "given as an object, no file"
    )


def _own_files() -> dict[str, bytes]:
    """Scripts, style sheets and the runtime's licence by their names in the page's folder."""
    own = files("cxr_explain.pages.in_browser").joinpath("static")
    found = {each.name: each.read_bytes() for each in own.iterdir() if each.is_file()}
    viewer = files("cxr_explain.pages.viewer").joinpath("static")
    names = [*(f"{name}.js" for name in _VIEWER), "viewer.css"]
    return found | {name: viewer.joinpath(name).read_bytes() for name in names}
