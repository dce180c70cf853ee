"""What differs between two audits, in sentences and in tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxr_explain.audit.comparison.parting import PARTINGS
from cxr_explain.audit.sections.tables import ESTIMATES, NOT_ESTIMABLE
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.texts import format_probability
from cxr_explain.measures.statistics.basis import LEAST_FOR_SHARES, LEAST_PATIENTS
from cxr_explain.support.plain_table import PlainTable
from cxr_explain.support.prose import counted, listed, p_text

ALPHA = 0.05
"""A difference is called clear where its adjusted p is below."""

LOW_IS_GOOD = frozenset({"brier"})

TOO_FEW = (
    "too few patients have a reference label (areas under curves and predictive values need "
    f"{LEAST_PATIENTS} positive and {LEAST_PATIENTS} negative ones, a sensitivity {LEAST_FOR_SHARES} "
    "positive ones)"
)
"""Why a difference has no interval and no p, as a rule."""

_HEADS = {**ESTIMATES, "tolerant_hit": "Peak inside or near", "iou": "IoU"}
_SHORT = 24  # letters of a setting
_NAMED = 5  # images that only one audit has
_MOST_SENTENCES = 8  # clear differences

Document = Mapping[str, Any]
OneDifference = tuple[str, str, Mapping[str, Any]]
"""Measure, pathology, and the difference."""


def head_of(measure: str) -> str:
    """What a measure is called.

    >>> head_of("auroc"), head_of("tolerant_hit")
    ('AUROC', 'Peak inside or near')
    """
    return _HEADS[measure]


def rows_of(document: Document) -> Iterator[OneDifference]:
    """Every difference of the document: of the statistics first, then of the localisation."""
    for section in ("pathologies", "localisation"):
        for entry in document[section]:
            for measure, cell in entry["differences"].items():
                yield measure, entry["pathology"], cell


def clear_of(document: Document) -> list[OneDifference]:
    """The differences that stay clear when p is adjusted, the clearest first."""
    found = [row for row in rows_of(document) if (row[2]["p_adjusted"] or 1) < ALPHA]
    return sorted(found, key=lambda row: row[2]["p"])


def headline_of(document: Document) -> Iterator[str]:
    """What differs, in sentences."""
    yield from _models(document)
    yield from _images(document)
    yield from _differences(document)
    yield from _agreement(document)
    yield from _cases(document)
    yield from document["notes"]


def _models(document: Document) -> Iterator[str]:
    for name, run in document["runs"].items():
        weights = f", weights {run['weights_sha256'][:12]}" if run["weights_sha256"] else ""
        yield f"{name.upper()} is {run['model']}{weights}, in {run['name']}."
    differ = [f"{each['what']}{_both_values(each)}" for each in document["differ_in"]]
    yield f"They differ in {listed(differ)}." if differ else "Nothing that is recorded of them differs."


def _both_values(each: Mapping[str, str]) -> str:
    """What both have, where that is short."""
    values = each["a"], each["b"]
    return (
        f" ({' and '.join(value or 'none' for value in values)})" if max(map(len, values)) <= _SHORT else ""
    )


def _images(document: Document) -> Iterator[str]:
    parts = [
        f"{counted(document['images'], 'image')} of {counted(document['patients'], 'patient')} in both",
        *(f"{len(names):,} in {name.upper()} only{_some(names)}" for name, names in document["only"].items()),
    ]
    yield f"{'; '.join(parts)}."
    if document["other_bytes"]:
        other = document["other_bytes"]
        yield f"The files of {counted(len(other), 'common image')} differ{_some(other)}."
    for name, pathologies in document["predicted_by_one"].items():
        if pathologies:
            yield f"Predicted by {name.upper()} only, and not compared: {_pathologies(pathologies)}."


def _some(names: Sequence[str]) -> str:
    """The first of some images by their names."""
    if not names:
        return ""
    more = [f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return f" ({listed([*names[:_NAMED], *more])})"


def _pathologies(names: Sequence[str]) -> str:
    return ", ".join(map(display_name, names))


def _differences(document: Document) -> Iterator[str]:
    clear, tests = clear_of(document), document["comparisons"]
    adjusted = f"adjusted for {counted(tests, 'comparison')} ({document['adjustment']})"
    if not tests:
        yield f"No statistic could be compared: the audits do not differ, or {TOO_FEW}."
        return
    within = f"{adjusted}; {100 * document['level']:g} % intervals in brackets"
    if clear:
        yield f"{counted(len(clear), 'difference')} with p below {ALPHA:g}, {within}:"
        yield from (f"- {sentence_of(each)}" for each in clear[:_MOST_SENTENCES])
        if len(clear) > _MOST_SENTENCES:
            yield f"- and {len(clear) - _MOST_SENTENCES:,} more."
        return
    yield f"No difference has a p below {ALPHA:g}, {within}. The smallest:"
    tested = [each for each in rows_of(document) if each[2]["p"] is not None]
    yield f"- {sentence_of(min(tested, key=lambda each: each[2]['p']))}"


def sentence_of(found: OneDifference) -> str:
    """One difference in words.

    >>> cell = {"a": 0.8, "b": 0.6, "difference": 0.2, "low": 0.1, "high": 0.3, "p": 0.01, "p_adjusted": 0.2}
    >>> sentence_of(("auroc", "Mass", cell | {"withheld": None}))
    'Mass, AUROC: A 0.800, B 0.600, A − B +0.200 (+0.100 to +0.300), p = 0.01, adjusted p = 0.2.'
    """
    measure, pathology, cell = found
    good = " (low is good)" if measure in LOW_IS_GOOD else ""
    return (
        f"{display_name(pathology)}, {head_of(measure)}{good}: A {number_text(cell['a'])}, B "
        f"{number_text(cell['b'])}, A − B {difference_text(cell)}, p {p_text(cell['p'])}, adjusted p "
        f"{p_text(cell['p_adjusted'])}."
    )


def number_text(value: float | None) -> str:
    """A number in words.

    >>> number_text(-0.25), number_text(0.99999), number_text(1.0), number_text(None)
    ('−0.250', '>0.999', '1.000', 'not estimable')
    """
    if value is None:
        return NOT_ESTIMABLE
    return ">0.999" if 0.9995 <= value < 1 else f"{value:.3f}".replace("-", "−")


def signed_text(value: float | None) -> str:
    """A difference in words, with its sign.

    >>> signed_text(0.25), signed_text(-0.25), signed_text(-0.00042), signed_text(0.0), signed_text(None)
    ('+0.250', '−0.250', '−0.00042', '0', 'not estimable')
    """
    if value is None:
        return NOT_ESTIMABLE
    text = f"{value:+.3f}" if abs(value) >= 0.01 else f"{value:+.2g}"
    return text.replace("-", "−") if value else "0"


def _agreement(document: Document) -> Iterator[str]:
    ranking, level = document["ranking"], document["level"]
    if ranking["first"]["value"] is not None:
        yield (
            f"Rankings: the first pathology is the same in {_share(ranking['first'], level)} of the images; "
            f"of the first {ranking['k']}, {_share(ranking['overlap'], level)} are; Kendall's tau of all "
            f"is {mean_text(ranking['tau'], level)} on average."
        )
    fused = document["maps"]["fused"]
    if fused["correlation"]["value"] is not None:
        distance = fused["distance"]["value"]
        apart = (
            "" if distance is None else f"; their peaks lie {100 * distance:.0f} % of the map's side apart"
        )
        yield f"Fused maps: their correlation is {mean_text(fused['correlation'], level)} on average{apart}."


def _share(cell: Mapping[str, Any], level: float) -> str:
    if cell["withheld"]:
        return f"{100 * cell['value']:.0f} % (no interval: {cell['withheld']})"
    ends = f"{100 * cell['low']:.0f} to {100 * cell['high']:.0f}"
    return f"{100 * cell['value']:.0f} % ({100 * level:g} % interval {ends} %)"


def mean_text(cell: Mapping[str, Any], level: float | None = None) -> str:
    """A mean and its interval in words.

    Args:
        cell: "value", "low" and "high".
        level: confidence level of the interval, where that is to be said.

    >>> mean_text({"value": 0.5, "low": 0.4, "high": 0.6, "withheld": None})
    '0.500 (0.400 to 0.600)'
    >>> mean_text({"value": 1.0, "withheld": "2 patients"})
    '1.000 (no interval: 2 patients)'
    """
    value, low, high = (number_text(cell.get(key)) for key in ("value", "low", "high"))
    if cell["value"] is None:
        return value
    if cell["withheld"]:
        return f"{value} (no interval: {cell['withheld']})"
    said = "" if level is None else f"{100 * level:g} % interval "
    return f"{value} ({said}{low} to {high})"


def _cases(document: Document) -> Iterator[str]:
    for key, title in PARTINGS.items():
        found = document["cases"][key]
        if found["cases"]:
            named = [f"{case['image_id']['a']}{_in_case(case)}" for case in found["cases"][:2]]
            how_many = f"{counted(found['images'], 'image')}, such as " if key.endswith("right") else ""
            yield f"{title}: {how_many}{listed(named)}."


def _in_case(case: Mapping[str, Any]) -> str:
    if "pathology" not in case:
        return f" (correlation {number_text(case['correlation'])})"
    return f" ({display_name(case['pathology'])}: {probabilities_text(case)})"


def probabilities_text(case: Mapping[str, Any]) -> str:
    """What both models say of the pathology of a case.

    >>> probabilities_text({"probability": {"a": 0.5, "b": 0.25}})
    'A 0.500, B 0.250'
    """
    return ", ".join(f"{name.upper()} {format_probability(p)}" for name, p in case["probability"].items())


def tables_of(document: Document) -> Iterator[PlainTable]:
    """Every number of the document."""
    for measure, rows in by_measure(document).items():
        yield PlainTable(
            head_of(measure) + (" (low is good)" if measure in LOW_IS_GOOD else ""),
            ("Pathology", "A", "B", "A − B", "p", "Adjusted p"),
            [[display_name(name), *_cells(cell)] for name, cell in rows],
        )
    yield from _calls(document)
    maps = document["maps"]
    named = [("all, fused", maps["fused"])]
    named += [(display_name(each["pathology"]), each) for each in maps["pathologies"]]
    yield PlainTable(
        "Agreement of the maps",
        ("Pathology", "Images", "Correlation", "Distance of the peaks, in sides of the square"),
        [
            [name, f"{each['images']:,}", mean_text(each["correlation"]), mean_text(each["distance"])]
            for name, each in named
        ],
        note=f"Intervals of {100 * document['level']:g} %.",
    )


def by_measure(document: Document) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """The differences of each measure, the smallest p first; without what neither model can be asked."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for measure, pathology, cell in rows_of(document):
        if cell["a"] is not None or cell["b"] is not None:
            found.setdefault(measure, []).append((pathology, cell))
    for rows in found.values():
        rows.sort(key=lambda row: (row[1]["p"] is None, row[1]["p"] or 0, row[0]))
    return found


