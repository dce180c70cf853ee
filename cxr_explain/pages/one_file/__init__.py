"""One explanation in one HTML file, to send to somebody: no server, no network, nothing beside it."""

from cxr_explain.pages.one_file.page import write_html

__all__ = ["write_html"]
