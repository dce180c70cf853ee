"""`python -m cxr_explain` is `cxr-explain`."""

from cxr_explain.cli.entry import main

main()
