"""Which images of an audit operating points are fitted on, and which are kept away from them afterwards.

The split rule: no statistic at an operating point is of images that it was fitted on, or of their patients.
An image is known again by the SHA-256 of the file, whatever the name, and by that of what the model saw of
it, also where the file was written anew without loss. A patient is known by its images alone, so that the
operating points hold no name: one that has an image among those that are known is known with all its images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import patient_numbers
from cxr_explain.errors import AuditError, OptionError

if TYPE_CHECKING:
    from cxr_explain.audit.store import AuditRun
    from cxr_explain.reference.manifest import Manifest

ALLOW_TUNING_IMAGES = "--allow-tuning-images, allow_tuning_images=True"


@dataclass(frozen=True)
class TuningPart:
    """The part of an audit's images that operating points are fitted on: a split, or some of the patients.

    Args:
        split: name of a split in the manifest; None for a share of the patients.
        fraction: share of the patients, above 0 and below 1; None for a split.
        seed: seed of the draw of patients.

    Raises:
        OptionError: neither a split nor a fraction, both, or a fraction out of range.

    >>> str(TuningPart(split="valid")), str(TuningPart(fraction=0.3, seed=1))
    ('split=valid', 'fraction=0.3, seed=1')
    """

    split: str | None = None
    fraction: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        is_one = (self.split is None) != (self.fraction is None)
        if not is_one or not 0 < (0.5 if self.fraction is None else self.fraction) < 1:
            raise OptionError(
                f"split={self.split!r} and fraction={self.fraction}",
                expected="a split of the manifest, or a fraction of the patients, above 0 and below 1",
                remedy="Give --split NAME, or --fraction 0.3 where the manifest has no splits.",
            )

    def __str__(self) -> str:
        if self.split is not None:
            return f"split={self.split}"
        return f"fraction={self.fraction:g}, seed={self.seed}"

    def among(self, run: AuditRun, images: ImagesOfRun) -> NDArray[np.bool_]:
        """(n,) which of the explained images.

        Raises:
            OptionError: no image in the split.
        """
        splits = [run.manifest.splits[row] for row in images.rows]
        if self.split is None:
            return np.isin(images.patients, drawn(images, float(self.fraction or 0), self.seed))
        found = np.array([each == self.split for each in splits], bool)
        if not found.any():
            there = ", ".join(sorted({each for each in splits if each})) or "none"
            raise OptionError(
                f"no explained image in the split {self.split[:60]!r}",
                expected=f"one of the manifest's splits: {there[:200]}",
                remedy="Without splits, --fraction 0.3 draws patients.",
            )
        return found


@dataclass(frozen=True, eq=False)
class ImagesOfRun:
    """The explained images of an audit, by their digests and patients.

    Args:
        rows: (n,) the manifest's row of each image.
        files: (n,) hexadecimal SHA-256 of each file.
        inputs: (n,) hexadecimal SHA-256 of what the model saw of each.
        patients: (n,) number of each image's patient, from 0; images without a patient have a number each.
    """

    rows: Sequence[int]
    files: Sequence[str]
    inputs: Sequence[str]
    patients: NDArray[np.intp]

    @classmethod
    def of(cls, run: AuditRun) -> ImagesOfRun:
        """Read them from a run's store."""
        table = run.columns(["row", "sha256", "input_sha256"])
        rows = table["row"].to_pylist()
        patients = patient_numbers([run.manifest.patients[row] for row in rows])
        return cls(rows, table["sha256"].to_pylist(), table["input_sha256"].to_pylist(), patients)

    def known_by(self, digests: Collection[str]) -> NDArray[np.bool_]:
        """(n,) which images have a digest, or belong to a patient who has an image with one."""
        mine = zip(self.files, self.inputs, strict=True)
        hit = np.array([file in digests or seen in digests for file, seen in mine], bool)
        return np.isin(self.patients, self.patients[hit])


