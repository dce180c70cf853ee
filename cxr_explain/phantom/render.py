"""Phantoms: a patient and findings become pixels, masks and boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, label

from cxr_explain.errors import OptionError
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.phantom.beam import Exposure, expose
from cxr_explain.phantom.changes import Change, apply_changes
from cxr_explain.phantom.chest import Chest, chest_of
from cxr_explain.phantom.findings import Finding, canonical_finding, sample_findings
from cxr_explain.phantom.lesions import change_of
from cxr_explain.phantom.patient import Patient
from cxr_explain.radiograph import Radiograph

SIZES = (32, 4096)
BITS = (8, 16)
CHANGED = 1e-4
"""A pixel belongs to a finding's mask if its line integral differs by more without the finding."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """A rendered phantom; the arrays are read-only.

    Args:
        pixels: (H, W) uint16, MONOCHROME2: air is dark.
        bits: bits stored; white is 2^bits - 1.
        patient: whose chest.
        findings: what is in the image.
        masks: by pathology, (H, W) bool: the pixels that it changed, see :func:`render`.
            Empty only where another finding hides it, such as a nodule within a large effusion.
        removed: pathologies that were asked for and left out again.
        pixel_spacing: mm from one pixel to the next.

    >>> from cxr_explain.phantom.patient import sample_patient
    >>> phantom = render(sample_patient(42), size=64)
    >>> phantom.pixels.shape, set(phantom.masks) == {finding.pathology for finding in phantom.findings}
    ((64, 64), True)
    """

    pixels: NDArray[np.uint16] = field(repr=False)
    bits: int
    patient: Patient
    findings: tuple[Finding, ...]
    masks: Mapping[str, NDArray[np.bool_]] = field(repr=False)
    removed: tuple[str, ...] = ()
    pixel_spacing: float = 1.0

    @property
    def id(self) -> str:
        """A name for files that says what this is."""
        tail = "".join(f"-without-{name.lower()}" for name in self.removed)
        return f"phantom-{self.patient.seed:06d}{tail}"

    @property
    def pathologies(self) -> tuple[str, ...]:
        """The pathologies in the image, sorted."""
        return tuple(sorted(self.masks))

    @property
    def boxes(self) -> tuple[ReferenceBox, ...]:
        """The boxes of all findings, as in NIH's table.

        They are pixel edges; see :func:`~cxr_explain.phantom.render.boxes_around`.
        """
        return tuple(box for name in self.pathologies for box in boxes_around(name, self.masks[name]))

    def monochrome1(self) -> NDArray[np.uint16]:
        """The same image stored the other way round: air is the highest value."""
        return np.asarray(2**self.bits - 1 - self.pixels, np.uint16)


def render(
    patient: Patient,
    findings: tuple[Finding, ...] | None = None,
    *,
    size: int = 256,
    bits: int = 12,
    without: str | tuple[str, ...] = (),
) -> Phantom:
    """Render a phantom, or its exact counterfactual.

    A finding's mask holds the pixels whose line integral of attenuation differs by more than
    :data:`~cxr_explain.phantom.render.CHANGED` from that of the same chest without the finding. Before
    that, 0.02 (2 % of the signal) is taken off the size of each change, so that no invisible fringe is
    rendered or marked.

    Args:
        patient: the anatomy and the exposure.
        findings: what to put in; None draws them with the patient's seed.
        size: pixels a side.
        bits: bits stored, 8 to 16.
        without: pathologies to leave out; anatomy, noise and the other findings stay as they are.

    Raises:
        OptionError: a size or depth out of range, or a pathology that no phantom can have.

    >>> from cxr_explain.phantom import Finding, Patient
    >>> whole = render(Patient(seed=1), (Finding("Mass", seed=2),), size=64)
    >>> healthy = render(Patient(seed=1), (Finding("Mass", seed=2),), size=64, without="Mass")
    >>> whole.pathologies, healthy.pathologies
    (('Mass',), ())
    """
    _check("size", size, SIZES)
    _check("bits", bits, BITS)
    findings = sample_findings(patient.seed) if findings is None else tuple(findings)
    left_out = {canonical_finding(name) for name in ((without,) if isinstance(without, str) else without)}
    kept = tuple(finding for finding in findings if finding.pathology not in left_out)
    chest = chest_of(patient, size)
    changes = [change_of(finding, chest) for finding in kept]
    integral = apply_changes(chest, changes) if changes else _healthy(chest)
    pixels = _exposure(chest).pixels(integral, bits=bits)
    pixels.setflags(write=False)
    return Phantom(
        pixels=pixels,
        bits=bits,
        patient=patient,
        findings=kept,
        masks=_masks(chest, kept, changes, integral),
        removed=tuple(sorted(left_out & {finding.pathology for finding in findings})),
        pixel_spacing=patient.field_of_view / size,
    )


def _check(name: str, value: int, bounds: tuple[int, int]) -> None:
    if not bounds[0] <= value <= bounds[1]:
        raise OptionError(f"{name} {value}", expected=f"{name} from {bounds[0]} to {bounds[1]}")


@lru_cache(maxsize=4)
def _exposure(chest: Chest) -> Exposure:
    return expose(chest.patient, _healthy(chest))


@lru_cache(maxsize=4)
def _healthy(chest: Chest) -> NDArray[np.float32]:
    """The line integral without any finding."""
    return apply_changes(chest, [])


def _masks(
    chest: Chest, findings: tuple[Finding, ...], changes: list[Change], integral: NDArray[np.float32]
) -> Mapping[str, NDArray[np.bool_]]:
    masks = {}
    for name in sorted({finding.pathology for finding in findings}):
        rest = [
            change
            for finding, change in zip(findings, changes, strict=True)
            if finding.pathology != name
        ]  # fmt: skip
        remaining = apply_changes(chest, rest) if rest else _healthy(chest)
        masks[name] = np.abs(integral - remaining) > CHANGED
        masks[name].setflags(write=False)
    return MappingProxyType(masks)


def boxes_around(pathology: str, mask: NDArray[np.bool_]) -> tuple[ReferenceBox, ...]:
    """The smallest box around each part of a mask, as a reader draws one for each nodule.

    What lies within a thirty-second of the image's side of each other is one part. A part of less than a
    twentieth of the largest one is a speck at the finding's rim, and gets no box.

    >>> apart = np.zeros((64, 64), bool); apart[2:6, 3:9] = apart[40:50, 30:44] = True
    >>> [(box.x, box.y, box.width, box.height) for box in boxes_around("Nodule", apart)]
    [(3.0, 2.0, 6.0, 4.0), (30.0, 40.0, 14.0, 10.0)]
    """
    if not mask.any():
        return ()
    parts, n = label(distance_transform_edt(~mask) <= len(mask) / 64, np.ones((3, 3)))
    parts[~mask] = 0
    sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:]
    places = zip(find_objects(parts, n), sizes, strict=True)
    return tuple(_box(pathology, place) for place, size in places if size >= sizes.max() / 20)


def _box(pathology: str, place: tuple[slice, slice]) -> ReferenceBox:
    rows, columns = place
    width, height = columns.stop - columns.start, rows.stop - rows.start
    return ReferenceBox(pathology, float(columns.start), float(rows.start), float(width), float(height))


def to_radiograph(phantom: Phantom) -> Radiograph:
    """The phantom as the rest of the package takes it; its id and a warning say that it is one.

    >>> from cxr_explain.phantom import sample_patient
    >>> to_radiograph(render(sample_patient(4), size=64)).id
    'phantom-000004'
    """
    values = (2 * phantom.pixels.astype(np.float64) / (2**phantom.bits - 1) - 1) * 1024
    plain = Radiograph.from_array(values, id=phantom.id, view=str(phantom.patient.projection))
    spacing = (phantom.pixel_spacing, phantom.pixel_spacing)
    return replace(
        plain,
        laterality="U",
        patient_orientation=("L", "F"),
        pixel_spacing=spacing,
        pixel_spacing_source="ImagerPixelSpacing",
        steps=(f"phantom rendered at {phantom.bits} bits", *plain.steps),
        phantom=True,
    )
