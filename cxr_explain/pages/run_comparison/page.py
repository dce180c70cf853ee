"""The page of a comparison: what differs in words, every number, and the cases that part most as pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cxr_explain.audit.comparison.document import RunComparison
from cxr_explain.audit.comparison.parting import PARTINGS
from cxr_explain.audit.comparison.words import (
    ALPHA,
    LOW_IS_GOOD,
    TOO_FEW,
    by_measure,
    difference_text,
    head_of,
    mean_text,
    number_text,
)
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import OutputError
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.texts import training_text, weights_text
from cxr_explain.pages.run_comparison.pictures import CasePictures
from cxr_explain.pages.templating import allowed, environment
from cxr_explain.support.prose import p_text
from cxr_explain.support.whole_file import output_errors, write_together

PAGE, NUMBERS = "index.html", "comparison.json"

GENERATOR = "cxr-explain comparison of audits"
"""By which the page is known."""

_HEAD = 4096
_NOTHING_ELSE = "base-uri 'none'; form-action 'none'"
_SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class DifferenceRow:
    """A row of a table of differences.

    Args:
        heads: pathology, and the two statistics.
        difference: the difference and its interval, in words.
        p: p, and adjusted p.
        drawn: the difference and the ends of the interval, from -1 to 1 of the table's scale; None without.
        clear: its adjusted p is below the level.
    """

    heads: tuple[str, ...]
    difference: str
    p: tuple[str, str]
    drawn: tuple[float, float | None, float | None] | None
    clear: bool


@dataclass(frozen=True)
class DifferenceTable:
    """The differences of one measure.

    Args:
        title: name of the measure.
        scale: the difference at the ends of the line that each is drawn on.
        rows: one a pathology.
    """

    title: str
    scale: float
    rows: Sequence[DifferenceRow]

    @property
    def clear(self) -> int:
        """Number of clear differences."""
        return sum(row.clear for row in self.rows)


def write_comparison(found: RunComparison, folder: str | os.PathLike[str]) -> Path:
    """Write a comparison as one page, `index.html`, and as numbers, `comparison.json`.

    The page holds copies of radiographs, with whatever is burnt into their pixels; where they cannot be read
    again, the maps lie on plain grey. No path and no patient's name or number is in it.

    Args:
        found: the comparison.
        folder: folder to write into; it is made if it is missing.

    Returns:
        The path of the page.

    Raises:
        OutputError: a folder that cannot be written to, or that has another page.
        AuditError: maps that no audit writes.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.comparison.document import compare_runs
    >>> from cxr_explain.audit.example import example_inputs
    >>> from cxr_explain.audit.run import run_audit
    >>> from cxr_explain.explaining.explainer import Explainer
    >>> with TemporaryDirectory() as folder:
    ...     explainer, manifest, images = example_inputs(Path(folder, "data"))
    ...     other = Explainer.from_pretrained("phantom", device="cpu", method="layercam")
    ...     a = run_audit(explainer, manifest, images, Path(folder, "a"))
    ...     b = run_audit(other, manifest, images, Path(folder, "b"))
    ...     write_comparison(compare_runs(a, b), Path(folder, "comparison")).name
    'index.html'
    """
    target = Path(folder)
    _check_is_ours(target / PAGE)
    content = {NUMBERS: found.to_json(), PAGE: comparison_page(found).encode()}
    with output_errors("a comparison", target):
        write_together(target, content)
    return target / PAGE


def comparison_page(found: RunComparison) -> str:
    """The page as text; the same comparison gives the same text.

    Raises:
        AuditError: maps that no audit writes.
    """
    document, style = found.document, _style()
    pictures: dict[tuple[str, ...], CasePictures] = {}
    for key in PARTINGS:
        for case in document["cases"][key]["cases"]:
            name = tuple(case["image_id"].values())
            if name not in pictures:
                pictures[name] = CasePictures.of(found.runs, case["image_id"])
    return environment().get_template("run_comparison.html").render(
        document=document,
        sentences=list(_nested(found.headline)),
        facts=list(_facts(found)),
        tables=[table_of(measure, rows) for measure, rows in by_measure(document).items()],
        alpha=ALPHA,
        partings=PARTINGS,
        pictures=pictures,
        phantoms=_are_phantoms(found.runs.a),
        mean=mean_text,
        number=number_text,
        too_few=TOO_FEW,
        style=style,
        policy=f"default-src 'none'; img-src data:; style-src {allowed(style)}; {_NOTHING_ELSE}",
        generator=GENERATOR,
    )  # fmt: skip


def table_of(measure: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> DifferenceTable:
    """The table of one measure.

    Args:
        measure: its key in the document.
        rows: pathologies with their differences.

    >>> cell = {"a": 0.8, "b": 0.6, "difference": 0.2, "low": 0.1, "high": 0.3, "p": 0.01, "p_adjusted": 0.2}
    >>> table = table_of("auroc", [("Mass", cell | {"withheld": None})])
    >>> table.title, table.scale, [round(each, 1) for each in table.rows[0].drawn]
    ('AUROC', 0.5, [0.4, 0.2, 0.6])
    """
    ends = [
        abs(cell[key]) for _, cell in rows for key in ("difference", "low", "high") if cell[key] is not None
    ]
    scale = next((each for each in _SCALES if each >= max(ends, default=0.0)), 1.0)
    return DifferenceTable(
        head_of(measure) + (" (low is good)" if measure in LOW_IS_GOOD else ""),
        scale,
        [_row(pathology, cell, scale) for pathology, cell in rows],
    )


def _row(pathology: str, cell: Mapping[str, Any], scale: float) -> DifferenceRow:
    drawn = None
    if cell["difference"] is not None:
        low, high = (None if cell[key] is None else _within(cell[key] / scale) for key in ("low", "high"))
        drawn = _within(cell["difference"] / scale), low, high
    return DifferenceRow(
        (display_name(pathology), number_text(cell["a"]), number_text(cell["b"])),
        difference_text(cell),
        (p_text(cell["p"]).removeprefix("= "), p_text(cell["p_adjusted"]).removeprefix("= ")),
        drawn,
        (1 if cell["p_adjusted"] is None else cell["p_adjusted"]) < ALPHA,
    )


def _within(value: float) -> float:
    return max(-1.0, min(1.0, value))


def _nested(sentences: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each sentence with those below it, which begin with a dash."""
    found: list[tuple[str, list[str]]] = []
    for sentence in sentences:
        if sentence.startswith("- "):
            found[-1][1].append(sentence.removeprefix("- "))
        else:
            found.append((sentence, []))
    yield from found


