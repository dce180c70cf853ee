"""What would go wrong in an audit: images that are missing, and labels that the model does not know."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import canonical_pathology, near_miss
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.states import NOT_LABELLED, NOT_MENTIONED, POSITIVE, UNCERTAIN
from cxr_explain.support.links import is_inside, leads_to_host

_SHOWN = 5
_WAY_OUT = "To leave them out, make the manifest with --present-in, present()."
"""Where most images are missing: of a large data set, one may have a part only."""


@dataclass(frozen=True)
class ManifestCheck:
    """What was found when a manifest was held against an image folder and a model.

    Args:
        images: number of the manifest's rows.
        missing: paths without a file.
        outside: paths whose link leaves the image folder.
        repeated: paths that several rows name.
        without_output: labelled or outlined pathologies that the model has no output for.
        without_labels: pathologies of the model that no image has a label of.
        without_positive: pathologies of both, without a positive image.
        uncertain: pathologies with uncertain labels, each with the number of images.
        without_patient: number of rows whose patient is not known.
        misspelt: label columns without an output that seem to stand for a known pathology, each with it.
        instead: what the image folder has where none of the images is there; empty otherwise.

    >>> ManifestCheck(images=2, missing=("a.png",)).lines()
    ("1 of 2 images missing: 'a.png'",)
    """

    images: int
    missing: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    without_output: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()
    without_positive: tuple[str, ...] = ()
    uncertain: tuple[tuple[str, int], ...] = ()
    without_patient: int = 0
    misspelt: tuple[tuple[str, str], ...] = ()
    instead: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every image is there, inside of the image folder."""
        return not (self.missing or self.outside)

    def raise_if_useless(self) -> None:
        """Refuse an audit that could only fail, or whose labels would be left out for their spelling.

        Raises:
            ManifestError: none of the images is there, or a misspelt label column.

        >>> check = ManifestCheck(images=1, missing=("a.png",), instead="'images'")
        >>> check.raise_if_useless()
        Traceback (most recent call last):
        cxr_explain.errors.ManifestError: found 0 of 1 images in the image folder, which has 'images'; ...
        """
        if self.instead:
            raise ManifestError(
                f"0 of {self.images} images in the image folder, which has {self.instead}",
                expected=f"files such as {quoted(self.missing[0])}",
                remedy="Name the folder that the manifest's paths are relative to.",
            )
        for name, nearest in self.misspelt:
            raise ManifestError(
                f"the label column {quoted(name)}; the nearest known pathology is {nearest!r}",
                expected="a pathology that this model, this package or a data set knows",
                remedy="Rename the column.",
            )

    def lines(self) -> tuple[str, ...]:
        """What a person should know before an audit, one line for each kind of problem that was found."""
        uncertain = ", ".join(f"{name} {count}" for name, count in self.uncertain)
        of_all = f"of {self.images} images"
        part = f". {_WAY_OUT}" if 2 * len(self.missing) > self.images else ""
        found = (
            (self.missing, f"{len(self.missing)} {of_all} missing: {_shown(self.missing)}{part}"),
            (self.outside, f"{len(self.outside)} {of_all} leave their folder: {_shown(self.outside)}"),
            (self.repeated, f"{len(self.repeated)} files are named by several rows: {_shown(self.repeated)}"),
            (self.without_output, f"labels without an output of the model: {', '.join(self.without_output)}"),
            (self.without_labels, f"not labelled in any image: {', '.join(self.without_labels)}"),
            (self.without_positive, f"no positive image of: {', '.join(self.without_positive)}"),
            (self.uncertain, f"uncertain labels: {uncertain}"),
            (
                self.without_patient,
                f"{self.without_patient} {of_all} without a patient: each is a group of its own",
            ),
        )
        return tuple(line for what, line in found if what)