def difference_text(cell: Mapping[str, Any]) -> str:
    """A difference and its interval in words.

    >>> difference_text({"difference": 0.2, "low": 0.1, "high": 0.3, "withheld": None})
    '+0.200 (+0.100 to +0.300)'
    """
    if cell["difference"] is None:
        return NOT_ESTIMABLE
    if cell["withheld"]:
        return f"{signed_text(cell['difference'])} (no interval: {cell['withheld']})"
    return f"{signed_text(cell['difference'])} ({signed_text(cell['low'])} to {signed_text(cell['high'])})"


def _cells(cell: Mapping[str, Any]) -> list[str]:
    return [
        number_text(cell["a"]),
        number_text(cell["b"]),
        difference_text(cell),
        *(p_text(cell[key]).removeprefix("= ") for key in ("p", "p_adjusted")),
    ]


def _calls(document: Document) -> Iterator[PlainTable]:
    rows = []
    for entry in document["pathologies"]:
        for label, counts in (entry["calls"] or {}).items():
            if sum(counts.values()):
                rows.append([display_name(entry["pathology"]), label, *(f"{n:,}" for n in counts.values())])
    if rows:
        yield PlainTable(
            "Images called positive",
            ("Pathology", "Reference", "by both", "by A alone", "by B alone", "by neither"),
            rows,
        )
