"""The command that says what this installation has: what a report of a fault needs, and nothing private."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer

from cxr_explain._version import __version__
from cxr_explain.cli import console

Facts = dict[str, str]
"""What is known of one subject, in words, by what it is of."""

NOT_INSTALLED = "not installed"

_REQUIREMENT = re.compile(r"(?P<package>[\w.-]+)[^;]*(?:;.*extra == ['\"](?P<extra>[\w-]+)['\"])?")
_FOR_DEVELOPERS = ("bench", "dev", "docs")
_LETTERS = {
    "Latin": "a", "Greek": "α", "Cyrillic": "я", "Hebrew": "א", "Arabic": "ع", "Devanagari": "अ",
    "Thai": "ก", "Chinese": "肺", "Japanese": "か", "Korean": "폐",
}  # fmt: skip
_OTHER_VARIABLES = ("MPL_IGNORE_SYSTEM_FONTS", "OMP_NUM_THREADS", "XDG_CACHE_HOME", "XDG_STATE_HOME")


def info(as_json: Annotated[bool, typer.Option("--json", rich_help_panel="Output")] = False) -> None:
    """Print what this installation has: versions, devices, engines, codecs, fonts, weights and folders.

    Put it into a report of a fault. It names no user, no machine, no file of yours, and no folder that you
    chose.

    Args:
        as_json: print JSON.

    Example:
        cxr-explain info
    """
    found = facts()
    if as_json:
        import json

        console.say(json.dumps(found, indent=2, ensure_ascii=False), lines=True)
        return
    for subject, known in found.items():
        width = max(map(len, known), default=0)
        lines = [f"  {name:{width}}  {words}" for name, words in known.items()]
        console.say("\n".join([subject, *(lines or ["  none"])]), lines=True)


def facts() -> dict[str, Facts]:
    """All that the command prints, by subject.

    >>> facts()["cxr-explain"]["version"] == __version__
    True
    """
    required, extras = packages()
    return {
        "cxr-explain": {
            "version": __version__,
            "Python": f"{platform.python_implementation()} {platform.python_version()}",
            "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        },
        "packages": required,
        "extras": extras,
        "devices": devices(),
        "engines": engines(),
        "codecs of DICOM": codecs(),
        "letters in figures": letters(),
        "weights": weights(),
        "folders": folders(),
        "environment variables that are set": {
            name: "set"
            for name in sorted(os.environ)
            if name.startswith("CXR_EXPLAIN_") or name in _OTHER_VARIABLES
        },
    }


def packages() -> tuple[Facts, Facts]:
    """The version of each package that this one needs; and what is missing of each extra."""
    required, extras = {}, {}
    for requirement in requires("cxr-explain") or ():
        match = _REQUIREMENT.match(requirement)
        if match is None or match["package"] == "cxr-explain":
            continue
        found = _version_of(match["package"])
        if match["extra"] is None:
            required[match["package"]] = found
        elif match["extra"] not in _FOR_DEVELOPERS:
            extras.setdefault(match["extra"], {})[match["package"]] = found
    return required, {extra: _listed(each) for extra, each in extras.items()}


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {found}" for name, found in versions.items())


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED


def devices() -> Facts:
    """What can compute."""
    import torch

    from cxr_explain.support.cores import available_cores

    found = {"CPU": f"{available_cores()} cores, {torch.get_num_threads()} threads of torch"}
    for number in range(torch.cuda.device_count()):
        found[f"CUDA {number}"] = torch.cuda.get_device_name(number)
    if torch.backends.mps.is_available():
        found["MPS"] = "available"
    return found


def engines() -> Facts:
    """What can run a model."""
    from cxr_explain.engines.registry import ENGINES

    return {
        name: (entry.version or "built in") if entry.installed else NOT_INSTALLED
        for name, entry in ENGINES.items()
    }


def codecs() -> Facts:
    """Which transfer syntaxes of DICOM can be read."""
    from cxr_explain.loaders.codecs import installed_codecs

    return {name: "yes" if there else NOT_INSTALLED for name, there in installed_codecs().items()}


def letters() -> Facts:
    """Which scripts the fonts of this machine have, for names of pathologies and patients' own words."""
    from cxr_explain.figures.fonts import Letters, stock

    here = Letters((), "regular", "en", stock())
    return {script: "yes" if here.has(letter) else "no font" for script, letter in _LETTERS.items()}


def weights() -> Facts:
    """The weights with a name that are there."""
    from cxr_explain.errors import WeightsNotFoundError
    from cxr_explain.weights import list_weights

    try:
        rows = list_weights()
    except WeightsNotFoundError as error:
        return {"none": str(error)}
    return {
        row.entry.name: f"{row.size / 2**20:.1f} MiB, SHA-256 {(row.recorded_sha256 or 'not recorded')[:12]}"
        for row in rows
        if row.size is not None
    }


def folders() -> Facts:
    """Whether the folders that are written to can be; those of this package's choosing are named."""
    return dict(_folders())


def _folders() -> Iterator[tuple[str, str]]:
    from cxr_explain.errors import WeightsNotFoundError
    from cxr_explain.support.cache_root import CACHE_DIR_VARIABLE, cache_root
    from cxr_explain.weights.folder import WEIGHTS_DIR_VARIABLE, state_folder, weights_folder

    try:
        weights: Path | None = weights_folder()
    except WeightsNotFoundError:
        weights = None
    yield "weights", _folder(weights, WEIGHTS_DIR_VARIABLE)
    yield "digests of weights", _folder(state_folder(), "XDG_STATE_HOME")
    yield "cache", _folder(cache_root(), CACHE_DIR_VARIABLE, "XDG_CACHE_HOME")
    yield "temporary files", _writable(Path(gettempdir()))
    yield "current folder", _writable(Path.cwd())


def _folder(path: str | Path | None, *variables: str) -> str:
    if path is None:
        return "no home folder"
    by = next((name for name in variables if os.environ.get(name)), None)
    home = Path("~").expanduser()
    place = Path(path)
    if by is not None:
        where = f"chosen by {by}"
    else:
        where = f"~/{place.relative_to(home).as_posix()}" if place.is_relative_to(home) else "elsewhere"
    return f"{where}, {_writable(place)}"


def _writable(path: Path) -> str:
    """Whether files can be written there, or the folder can be made."""
    there = next(each for each in (path, *path.parents) if each.exists())
    words = "writable" if os.access(there, os.W_OK | os.X_OK) else "not writable"
    return words if there == path else f"not there yet, {words}"