def _facts(found: RunComparison) -> Iterator[tuple[str, str, str, bool]]:
    """What the two audits are: name of the fact, A, B, and whether they differ."""
    records = [run.record for run in found.runs]
    about = found.document["runs"]
    told = {
        "Folder": [each["name"] for each in about.values()],
        "Model": [record.model for record in records],
        "Weights": [weights_text(record.weights_sha256) for record in records],
        "Trained on": [
            training_text(record.training_sets, phantom_only=record.phantom_only) for record in records
        ],
        "Images": [f"{each['explained']:,} explained, {each['failed']:,} failed" for each in about.values()],
        "Data set": [record.manifest_source for record in records],
    }
    yield from ((name, *values, values[0] != values[1]) for name, values in told.items())
    said = {"model", "weights sha256", "training sets", "manifest source", "rows"}
    for each in found.document["differ_in"]:
        if each["what"] not in said:
            yield each["what"].capitalize(), each["a"] or "none", each["b"] or "none", True


def _are_phantoms(run: AuditRun) -> bool:
    return all(run.columns(["phantom"])["phantom"].to_pylist())


def _style() -> Markup:
    pages = files("cxr_explain.pages")
    parts = ("viewer/static/viewer.css", "run_comparison/static/run_comparison.css")
    return Markup("".join(pages.joinpath(part).read_text(encoding="utf-8") for part in parts))  # noqa: S704 - own


def _check_is_ours(page: Path) -> None:
    """Refuse to replace somebody else's page.

    Raises:
        OutputError: it is one.
    """
    try:
        with page.open("rb") as file:
            ours = f'content="{GENERATOR}"'.encode() in file.read(_HEAD)
    except OSError:
        ours = not os.path.lexists(page)  # nothing is there, or writing will say what is wrong
    if not ours:
        raise OutputError(
            "a page that is no comparison of audits, which it would replace",
            expected="a new or an empty folder, or one with a comparison to replace",
            source=page,
            remedy="Name another folder with --out.",
        )
