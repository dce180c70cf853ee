"""What an explanation costs beside the bare forward pass, ours and others', measured side by side in one run.

    python -m benchmarks.explain_cost
    python -m benchmarks.explain_cost --quick --threads 1 --clock cpu
    python -m benchmarks.explain_cost --json cost.json   # what `python -m benchmarks.cost_page` draws

See benchmarks/README.md for what each number means.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.contestants import CONTESTANTS, Contestant, Run, build_inputs, build_model, prepare
from benchmarks.facts import computes_bfloat16, import_seconds, machine
from benchmarks.timing import Clock, Samples, measure

TARGET = 1.05
"""What an explanation may cost, of the bare pass of the engine that it runs on."""

PRODUCT_TARGET = 1.25
"""What an explanation in bfloat16 may cost, of the matrix product of as many operations, at batch 16."""

FASTER: dict[str, dict[str, float]] = {
    "ours": {"released": 15, "pytorch-grad-cam": 15, "monai": 15},
    "onnxruntime": {"released": 30},
    "openvino": {"released": 30},
    "openvino-bfloat16": {"released": 60},
}
"""How many times faster than a peer an explanation of ours is to be, at batch 1."""

TOP_KS = (1, 2, 5, 10, 18)
TOP_K_ROUNDS = 12


@dataclass(frozen=True)
class Effort:
    """Rounds at one batch size: ours and the bare pass; the peers, most of which take far longer, or 0."""

    batch: int
    ours: int
    peers: int


FULL = (Effort(1, 40, 8), Effort(16, 8, 1), Effort(64, 3, 0))
QUICK = (Effort(1, 12, 3), Effort(16, 3, 1))


@dataclass(frozen=True)
class Result:
    """One table: all contestants at one batch size."""

    batch: int
    bare_ms: float
    samples: dict[str, Samples]
    own: dict[str, Samples]
    """Explanations of ours, each in turns with the bare pass of its own engine."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    warnings.simplefilter("ignore")  # the peers' own
    if options.threads:
        torch.set_num_threads(options.threads)
    chosen = [contestant for contestant in CONTESTANTS if not options.only or contestant.key in options.only]
    facts = machine()
    model = build_model()
    runs, missing = _prepare_all(chosen, model)
    bare = prepare(CONTESTANTS[0], model)
    efforts = [effort for effort in (QUICK if options.quick else FULL) if effort.batch in options.batch]
    results = [_measure(effort, chosen, bare, runs, missing, options.clock) for effort in efforts]
    by_k = _measure_top_ks(chosen, runs, bare, min(efforts[0].ours, TOP_K_ROUNDS), options.clock)
    imports = import_seconds(3 if options.quick else 7)
    text = _markdown(results, chosen, by_k, facts, imports, options.clock)
    print(text)
    if options.json:
        found = {**_as_json(results, chosen, facts, imports, options.clock), "markdown": text}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Cost of an explanation beside the bare forward pass.")
    parser.add_argument("--quick", action="store_true", help="a few rounds: a smoke test, not a measurement")
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's own choice")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: use with --threads 1")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64], choices=(1, 16, 64))
    parser.add_argument("--only", nargs="+", choices=[contestant.key for contestant in CONTESTANTS])
    parser.add_argument("--json", type=Path, help="also write every sample to this file")
    return parser


def _prepare_all(
    contestants: Sequence[Contestant], model: torch.nn.Module
) -> tuple[dict[str, Run], dict[str, str]]:
    """Build what can be built; the rest with its reason."""
    runs: dict[str, Run] = {}
    missing: dict[str, str] = {}
    for contestant in contestants:
        try:
            runs[contestant.key] = prepare(contestant, model)
        except Exception as error:  # a peer may fail in any way; the table says how
            missing[contestant.key] = f"{type(error).__name__}: {error}"
    return runs, missing


def _measure(
    effort: Effort,
    contestants: Sequence[Contestant],
    bare: Run,
    runs: dict[str, Run],
    missing: dict[str, str],
    clock: Clock,
) -> Result:
    inputs = build_inputs(effort.batch)
    if not effort.peers:
        left_out = {c.key: "left out: takes minutes a call" for c in contestants if c.peer}
        missing, runs = missing | left_out, {key: run for key, run in runs.items() if key not in left_out}
    bare_times, samples = measure(
        partial(bare, inputs),
        {key: partial(run, inputs) for key, run in runs.items()},
        {c.key: effort.peers if c.peer else effort.ours for c in contestants},
        clock=clock,
    )
    failed = {key: Samples(failure=reason) for key, reason in missing.items()}
    own = {
        c.key: measure(
            partial(runs[c.bare], inputs),
            {c.key: partial(runs[c.key], inputs)},
            {c.key: effort.ours},
            clock=clock,
        )[1][c.key]
        for c in contestants
        if c.bare in runs and c.key in runs
    }
    return Result(effort.batch, statistics.median(bare_times) * 1e3, {**samples, **failed}, own)


def _measure_top_ks(
    contestants: Sequence[Contestant], runs: dict[str, Run], bare: Run, rounds: int, clock: Clock
) -> dict[tuple[str, int], Samples]:
    """Explanations of ours of one image, of few pathologies and of all."""
    inputs = build_inputs(1)
    explain = {
        (each.key, top_k): partial(runs[each.key], inputs, top_k=top_k)
        for each in contestants
        if each.bare and each.key in runs
        for top_k in TOP_KS
    }
    named = {f"{key} {top_k}": run for (key, top_k), run in explain.items()}
    if not named:
        return {}
    _, samples = measure(partial(bare, inputs), named, dict.fromkeys(named, rounds), clock=clock)
    return dict(zip(explain, samples.values(), strict=True))


