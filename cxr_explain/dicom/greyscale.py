"""How the stored pixels of a source become grey levels: what a presentation state has to say again.

A presentation state overrides the image's own transforms, and Photometric Interpretation with them (PS3.4
N.2.1.4): what it leaves out is not applied. So it holds all of them, as the radiograph was read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from cxr_explain.loaders.grayscale import available_voi
from cxr_explain.loaders.header import items, number, text
from cxr_explain.loaders.lut import Lut
from cxr_explain.loaders.lut_items import read_lut
from cxr_explain.loaders.voi import Voi, VoiLut, Window, voi_in
from cxr_explain.radiograph import Radiograph

_BITS = (8, 16)  # the depths that a LUT may have here (PS3.3 C.11.1.1.1)
_WHITE = 2**16 - 1


@dataclass(frozen=True, eq=False)
class Greyscale:
    """The transforms of PS3.4 N.2 that a header asks for.

    Args:
        is_inverted: whether the least value is white.
        modality: slope and intercept, or a LUT; None where values are as they are stored.
        available: VOI LUTs and windows, in the order in which they are taken.
    """

    is_inverted: bool = False
    modality: tuple[float, float] | Lut | None = None
    available: tuple[Voi, ...] = ()

    @classmethod
    def of(cls, header: Dataset) -> Greyscale:
        """Read them from a header; what contradicts itself is left out, as reading the radiograph names it.

        Args:
            header: the source's data set.
        """
        signed = number(header, "PixelRepresentation") == 1
        modality = _modality(header, signed=signed)
        negative = not isinstance(modality, Lut) and (signed or (modality is not None and min(modality) < 0))
        inverted = (text(header, "PhotometricInterpretation") or "").upper() == "MONOCHROME1"
        return cls(inverted, modality, tuple(available_voi(header, signed=negative, warnings=[])))

    def state(self, radiograph: Radiograph) -> Dataset:
        """The modules Modality LUT (PS3.3 C.11.1), Softcopy VOI LUT (C.11.8) and Presentation LUT (C.11.6).

        A modality LUT becomes a part of the VOI LUT.

        Args:
            radiograph: the radiograph, whose steps say which LUT or window it was read by.
        """
        state = Dataset()
        state.PresentationLUTShape = "INVERSE" if self.is_inverted else "IDENTITY"
        voi = voi_in(radiograph.steps, self.available) or next(iter(self.available), None)
        if isinstance(self.modality, Lut):
            state.SoftcopyVOILUTSequence = [_voi_item(VoiLut(_through(self.modality, voi)))]
            return state
        if self.modality is not None:
            state.RescaleSlope, state.RescaleIntercept = map(_decimal, self.modality)
            state.RescaleType = "US"
        if voi is not None:
            state.SoftcopyVOILUTSequence = [_voi_item(voi)]
        return state


def _modality(header: Dataset, *, signed: bool) -> tuple[float, float] | Lut | None:
    if sequence := items(header, "ModalityLUTSequence"):
        return read_lut(sequence[0], header, "modality LUT", signed=signed, warnings=[])
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    if slope is None and intercept is None:
        return None
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _through(modality: Lut, voi: Voi | None) -> Lut:
    """A modality LUT and what follows on it as one table.

    By itself it would have to be of 8 or 16 bits and use them all (PS3.3 C.11.1.1.1), which those of archives
    are not, and windows count in its values.
    """
    shown = modality.entries / modality.white if voi is None else voi.apply(modality.entries)
    return Lut(shown * _WHITE, modality.first, _BITS[1])


def _voi_item(voi: Voi) -> Dataset:
    item = Dataset()
    if isinstance(voi, VoiLut):
        item.VOILUTSequence = [_lut_item(_declared(voi.lut))]
    elif isinstance(voi, Window):
        item.WindowCenter, item.WindowWidth = _decimal(voi.center), _decimal(voi.width)
        if voi.function != "LINEAR":
            item.VOILUTFunction = voi.function
    return item


def _declared(lut: Lut) -> Lut:
    """A LUT of a depth that is allowed, whose white is what was white in reading the radiograph."""
    if lut.fits and lut.bits in _BITS:
        return lut
    return Lut(np.clip(lut.entries / lut.white, 0, 1) * _WHITE, lut.first, _BITS[1])


def _lut_item(lut: Lut) -> Dataset:
    """The item of a LUT sequence (PS3.3 C.11.1.1); its numbers are signed where the first one mapped is."""
    item, signed = Dataset(), lut.first < 0
    words = np.array([len(lut.entries), lut.first, lut.bits], np.int64).astype("<u2")
    item.add_new("LUTDescriptor", "SS" if signed else "US", _numbers(words, signed=signed))
    item.add_new("LUTData", "OW", np.rint(lut.entries).astype("<u2").tobytes())
    return item


def _numbers(words: NDArray[np.uint16], *, signed: bool) -> list[int]:
    values: list[int] = (words.view("<i2") if signed else words).tolist()
    return values


def _decimal(value: float) -> str:
    """A decimal string of at most 16 signs (PS3.5 6.2)."""
    return format_number_as_ds(float(value))
