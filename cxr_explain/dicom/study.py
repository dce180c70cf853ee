"""A study of a PACS: what is found in it, and what becomes of the radiographs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.found import FoundInstance
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.errors import CxrExplainError, DicomWebError


@dataclass(frozen=True, eq=False)
class StudyImage:
    """What became of one radiograph.

    Args:
        address: where it is on the server.
        kinds: kinds of objects that there are of it now, on the server or in the folder.
        new: how many of them this run made; the others were there already.
        folder: their folder; None where they are on the server.
        not_made: why there are no others, by kind.
        notes: what should be known of them.
        error: why there are none at all.
    """

    address: InstanceAddress
    kinds: tuple[str, ...] = ()
    new: int = 0
    folder: Path | None = None
    not_made: dict[str, CxrExplainError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: CxrExplainError | None = None


@dataclass(eq=False)
class StudyResult:
    """A study, what was found in it, and what became of it.

    Args:
        uid: its Study Instance UID.
        radiographs: the frontal chest radiographs, by their addresses.
        passed_over: how many other instances there are, by what they are.
        there: where all instances of the study are.
        images: what became of each radiograph so far.
        error: why nothing is known of it.
    """

    uid: str
    radiographs: list[FoundInstance] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    there: set[InstanceAddress] = field(default_factory=set)
    images: list[StudyImage] = field(default_factory=list)
    error: CxrExplainError | None = None

    @classmethod
    def of(cls, server: DicomWebServer, uid: str) -> StudyResult:
        """Ask a server what a study holds; that it has no such study is no failure of the server.

        Raises:
            DicomWebError: no answer, or what is no unique identifier.
        """
        study = cls(uid)
        for each in server.instances(uid):
            study.there.add(each.address)
            if (why := each.why_not) is None:
                study.radiographs.append(each)
            else:
                study.passed_over[why] += 1
        if not study.there:
            study.error = DicomWebError(
                "no such study", expected="one that the server has", source=server.name
            )
        study.radiographs.sort(key=lambda each: each.address.path)
        return study
