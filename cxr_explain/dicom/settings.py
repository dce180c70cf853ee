"""What DICOM objects are made of an explanation, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from numbers import Real
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.errors import OptionError
from cxr_explain.options import StyleName

if TYPE_CHECKING:
    from cxr_explain.figures.style import Style


class ObjectOptions(TypedDict, total=False):
    """The keyword arguments of `dicom_objects`; see `ObjectSettings`."""

    kinds: tuple[str, ...]
    threshold: float
    colours: Mapping[str, str] | None
    style: Style | StyleName | None
    created: datetime | None


@dataclass(frozen=True)
class ObjectSettings:
    """What objects are made, and how.

    Args:
        kinds: names from `OBJECT_KINDS`; all of them by default.
        threshold: share of a pathology's own peak that its region reaches at least, in (0, 1).
        colours: colour of a pathology by name, where it is not the package's own; see
            `cxr_explain.figures.palette.class_styles`.
        style: how the figures look; by default dark in captures, as a viewer is, and light in the PDF.
        created: date and time that the objects say they were made at; by default now, and of a de-identified
            source the moved time of the study. Of a source that declares its time zone, the objects say it in
            that zone; a time without a zone stays as it is. The same explanation, settings and time give the
            same bytes; the unique identifiers do not depend on the time.

    Raises:
        OptionError: a kind that there is not, a threshold out of range, or a time that is no datetime.
    """

    kinds: tuple[str, ...] = tuple(OBJECT_KINDS)
    threshold: float = 0.5
    colours: Mapping[str, str] | None = None
    style: Style | StyleName | None = None
    created: datetime = field(default_factory=lambda: datetime.now().astimezone(), compare=False)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in OBJECT_KINDS:
                raise OptionError(
                    f"the kind of object {kind!r}", expected=f"some of {', '.join(OBJECT_KINDS)}"
                )
        if not isinstance(self.threshold, Real) or not 0 < self.threshold < 1:
            raise OptionError(f"threshold={self.threshold!r}", expected="a share of the peak between 0 and 1")
        object.__setattr__(self, "threshold", float(self.threshold))  # the same, whatever NumPy calls it
        if not isinstance(self.created, datetime):
            raise OptionError(f"created={self.created!r}", expected="a datetime")

    @classmethod
    def of(cls, **options: Unpack[ObjectOptions]) -> Self:
        """The settings of options, where what is None is left out."""
        known = {each.name for each in fields(cls)}
        if unknown := set(options) - known:
            raise OptionError(
                f"the option {sorted(unknown)[0]}", expected=f"one of {', '.join(sorted(known))}"
            )
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        return cls(**given)
