"""`python -m cxr_explain` is `cxr-explain`."""

from cxr_explain.cli.main import main

main()
