"""What the class maps of each rule cost beside the bare forward pass, and beside pytorch-grad-cam where slow.

    python -m benchmarks.rules_cost
    python -m benchmarks.rules_cost --quick

See benchmarks/README.md for what each number means.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from benchmarks.contestants import LAYER, TOP_K, Run, build_inputs, build_model
from benchmarks.facts import computes_bfloat16, machine
from benchmarks.timing import Clock, Samples, measure, seconds
from cxr_explain.cam.perturbation import ChannelMasks, ReciproCAM, ScoreCAM
from cxr_explain.cam.registry import LAYER_RULES, RULES, Method
from cxr_explain.cam.rules import Rule, class_maps
from cxr_explain.engines.registry import ENGINES
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.models.at_layers import forward_at
from cxr_explain.models.xrv import XRVDenseNet
from cxr_explain.options import Dtype, Engine
from cxr_explain.study.cases import phantom_cases
from cxr_explain.study.measure import Tables
from cxr_explain.study.measure import measure as study
from cxr_explain.study.plan import plain_plan
from cxr_explain.study.session import UNSEEN

Result = TypeVar("Result")

ONE_PASS_TARGET = 1.3
FEW_PASSES: tuple[Method, ...] = ("smooth-grad-cam++", "integrated-grad-cam", "augmented-grad-cam")
ONE_PASS = tuple(method for method in LAYER_RULES if method not in (*FEW_PASSES, "score-cam"))
EARLY = "features.transition1.relu"  # 56 x 56
MIDDLE = "features.transition2.relu"  # 28 x 28
STACKS = ((MIDDLE,), (EARLY,), (EARLY, MIDDLE, LAYER))
FEW_CHANNELS = 128


@dataclass(frozen=True)
class Effort:
    """Rounds at one batch size: of the rules with one pass; of those with several, and of the stacks."""

    batch: int
    one: int
    few: int


FULL = (Effort(1, 40, 6), Effort(16, 6, 1))
QUICK = (Effort(1, 5, 1),)


@dataclass(frozen=True)
class Row:
    """One line of a table: what is measured, and how often at most."""

    label: str
    run: Run
    rounds: int
    one_pass: bool = False


@dataclass(frozen=True)
class Table:
    """Rules at one batch size, each call beside its neighbours."""

    batch: int
    bare_ms: float
    rows: Sequence[Row]
    samples: dict[str, Samples]


@dataclass(frozen=True)
class Long:
    """A rule with many passes: seconds for five classes and for one, beside a bare pass."""

    label: str
    five: float
    one: float
    bare: float


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    warnings.simplefilter("ignore")  # the peer's own
    if options.threads:
        torch.set_num_threads(options.threads)
    facts, model = machine(), build_model()
    if options.engines_only:
        print("Machine: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + ".\n")
        print("\n".join(_engine_lines(_by_engines(model, options.clock, quick=options.quick))))
        return
    tables = [_table(effort, model, options.clock) for effort in (QUICK if options.quick else FULL)]
    long = _long(model, options.clock, quick=options.quick)
    masks = _mask_counts(model)
    engines = _by_engines(model, options.clock, quick=options.quick)
    print(_markdown(tables, long, masks, facts, options.clock))
    print("\n".join(["", *_engine_lines(engines)]))
    if options.json:
        options.json.write_text(json.dumps(_as_json(tables, long, masks, facts, engines), indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Cost of each rule beside the bare forward pass.")
    parser.add_argument("--quick", action="store_true", help="a few rounds and no peer: a smoke test")
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's own choice")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: use with --threads 1")
    parser.add_argument("--engines-only", action="store_true", help="only Score-CAM and evaluate by engines")
    parser.add_argument("--json", type=Path, help="also write every sample to this file")
    return parser


# -- who is measured ----


def _rule(
    model: nn.Module, method: Method | Rule, layers: Sequence[str] = (), classes: Sequence[int] = range(TOP_K)
) -> Run:
    """Signed class maps of the same classes for each image; no ranking, no fusion."""
    classifier = XRVDenseNet(copy.deepcopy(model))
    wanted = torch.tensor(classes)
    return lambda inputs: class_maps(classifier, inputs, wanted, method=method, layers=layers)


def _bare(model: nn.Module) -> Run:
    def run(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(inputs)

    return run


def _peer(model: nn.Module, name: str) -> Callable[[Tensor, int], object]:
    """pytorch-grad-cam with its default options: one class a call."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module = copy.deepcopy(model)
    cam = getattr(pytorch_grad_cam, name)(module, [module.get_submodule(LAYER)])

    def run(inputs: Tensor, index: int) -> object:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            return cam(inputs, [ClassifierOutputTarget(index)] * len(inputs))

    return run


