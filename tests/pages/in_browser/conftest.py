"""The page's folder, its server, and the page in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from open_page import Opened, Server, phantom_explainer

from cxr_explain.errors import OutputError
from cxr_explain.explaining.export import ExportedGraph, export_graph
from cxr_explain.pages.in_browser.page import write_page
from cxr_explain.pages.in_browser.runtime import runtime_files


@pytest.fixture(scope="session")
def graph() -> ExportedGraph:
    """The model that comes with the package, as one graph."""
    try:
        runtime_files(fetch=False)
    except OutputError as error:
        pytest.skip(f"needs onnxruntime-web, which .ci/run fetches ({error})")
    return export_graph(phantom_explainer(allow_phantom_weights=True), top_k=5)


@pytest.fixture(scope="session")
def folder(graph: ExportedGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, which explains any image."""
    place = tmp_path_factory.mktemp("page") / "served"
    write_page(place, phantom_explainer(allow_phantom_weights=True), graph, runtime_files(fetch=False))
    return place


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder)
    yield made
    made.close()


@pytest.fixture(scope="session")
def shared_page(browser: Any, server: Server) -> Iterator[Opened]:
    """The page, opened once: it takes one file after the other."""
    opened = Opened(browser, server.address)
    yield opened
    opened.context.close()


@pytest.fixture
def page(shared_page: Opened) -> Iterator[Opened]:
    """The open page, in which nothing may go wrong."""
    shared_page.problems.clear()
    yield shared_page
    assert shared_page.problems == []
