"""Operating points that were fitted on a part of an audit, as a file that an explainer takes.

The file says for which weights they hold, what they were fitted on and for what, and by which digests the
images are known again that took part in it. No patient and no file is named in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

from cxr_explain.errors import OptionError, OutputError
from cxr_explain.explaining.calibration import Calibration
from cxr_explain.explaining.provenance import Tuning, other_schema
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.models.base import Classifier
from cxr_explain.options import ONE_LABEL, Fit
from cxr_explain.support.bounded import LONGEST_JSON, read_bounded
from cxr_explain.support.prose import counted
from cxr_explain.support.strict_json import DIGEST, from_plain, is_as_written, read_json, with_digest
from cxr_explain.support.whole_file import write_output

OPERATING_POINTS_SCHEMA = "cxr-explain/operating-points/1"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_OF_A_FILE = ("frame", "max_pixels")  # of how images are read: what changes no pixel of an image
_AGAIN = "Fit them again with `cxr-explain thresholds`."


@dataclass(frozen=True)
class ShareWithInterval:
    """A share of images, or a threshold, with its interval.

    Args:
        value: the number, 0 to 1.
        low: lower end of the interval; None where none is given.
        high: upper end of the interval; None where none is given.

    >>> print(ShareWithInterval(0.9, 0.8, 0.95))
    0.900 (0.800 to 0.950)
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        ends = [self.value if end is None else end for end in (self.low, self.high)]
        if not 0 <= ends[0] <= self.value <= ends[1] <= 1 or (self.low is None) != (self.high is None):
            raise OptionError(f"{self.value} from {self.low} to {self.high}", expected="shares in order")

    def __str__(self) -> str:
        interval = "no interval" if self.low is None else f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.value:.3f} ({interval})"


@dataclass(frozen=True)
class FittedPoint:
    """The operating point of one pathology.

    Args:
        pathology: its name.
        operating_point: the probability from which on an image is called positive: a calibrated one where
            there is a calibration; the weights' own where none could be fitted, None where they have none.
        positive: number of tuning images with a positive reference label.
        negative: number of those with a negative one.
        positive_patients: number of patients with one of the positive images.
        negative_patients: number of patients with one of the negative images.
        not_fitted: why no operating point could be fitted; '' where one was.
        interval: the operating point with its interval; None where none is honest.
        sensitivity: share of the positive tuning images at or above it; None where it was not fitted.
        specificity: share of the negative tuning images below it; None where it was not fitted.
        calibration: None where the probabilities are the model's own.
        not_calibrated: why no calibration could be fitted that was asked for; else ''.

    >>> FittedPoint("Hernia", 0.1, 2, 90, 1, 60, not_fitted="1 patient is too few").calibration is None
    True
    """

    pathology: str
    operating_point: float | None
    positive: int
    negative: int
    positive_patients: int
    negative_patients: int
    not_fitted: str = ""
    interval: ShareWithInterval | None = None
    sensitivity: ShareWithInterval | None = None
    specificity: ShareWithInterval | None = None
    calibration: Calibration | None = None
    not_calibrated: str = ""

    def __post_init__(self) -> None:
        if self.operating_point is not None and not 0 <= self.operating_point <= 1:
            raise OptionError(f"an operating point of {self.operating_point}", expected="0 to 1")
        if not self.not_fitted and (self.operating_point is None or self.sensitivity is None):
            raise OptionError("an operating point that was fitted and is not there", expected="a number")


