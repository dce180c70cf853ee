"""The report of an audit: one static folder that opens from a disk, and a PDF of the same.

`listing` holds the rows as columns, `queues` says which of them deserve a look first, `cases` packs one image
for its page, `overview` gathers what the first page says, and `build` writes the folder. What runs in the
browser is in `static`.
"""

from cxr_explain.pages.audit_report.build import build_report
from cxr_explain.pages.audit_report.pdf import write_pdf

__all__ = ["build_report", "write_pdf"]
