"""The viewer of one radiograph with its maps, which the audit's report and a page by itself share.

`static` holds its scripts and its style, `templates` its controls, `case` what it is told of an explanation.
"""
