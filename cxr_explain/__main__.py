"""`python -m cxr_explain` is `cxr-explain`."""

from cxr_explain.cli import main

main()