def drawn(images: ImagesOfRun, fraction: float, seed: int) -> list[int]:
    """The numbers of some patients: the same ones in whatever order, and under whatever names, images come.

    Args:
        images: the images of the patients.
        fraction: share of the patients.
        seed: another seed draws others.
    """
    first: dict[int, str] = {}
    for patient, digest in zip(images.patients.tolist(), images.files, strict=True):
        first[patient] = min(digest, first.get(patient, digest))
    order = {patient: hashlib.sha256(f"{seed}:{of}".encode()).hexdigest() for patient, of in first.items()}
    return sorted(order, key=lambda patient: (order[patient], patient))[: round(fraction * len(order))]


@dataclass(frozen=True)
class SplitOverlap:
    """How many images of an audit its operating points were fitted on.

    Args:
        fitted_on: number of images that took part in the fit.
        related: number of further images of their patients.
        images: number of explained images.
    """

    fitted_on: int
    related: int
    images: int

    def __str__(self) -> str:
        further = f", and {self.related:,} further images of their patients" if self.related else ""
        mine = f"{self.fitted_on:,} of {self.images:,} images"
        return f"{mine} that the operating points were fitted on{further}"


def split_overlap(run: AuditRun) -> SplitOverlap | None:
    """Whether an audit's operating points were fitted on some of these images or patients; None if not.

    Raises:
        AuditError: a run whose operating points are missing, or others.
    """
    if run.record.tuning is None:
        return None
    points, images = run.fitted_points, ImagesOfRun.of(run)
    known = images.known_by(points.known)
    if not known.any():
        return None
    mine = zip(images.files, images.inputs, strict=True)
    fitted_on = sum(file in points.fitted_on or seen in points.fitted_on for file, seen in mine)
    return SplitOverlap(fitted_on, int(known.sum()) - fitted_on, len(known))


def check_split_rule(run: AuditRun, *, allow_tuning_images: bool) -> None:
    """Refuse statistics of images that the operating points were fitted on, or of their patients.

    Raises:
        AuditError: there are such images, and they were not allowed.
    """
    overlap = split_overlap(run)
    if overlap is not None and not allow_tuning_images:
        raise AuditError(
            str(overlap),
            expected="images of other patients",
            remedy="Audit the others alone (`cxr-explain thresholds --rest` writes their manifest), or allow "
            f"it, and have it said on every page, with {ALLOW_TUNING_IMAGES}.",
            source=run.place.name,
        )


def check_manifest_apart(manifest_sha256: str, tuned_on: str, *, allow_tuning_images: bool) -> None:
    """Refuse to begin with the very manifest that operating points were fitted on a part of.

    Args:
        manifest_sha256: hexadecimal digest of the audit's manifest.
        tuned_on: that of the manifest with the tuning images.
        allow_tuning_images: do not refuse it.

    Raises:
        AuditError: they are the same.
    """
    if manifest_sha256 == tuned_on and not allow_tuning_images:
        raise AuditError(
            "the manifest on a part of which the operating points were fitted",
            expected="a manifest of other patients",
            remedy="`cxr-explain thresholds --rest` writes it; or allow it, and have it said on every page, "
            f"with {ALLOW_TUNING_IMAGES}.",
        )


def rest_of(run: AuditRun, digests: Collection[str]) -> Manifest:
    """The manifest of an audit without the patients who have an image with one of these digests.

    Raises:
        AuditError: nothing is left.
    """
    manifest, images = run.manifest, ImagesOfRun.of(run)
    known = images.known_by(digests)
    rows = {row for row, is_known in zip(images.rows, known, strict=True) if is_known}
    failed = run.failures.select(["row", "sha256"]).to_pylist()
    rows |= {each["row"] for each in failed if each["sha256"] in digests}
    patients = {manifest.patients[row] for row in rows} - {None}
    left = [row for row in range(len(manifest)) if row not in rows and manifest.patients[row] not in patients]
    if not left:
        raise AuditError("no image that the operating points were not fitted on", expected="other patients")
    return manifest.select(left)
