"""Put what the benchmarks printed into the page on engines, with a picture of it.

    python -m benchmarks.explain_cost --json cost.json
    python -m benchmarks.engine_agreement FOLDER > agreement.md
    python -m benchmarks.cost_page --cost cost.json --agreement agreement.md

Each is optional; what is not given stays as it is in the page.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "engines.md"
PICTURE = PAGE.with_name("engines_cost.svg")
_SHOWN = f"![Milliseconds an image: bare passes grey, ours blue, other libraries red]({PICTURE.name})"
_OURS, _BARE, _PEER = "#1b6ca8", "#9aa5b1", "#c8553d"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tables and picture of the page on engines.")
    parser.add_argument("--cost", type=Path, help="what explain_cost wrote with --json")
    parser.add_argument("--agreement", type=Path, help="what engine_agreement printed")
    options = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    if options.cost:
        cost = json.loads(options.cost.read_text(encoding="utf-8"))
        picture(cost).savefig(PICTURE, metadata={"Date": None})
        text = with_section(text, "cost", f"{_SHOWN}\n\n{cost['markdown']}")
    if options.agreement:
        text = with_section(text, "agreement", options.agreement.read_text(encoding="utf-8").strip())
    PAGE.write_text(text, encoding="utf-8")


def with_section(text: str, name: str, content: str) -> str:
    """A page with what stands between two marks replaced."""
    found, count = re.subn(
        rf"(?s)<!-- {name} -->.*?<!-- /{name} -->",
        lambda _: f"<!-- {name} -->\n{content}\n<!-- /{name} -->",
        text,
    )
    if count != 1:
        raise SystemExit(f"{PAGE.name} has {count} sections named {name}; expected 1")
    return found


def picture(cost: dict[str, Any]) -> Figure:
    """Milliseconds an image of every contestant, on a logarithmic axis: one panel a batch size."""
    mpl.rcParams |= {"svg.hashsalt": "cxr-explain", "svg.fonttype": "none"}  # the same numbers, the same file
    batches = cost["batches"]
    figure = Figure(figsize=(4 + 3.4 * len(batches), 5), layout="constrained")
    panels = figure.subplots(1, len(batches), sharey=True, squeeze=False)[0]
    labels = {key: each["label"] for key, each in batches[0]["contestants"].items()}
    keys = list(labels)
    for panel, batch in zip(panels, batches, strict=True):
        for at, key in enumerate(keys):
            times = batch["contestants"][key]["seconds"]
            if not times:
                continue
            milliseconds = statistics.median(times) * 1e3 / batch["batch"]
            panel.barh(at, milliseconds, color=_colour(key))
            panel.annotate(
                f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.1f}",
                (milliseconds, at),
                (3, 0),
                textcoords="offset points",
                va="center",
            )
        panel.set(xscale="log", title=f"batch {batch['batch']}", xlabel="milliseconds an image")
        panel.margins(x=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(keys)), [labels[key].replace("`", "") for key in keys])
    panels[0].invert_yaxis()
    return figure


def _colour(key: str) -> str:
    if key.startswith(("bare", "product")):
        return _BARE
    return _OURS if key in ("ours", "onnxruntime") or key.startswith("openvino") else _PEER


if __name__ == "__main__":
    main()