# -- rules with a few passes, in turns with the bare pass ----


def _rows(effort: Effort, model: nn.Module) -> list[Row]:
    rows = [Row("bare forward pass, again", _bare(copy.deepcopy(model)), effort.one)]
    rows += [Row(RULES[key].title, _rule(model, key), effort.one, one_pass=True) for key in ONE_PASS]
    if effort.batch == 1:
        rows += [Row(RULES[key].title, _rule(model, key), effort.few) for key in FEW_PASSES]
    rows += [
        Row(
            f"LayerCAM of {', '.join(f'`{name}`' for name in names)}",
            _rule(model, "layercam", names),
            effort.few,
        )
        for names in STACKS
    ]
    return rows


def _table(effort: Effort, model: nn.Module, clock: Clock) -> Table:
    inputs, rows = build_inputs(effort.batch), _rows(effort, model)
    bare, samples = measure(
        partial(_bare(model), inputs),
        {row.label: partial(row.run, inputs) for row in rows},
        {row.label: row.rounds for row in rows},
        clock=clock,
    )
    return Table(effort.batch, statistics.median(bare) * 1e3, rows, samples)


# -- rules with about a thousand passes, once ----


def _long(model: nn.Module, clock: Clock, *, quick: bool) -> list[Long]:
    """Batch 1; without a warm-up, which a thousand passes do not need."""
    once = partial(_once, model, clock)
    few = ScoreCAM(channels=FEW_CHANNELS)
    ours = [once(f"cxr-explain `ScoreCAM(channels={FEW_CHANNELS})`", few)]
    ours += [once(f"cxr-explain `ReciproCAM()` at `{LAYER}`, by passes", ReciproCAM(), [LAYER])]
    if quick:
        return ours
    ours += [once("cxr-explain `ScoreCAM()`", ScoreCAM())]
    ours += [once(f"cxr-explain `ScoreCAM()` at `{LAYER}`", ScoreCAM(), [LAYER])]
    ours += [once("cxr-explain Ablation-CAM", "ablation-cam")]
    ours += [once(f"cxr-explain Ablation-CAM at `{LAYER}`, by passes", "ablation-cam", [LAYER])]
    peers = [_peer_once(model, clock, name) for name in ("ScoreCAM", "AblationCAM")]
    return ours + peers


def _once(
    model: nn.Module, clock: Clock, label: str, method: Method | Rule, layers: Sequence[str] = ()
) -> Long:
    inputs, bare = build_inputs(1), partial(_bare(model), build_inputs(1))
    with _between(bare, clock) as around:
        one = seconds(partial(_rule(model, method, layers, [0]), inputs), clock)
        five = seconds(partial(_rule(model, method, layers), inputs), clock)
    return Long(label, five, one, statistics.median(around))


def _peer_once(model: nn.Module, clock: Clock, name: str) -> Long:
    """Two calls of one class; five classes are five such calls, which are not all made: minutes each."""
    inputs, bare, run = build_inputs(1), partial(_bare(model), build_inputs(1)), _peer(model, name)
    with _between(bare, clock) as around:
        one = statistics.mean(seconds(partial(run, inputs, index), clock) for index in range(2))
    return Long(f"pytorch-grad-cam `{name}` at `{LAYER}`", TOP_K * one, one, statistics.median(around))


@contextlib.contextmanager
def _between(bare: Callable[[], object], clock: Clock, count: int = 10) -> Iterator[list[float]]:
    """Times of bare passes right before and right after."""
    bare()
    times = [seconds(bare, clock) for _ in range(count)]
    yield times
    times += [seconds(bare, clock) for _ in range(count)]


def _mask_counts(model: nn.Module) -> dict[str, int]:
    """Score-CAM's passes for one image: distinct masks of channels that are not constant."""
    classifier = XRVDenseNet(copy.deepcopy(model))
    passes = {
        classifier.target_layer: classifier.forward(build_inputs(1)),
        LAYER: forward_at(classifier, build_inputs(1), [LAYER])[0],
    }
    return {layer: len(ChannelMasks.of(forward.activations).patterns) for layer, forward in passes.items()}


