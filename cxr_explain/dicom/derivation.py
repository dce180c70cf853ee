"""How an object came from its source: the derivation and its code, and a reference to the image."""

from __future__ import annotations

from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from cxr_explain.dicom.codes import plain
from cxr_explain.dicom.content import ObjectContent
from cxr_explain.pathologies import readable

LONGEST_TEXT = 1024
"""Letters that a value of ST may have (PS3.5 table 6.2-1)."""

_PRESERVED = {True: "YES", False: "NO"}


def derivation_of(content: ObjectContent) -> str:
    """What was made of the source, in a sentence: method, pathologies, model.

    Args:
        content: what the object is made from.
    """
    known, ranking = content.explanation.provenance, content.explanation.ranking
    names = ", ".join(map(readable, ranking.pathologies)) or "no pathology"
    said = f"{known.method} of {names} by the model {known.model}, {content.serial_number}"
    return plain(said)[:LONGEST_TEXT]


def is_multi_frame(source: Dataset) -> bool:
    """Whether a source has several frames, of which an object refers to one."""
    return int(source.get("NumberOfFrames") or 1) > 1


def source_reference(content: ObjectContent) -> Dataset:
    """A reference to the image that was explained, and to its frame (PS3.3 table 10-3).

    Args:
        content: what the object is made from.
    """
    source, item = content.source.dataset, Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    if is_multi_frame(source) and content.radiograph.frame is not None:
        item.ReferencedFrameNumber = content.radiograph.frame + 1
    return item


def add_body_part(made: Dataset, source: Dataset) -> None:
    """Carry body part and laterality over to the series (PS3.3 C.7.3.1), as far as the source says them.

    Args:
        made: the object.
        source: the source's kept attributes.
    """
    for keyword in ("BodyPartExamined", "Laterality"):
        if keyword in source:
            made[keyword] = source[keyword]


SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""What says how far apart pixels are, in the order in which it is taken."""


def aspect_ratio(source: Dataset) -> list[int] | None:
    """Height and width of pixels that are not square, of a source that says no spacing (PS3.3 C.7.6.3.1.7).

    Args:
        source: the source's kept attributes.

    >>> source = Dataset()
    >>> source.PixelAspectRatio = [2, 1]
    >>> aspect_ratio(source), aspect_ratio(Dataset())
    ([2, 1], None)
    """
    ratio = [int(each) for each in source.get("PixelAspectRatio") or ()]
    if len(set(ratio)) < 2 or any(source.get(keyword) for keyword in SPACINGS):
        return None
    return ratio


def add_derivation(made: Dataset, content: ObjectContent, how: str, *, in_place: bool) -> None:
    """Say of an image what it was derived from, and how (PS3.3 C.7.6.1.1.3, C.12.4.1).

    The code is the nearest of PS3.16 CID 7203, which has none for the maps of a model: colours are added to
    the radiograph's pixels, one by one.

    Args:
        made: the image.
        content: what it is made from.
        how: what it shows, in a sentence that follows on `derivation_of`.
        in_place: whether each pixel lies where it lies in the source.
    """
    rest = f". {how}. Research use only."
    made.DerivationDescription = derivation_of(content)[: LONGEST_TEXT - len(rest)] + rest
    made.DerivationCodeSequence = [_item(codes.cid7203.PixelByPixelAddition)]
    reference = source_reference(content)
    reference.SpatialLocationsPreserved = _PRESERVED[in_place]
    reference.PurposeOfReferenceCodeSequence = [_item(codes.cid7202.SourceImageForImageProcessingOperation)]
    made.SourceImageSequence = [reference]


def _item(code: Code) -> CodedConcept:
    return CodedConcept.from_code(code)