@dataclass(frozen=True)
class OperatingPoints:
    """Operating points and calibrations of one model, and what they were fitted on.

    Args:
        model: name of the model.
        weights_sha256: hexadecimal digest of the weights file; None for a model that came as an object.
        fit: the square that the model saw; see `MapSettings`.
        reading: how the images were read.
        points: one for each trained output, in the head's order.
        tuning: how they were fitted, and on what.
        images: SHA-256 of the files of the tuning images.
        inputs: SHA-256 of what the model saw of them: the same for a file that was written anew without loss.
        related: the same of further images of these patients, files and inputs; nothing was fitted on them.

    Raises:
        OptionError: a pathology twice, none at all, or something else than digests.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> from cxr_explain.audit.operating_points.fitting import TuningSettings, fit_operating_points
    >>> from cxr_explain.audit.operating_points.goals import Goal
    >>> from cxr_explain.audit.operating_points.split import TuningPart
    >>> settings = TuningSettings(Goal("youden"), TuningPart(fraction=0.5))
    >>> with TemporaryDirectory() as folder:
    ...     points = fit_operating_points(example_audit(folder), settings)
    ...     OperatingPoints.load(points.save(f"{folder}/points.json")) == points
    True
    """

    model: str
    weights_sha256: str | None
    fit: Fit
    reading: ReadSettings
    points: tuple[FittedPoint, ...]
    tuning: Tuning
    images: tuple[str, ...]
    inputs: tuple[str, ...]
    related: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [each.pathology for each in self.points]
        if not names or len(set(names)) < len(names):
            raise OptionError("operating points without a pathology, or with one twice", expected="each once")
        digests = (*self.images, *self.inputs, *self.related, self.weights_sha256 or "0" * 64)
        if not self.images or not all(map(_SHA256.fullmatch, digests)):
            raise OptionError("tuning images that are not named by their SHA-256", expected="one or more")

    @classmethod
    def of(cls, given: OperatingPoints | str | PathLike[str]) -> OperatingPoints:
        """The object as it is, or read from its file.

        Raises:
            OutputError: a file that is not there, is something else, or was changed since it was written.
        """
        return given if isinstance(given, OperatingPoints) else cls.load(given)

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of all that it says, by which it is known in provenance and records."""
        return str(self._document[DIGEST])

    @property
    def pathologies(self) -> tuple[str, ...]:
        """The names, in the head's order."""
        return tuple(each.pathology for each in self.points)

    def of_outputs(
        self, outputs: tuple[str, ...]
    ) -> tuple[tuple[float | None, ...], tuple[Calibration | None, ...]]:
        """The operating point and the calibration of each output of a head; None for those without a name."""
        by_name = {each.pathology: each for each in self.points}
        points = tuple(by_name[name].operating_point if name else None for name in outputs)
        return points, tuple(by_name[name].calibration if name else None for name in outputs)

    def check_fits(self, classifier: Classifier, *, fit: Fit, xrv_compatible: bool) -> None:
        """Refuse another model than they were fitted for, or one that sees its images in another way.

        Raises:
            OptionError: says what differs.
        """
        refuse_one_label(classifier.outputs.kind)
        found = (classifier.weights_sha256, tuple(filter(None, classifier.pathologies)), fit, xrv_compatible)
        wanted = (self.weights_sha256, self.pathologies, self.fit, self.reading.xrv_compatible)
        named = ("weights of SHA-256", "pathologies", "fit", "xrv_compatible")
        if self.weights_sha256 is None and classifier.name != self.model:
            named, found, wanted = ("the model",), (classifier.name,), (self.model,)  # type: ignore[assignment]
        for what, here, there in zip(named, found, wanted, strict=True):
            if here != there:
                raise OptionError(
                    f"{what} {_short(here)}",
                    expected=f"{_short(there)}, for which the operating points were fitted",
                    remedy=f"Give the same model and settings, or fit others. {_AGAIN}",
                )

    def check_read_alike(self, reading: ReadSettings) -> None:
        """Refuse images that are read in another way than those that they were fitted on.

        Raises:
            OptionError: names the setting, and both values.
        """
        for name, there in vars(self.reading).items():
            if name not in _OF_A_FILE and (here := getattr(reading, name)) != there:
                raise OptionError(
                    f"{name}={here!r}", expected=f"{there!r}, with which the operating points were fitted"
                )

    @cached_property
    def fitted_on(self) -> frozenset[str]:
        """Digests of the tuning images: of their files, and of what the model saw of them."""
        return frozenset((*self.images, *self.inputs))

    @cached_property
    def known(self) -> frozenset[str]:
        """Digests of every image of the tuning patients."""
        return self.fitted_on | frozenset(self.related)

    @property
    def _document(self) -> dict[str, Any]:
        return with_digest({"schema": OPERATING_POINTS_SCHEMA, **asdict(self)})

    def to_json(self) -> bytes:
        """As the file has it, with a digest of what it says as the last entry."""
        text = json.dumps(self._document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        return text.encode(errors="backslashreplace")  # a name that is no valid Unicode becomes JSON's escape

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read it back.

        Raises:
            OutputError: something else, or operating points that were changed since they were written.

        >>> OperatingPoints.from_json(b'{"schema": "cxr-explain/operating-points/1", "model": "m"}')
        Traceback (most recent call last):
        cxr_explain.errors.OutputError: found operating points that were changed since they were written; ...
        """
        document = None
        try:
            document = read_json(text)
            if not isinstance(document, dict) or document.get("schema") != OPERATING_POINTS_SCHEMA:
                raise ValueError("another schema")
            if not is_as_written(document):
                raise OutputError(
                    "operating points that were changed since they were written",
                    expected=OPERATING_POINTS_SCHEMA,
                    remedy=_AGAIN,
                )
            said = {name: value for name, value in document.items() if name not in ("schema", DIGEST)}
            return from_plain(cls, said)
        except ValueError as error:  # an OptionError is one, too
            kind = other_schema(document)
            raise OutputError(
                f"something else than operating points{kind if 'operating-points' not in kind else ''}"
                f" ({_reason(error)})",
                expected=OPERATING_POINTS_SCHEMA,
                remedy=_AGAIN,
            ) from error

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the file, whole or not at all.

        Raises:
            OutputError: a folder that cannot be written to, or more images than a file can name.
        """
        content = self.to_json()
        if len(content) > LONGEST_JSON:
            raise OutputError(
                f"operating points of {len(self.images):,} tuning images, in {len(content):,} bytes",
                expected=f"at most {LONGEST_JSON:,} bytes",
                remedy="Fit them on fewer patients.",
                source=path,
            )
        return write_output(path, content, "operating points")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read the file.

        Raises:
            OutputError: a file that is not there, is something else, or was changed since it was written.
        """
        try:
            return cls.from_json(read_bounded(path, LONGEST_JSON))
        except OutputError as error:
            raise error.at(path) from error
        except OSError as error:
            raise OutputError(
                f"no operating points that can be read ({error.strerror or type(error).__name__})",
                expected="a file that `cxr-explain thresholds` wrote",
                source=path,
            ) from error

    def lines(self) -> Iterator[str]:
        """What was not fitted, in sentences."""
        for each in self.points:
            if each.not_fitted:
                point = each.operating_point
                own = "none" if point is None else f"{point:.3g}, the weights' own"
                yield f"{each.pathology}: not fitted, {each.not_fitted}; operating point: {own}."
            if each.not_calibrated:
                yield f"{each.pathology}: not calibrated, {each.not_calibrated}."


def refuse_one_label(kind: str | None) -> None:
    """Refuse a model of which exactly one output is true: its class is the largest output, not a threshold.

    Raises:
        OptionError: says so.
    """
    if kind in ONE_LABEL:
        raise OptionError(
            f"outputs of kind {kind}, of which exactly one is true",
            expected="a model whose outputs are called one by one, behind sigmoids",
            remedy="Operating points are not fitted for a softmax.",
        )


def tuning_warning(points: OperatingPoints, *digests: str) -> tuple[str, ...]:
    """What stays on the explanation of an image that took part in the fit, or whose patient did.

    Args:
        points: the operating points.
        *digests: SHA-256 of the image's file, and of what the model sees of it.
    """
    if points.known.isdisjoint(digests):
        return ()
    whom = "this image" if not points.fitted_on.isdisjoint(digests) else "another image of this patient"
    return (f"The operating points were fitted on {whom}: which side it is on is no test of them.",)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return counted(len(value), "name") + f" ({', '.join(value)[:60]})"
    return str(value)[:12] if isinstance(value, str) and _SHA256.fullmatch(value) else str(value)


def _reason(error: Exception) -> str:
    found = error.found if isinstance(error, OptionError) else str(error)
    return "".join(letter if letter.isprintable() else " " for letter in found[:120])
