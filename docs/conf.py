"""The documentation site: `make docs` builds it, strictly, into docs/_build/html."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, get_type_hints

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import command_line
import gallery
import repository
from docutils import nodes
from sphinx.application import Sphinx

import cxr_explain
from cxr_explain import __version__, ensure_torchvision_imports
from cxr_explain.cli.app import app as command_line_app
from cxr_explain.figures.palette import OKABE_ITO

ensure_torchvision_imports()
SKY_BLUE, BLUE = OKABE_ITO[1], OKABE_ITO[-1]
CARDS = {f"card-{place}": colour for place, colour in enumerate(OKABE_ITO, start=1)}

project = "cxr-explain"
author = "The cxr-explain developers"
copyright = f"{author}. Research use only - not for diagnosis"  # noqa: A001 - Sphinx calls it so
version = release = __version__
html_title = "cxr-explain"

extensions = [
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
MADE = Path(__file__).parent / "_build" / "made"
MADE.mkdir(parents=True, exist_ok=True)
html_extra_path = [str(MADE)]  # copied beside the pages as it is
suppress_warnings: list[str] = []

# Markdown
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the stored outputs are shown; `make notebooks` executes
nb_ipywidgets_js: dict[str, Any] = {}  # widgets would fetch scripts; their static pictures are shown
nb_merge_streams = True

# The reference from docstrings
default_role = "py:obj"  # `name` in a docstring is a link where it is a name, else code
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "all"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
napoleon_use_rtype = False  # the annotation says the type; `(K, I, J): ...` says the shape
python_use_unqualified_type_names = True
python_display_short_literal_types = True
python_maximum_signature_line_length = 88

nitpicky = True
INTERNAL = (
    r"audit\.comparison\.matching\.Pair",
    r"audit\.images\.ImageFolder",
    r"audit\.operating_points\.split\.ImagesOfRun",
    r"audit\.place\.Place",
    r"audit\.reading\.ManifestRow",
    r"audit\.record\.Record",
    r"audit\.rows\.Failed",
    r"audit\.run\.Audit",
    r"audit\.sections\.headline\.Headline",
    r"audit\.sections\.tables\.Section",
    r"cam\.evidence\.(T|Track)",
    r"dicom\.greyscale\.Greyscale",
    r"figures\.lettering\.Typeface",
    r"figures\.wording\.Wording",
    r"models\.pooled_linear\.PooledLinearPass",
    r"reference\.problems\.Problems",
    r"weights\.checkpoint\.Tensors",
    r"weights\.inert_pickle\.TensorRecord",
)
ELSEWHERE = (
    *("abc", "collections", "dataclasses", "datetime", "enum", "os", "pathlib", "types", "typing"),
    *("matplotlib", "numpy", "PIL", "pyarrow", "pydicom", "requests", "torch"),
    *("ignite", "ipywidgets", "monai", "torchxrayvision"),
)
nitpick_ignore_regex = [
    # `text` in docstrings is a link where it can be one; it need not be.
    ("py:obj", r"(?s).*"),
    # The values of a closed set, which stand where a type could.
    ("py:class", r"'[^']*'"),
    # What nobody but the package itself makes or takes.
    *(("py:class", rf"cxr_explain\.{name}") for name in INTERNAL),
    # Modules named for who reads the code.
    ("py:mod", r"cxr_explain\..*"),
    # Types of libraries whose documentation is not at hand without a network.
    *(("py:.*", rf"{library}\..*") for library in ELSEWHERE),
]

# Looks: nothing is fetched from elsewhere, the fonts are the reader's own.
html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
smartquotes = False  # a quoted value is copied as it stands
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
templates_path: list[str] = []
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
ACCENTS = ("color-brand-primary", "color-brand-content", "color-brand-visited")
html_theme_options = {
    "light_css_variables": dict.fromkeys(ACCENTS, BLUE) | CARDS,
    "dark_css_variables": dict.fromkeys(ACCENTS, SKY_BLUE),
    "navigation_with_keys": True,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# `make linkcheck` asks the network; nothing else does.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False


def generate(app: Sphinx) -> None:
    """Write the pages that have their source elsewhere, before Sphinx looks for pages."""
    repository.bring_in()
    gallery.write_page(MADE)
    page = command_line.page_of(command_line_app)
    repository.write_if_changed(Path(app.srcdir) / command_line.PAGE, page)


def lead_links(app: Sphinx, docname: str, content: list[str]) -> None:
    """Lead links that leave `docs/` to the page that the site has instead."""
    path = Path(str(app.env.doc2path(docname)))
    if path.suffix == ".md":
        content[0] = repository.with_links(content[0], path.resolve(), path)
    if docname.startswith("study/"):  # tables that study.md leads to: no entries of the navigation
        content[0] = "---\norphan: true\n---\n" + content[0].replace("\n### ", "\n## ")


def evaluate_annotations(_app: Sphinx) -> None:
    """Evaluate the annotations of classes, which autodoc leaves as the strings that they are."""
    for info in pkgutil.walk_packages(cxr_explain.__path__, "cxr_explain."):
        if not info.name.endswith("__main__"):
            module = importlib.import_module(info.name)
            names_for_type_checkers(module)
            for value in list(vars(module).values()):
                initialise = vars(value).get("__init__") if isinstance(value, type) else value
                if isinstance(initialise, FunctionType) and initialise.__module__ == info.name:
                    # An alias of another module may name what this one does not have.
                    with suppress(NameError):
                        initialise.__annotations__ = get_type_hints(initialise, include_extras=True)


def names_for_type_checkers(module: ModuleType) -> None:
    """Give a module the names that it imports for type checkers alone."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), vars(module))  # noqa: S102


def plain_text(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Keep what a docstring means as text from being read as markup.

    A shape before a colon, `(B, K): ...`, is no type, and the star of `(B, C, *spatial)` begins no emphasis.
    """
    lines[:] = [re.sub(r"(?<=[(,] )\*(?=[a-z])", r"\\*", line) for line in lines]
    if what in {"attribute", "data", "property"} and lines:
        lines[:0] = ["..", ""]  # an empty comment, behind which napoleon looks for no type


def dashes(_app: Sphinx, doctree: nodes.document) -> None:
    """Set the dash between an argument and what it is; other pairs of hyphens begin options, and stay."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def setup(app: Sphinx) -> None:
    """Hook the generated pages in."""
    app.connect("builder-inited", generate, priority=1)
    app.connect("source-read", lead_links)
    app.connect("builder-inited", evaluate_annotations)
    app.connect("doctree-read", dashes)
    app.connect("autodoc-process-docstring", plain_text, priority=400)  # before napoleon
