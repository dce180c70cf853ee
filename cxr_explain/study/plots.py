"""The plots of a study: each rule with its interval, each fusion by K, each map as the weights go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cxr_explain.figures.output import ExplanationFigure, own_style
from cxr_explain.figures.palette import INK, LINE_STYLES, OKABE_ITO, QUIET, RULE
from cxr_explain.measures.statistics.bootstrap import MeanEstimate
from cxr_explain.study.measure import RANDOM, REFERENCE
from cxr_explain.study.report import Findings, representatives
from cxr_explain.study.summary import SPREAD, Summary

_PANELS = (
    ("peak, tolerant", "peak in the finding ↑"),
    ("IoU", "IoU ↑"),
    ("energy", "energy in the finding ↑"),
    ("DAUC", "DAUC ↓"),
    ("ROAD", "ROAD ↑"),
    ("ADCC", "ADCC ↑"),
)
_SHARES = (
    ("class share, own pixels", "class share, own pixels ↑"),
    ("outside", "saliency outside every mask ↓"),
)
_DPI = 130
_LEAST_WIDTH = 0.1


def draw_plots(findings: Findings, folder: Path) -> list[Path]:
    """Draw what can be drawn, and write it.

    Args:
        findings: results of a study; with a single rule there is nothing to compare.
        folder: folder for `rules.png`, `fusions.png` and `randomised.png`.

    Returns:
        The files written.

    Raises:
        OutputError: a folder that cannot be written to.
    """
    drawn = []
    with own_style():
        for name, figure in (
            ("rules", _rules(findings.summaries["alone"])),
            ("fusions", _fusions(findings)),
            ("randomised", _randomised(findings)),
        ):
            if figure is not None:
                if findings.model:
                    figure.suptitle(findings.model, fontsize=9, x=0.99, ha="right", color=QUIET)
                drawn.append(figure.save(folder / f"{name}.png", dpi=_DPI))
    return drawn


def _rules(alone: Summary) -> ExplanationFigure | None:
    """One panel a measure, one line a rule."""
    methods = list(representatives(alone))
    if len(methods) < 4:
        return None
    figure = ExplanationFigure(figsize=(9.6, 1.2 + 0.42 * len(methods)), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True)
    for panel, (measure, head) in zip(axes.flat, _PANELS, strict=True):
        chance = alone.of(measure, method=RANDOM).value
        if chance is not None:
            panel.axvline(chance, color=RULE, linewidth=1, zorder=0)
        for at, method in enumerate(methods):
            _mark(panel, at, alone.of(measure, method=method), rule=method not in (RANDOM, REFERENCE))
        panel.set_yticks(range(len(methods)), methods, fontsize=8)
        panel.set_ylim(len(methods) - 0.4, -0.6)
        _not_too_close(panel)
        _quiet(panel, head)
    return figure


def _not_too_close(panel: Any) -> None:
    """No axis of less than a tenth, which would make much of differences that are none."""
    low, high = panel.get_xlim()
    if high - low < _LEAST_WIDTH:
        middle = (low + high) / 2
        panel.set_xlim(middle - _LEAST_WIDTH / 2, middle + _LEAST_WIDTH / 2)


def _mark(panel: Any, at: int, estimate: MeanEstimate, *, rule: bool) -> None:
    if estimate.value is None:
        return
    colour = OKABE_ITO[6] if rule else QUIET
    if estimate.low is not None:
        panel.plot([estimate.low, estimate.high], [at, at], color=colour, linewidth=1.4)
    panel.plot([estimate.value], [at], "o" if rule else "D", color=colour, markersize=4)


def _fusions(findings: Findings) -> ExplanationFigure | None:
    plan, fused = findings.plan, findings.summaries["fused"]
    methods = fused.values("method") if fused.lines else []
    if len(plan.ks) < 2 or not methods:
        return None
    method = "grad-cam" if "grad-cam" in methods else methods[0]
    figure = ExplanationFigure(figsize=(8.4, 3.2), layout="constrained")
    for panel, (measure, head) in zip(figure.subplots(1, 2), _SHARES, strict=True):
        for at, normalisation in enumerate(plan.normalisations):
            chosen = {"normalisation": normalisation, "activation": plan.activations[0]}
            found = [fused.of(measure, method=method, K=k, **chosen) for k in plan.ks]
            _curve(panel, [k + 0.06 * (at - 1) for k in plan.ks], found, at, normalisation)
        panel.set_xlabel("K", fontsize=8)
        panel.set_xticks(plan.ks)
        _quiet(panel, head)
    figure.axes[0].legend(fontsize=8, frameon=False)
    return figure


def _curve(panel: Any, xs: Sequence[float], found: Sequence[MeanEstimate], at: int, label: str) -> None:
    colour = (OKABE_ITO[6], OKABE_ITO[5], OKABE_ITO[2])[at % 3]
    for x, each in zip(xs, found, strict=True):
        if each.low is not None:
            panel.plot([x, x], [each.low, each.high], color=colour, linewidth=1, alpha=0.6)
    panel.plot(xs, _values(found), marker="o", markersize=4, color=colour, linewidth=1.4, label=label)


def _randomised(findings: Findings) -> ExplanationFigure | None:
    summary, rows = findings.summaries["randomised"], findings.tables.randomised
    layers = {int(row["step"]): str(row["layer"]) for row in rows}
    steps = sorted(step for step in layers if step > 0)
    if not steps:
        return None
    figure = ExplanationFigure(figsize=(8.4, 4.2), layout="constrained")
    panel = figure.subplots()
    colours = [colour for colour in OKABE_ITO if colour != "#F0E442"]  # yellow is faint on white
    methods = [
        name for name in representatives(findings.summaries["alone"]) if name in summary.values("method")
    ]
    for at, method in enumerate(methods):
        values, spread = (
            _values(summary.of(name, method=method, step=step) for step in steps)
            for name in ("Spearman", f"Spearman, {SPREAD}")
        )
        places = [step + 0.02 * (at - (len(methods) - 1) / 2) for step in steps]
        colour, dashes = colours[at % len(colours)], LINE_STYLES[at // len(colours) % 3][1]
        label = str(method)
        panel.plot([0, *places], [1.0, *values], color=colour, linestyle=dashes, linewidth=1.4, label=label)
        panel.errorbar(places, values, spread, fmt="o", color=colour, markersize=3, linewidth=1)
    chance = [summary.of("Spearman", method=method, step=0).value for method in methods]
    known = [value for value in chance if value is not None]
    if known:
        panel.axhspan(min(known), max(known), color=RULE, alpha=0.4, zorder=0, label="maps of other images")
    panel.set_xticks([0, *steps], ["trained", *(layers[step] or "all" for step in steps)])
    figure.legend(*panel.get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside right center")
    _quiet(panel, "Correlation (Spearman) with the trained map, weights random down to ...; SD over draws")
    return figure


def _values(found: Iterable[MeanEstimate]) -> list[float]:
    """NaN, which Matplotlib leaves out, where a mean is not estimable."""
    return [float("nan") if each.value is None else each.value for each in found]


def _quiet(panel: Any, title: str) -> None:
    panel.set_title(title, fontsize=9, loc="left", color=INK)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8, colors=QUIET)
    panel.grid(axis="x", color=RULE, linewidth=0.4, alpha=0.6)
