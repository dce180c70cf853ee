"""The command that writes a MONAI bundle."""

from __future__ import annotations

from pathlib import Path

from cxr_explain.cli.console import say
from cxr_explain.cli.panels import OutPath, WeightsPanel
from cxr_explain.support.shell import shell_word


def bundle(model: WeightsPanel, output: OutPath = Path("bundle")) -> None:
    """Write a MONAI bundle that explains radiographs: `python -m monai.bundle run` runs it.

    Args:
        model: which model.
        output: folder for the bundle, a new or an empty one.

    Example:
        cxr-explain bundle --weights phantom
    """
    from cxr_explain.integrations.monai.bundle import write_bundle

    folder = write_bundle(model.weights, output, weights_dir=model.weights_dir, fetch=not model.offline)
    root, config = shell_word(folder), shell_word(folder / "configs" / "inference.json")
    say(f"Bundle in {folder}. Run it:")
    say(f"python -m monai.bundle run --bundle_root {root} --config_file {config} --dataset_dir RADIOGRAPHS")
