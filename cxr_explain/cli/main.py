"""The start of the command line.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import os
import sys

import typer

from cxr_explain.cli.commands import command_line
from cxr_explain.cli.console import errors_as_lines
from cxr_explain.cli.surroundings import make_good


def main() -> None:
    """Run the command that was typed."""
    # Importing torch makes a million objects that stay: at Python's threshold, looking for garbage among
    # them takes 1 s, a sixth of a short run. In a long run memory stays as flat as before.
    gc.set_threshold(50_000, 10, 10)
    # NumPy's threads wait for their next product by spinning, each on a core that the model needs: an audit
    # takes a quarter longer (benchmarks/audit_cost.py). NumPy reads this when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        with errors_as_lines():
            make_good()
            command_line(*sys.argv[1:2])(prog_name="cxr-explain")
    except typer.Exit as end:
        sys.exit(end.exit_code)
