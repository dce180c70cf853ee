"""Redo table 3 of the FM-G-CAM paper on a folder of photographs: see `docs/study/photographs.md`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.facts import described
from benchmarks.photographs.figure import draw
from benchmarks.photographs.maps import FUSED, PARTS, K
from benchmarks.photographs.measuring import Record, measure_all, photographs_in, read_records
from benchmarks.photographs.network import Softmax, load_network, read_photograph
from benchmarks.photographs.pointing import pointed
from benchmarks.photographs.runtime import runtime
from benchmarks.photographs.table import normalisations, pointing_table, published, table_three
from cxr_explain.models.pooled_linear import PooledLinearClassifier


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs", description=__doc__)
    parser.add_argument("photographs", type=Path, help="folder with images/*.jpg, both.png, instances.json")
    parser.add_argument(
        "--into", type=Path, default=Path("photographs"), help="folder of the records, one an image"
    )
    parser.add_argument("--steps", type=int, default=49, help="of each curve, at most; a map has 49 cells")
    parser.add_argument(
        "--engine", default="onnxruntime", help="what runs the network: onnxruntime, openvino"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--figure", type=Path, help="draw the maps of both.png here, and do nothing else")
    parser.add_argument("--report-only", action="store_true", help="print what there is; measure no further")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    photographs = photographs_in(options.photographs)
    classifier = load_network()
    if options.figure:
        draw(photographs[-1], classifier, options.figure)
        return
    if not options.report_only:
        example = torch.stack([read_photograph(path) for path in photographs[-2:]])
        softmax = Softmax(classifier, options.engine, example)
        for part in PARTS:
            for name, left in measure_all(
                photographs, classifier, softmax, options.into, part=part, steps=options.steps
            ):
                print(f"{part}: {name}, {left} left", flush=True)
    print("\n".join(report(options.into, options.photographs, classifier, read_photograph(photographs[-1]))))


def report(
    into: Path, folder: Path, classifier: PooledLinearClassifier, image: torch.Tensor
) -> Iterator[str]:
    """All tables as lines of Markdown. Maps are compared on the photographs that have records of both."""
    records = {part: read_records(into, part) for part in PARTS}
    table = list(records["table"].values())
    yield from ("## Measured", "", _summary(table), "", *table_three(table), "")
    yield from ("## Published", "", *published(), "")
    yield from ("## Normalisations and activations", "", *normalisations(records), "")
    cases = list(pointed(folder, classifier))
    photographs = len({case.photograph for case in cases})
    yield from (
        "## Pointing",
        "",
        f"{len(cases)} classes in {photographs} photographs.",
        "",
        *pointing_table(cases),
    )
    best = [case for case in cases if case.first]
    yield from ("", f"The best rank of each category alone: {len(best)} classes.", "", *pointing_table(best))
    yield from ("", "## Cost", "", described(), "", *runtime(classifier, image))


def _summary(table: list[Record]) -> str:
    empty = np.array([record["empty"][FUSED] for record in table])
    passes, asked = (sum(record[each] for record in table) for each in ("passes", "asked"))
    off = max(record["off"] for record in table)
    mean = np.mean([record["probabilities"] for record in table], axis=0)
    return (
        f"{len(table)} photographs; mean probability by rank {', '.join(f'{each:.3f}' for each in mean)}; "
        f"maps without positive evidence by rank {', '.join(map(str, empty.sum(axis=0)[:K].tolist()))}; "
        f"{passes:,} frames scored of {asked:,} that the maps have; engine and torch differ by at most "
        f"{off:.1g} in a probability."
    )


if __name__ == "__main__":
    main()