# -- the same by other engines, in turns with torch ----


@dataclass(frozen=True)
class ByEngine:
    """Many passes by torch and by another engine, once each.

    Args:
        label: what is made.
        engine: name and precision.
        passes: images that went through the body.
        torch: seconds by torch.
        seconds: seconds by the engine.
        off: how far the engine's numbers are from torch's: 1 - r of maps, or the largest difference.
    """

    label: str
    engine: str
    passes: int
    torch: float
    seconds: float
    off: float


def _by_engines(model: nn.Module, clock: Clock, *, quick: bool) -> list[ByEngine]:
    """Score-CAM of five classes, and what `evaluate` does with one phantom."""
    original = XRVDenseNet(copy.deepcopy(model))
    inputs, classes = build_inputs(1), torch.arange(TOP_K)
    rule = ScoreCAM(channels=FEW_CHANNELS if quick else None)
    cases = list(phantom_cases(1, seed=UNSEEN))
    plan = plain_plan(["grad-cam"], k=TOP_K, normalisation="joint", activation="relu")
    plan = plan.quick if quick else plan

    def score_cam(explainer: Explainer) -> Tensor:
        return class_maps(explainer.classifier, inputs, classes, method=rule)

    def evaluate(explainer: Explainer) -> Tables:
        return study(explainer, cases, plan)

    by_torch, rows = Explainer(original), []
    for engine, dtype in _engines():
        other = Explainer(original, engine=engine, dtype=dtype)
        rows.append(_side_by_side("Score-CAM", score_cam, by_torch, other, _less_than_alike, clock))
        rows.append(
            _side_by_side("`evaluate`, one image", evaluate, by_torch, other, _largest_difference, clock)
        )
    return rows


def _side_by_side(
    label: str,
    run: Callable[[Explainer], Result],
    by_torch: Explainer,
    other: Explainer,
    compare: Callable[[Result, Result], float],
    clock: Clock,
) -> ByEngine:
    run(other)  # an engine makes ready for each size of batch at its first pass
    found: list[Result] = []

    def keep(explainer: Explainer) -> None:
        found.append(run(explainer))

    with _passes(other.classifier) as passes:
        engines = seconds(partial(keep, other), clock)
    torchs = seconds(partial(keep, by_torch), clock)
    settings = other.settings
    engine = f"{ENGINES[settings.engine].title}, {settings.dtype}"
    return ByEngine(label, engine, sum(passes), torchs, engines, compare(found[1], found[0]))


def _engines() -> Iterator[tuple[Engine, Dtype]]:
    """Those that are installed, in each precision that the processor has instructions for."""
    for name, entry in ENGINES.items():
        if name != "torch" and entry.installed:
            yield from ((name, dtype) for dtype in entry.dtypes if dtype == "float32" or computes_bfloat16())


@contextlib.contextmanager
def _passes(classifier: Any) -> Iterator[list[int]]:
    """The number of images of each pass through the body of a classifier with a pooled linear head."""
    body: Run = classifier.body
    passes: list[int] = []

    def counting(inputs: Tensor) -> object:
        passes.append(len(inputs))
        return body(inputs)

    classifier._body = counting  # noqa: SLF001 - the one place that all passes go through
    try:
        yield passes
    finally:
        classifier._body = body  # noqa: SLF001


def _less_than_alike(maps: Tensor, others: Tensor) -> float:
    """1 - the smallest r of two class maps."""
    pair = [each.flatten(2) - each.flatten(2).mean(dim=-1, keepdim=True) for each in (maps, others)]
    r = (pair[0] * pair[1]).sum(-1) / (pair[0].norm(dim=-1) * pair[1].norm(dim=-1))
    return 1 - float(r.min())


def _largest_difference(tables: Tables, others: Tables) -> float:
    """Of any number in the rows of faithfulness."""
    pairs = zip((*tables.alone, *tables.ranks), (*others.alone, *others.ranks), strict=True)
    return max(
        abs(value - other[key])
        for row, other in pairs
        for key, value in row.items()
        if isinstance(value, float) and value == value
    )


# -- what is printed ----


