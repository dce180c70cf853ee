"""What an explanation costs beside the bare forward pass, ours and others', measured side by side in one run.

    python -m benchmarks.explain_cost
    python -m benchmarks.explain_cost --quick --threads 1 --clock cpu

See benchmarks/README.md for what each number means.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.contestants import CONTESTANTS, Contestant, Run, build_inputs, build_model, prepare
from benchmarks.facts import import_seconds, machine
from benchmarks.timing import Clock, Samples, measure

TARGET = 1.05


@dataclass(frozen=True)
class Effort:
    """Rounds at one batch size: ours and the bare pass; the peers, most of which take far longer."""

    batch: int
    ours: int
    peers: int


FULL = (Effort(1, 60, 10), Effort(16, 20, 3))
QUICK = (Effort(1, 12, 3), Effort(16, 3, 1))


@dataclass(frozen=True)
class Result:
    """One table: all contestants at one batch size."""

    batch: int
    bare_ms: float
    samples: dict[str, Samples]


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
    imports = import_seconds(3 if options.quick else 7)
    print(_markdown(results, chosen, facts, imports, options.clock))
    if options.json:
        options.json.write_text(json.dumps(_as_json(results, facts, imports, options.clock), indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Cost of an explanation beside the bare forward pass.")
    parser.add_argument("--quick", action="store_true", help="a few rounds: a smoke test, not a measurement")
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's own choice")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: use with --threads 1")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], choices=(1, 16))
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
    bare_times, samples = measure(
        partial(bare, inputs),
        {key: partial(run, inputs) for key, run in runs.items()},
        {c.key: effort.peers if c.peer else effort.ours for c in contestants},
        clock=clock,
    )
    failed = {key: Samples(failure=reason) for key, reason in missing.items()}
    return Result(effort.batch, statistics.median(bare_times) * 1e3, {**samples, **failed})


def _markdown(
    results: Sequence[Result],
    contestants: Sequence[Contestant],
    facts: dict[str, str | float],
    imports: dict[str, float],
    clock: Clock,
) -> str:
    lines = [
        "Machine: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + f"; {clock} clock."
    ]
    for result in results:
        lines += ["", *_table(result, contestants)]
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
        "| 5 classes explained by | version | median ms | ratio to bare (quartiles) | rounds |",
        "|---|---|---:|---:|---:|",
        *(_row(contestant, result.samples[contestant.key]) for contestant in contestants),
        *_verdict(result),
    ]


def _row(contestant: Contestant, samples: Samples) -> str:
    start = f"| {contestant.label} | {contestant.version or 'not installed'} |"
    if samples.failure or not samples.times:
        return f"{start} - | failed: {samples.failure} | 0 |"
    low, high = samples.ratio_quartiles
    return (
        f"{start} {samples.median_ms:.1f} | {samples.ratio:.3f} ({low:.3f} to {high:.3f}) "
        f"| {len(samples.ratios)} |"
    )


def _verdict(result: Result) -> list[str]:
    ours = result.samples.get("ours")
    if ours is None or not ours.ratios:
        return []
    word = "met" if ours.ratio <= TARGET else "missed"
    return ["", f"Target for cxr-explain: at most {TARGET} x bare: {word} ({ours.ratio:.3f})."]


def _as_json(
    results: Sequence[Result], facts: dict[str, str | float], imports: dict[str, float], clock: Clock
) -> dict[str, object]:
    return {
        "machine": facts,
        "clock": clock,
        "import seconds": imports,
        "batches": [
            {
                "batch": result.batch,
                "bare ms": result.bare_ms,
                "contestants": {
                    key: {"seconds": s.times, "ratios": s.ratios, "failure": s.failure}
                    for key, s in result.samples.items()
                },
            }
            for result in results
        ],
    }


if __name__ == "__main__":
    main()
