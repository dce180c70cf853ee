"""What the report asks of an audit; `cxr_explain.audit.store.AuditRun` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cxr_explain.audit.record import Record
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.pathologies import ReferenceLabels
from cxr_explain.radiograph import Radiograph


class ManifestSource(Protocol):
    """The columns of a manifest that the report shows; see `cxr_explain.reference.Manifest`."""

    @property
    def source(self) -> str:
        """The data set, and what was read of it."""

    @property
    def pathologies(self) -> Sequence[str]:
        """Q names, one for each column of `states`."""

    @property
    def states(self) -> NDArray[np.int8]:
        """(n, Q): 1 positive, 0 negative, -1 uncertain, -2 not mentioned, -3 not labelled."""

    @property
    def patients(self) -> Sequence[str | None]:
        """A name for each row's patient: counted, never shown."""

    @property
    def views(self) -> Sequence[str | None]:
        """PA, AP, LL, ..."""

    @property
    def sexes(self) -> Sequence[str | None]:
        """F or M."""

    @property
    def ages(self) -> Sequence[float | None]:
        """In years."""

    @property
    def splits(self) -> Sequence[str | None]:
        """train, valid, test, ..."""


class CaseSource(Protocol):
    """One explained image; `cxr_explain.audit.store.StoredCase` has it."""

    @property
    def row(self) -> Mapping[str, Any]:
        """What is kept of it."""

    @property
    def explanation(self) -> Explanation:
        """From the stored maps, without pixels."""

    @property
    def reference_explanation(self) -> Explanation | None:
        """Of the pathologies that have a reference box or mask there."""

    @property
    def reference_labels(self) -> ReferenceLabels:
        """The reference labels, their boxes in the radiograph's pixels."""

    def radiograph(self) -> Radiograph:
        """Read the image again; refuses other bytes."""


class AuditSource(Protocol):
    """An audit, to be read. Positions count the explained rows from 0."""

    @property
    def record(self) -> Record:
        """Which model, which options, which manifest."""

    @property
    def manifest(self) -> ManifestSource:
        """The manifest as it was when the audit began."""

    @property
    def results(self) -> pa.Table:
        """The explained rows in the manifest's order."""

    @property
    def failures(self) -> pa.Table:
        """The rows that gave no explanation."""

    @property
    def is_complete(self) -> bool:
        """Whether every row of the manifest was explained, or failed."""

    def case(self, at: int) -> CaseSource:
        """Everything that is kept of one result, read once."""
