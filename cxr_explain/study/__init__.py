"""Which class maps deserve trust: every rule, alone and fused, measured on cases whose findings are known.

`cases` gives radiographs with the masks of their findings, `plan` says what is compared, `measure` gives one
row for each case, pathology and choice, `summary` turns the rows into estimates with intervals, and `report`
writes them.
"""
