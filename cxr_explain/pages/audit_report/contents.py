"""What an audit's report holds, whatever its format: rows, queues, chosen cases and the overview."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from cxr_explain.audit.record import Record
from cxr_explain.audit.store import AuditRun
from cxr_explain.audit.verdicts import Marked
from cxr_explain.errors import CxrExplainError
from cxr_explain.pages.audit_report.listing import OLDEST, Listing
from cxr_explain.pages.audit_report.overview import Overview
from cxr_explain.pages.audit_report.queues import SHOWN, Queue, first_cases, queues_of
from cxr_explain.support.strict_json import digest_of

BUNDLE = 64
"""Pictures of the list in one script."""

_OF_THE_MAPS = frozenset(
    {"target_layer", "rule_title", "rule_settings", "map_settings", "ranking_settings", "read_settings"}
)
"""Fields of a record that say, beside the model and the image, which maps a reader judged."""


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of a report.

    Args:
        record: the record of the audit.
        listing: the rows of the audit.
        queues: lists of what deserves a look first.
        chosen: the images with pixels, as places in the listing, in the order of the queues.
        overview: what the first page says.
        marked: the cases that the report is about; None where it is about all.
    """

    record: Record
    listing: Listing
    queues: tuple[Queue, ...]
    chosen: tuple[int, ...]
    overview: Overview
    marked: Marked | None = None

    @classmethod
    def of(
        cls, run: AuditRun, statistics: Mapping[str, Any], cases: int | None, marked: Marked | None = None
    ) -> Self:
        """Gather the contents of a report.

        Args:
            run: the audit.
            statistics: the statistics of the audit; {} without any.
            cases: number of images that come with pixels; None for all of them.
            marked: the cases that the report is about, in their order; None for all.
        """
        listing = Listing.of(run)
        overview = Overview.of(run, listing, statistics, marked=marked is not None)
        if marked is not None:
            place = {row: at for at, row in enumerate(listing.rows.tolist())}
            listing = listing.select([place[line.row] for line in marked.lines if line.row in place])
        queues = queues_of(listing, statistics)
        chosen = first_cases(queues if marked is None else (), listing, cases)
        return cls(run.record, listing, queues, tuple(chosen), overview, marked)

    def to_data(self) -> dict[str, Any]:
        """What the page's scripts need beside the rows."""
        return {
            # By which a file of verdicts is known to belong to this report.
            "run": {
                "manifest": self.record.manifest_sha256,
                "model": self.record.model,
                "weights": self.record.weights_sha256,
                "settings": settings_of(self.record),
                "version": self.record.package_version,
                "images": len(self.listing),
            },
            "queues": [queue.to_data() for queue in self.queues],
            "withPixels": [int(self.listing.rows[image]) for image in self.chosen],
            "filters": self.listing.filters,
            "bundle": BUNDLE,
            "shown": SHOWN,
            "oldest": OLDEST,
        }

    def cases(self, told_every: int, progress: Callable[[str], None] | None) -> Iterator[int]:
        """The chosen images one by one, as places in the listing.

        Args:
            told_every: number of images after which `progress` is called.
            progress: called with how far it is, in words.
        """
        for done, image in enumerate(self.chosen, start=1):
            yield image
            if progress and (done % told_every == 0 or done == len(self.chosen)):
                progress(f"{done} of {len(self.chosen)} cases")


def settings_of(record: Record) -> str:
    """Digest of the settings that maps were made with; runs on other versions of torch share it."""
    return digest_of({name: value for name, value in asdict(record).items() if name in _OF_THE_MAPS})


def reason_of(error: CxrExplainError) -> str:
    """What an error says, without the path of the file.

    >>> reason_of(CxrExplainError("no pixels", source="/home/jane/a.dcm"))
    'no pixels.'
    """
    return str(type(error)(error.found, expected=error.expected, remedy=error.remedy))
