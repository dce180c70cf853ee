"""Which of the patient's directions the edges of an image are, from DICOM's Patient Orientation."""

from __future__ import annotations

_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}


def image_sides(orientation: tuple[str, str] | None) -> tuple[str, str] | None:
    """The patient's directions at the left and the right edge of the image.

    The first value of Patient Orientation is the direction of the rows, that is of growing columns: the right
    edge.

    Args:
        orientation: the two values of Patient Orientation; None where the header has none.

    Source:
        DICOM PS3.3, C.7.6.1.1.1 (Patient Orientation).

    >>> image_sides(("L", "F"))
    ('R', 'L')
    >>> image_sides(None), image_sides(("?", "F"))
    (None, None)
    """
    right = (orientation[0] if orientation else "").strip().upper()
    if not 0 < len(right) <= 3 or not set(right) <= set(_OPPOSITE):
        return None
    return "".join(_OPPOSITE[letter] for letter in right), right