def check_manifest(
    manifest: Manifest, images: str | PathLike[str], pathologies: Sequence[str]
) -> ManifestCheck:
    r"""Look for what would go wrong in an audit, without reading an image.

    Args:
        manifest: the images and labels.
        images: the folder that its paths are relative to.
        pathologies: names of the model's outputs; outputs without a name are left out.

    Raises:
        ManifestError: no such folder.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.reference.csv_file import parse_manifest
    >>> manifest = parse_manifest(b"image_id,path,label:Mass\na,a.png,1\nb,b.png,0\n")
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "b.png").write_bytes(b"")
    ...     check_manifest(manifest, Path(folder), ["Mass"]).missing
    ('a.png',)
    """
    missing, outside = _look_for(manifest.paths, images)
    outputs = tuple(dict.fromkeys(canonical_pathology(name) for name in pathologies if name.strip()))
    columns = dict(zip(manifest.pathologies, manifest.states.T, strict=True))
    labelled = {name for name, codes in columns.items() if (codes > NOT_MENTIONED).any()}
    counts = {name: int(np.count_nonzero(codes == UNCERTAIN)) for name, codes in columns.items()}
    return ManifestCheck(
        images=len(manifest),
        missing=missing,
        outside=outside,
        repeated=tuple(path for path, count in Counter(manifest.paths).items() if count > 1),
        without_output=tuple(name for name in _named(manifest) if name not in outputs),
        without_labels=tuple(name for name in outputs if name not in labelled),
        without_positive=tuple(
            name for name in outputs if name in labelled and not (columns[name] == POSITIVE).any()
        ),
        uncertain=tuple((name, count) for name, count in counts.items() if count),
        without_patient=manifest.patients.count(None),
        misspelt=tuple(
            (name, nearest) for name in columns if name not in outputs and (nearest := near_miss(name))
        ),
        instead=_content(Path(images)) if missing and len(missing) == len(set(manifest.paths)) else "",
    )


def _named(manifest: Manifest) -> tuple[str, ...]:
    """The pathologies that a manifest says something of: by labels, boxes or masks."""
    states = zip(manifest.pathologies, manifest.states.T, strict=True)
    labelled = (name for name, codes in states if (codes != NOT_LABELLED).any())
    boxed = (box.pathology for boxes in manifest.boxes.values() for box in boxes)
    masked = (name for masks in manifest.masks.values() for name in masks)
    return tuple(dict.fromkeys((*labelled, *boxed, *masked)))


def present(manifest: Manifest, images: str | PathLike[str]) -> Manifest:
    r"""The rows of a manifest whose images are there, where one has only a part of a data set.

    Args:
        manifest: manifest of the whole data set.
        images: the folder that its paths are relative to.

    Raises:
        ManifestError: no such folder, or none of the images in it.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.reference.csv_file import parse_manifest
    >>> manifest = parse_manifest(b"image_id,path\na,a.png\nb,b.png\n")
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "b.png").write_bytes(b"")
    ...     present(manifest, Path(folder)).ids
    ('b',)
    """
    missing, outside = _look_for(manifest.paths, images)
    gone = {*missing, *outside}
    kept = [row for row, path in enumerate(manifest.paths) if path not in gone]
    if not kept:
        raise ManifestError(
            "none of the manifest's images",
            expected=f"files such as {quoted(manifest.paths[0])}" if len(manifest) else "images",
            source=images,
        )
    return manifest.select(kept)


def _look_for(paths: Sequence[str], images: str | PathLike[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Paths without a file, and those whose link leaves the folder.

    Each folder is listed once, and no file is asked for: on a network's disk that takes far less time.
    """
    try:
        root = Path(images).resolve()
        if not root.is_dir():
            raise ManifestError(
                "no folder", expected="the folder that the manifest's paths are relative to", source=images
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ManifestError("no readable folder", source=images) from error
    names = defaultdict[str, list[str]](list)
    for path in dict.fromkeys(paths):
        folder, _, name = path.rpartition("/")
        names[f"{folder}/" if folder else ""].append(name)
    there: dict[str, bool] = {}
    for folder, wanted in names.items():
        listed = {} if leads_to_host(root, folder) else _listed(f"{root}/{folder}")
        stays = bool(listed) and _is_inside(root, folder)
        for name in wanted:
            if name in listed and _is_file(entry := listed[name], root):
                there[folder + name] = stays and (not entry.is_symlink() or _is_inside(root, folder + name))
    missing = tuple(path for path in dict.fromkeys(paths) if path not in there)
    return missing, tuple(path for path in dict.fromkeys(paths) if there.get(path) is False)


def _listed(folder: str) -> dict[str, os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries}
    except OSError:
        return {}  # no folder, or none that may be read: its files are missing


def _content(folder: Path) -> str:
    """The first names in a folder, as a message shows them."""
    return _shown(sorted(_listed(str(folder)))) or "nothing in it"


def _is_file(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        is_elsewhere = entry.is_symlink() and leads_to_host(root, os.path.relpath(entry.path, root))
        return not is_elsewhere and entry.is_file()
    except OSError:
        return False


def _is_inside(root: Path, path: str) -> bool:
    try:
        return is_inside(root, path)
    except (OSError, RuntimeError):
        return False


def _shown(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(quoted, paths[:_SHOWN])) + more
