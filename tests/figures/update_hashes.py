"""Store the hashes of the layouts as they look now; look at them first."""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from figure_hash import figure_hash  # noqa: E402 - the tests' own modules need the path
from test_figure import draw  # noqa: E402

if __name__ == "__main__":
    hashes = {k: figure_hash(draw(k).to_bytes()) for k in (1, 5, 18)}
    (HERE / "figure_hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
