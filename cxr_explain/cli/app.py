"""All commands, for whoever calls them from Python: tests and the docs."""

from cxr_explain.cli.commands import command_line

app = command_line()