def _markdown(
    results: Sequence[Result],
    contestants: Sequence[Contestant],
    by_k: dict[tuple[str, int], Samples],
    facts: dict[str, str | float],
    imports: dict[str, float],
    clock: Clock,
) -> str:
    lines = [
        "Machine: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + f"; {clock} clock."
    ]
    for result in results:
        lines += ["", *_table(result, contestants)]
    lines += ["", *_table_of_top_ks(by_k, contestants)]
    ratio = imports["cxr_explain"] / imports["torch"]
    lines += [
        "",
        f"`import torch` {imports['torch']:.2f} s, `import cxr_explain` {imports['cxr_explain']:.3f} s: "
        f"ratio {ratio:.3f}.",
    ]
    return "\n".join(lines)


def _table(result: Result, contestants: Sequence[Contestant]) -> list[str]:
    return [
        f"Batch {result.batch}; bare forward pass {result.bare_ms:.1f} ms (median).",
        "",
        "| 5 classes explained by | version | median ms | ratio to torch's bare pass (quartiles) "
        "| ratio to its own engine's | rounds |",
        "|---|---|---:|---:|---:|---:|",
        *(_row(contestant, result) for contestant in contestants),
        "",
        *(f"- {line}" for line in _verdicts(result, contestants)),
    ]


def _row(contestant: Contestant, result: Result) -> str:
    samples = result.samples[contestant.key]
    start = f"| {contestant.label} | {contestant.version or 'not installed'} |"
    if samples.failure or not samples.times:
        return f"{start} - | {samples.failure} | | 0 |"
    return (
        f"{start} {samples.median_ms:.1f} | {_ratio(samples)} "
        f"| {_ratio(result.own.get(contestant.key))} | {len(samples.ratios)} |"
    )


def _ratio(samples: Samples | None) -> str:
    if samples is None or not samples.ratios:
        return ""
    low, high = samples.ratio_quartiles
    return f"{samples.ratio:.3f} ({low:.3f} to {high:.3f})"


def _verdicts(result: Result, contestants: Sequence[Contestant]) -> Iterator[str]:
    """What became of the targets, one sentence each; nothing of what was not measured."""
    labels = {contestant.key: contestant.label for contestant in contestants}
    times = {key: each.median_ms for key, each in result.samples.items() if each.times}
    for key, each in result.own.items():
        if each.ratios and result.batch <= 16:
            yield (
                f"{labels[key]}: at most {TARGET} of the bare pass of its engine: "
                f"{_word(each.ratio <= TARGET)} ({each.ratio:.3f})."
            )
    for key, peers in FASTER.items():
        for peer, wanted in peers.items():
            if result.batch == 1 and key in times and peer in times:
                found = times[peer] / times[key]
                yield (
                    f"{labels[key]}: at least {wanted:g} times faster than {labels[peer]}: "
                    f"{_word(found >= wanted)} ({found:.1f} times)."
                )
    if result.batch == 16 and {"openvino-bfloat16", "product-bfloat16"} <= times.keys():
        found = times["openvino-bfloat16"] / times["product-bfloat16"]
        yield (
            f"{labels['openvino-bfloat16']}: at most {PRODUCT_TARGET} of the matrix product in bfloat16: "
            f"{_word(found <= PRODUCT_TARGET)} ({found:.2f})"
            f"{'' if computes_bfloat16() else ', which says nothing where both are simulated'}."
        )


def _word(met: bool) -> str:
    return "met" if met else "missed"


def _table_of_top_ks(
    by_k: dict[tuple[str, int], Samples], contestants: Sequence[Contestant]
) -> Iterator[str]:
    """Our explanations by the number of pathologies, beside torch's bare pass."""
    yield f"| batch 1, ratio to torch's bare pass | {' | '.join(f'K = {top_k}' for top_k in TOP_KS)} |"
    yield f"|---|{'---:|' * len(TOP_KS)}"
    for contestant in contestants:
        found = [by_k[contestant.key, top_k] for top_k in TOP_KS if (contestant.key, top_k) in by_k]
        if found:
            cells = [f"{each.ratio:.3f}" if each.ratios else f"failed: {each.failure}" for each in found]
            yield f"| {contestant.label} | {' | '.join(cells)} |"


def _as_json(
    results: Sequence[Result],
    contestants: Sequence[Contestant],
    facts: dict[str, str | float],
    imports: dict[str, float],
    clock: Clock,
) -> dict[str, object]:
    labels = {contestant.key: contestant.label for contestant in contestants}
    return {
        "machine": facts,
        "clock": clock,
        "import seconds": imports,
        "batches": [
            {
                "batch": result.batch,
                "bare ms": result.bare_ms,
                "contestants": {
                    key: {
                        "label": labels[key],
                        "seconds": each.times,
                        "ratios": each.ratios,
                        "ratios to own engine": result.own[key].ratios if key in result.own else [],
                        "failure": each.failure,
                    }
                    for key, each in result.samples.items()
                },
            }
            for result in results
        ],
    }


if __name__ == "__main__":
    main()
