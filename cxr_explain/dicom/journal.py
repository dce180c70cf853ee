"""Which objects were made of a server's radiographs, so that a run that was stopped goes on at once.

What the journal says is not trusted to be there still: it only says which objects a radiograph gives with the
same settings, and the server, or the folder, is asked for them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from cxr_explain.dicom.settings import ObjectSettings
from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.explaining.provenance import ExplainerFacts
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.support.strict_json import from_plain, read_json
from cxr_explain.support.whole_file import output_errors, safe_stem

JOURNAL: Final = "studies.jsonl"
_LONGEST_LINE = 2**16
_MACHINE = ("torch_version", "engine_version")
"""Facts of an explainer on which no identifier of an object depends."""


@dataclass(frozen=True)
class MadeBefore:
    """The objects of one radiograph.

    Args:
        folder: name of their folder; '' where none was written.
        objects: kind, Series Instance UID and SOP Instance UID of each.
        not_made: kinds of which there is none, and why.
        notes: what should be known of them.
    """

    folder: str
    objects: tuple[tuple[str, str, str], ...]
    not_made: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds that there are."""
        return tuple(kind for kind, _, _ in self.objects)

    def is_in(self, study: str, there: Collection[InstanceAddress]) -> bool:
        """Whether all objects are among the instances of their study."""
        return all(InstanceAddress(study, series, instance) in there for _, series, instance in self.objects)

    def is_below(self, output: Path) -> bool:
        """Whether all objects are in their folder."""
        if self.folder != safe_stem(self.folder):
            return False
        return all((output / self.folder / f"{kind}.dcm").is_file() for kind in self.kinds)


class StudyJournal:
    """A file of one line for each radiograph; a line that a kill cut off counts for nothing.

    Args:
        path: the file; None remembers nothing.
        settings: what the objects depend on beside the radiograph; see `settings_of`.
        key: a secret, without which nobody can tell from the file whose radiographs it is about.
    """

    def __init__(self, path: Path | None, settings: str, key: bytes = b"") -> None:
        self._path, self._settings, self._key = path, settings, key
        self._known: dict[str, MadeBefore] = {}
        self._file: int | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            with output_errors("a journal", self._path):
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                self._known = dict(_read(self._path))
                if (size := os.fstat(self._file).st_size) and os.pread(self._file, 1, size - 1) != b"\n":
                    os.write(self._file, b"\n")  # after what a kill cut off
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def made_before(self, address: InstanceAddress) -> MadeBefore | None:
        """What a radiograph gave with these settings; None where that is not known."""
        return self._known.get(self._name(address))

    def add(self, address: InstanceAddress, made: MadeBefore) -> None:
        """Remember what a radiograph gives.

        Raises:
            OutputError: a file that cannot be written to.
        """
        if self._file is None or self._path is None:
            return
        line = json.dumps({"radiograph": self._name(address), **asdict(made)}) + "\n"
        with output_errors("a journal", self._path):
            os.write(self._file, line.encode())
            os.fsync(self._file)
        self._known[self._name(address)] = made

    def _name(self, address: InstanceAddress) -> str:
        text = f"{self._settings}\0{address.path}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def settings_of(
    facts: ExplainerFacts, asked: RankingSettings, reading: ReadSettings, objects: ObjectSettings
) -> str:
    """A digest of all that the objects of a radiograph depend on beside the radiograph.

    Args:
        facts: the explainer's.
        asked: which pathologies are explained.
        reading: how radiographs are read.
        objects: which objects are made, and how.
    """
    said: dict[str, Any] = {
        "facts": {key: value for key, value in asdict(facts).items() if key not in _MACHINE},
        "asked": asdict(asked),
        "reading": reading.said(),
        "kinds": list(objects.kinds),
        "threshold": objects.threshold,
        "colours": dict(objects.colours or {}),
        "style": repr(objects.style),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=repr).encode()).hexdigest()


def _read(path: Path) -> Iterator[tuple[str, MadeBefore]]:
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            try:
                said = read_json(line)
                yield str(said.pop("radiograph")), from_plain(MadeBefore, said)
            except (AttributeError, KeyError, TypeError, ValueError):
                continue