def _markdown(
    tables: Sequence[Table],
    long: Sequence[Long],
    masks: dict[str, int],
    facts: dict[str, str | float],
    clock: Clock,
) -> str:
    lines = [
        "Machine: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + f"; {clock} clock."
    ]
    for table in tables:
        lines += ["", *_table_lines(table)]
    lines += ["", *_long_lines(long, masks), *_comparisons(long)]
    return "\n".join(lines)


def _table_lines(table: Table) -> list[str]:
    return [
        f"Batch {table.batch}, {TOP_K} classes; bare forward pass {table.bare_ms:.1f} ms (median).",
        "",
        "| class maps by | median ms | ratio to bare (quartiles) | rounds | target |",
        "|---|---:|---:|---:|---|",
        *(_row_line(row, table.samples[row.label]) for row in table.rows),
    ]


def _row_line(row: Row, samples: Samples) -> str:
    if samples.failure or not samples.times:
        return f"| {row.label} | - | failed: {samples.failure} | 0 | |"
    low, high = samples.ratio_quartiles
    met = ("met" if samples.ratio <= ONE_PASS_TARGET else "missed") if row.one_pass else ""
    verdict = f"{ONE_PASS_TARGET}: {met}" if met else ""
    return (
        f"| {row.label} | {samples.median_ms:.1f} | {samples.ratio:.3f} ({low:.3f} to {high:.3f}) "
        f"| {len(samples.ratios)} | {verdict} |"
    )


def _long_lines(long: Sequence[Long], masks: dict[str, int]) -> list[str]:
    counts = ", ".join(f"{count} at `{layer}`" for layer, count in masks.items())
    return [
        f"Batch 1, the rules with many passes, measured once; Score-CAM's masks: {counts}.",
        "",
        "| class maps by | 1 class, s | 5 classes, s | 1 class, times bare | 5 classes, times bare |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {each.label} | {each.one:.2f} | {each.five:.2f} "
            f"| {each.one / each.bare:.1f} | {each.five / each.bare:.1f} |"
            for each in long
        ),
    ]


def _engine_lines(engines: Sequence[ByEngine]) -> list[str]:
    missing = "" if computes_bfloat16() else "; no bfloat16 instructions here, so it is not timed"
    return [
        f"Batch 1, by engines{missing}. Off: 1 - r of the maps, or the largest difference in the tables.",
        "",
        "| what | engine | passes | torch, s | engine, s | ratio | ms a pass | off |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {each.label} | {each.engine} | {each.passes} | {each.torch:.2f} | {each.seconds:.2f} "
            f"| {each.seconds / each.torch:.3f} | {1e3 * each.seconds / each.passes:.1f} | {each.off:.1e} |"
            for each in engines
        ),
    ]


def _comparisons(long: Sequence[Long]) -> list[str]:
    """The targets against pytorch-grad-cam, where it was measured."""
    by_label = {each.label: each for each in long}
    lines: list[str] = []
    for ours, peer, target in (
        ("cxr-explain `ScoreCAM()`", "ScoreCAM", 2),
        (f"cxr-explain `ScoreCAM()` at `{LAYER}`", "ScoreCAM", 2),
        ("cxr-explain Ablation-CAM", "AblationCAM", 50),
    ):
        theirs = by_label.get(f"pytorch-grad-cam `{peer}` at `{LAYER}`")
        if theirs is None or ours not in by_label:
            continue
        one, five = theirs.one / by_label[ours].one, theirs.five / by_label[ours].five
        lines.append(
            f"- {ours} is {one:.1f} times faster than pytorch-grad-cam's for 1 class ({_met(one, target)}), "
            f"{five:.1f} times for 5 ({_met(five, target)}); target {target}."
        )
    return ["", *lines] if lines else []


def _met(found: float, target: float) -> str:
    return "met" if found >= target else "missed"


def _as_json(
    tables: Sequence[Table],
    long: Sequence[Long],
    masks: dict[str, int],
    facts: dict[str, str | float],
    engines: Sequence[ByEngine],
) -> dict[str, object]:
    return {
        "machine": facts,
        "masks": masks,
        "batches": [
            {
                "batch": table.batch,
                "bare ms": table.bare_ms,
                "rules": {
                    label: {"seconds": samples.times, "ratios": samples.ratios, "failure": samples.failure}
                    for label, samples in table.samples.items()
                },
            }
            for table in tables
        ],
        "many passes": [vars(each) for each in long],
        "engines": [vars(each) for each in engines],
    }


if __name__ == "__main__":
    main()
