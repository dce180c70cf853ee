"""How image files and a reference standard fit together, in words: nothing that was given is passed over."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cxr_explain.pathologies import canonical_pathology
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.standard import ReferenceStandard

_SHOWN = 3


def coverage_notes(standard: ReferenceStandard, files: Sequence[Path]) -> tuple[str, ...]:
    """What a person should know of how image files and a reference standard fit together.

    Args:
        standard: what is known of images.
        files: the image files.

    Returns:
        A line for each source that lists fewer images than there are, with how both call them; for files
        that are taken for the same image; and for what was left out as the source was read.

    >>> from cxr_explain.reference.manifest import Manifest
    >>> standard = ReferenceStandard(Manifest(["b"], ["b.png"]), source="the table t.csv")
    >>> coverage_notes(standard, [Path("a.png")])
    ("0 of 1 images are in the table t.csv: it has 'b.png', but not 'a.png'",)
    """
    return tuple(note for part in standard.parts or (standard,) for note in _notes(part, files))


def unpredicted_notes(
    standard: ReferenceStandard, files: Sequence[Path], pathologies: Sequence[str]
) -> tuple[str, ...]:
    """A line for each kind of outlined finding that a model has no output for.

    Args:
        standard: what is known of images.
        files: the image files.
        pathologies: names of the model's outputs.

    >>> from cxr_explain.pathologies import ReferenceBox
    >>> from cxr_explain.reference.manifest import Manifest
    >>> manifest = Manifest(["a"], ["a.png"], boxes={0: (ReferenceBox("Hernia", 1, 2, 3, 4),)})
    >>> unpredicted_notes(ReferenceStandard(manifest), [Path("a.png")], ["Mass"])
    ('Hernia is outlined in 1 images, and left out: the model has no output for it',)
    """
    outputs = {canonical_pathology(name) for name in pathologies if name.strip()}
    rows = {row for path in files for row in standard.rows(path)}
    found = Counter(
        name for row in rows for name in _outlined(standard, row) if canonical_pathology(name) not in outputs
    )
    return tuple(
        f"{name} is outlined in {n} images, and left out: the model has no output for it"
        for name, n in found.items()
    )


def _notes(standard: ReferenceStandard, files: Sequence[Path]) -> Iterator[str]:
    yield from standard.manifest.notes
    rows = {path: standard.rows(path) for path in files}
    missing = [path for path, found in rows.items() if not found]
    if missing:
        there = f"it has {_shown(standard.manifest.paths)}, but not {_shown(map(str, missing))}"
        yield f"{len(files) - len(missing)} of {len(files)} images are in {standard.source}: {there}"
    by_row = defaultdict[int, list[Path]](list)
    for path, found in rows.items():
        if len(found) == 1:
            by_row[found[0]].append(path)
    for row, paths in by_row.items():
        if len({path.name for path in paths}) < len(paths):
            line = standard.manifest.lines[row]
            yield f"{len(paths)} images share line {line} of {standard.source}: {_shown(map(str, paths))}"


def _outlined(standard: ReferenceStandard, row: int) -> set[str]:
    boxes = {box.pathology for box in standard.manifest.boxes.get(row, ())}
    return boxes | set(standard.manifest.masks.get(row, {}))


def _shown(paths: Iterable[str]) -> str:
    """Some paths by their last parts, where those differ."""
    names: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        names.setdefault(quoted("/".join(parts[-4:] if "patient" in path else parts[-1:])))
        if len(names) > _SHOWN:
            break
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(list(names)[:_SHOWN]) + more if names else "no image"
